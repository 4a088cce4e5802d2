//! Every error that the data plane answers with: one table of code, type and status, one encoder per client
//! format.
//!
//! Use [`Problem`] for what the gateway decides itself and [`ApiError::relayed`] for what an upstream said.
//! The message is for the caller; causes go to the log with the request's id.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::http::{ConnectionType, StatusCode};

use crate::gateway::client_format::ClientFormat;
use crate::wire::bad_request::BadRequest;
use crate::wire::openai_error::ErrorBody;

/// Tells SDKs whether to try again; they look here before they look at the status.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Read by SDKs before `retry-after`.
pub const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// Waits beyond this are not worth a client's patience: it is told not to retry.
const LONGEST_WORTH_WAITING: Duration = Duration::from_secs(60);

/// Anthropic's status for "overloaded".
const ANTHROPIC_OVERLOADED: u16 = 529;

/// What the gateway refuses or fails by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The body cannot be used.
    BadRequest,
    /// No key, or a wrong one.
    Unauthorized,
    /// The key may not do this.
    Forbidden,
    /// Nobody serves this model.
    ModelNotFound,
    /// Several providers serve this model.
    AmbiguousModel,
    /// The provider is known but nobody configured it.
    NoConnection,
    /// The body is larger than the limit.
    TooLarge,
    /// The body did not come in time.
    BodyTimeout,
    /// The body is compressed.
    EncodedBody,
    /// The key's own rate limit.
    KeyRateLimited,
    /// Every candidate cools down.
    CoolingDown,
    /// Every candidate's breaker is open.
    CircuitOpen,
    /// Every candidate is out of service until somebody acts.
    NoUsableConnection,
    /// Every candidate carries as much as it may.
    Saturated,
    /// The same, and as many wait for it as may, or the wait would be longer than the request has.
    QueueFull,
    /// Every candidate gets as many calls or tokens per minute as it may.
    LocalRateLimit,
    /// Every candidate failed.
    UpstreamFailed,
    /// Every candidate failed, the last one because it is overloaded.
    UpstreamOverloaded,
    /// No candidate answered in time.
    UpstreamTimeout,
    /// The process carries as much as it can.
    Overloaded,
    /// The process is full and this key has more than its share of it.
    KeyShare,
    /// Usage cannot be recorded and policy says to refuse then.
    LedgerUnavailable,
    /// The process is going away.
    Draining,
    /// A defect of ours.
    Internal,
}

impl Problem {
    /// The table: code, type, status.
    pub const fn row(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::BadRequest => ("bad_request", "invalid_request_error", 400),
            Self::Unauthorized => ("invalid_api_key", "authentication_error", 401),
            Self::Forbidden => ("permission_denied", "permission_error", 403),
            Self::ModelNotFound => ("model_not_found", "invalid_request_error", 404),
            Self::AmbiguousModel => ("ambiguous_model", "invalid_request_error", 400),
            Self::NoConnection => ("no_connection", "invalid_request_error", 400),
            Self::TooLarge => ("request_too_large", "invalid_request_error", 413),
            Self::BodyTimeout => ("request_timeout", "invalid_request_error", 408),
            Self::EncodedBody => ("unsupported_content_encoding", "invalid_request_error", 415),
            Self::KeyRateLimited => ("rate_limit_exceeded", "rate_limit_error", 429),
            Self::CoolingDown => ("model_cooldown", "rate_limit_error", 429),
            Self::CircuitOpen => ("provider_circuit_open", "server_error", 503),
            Self::NoUsableConnection => ("no_usable_connection", "server_error", 503),
            Self::Saturated => ("local_capacity", "rate_limit_error", 429),
            Self::QueueFull => ("local_queue_full", "rate_limit_error", 429),
            Self::LocalRateLimit => ("local_rate_limit", "rate_limit_error", 429),
            Self::UpstreamFailed => ("bad_gateway", "server_error", 502),
            Self::UpstreamOverloaded => ("provider_overloaded", "server_error", 503),
            Self::UpstreamTimeout => ("gateway_timeout", "server_error", 504),
            Self::Overloaded => ("gateway_overloaded", "server_error", 503),
            Self::KeyShare => ("key_share_exceeded", "rate_limit_error", 429),
            Self::LedgerUnavailable => ("ledger_unavailable", "server_error", 503),
            Self::Draining => ("shutting_down", "server_error", 503),
            Self::Internal => ("internal_server_error", "server_error", 500),
        }
    }

    /// It passes by itself, when there is less to do.
    const fn is_overload(self) -> bool {
        matches!(self, Self::UpstreamOverloaded | Self::CircuitOpen | Self::Saturated)
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The body's content.
    pub body: ErrorBody,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// Whether trying again can help; `None` leaves it to the client's own rules.
    pub should_retry: Option<bool>,
    /// Whether the connection is of no more use: what comes over it next may be the rest of a body.
    pub closes: bool,
    /// Whoever could answer has too much to do.
    overload: bool,
}

