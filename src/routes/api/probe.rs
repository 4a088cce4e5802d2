//! Does this connection work? Asked with the ordinary client, within a short time, answered in our own words: nothing
//! of what the other side wrote is ever passed on, so that the question is no way to read other people's networks.

use std::time::Duration;

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode};
use bytes::Bytes;
use omniroute_actors::clock::{Clock, SystemClock};
use omniroute_actors::connection::config::ConnectionConfig;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::gateway::provider_format;
use crate::gateway::upstream_call::UpstreamCall;
use crate::upstream::{self, ClientFactory, CollectLimits, SendErrorKind, UpstreamRequest};
use crate::wire::chat::{EncodeTarget, Format, Message, Request, Role};

/// How long a question may take.
const WITHIN: Duration = Duration::from_secs(15);
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Models shown of one list.
const MOST_MODELS: usize = 5_000;
const MODEL_CHARS: usize = 512;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diagnosis {
    /// One word of a fixed list.
    pub(super) kind: &'static str,
    /// Who found it: `local`, `upstream` or `validation`.
    pub(super) source: &'static str,
    /// Our own words.
    pub(super) message: Option<&'static str>,
    /// The status of the answer, if there was one.
    pub(super) status: Option<u16>,
}

impl Diagnosis {
    const fn ok(status: u16) -> Self {
        Self { kind: "ok", source: "upstream", message: None, status: Some(status) }
    }

    const fn local(kind: &'static str, message: &'static str) -> Self {
        Self { kind, source: "local", message: Some(message), status: None }
    }

    const fn upstream(kind: &'static str, message: &'static str, status: Option<u16>) -> Self {
        Self { kind, source: "upstream", message: Some(message), status }
    }

    /// Whether the connection works.
    pub(super) fn valid(&self) -> bool {
        self.kind == "ok"
    }

    /// As the API shows it.
    pub(super) fn to_json(&self) -> Value {
        json!({"type": self.kind, "source": self.source, "message": self.message, "code": self.status})
    }
}

/// Try a connection: its model list, or a tiny call when a model is named or the list is not offered.
pub(super) async fn test(clients: &ClientFactory, config: &ConnectionConfig, model: Option<&str>) -> Diagnosis {
    let deadline = Instant::now() + WITHIN;
    if let Some(model) = model {
        return chat(clients, config, model, deadline).await;
    }
    match models_within(clients, config, deadline).await {
        Ok(_) => Diagnosis::ok(200),
        Err(diagnosis) if diagnosis.kind == "unsupported" => Diagnosis::upstream(
            "unsupported",
            "the provider offers no list of models; name a model to test with",
            diagnosis.status,
        ),
        Err(diagnosis) => diagnosis,
    }
}

/// The models that a connection offers.
pub(super) async fn models(clients: &ClientFactory, config: &ConnectionConfig) -> Result<Vec<String>, Diagnosis> {
    models_within(clients, config, Instant::now() + WITHIN).await
}

async fn models_within(
    clients: &ClientFactory,
    config: &ConnectionConfig,
    deadline: Instant,
) -> Result<Vec<String>, Diagnosis> {
    let none = Diagnosis::local("unsupported", "the provider offers no list of models");
    let url = config.target.models_url.as_deref().ok_or(none)?;
    let (status, body) = send(clients, list_request(config, url)?, deadline).await?;
    if matches!(status.as_u16(), 404 | 405 | 501) {
        let message = "the provider offers no list of models";
        return Err(Diagnosis::upstream("unsupported", message, Some(status.as_u16())));
    }
    judge(status)?;
    let list: Value = serde_json::from_slice(&body).map_err(|_| not_json(status))?;
    let entries = list.get("data").or_else(|| list.get("models")).unwrap_or(&list).as_array();
    let id = |entry: &Value| {
        let id = entry.get("id").or_else(|| entry.get("name")).unwrap_or(entry).as_str()?;
        // Gemini names the collection, too.
        let id = id.strip_prefix("models/").unwrap_or(id);
        let sane = !id.is_empty() && id.len() <= MODEL_CHARS && !id.chars().any(char::is_control);
        sane.then(|| id.to_owned())
    };
    Ok(entries.ok_or_else(|| not_json(status))?.iter().filter_map(id).take(MOST_MODELS).collect())
}

