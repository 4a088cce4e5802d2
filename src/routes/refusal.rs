//! What the management API and the doors of both planes say when they refuse.
//!
//! One object carries the fields of every shape that clients of the original know: `message`, `type`, `code`,
//! `details`, `correlation_id`, and `requestId` beside it. Under `/v1` it is OpenAI's shape. A refusal is for the
//! caller; causes go to the log with the request's id.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::body::put;
use crate::auth::AdminError;
use crate::gateway::client_format::ClientFormat;
use crate::gateway::directory::DirectoryError;
use crate::store::StoreError;
use crate::wire::openai_error::ErrorBody;

/// When to come back while the database is in trouble.
const STORE_RETRY: Duration = Duration::from_secs(2);

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// Dotted path of the field.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// A refused request. Boxed: it travels in the error half of every handler's answer.
#[derive(Debug, Clone)]
pub struct Refusal(Box<Facts>);

#[derive(Debug, Clone)]
struct Facts {
    status: StatusCode,
    code: &'static str,
    kind: &'static str,
    message: Cow<'static, str>,
    details: Vec<Detail>,
    beside: Map<String, Value>,
    retry_after: Option<Duration>,
    allow: Option<String>,
    closes: bool,
}

impl Refusal {
    /// Any refusal.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let kind = kind_of(status);
        let (details, beside, message) = (Vec::new(), Map::new(), message.into());
        let (retry_after, allow) = (None, None);
        Self(Box::new(Facts { status, code, kind, message, details, beside, retry_after, allow, closes: false }))
    }

    /// Something in the request cannot be (400).
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// Fields of the body are wrong (400).
    pub fn invalid(details: Vec<Detail>) -> Self {
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, "bad_request", "Invalid request");
        refusal.0.details = details;
        refusal
    }

    /// There is no such thing (404).
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// It contradicts what is there (409).
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// Somebody behind us did not answer as he should (502).
    pub fn bad_gateway(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", message)
    }

    /// Not now (503).
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", message).after(STORE_RETRY)
    }

    /// A defect of ours (500).
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", "Internal server error")
    }

    /// What is said.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The fields that are wrong.
    pub fn details(&self) -> &[Detail] {
        &self.0.details
    }

    /// Say when to come back.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Add a field beside the error.
    #[must_use]
    pub fn beside(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.beside.insert(field.to_owned(), value.into());
        self
    }

    /// Name the kind of error.
    #[must_use]
    pub fn kind(mut self, kind: &'static str) -> Self {
        self.0.kind = kind;
        self
    }

    /// Say that the connection ends with the answer.
    pub(super) fn closing(mut self) -> Self {
        self.0.closes = true;
        self
    }

    /// The methods that would have worked.
    pub(super) fn allowing(mut self, methods: &str) -> Self {
        self.0.allow = Some(methods.to_owned());
        self
    }

    /// The answer in the management's shape.
    pub fn render(&self, request_id: Option<&str>) -> HttpResponse {
        let body = HttpResponse::build(self.0.status).json(self.management(request_id));
        self.dressed(body)
    }

    /// The answer in the shape of a client of the data plane.
    pub fn for_client(&self, client: ClientFormat, request_id: Option<&str>) -> HttpResponse {
        let code = match (self.0.status, self.0.code) {
            (StatusCode::UNAUTHORIZED, _) => "invalid_api_key",
            (_, "AUTH_001" | "AUTH_002") => "permission_denied",
            (_, code) => code,
        };
        let error = ErrorBody {
            message: self.0.message.clone().into_owned(),
            kind: self.0.kind.into(),
            param: None,
            code: Some(code.into()),
        };
        let body = client.error_body(&error, self.0.status.as_u16(), request_id, self.0.retry_after);
        self.dressed(HttpResponse::build(self.0.status).content_type("application/json").body(body))
    }

    fn dressed(&self, mut response: HttpResponse) -> HttpResponse {
        if self.0.closes {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.0.retry_after {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.0.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            response.headers_mut().insert(ALLOW, allow);
        }
        response
    }

    fn management(&self, request_id: Option<&str>) -> Value {
        let mut error = json!({"message": self.0.message, "type": self.0.kind, "code": self.0.code});
        if !self.0.details.is_empty() {
            put(&mut error, "details", json!(self.0.details));
        }
        if let Some(id) = request_id {
            put(&mut error, "correlation_id", json!(id));
        }
        let mut body = self.0.beside.clone();
        body.insert("error".to_owned(), error);
        if let Some(id) = request_id {
            body.insert("requestId".to_owned(), json!(id));
        }
        Value::Object(body)
    }
}

fn kind_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found",
        409 | 412 => "conflict",
        413 => "payload_too_large",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0.status, self.0.message)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        self.render(None)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::not_found("Not found"),
            StoreError::Conflict(_) => Self::conflict("It contradicts what is stored"),
            StoreError::Busy(_) | StoreError::Full(_) | StoreError::Unavailable(_) => {
                tracing::error!(%error, "the store did not take a management call");
                Self::unavailable("The database is not available; try again")
            }
            StoreError::Corrupt(_) => {
                let message = "The database is damaged: restore a backup and restart the gateway";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_damaged", message)
            }
            other => {
                tracing::error!(error = %other, "the store failed a management call");
                Self::internal()
            }
        }
    }
}

impl From<DirectoryError> for Refusal {
    fn from(error: DirectoryError) -> Self {
        tracing::error!(%error, "a change is stored but could not be put into force");
        Self::unavailable("The change is stored but not yet in force; it will be with the next change or restart")
    }
}

impl From<AdminError> for Refusal {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Store(error) => error.into(),
            AdminError::AlreadySet => Self::conflict("A password is set already"),
            AdminError::Busy => Self::unavailable("Too many logins at the same time; try again"),
            AdminError::Crypto(error) => {
                tracing::error!(%error, "a password could not be hashed");
                Self::internal()
            }
        }
    }
}
