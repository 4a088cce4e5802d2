//! What every answer gets, wherever it was made: request ids, security headers, CORS, the right error shape.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use serde_json::json;
use uuid::Uuid;

use super::{Call, Refusal, guard};
use crate::auth::Origin;
use crate::gateway::client_format::{ClientFormat, is_ollama};

/// Both spellings of the header that names a request.
const REQUEST_ID: [HeaderName; 2] = [HeaderName::from_static("x-request-id"), HeaderName::from_static("request-id")];
const LONGEST_ID: usize = 128;
/// Characters of an unknown path that the audit log takes.
const LONGEST_TARGET: usize = 200;
const METHODS: &str = "GET, POST, PUT, DELETE, PATCH, OPTIONS";
const HEADERS: &str = "Content-Type, Authorization, x-api-key, x-goog-api-key, anthropic-version, idempotency-key, \
     x-request-id, x-omniroute-connection, x-omniroute-no-cache, x-omniroute-progress, accept";
const EXPOSED: &str = "x-request-id, retry-after, x-should-retry, x-omniroute-model, x-omniroute-provider, \
     x-model-catalog-version";
/// For pages and the management API. The data plane needs only the first: nobody renders its answers.
const SECURITY: [(HeaderName, &str); 5] = [
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (
        HeaderName::from_static("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// The name of this request, for logs, answers and the audit log.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Of this request.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The caller's own if it is harmless, else a new one.
    fn choose(headers: &HeaderMap) -> Self {
        let theirs = REQUEST_ID.iter().find_map(|name| headers.get(name)).filter(|value| is_harmless(value.as_bytes()));
        Self(theirs.cloned().unwrap_or_else(|| {
            let fresh = Uuid::now_v7().as_hyphenated().to_string();
            HeaderValue::from_maybe_shared(bytes::Bytes::from(fresh)).unwrap_or(HeaderValue::from_static("unnamed"))
        }))
    }
}

fn is_harmless(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    !id.is_empty() && id.len() <= LONGEST_ID && id.iter().all(plain)
}

/// What a request must remember until its answer is there.
struct Visit {
    id: RequestId,
    family: Family,
    client: ClientFormat,
    origin: Option<HeaderValue>,
}

/// Which kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `/v1` and its other names.
    DataPlane,
    /// `/api`.
    Management,
    /// The rest.
    Other,
}

impl Family {
    pub(super) fn of(path: &str) -> Self {
        let under =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match () {
            () if ["/v1", "/api/v1", "/chat/completions", "/responses", "/models"].into_iter().any(under) => {
                Self::DataPlane
            }
            () if under("/v1beta") || under("/api/v1beta") || is_ollama(path) => Self::DataPlane,
            () if under("/api") => Self::Management,
            () => Self::Other,
        }
    }
}

/// The middleware: `App::new().wrap(from_fn(edge))`, outermost.
///
/// # Errors
/// None of its own.
pub async fn edge<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let visit = Visit {
        id: RequestId::choose(request.headers()),
        family: Family::of(request.path()),
        client: ClientFormat::of_address(request.path(), request.headers()),
        origin: request.headers().get(ORIGIN).and_then(|origin| allowed_origin(origin, request.request())),
    };
    request.extensions_mut().insert(visit.id.clone());
    if !is_let_in(request.request()) {
        note_kept_out(request.request()).await;
        let refused = visit.refused(&kept_out());
        let mut response = request.into_response(refused).map_into_right_body();
        visit.dress(response.headers_mut());
        return Ok(response);
    }
    if request.method() == Method::OPTIONS {
        let mut response = request.into_response(HttpResponse::NoContent().finish()).map_into_right_body();
        preflight(response.headers_mut());
        visit.dress(response.headers_mut());
        return Ok(response);
    }
    let response = next.call(request).await?;
    let mut response = match visit.reshaped(&response) {
        Some(refused) => response.into_response(refused).map_into_right_body(),
        None => response.map_into_left_body(),
    };
    visit.dress(response.headers_mut());
    Ok(response)
}

impl Visit {
    /// An error of ours in the shape of its address; the headers that were set on it stay.
    fn reshaped<B>(&self, response: &ServiceResponse<B>) -> Option<HttpResponse> {
        let error = response.response().error()?;
        let refusal = match error.as_error::<Refusal>() {
            Some(refusal) => refusal.clone(),
            None if is_plain_text(response.headers()) => generic(response),
            None => return None,
        };
        let mut rendered = self.refused(&refusal);
        for (name, value) in response.headers() {
            if !rendered.headers().contains_key(name) {
                rendered.headers_mut().append(name.clone(), value.clone());
            }
        }
        Some(rendered)
    }

    fn refused(&self, refusal: &Refusal) -> HttpResponse {
        match self.family {
            Family::DataPlane => refusal.for_client(self.client, Some(self.id.as_str())),
            Family::Management | Family::Other => refusal.render(Some(self.id.as_str())),
        }
    }

    fn dress(&self, headers: &mut HeaderMap) {
        for name in REQUEST_ID {
            headers.insert(name, self.id.0.clone());
        }
        let count = if self.family == Family::DataPlane { 1 } else { SECURITY.len() };
        for (name, value) in SECURITY.iter().take(count) {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        if self.family == Family::Management {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.append(VARY, HeaderValue::from_static("Authorization, Cookie"));
        }
        if let Some(origin) = &self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
    }
}

/// Whether the address filter lets the client in. What watches the process from beside it asks for its life, and learns
/// nothing else.
fn is_let_in(request: &HttpRequest) -> bool {
    let Ok(app) = guard::app(request) else { return true };
    let filter = &app.directory.settings().ip_filter;
    if !filter.enabled || matches!(request.path(), "/livez" | "/readyz") {
        return true;
    }
    let origin = Origin::of(request, &app.config.load().server.trusted_proxies);
    filter.admits(origin.ip, app.clock.wall().0)
}

/// The first knock of an address within a minute stands in the audit log. The path is the stranger's own text.
async fn note_kept_out(request: &HttpRequest) {
    if let Ok(call) = Call::of(request) {
        let target: String = request.path().chars().take(LONGEST_TARGET).collect();
        call.alarm("access.ip_blocked", &target, json!({"method": request.method().as_str()})).await;
    }
}

fn kept_out() -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "ip_blocked", "This address may not use the gateway")
}

/// Errors of the framework itself: a path or a header that cannot be decoded.
fn generic<B>(response: &ServiceResponse<B>) -> Refusal {
    let status = response.status();
    let code = if status.is_server_error() { "internal_server_error" } else { "bad_request" };
    Refusal::new(status, code, status.canonical_reason().unwrap_or("Bad request"))
}

fn is_plain_text(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

fn preflight(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

/// The value for `Access-Control-Allow-Origin`. Credentials are never allowed across origins, so `*` is harmless.
fn allowed_origin(origin: &HeaderValue, request: &HttpRequest) -> Option<HeaderValue> {
    let config = guard::app(request).ok()?.config.load();
    let list = &config.server.cors_allowed_origins;
    if list.iter().any(|allowed| allowed == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    list.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}