impl ApiError {
    /// One of our own.
    pub fn new(problem: Problem, message: impl Into<String>) -> Self {
        let (code, kind, status) = problem.row();
        let body =
            ErrorBody { message: message.into(), kind: kind.into(), param: None, code: Some(Cow::Borrowed(code)) };
        let overload = problem.is_overload();
        Self { status, body, retry_after: None, should_retry: None, closes: false, overload }
    }

    /// What an upstream said about the request itself, in its own words.
    pub fn relayed(status: u16, body: ErrorBody) -> Self {
        Self { status, body, retry_after: None, should_retry: Some(false), closes: false, overload: false }
    }

    /// Names the field to blame.
    #[must_use]
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.body.param = Some(param.into());
        self
    }

    /// Says when to come back. Waiting long is not worth it: then the client is told not to retry.
    #[must_use]
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait.map(|wait| wait.max(Duration::from_millis(1)));
        if let Some(wait) = wait {
            self.should_retry = Some(wait <= LONGEST_WORTH_WAITING);
        }
        self
    }

    /// Says whether to retry.
    #[must_use]
    pub const fn retry(mut self, should: bool) -> Self {
        self.should_retry = Some(should);
        self
    }

    /// Says that the connection ends with the answer.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The status for a client of this format: Anthropic's clients know an overload by a status of its own, and tell it
    /// from a server that is down.
    pub const fn status_for(&self, client: ClientFormat) -> u16 {
        if self.overload && matches!(client, ClientFormat::Anthropic) { ANTHROPIC_OVERLOADED } else { self.status }
    }

    /// The answer for an OpenAI client.
    pub fn to_response(&self) -> HttpResponse {
        self.to_response_for(ClientFormat::Chat, None)
    }

    /// The answer for a client of this format.
    pub fn to_response_for(&self, client: ClientFormat, request_id: Option<&str>) -> HttpResponse {
        let status = StatusCode::from_u16(self.status_for(client)).unwrap_or(StatusCode::BAD_GATEWAY);
        let body = client.error_body(&self.body, status.as_u16(), request_id, self.retry_after);
        let mut response = HttpResponse::build(status).body(body);
        if self.closes {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(should) = self.should_retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static(if should { "true" } else { "false" }));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, whole_seconds(wait).into());
            headers.insert(RETRY_AFTER_MS, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).into());
        }
        response
    }
}

impl From<BadRequest> for ApiError {
    fn from(bad: BadRequest) -> Self {
        Self::relayed(400, bad.body())
    }
}

