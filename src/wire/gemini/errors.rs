//! Errors as Google's clients read them.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::openai_error::ErrorBody;

/// Status codes and their names.
const STATUSES: [(u16, &str); 13] = [
    (400, "INVALID_ARGUMENT"),
    (401, "UNAUTHENTICATED"),
    (403, "PERMISSION_DENIED"),
    (404, "NOT_FOUND"),
    (408, "DEADLINE_EXCEEDED"),
    (409, "ABORTED"),
    (413, "INVALID_ARGUMENT"),
    (429, "RESOURCE_EXHAUSTED"),
    (499, "CANCELLED"),
    (500, "INTERNAL"),
    (501, "UNIMPLEMENTED"),
    (503, "UNAVAILABLE"),
    (504, "DEADLINE_EXCEEDED"),
];

/// The kinds of our errors and the status of an answer that began well.
const KINDS: [(&str, u16); 8] = [
    ("invalid_request", 400),
    ("authentication", 401),
    ("permission", 403),
    ("not_found", 404),
    ("rate_limit", 429),
    ("insufficient_quota", 429),
    ("timeout", 504),
    ("api_error", 500),
];

/// An error in place of an answer.
pub fn error_body(error: &ErrorBody, status: u16, request_id: Option<&str>) -> Bytes {
    error_body_with_retry(error, status, request_id, None)
}

/// The same; Google's clients look for the time to wait in the body, there is no header for it.
pub fn error_body_with_retry(
    error: &ErrorBody,
    status: u16,
    request_id: Option<&str>,
    retry_after: Option<Duration>,
) -> Bytes {
    let details = details(error, request_id, retry_after);
    let mut inner = json!({"code": status, "message": error.message, "status": status_name(status)});
    if let (false, Some(inner)) = (details.is_empty(), inner.as_object_mut()) {
        inner.insert("details".to_owned(), Value::Array(details));
    }
    Bytes::from(json!({"error": inner}).to_string())
}

fn details(error: &ErrorBody, request_id: Option<&str>, retry_after: Option<Duration>) -> Vec<Value> {
    let typed = |name: &str| format!("type.googleapis.com/google.rpc.{name}");
    let mut details = Vec::new();
    if let Some(code) = &error.code {
        let reason = code.to_ascii_uppercase().replace(['-', '.', ' '], "_");
        details.push(json!({"@type": typed("ErrorInfo"), "reason": reason}));
    }
    if let Some(field) = &error.param {
        let violation = json!({"field": field, "description": error.message});
        details.push(json!({"@type": typed("BadRequest"), "fieldViolations": [violation]}));
    }
    if let Some(after) = retry_after {
        details.push(json!({"@type": typed("RetryInfo"), "retryDelay": seconds(after)}));
    }
    if let Some(id) = request_id {
        details.push(json!({"@type": typed("RequestInfo"), "requestId": id}));
    }
    details
}

/// `7s`, or `1.500s`.
fn seconds(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{}s", time.as_secs()),
        millis => format!("{}.{millis:03}s", time.as_secs()),
    }
}

fn status_name(status: u16) -> &'static str {
    let known = STATUSES.iter().find(|row| row.0 == status).map(|row| row.1);
    known.unwrap_or(if status < 500 { "FAILED_PRECONDITION" } else { "UNAVAILABLE" })
}

/// The status of an error inside a stream, whose own status is long gone.
pub(super) fn status_of(error: &ErrorBody) -> u16 {
    let overloaded = error.kind.contains("overloaded") || error.code.as_deref().is_some_and(|c| c.contains("overload"));
    let row = KINDS.iter().find(|row| error.kind.contains(row.0));
    if overloaded { 503 } else { row.map_or(503, |row| row.1) }
}
