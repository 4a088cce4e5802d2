//! Bodies of management calls: read within limits, JSON only. [`Form`](super::Form) checks what is in them.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use actix_web::{FromRequest, HttpRequest};
use bytes::BytesMut;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::Value;

use super::{Detail, Refusal, guard};
use crate::auth::is_json;

/// The largest body of a management call.
const MOST_BYTES: usize = 10 * 1024 * 1024;

/// The JSON body of a management call; none when there is no body.
#[derive(Debug, Clone, Default)]
pub struct JsonBody(pub Option<Value>);

impl FromRequest for JsonBody {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let server = &guard::app(&request)?.config.load_full().server;
            let most = server.max_body_bytes.min(MOST_BYTES);
            let within = Duration::from_millis(server.body_read_timeout_ms);
            let read = tokio::time::timeout(within, read(&request, payload, most)).await;
            // What comes over the connection next may be the rest of this body.
            let bytes = read.map_err(|_| late()).flatten().map_err(Refusal::closing)?;
            parse(&request, &bytes)
        })
    }
}

async fn read(request: &HttpRequest, mut payload: Payload, most: usize) -> Result<BytesMut, Refusal> {
    if is_encoded(request.headers()) {
        return Err(encoded());
    }
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::bad_request("The body could not be read"))?;
        if bytes.len() + chunk.len() > most {
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Whether the body is declared to be compressed. It is read as it comes: unpacking it would be a way around its limit.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let declared = headers.get_all(CONTENT_ENCODING).flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    declared.map(<[u8]>::trim_ascii).any(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
}

pub(super) fn encoded() -> Refusal {
    let message = "The body must come without content encoding";
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", message)
}

pub(super) fn late() -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The body did not come in time")
}

fn too_large(most: usize) -> Refusal {
    let message = format!("Request body too large. Maximum allowed: {} MB", most / (1024 * 1024));
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
}

fn parse(request: &HttpRequest, bytes: &[u8]) -> Result<JsonBody, Refusal> {
    if bytes.is_empty() {
        return Ok(JsonBody(None));
    }
    if !is_json(request.headers()) {
        let message = "The body must be declared as application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    serde_json::from_slice(bytes).map(|value| JsonBody(Some(value))).map_err(|_| invalid_body())
}

pub(super) fn invalid_body() -> Refusal {
    Refusal::invalid(vec![Detail { field: "body".into(), message: "Invalid JSON body".into() }])
}

/// Set a field of an object; anything else is left as it is.
pub fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

/// A point in time as the API writes it.
pub fn iso(ms: i64) -> Value {
    Timestamp::from_millisecond(ms).map_or(Value::Null, |at| Value::from(at.to_string()))
}

/// A point in time that may be missing.
pub fn iso_or_null(ms: Option<i64>) -> Value {
    ms.map_or(Value::Null, iso)
}