/// Rounded up: a client that comes back a moment early is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;
    use rstest::rstest;

    use super::*;

    fn header(response: &HttpResponse, name: &str) -> Option<String> {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_short_wait_invites_a_retry_and_a_long_one_does_not() {
        let error = |seconds| ApiError::new(Problem::CoolingDown, "").after(Some(Duration::from_millis(seconds)));

        let (short, long) = (error(1_500).to_response(), error(3_600_000).to_response());

        assert_eq!(header(&short, "retry-after").as_deref(), Some("2"));
        assert_eq!(header(&short, "retry-after-ms").as_deref(), Some("1500"));
        assert_eq!(header(&short, "x-should-retry").as_deref(), Some("true"));
        assert_eq!(header(&long, "x-should-retry").as_deref(), Some("false"));
    }

    #[rstest]
    #[case(ClientFormat::Chat, 503, "\"code\":\"provider_overloaded\"")]
    #[case(ClientFormat::Completions, 503, "\"code\":\"provider_overloaded\"")]
    #[case(ClientFormat::Responses, 503, "\"code\":\"provider_overloaded\"")]
    #[case(ClientFormat::Anthropic, 529, "\"type\":\"overloaded_error\"")]
    #[case(ClientFormat::Gemini { as_array: false }, 503, "\"status\":\"UNAVAILABLE\"")]
    #[case(ClientFormat::Gemini { as_array: true }, 503, "\"code\":503")]
    #[case(ClientFormat::Ollama, 503, "{\"error\":\"busy\"}")]
    #[case(ClientFormat::OllamaGenerate, 503, "{\"error\":\"busy\"}")]
    fn an_overload_is_said_in_the_words_of_each_format(
        #[case] client: ClientFormat,
        #[case] status: u16,
        #[case] says: &str,
    ) {
        let error = ApiError::new(Problem::UpstreamOverloaded, "busy").after(Some(Duration::from_secs(3)));

        let response = error.to_response_for(client, None);

        assert_eq!((response.status().as_u16(), error.status_for(client)), (status, status));
        assert_eq!(header(&response, "retry-after").as_deref(), Some("3"));
        assert_eq!(header(&response, "x-should-retry").as_deref(), Some("true"));
        let body = response.into_body().try_into_bytes().unwrap();
        assert!(String::from_utf8_lossy(&body).contains(says), "{body:?}");
    }

    #[rstest]
    #[case(Problem::Saturated, 529, "overloaded_error")]
    #[case(Problem::CircuitOpen, 529, "overloaded_error")]
    #[case(Problem::CoolingDown, 429, "rate_limit_error")]
    #[case(Problem::KeyRateLimited, 429, "rate_limit_error")]
    #[case(Problem::UpstreamFailed, 502, "api_error")]
    #[case(Problem::UpstreamTimeout, 504, "timeout_error")]
    #[case(Problem::TooLarge, 413, "request_too_large")]
    fn anthropics_clients_tell_an_overload_from_a_limit_and_from_a_failure(
        #[case] problem: Problem,
        #[case] status: u16,
        #[case] kind: &str,
    ) {
        let response = ApiError::new(problem, "no").to_response_for(ClientFormat::Anthropic, None);

        assert_eq!(response.status().as_u16(), status);
        let body = response.into_body().try_into_bytes().unwrap();
        assert!(String::from_utf8_lossy(&body).contains(kind), "{body:?}");
    }

    #[test]
    fn codes_are_unique() {
        let all = [
            Problem::BadRequest,
            Problem::Unauthorized,
            Problem::Forbidden,
            Problem::ModelNotFound,
            Problem::AmbiguousModel,
            Problem::NoConnection,
            Problem::TooLarge,
            Problem::BodyTimeout,
            Problem::EncodedBody,
            Problem::KeyRateLimited,
            Problem::CoolingDown,
            Problem::CircuitOpen,
            Problem::NoUsableConnection,
            Problem::Saturated,
            Problem::QueueFull,
            Problem::LocalRateLimit,
            Problem::UpstreamFailed,
            Problem::UpstreamOverloaded,
            Problem::UpstreamTimeout,
            Problem::LedgerUnavailable,
            Problem::Draining,
            Problem::Internal,
        ];
        let codes: std::collections::HashSet<_> = all.iter().map(|problem| problem.row().0).collect();

        assert_eq!(codes.len(), all.len());
    }
}
