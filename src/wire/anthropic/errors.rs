//! Errors in this format's words.

use bytes::{Bytes, BytesMut};

use super::json::put;
use crate::openai_error::ErrorBody;

/// Type and status; the first row with a status names its type, any row with a type names its status.
const TABLE: &[(u16, &str)] = &[
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (402, "billing_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (408, "timeout_error"),
    (409, "invalid_request_error"),
    (413, "request_too_large"),
    (422, "invalid_request_error"),
    (429, "rate_limit_error"),
    (504, "timeout_error"),
    (503, "overloaded_error"),
    (529, "overloaded_error"),
    (500, "api_error"),
];

/// The type of error that goes with a status.
pub fn kind_of_status(status: u16) -> &'static str {
    let row = TABLE.iter().find(|row| row.0 == status).map(|row| row.1);
    row.unwrap_or(if (400..500).contains(&status) { "invalid_request_error" } else { "api_error" })
}

/// The status that goes with a type of error: in a stream there is only the type.
pub fn status_of_kind(kind: &str) -> Option<u16> {
    match kind {
        "overloaded_error" => Some(529),
        "timeout_error" => Some(504),
        _ => TABLE.iter().find(|row| row.1 == kind).map(|row| row.0),
    }
}

/// An error as a client of this format reads it.
pub fn error_body(error: &ErrorBody, status: u16, request_id: Option<&str>) -> Bytes {
    body(kind_of_status(status), &error.message, request_id)
}

/// The data of an `error` event. There is no status in a stream, so the type follows the error's own kind and code.
pub(crate) fn stream_error(error: &ErrorBody) -> Bytes {
    body(kind_of_error(error), &error.message, None)
}

fn kind_of_error(error: &ErrorBody) -> &'static str {
    if let Some(row) = TABLE.iter().find(|row| row.1 == error.kind) {
        return row.1;
    }
    let words = format!("{} {}", error.kind, error.code.as_deref().unwrap_or_default());
    let has = |word: &str| words.contains(word);
    match () {
        () if has("timeout") => "timeout_error",
        () if has("rate_limit") || has("cooldown") => "rate_limit_error",
        () if has("quota") || has("billing") => "billing_error",
        () if has("overload") || has("unavailable") || has("capacity") => "overloaded_error",
        () if has("not_found") => "not_found_error",
        () if has("permission") => "permission_error",
        () if has("api_key") || has("authentication") => "authentication_error",
        () if has("invalid_request") => "invalid_request_error",
        () => "api_error",
    }
}

#[derive(serde::Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    error: Inner<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct Inner<'a> {
    r#type: &'a str,
    message: &'a str,
}

fn body(kind: &str, message: &str, request_id: Option<&str>) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len().saturating_add(128));
    put(&mut out, &Envelope { r#type: "error", error: Inner { r#type: kind, message }, request_id });
    out.freeze()
}