async fn chat(clients: &ClientFactory, config: &ConnectionConfig, model: &str, deadline: Instant) -> Diagnosis {
    let format = provider_format::of(&config.target);
    let request = match ping(config, format, model) {
        Ok(request) => request,
        Err(diagnosis) => return diagnosis,
    };
    match send(clients, request, deadline).await {
        Err(diagnosis) => diagnosis,
        Ok((status, body)) => match judge(status) {
            Err(diagnosis) => diagnosis,
            Ok(()) if provider_format::decode_answer(format, &body).is_ok() => Diagnosis::ok(status.as_u16()),
            Ok(()) => not_json(status),
        },
    }
}

/// The smallest call that a model answers.
fn ping(config: &ConnectionConfig, format: Format, model: &str) -> Result<UpstreamRequest, Diagnosis> {
    let cannot = Diagnosis::local("validation_error", "the request cannot be sent");
    let mut request = Request::new(format, model);
    request.messages.push(Message::text(Role::User, "ping"));
    request.sampling.max_tokens = Some(16);
    let traits = provider_format::traits(&config.target);
    let to = EncodeTarget { model, stream: false, traits };
    let encoded = provider_format::encode_request(format, &request, &to).map_err(|_| cannot.clone())?;
    let now = SystemClock::default().wall().0 / 1_000;
    let call = UpstreamCall { target: &config.target, model, stream: false, headers: &[], now };
    call.with(encoded.body).map_err(|_| cannot)
}

fn not_json(status: StatusCode) -> Diagnosis {
    Diagnosis::upstream("upstream_error", "the answer is not in the format of the API", Some(status.as_u16()))
}

fn judge(status: StatusCode) -> Result<(), Diagnosis> {
    let (kind, message) = match status.as_u16() {
        200..=299 => return Ok(()),
        401 | 403 => ("upstream_auth_error", "the provider refused the credential"),
        429 => ("upstream_rate_limited", "the provider asks to slow down"),
        500.. => ("upstream_unavailable", "the provider is failing"),
        404 => ("upstream_error", "the provider does not know this address or model"),
        _ => ("upstream_error", "the provider refused the request"),
    };
    Err(Diagnosis::upstream(kind, message, Some(status.as_u16())))
}

fn list_request(config: &ConnectionConfig, url: &str) -> Result<UpstreamRequest, Diagnosis> {
    let url = Url::parse(url).map_err(|_| Diagnosis::local("validation_error", "the URL is not valid"))?;
    let headers = headers(config)
        .ok_or_else(|| Diagnosis::local("validation_error", "the credential cannot be sent as a header"))?;
    Ok(UpstreamRequest { method: Method::GET, url, headers, body: Bytes::new() })
}

async fn send(
    clients: &ClientFactory,
    request: UpstreamRequest,
    deadline: Instant,
) -> Result<(StatusCode, Bytes), Diagnosis> {
    let response =
        upstream::send(&clients.thread_client(), request, deadline).await.map_err(|error| failed(&error.kind))?;
    let limits = CollectLimits { cap: MOST_BYTES, idle: WITHIN, deadline };
    let status = response.status;
    let body = upstream::collect(response.body, limits).await;
    let cut = Diagnosis::upstream("upstream_error", "the answer did not arrive whole", Some(status.as_u16()));
    Ok((status, body.map_err(|_| cut)?))
}

fn headers(config: &ConnectionConfig) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.target.headers {
        headers.insert(HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value.as_str()).ok()?);
    }
    if let Some((name, secret)) = &config.target.auth_header {
        let mut value = HeaderValue::try_from(secret.expose_secret()).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name.as_str()).ok()?, value);
    }
    Some(headers)
}

fn failed(kind: &SendErrorKind) -> Diagnosis {
    match kind {
        SendErrorKind::Refused(_) => Diagnosis::local("validation_error", "the address is not allowed"),
        SendErrorKind::InvalidRequest(_) => Diagnosis::local("validation_error", "the request cannot be sent"),
        SendErrorKind::Dns { .. } => Diagnosis::local("network_error", "the provider's name cannot be resolved"),
        SendErrorKind::Connect { .. } => Diagnosis::local("network_error", "the provider cannot be reached"),
        SendErrorKind::ConnectTimeout { .. } => Diagnosis::local("network_error", "connecting took too long"),
        SendErrorKind::Tls { .. } => Diagnosis::local("network_error", "no secure connection to the provider"),
        SendErrorKind::Reset { .. } => Diagnosis::local("network_error", "the provider closed the connection"),
        SendErrorKind::HeadTimeout => {
            Diagnosis::upstream("upstream_unavailable", "the provider did not answer in time", None)
        }
        SendErrorKind::Redirect { status, .. } => {
            Diagnosis::upstream("upstream_error", "the provider redirects elsewhere", Some(*status))
        }
        _ => Diagnosis::upstream("upstream_error", "the answer is not valid HTTP", None),
    }
}
