//! Errors, in and out. The shape is the one of chat; in a stream an error is a failed response.

use bytes::Bytes;
use serde_json::Value;

use crate::openai_error::{ErrorBody, UpstreamErrorBody};

/// An error for a client that asked for a whole answer, or whose stream has not begun.
pub fn error_body(error: &ErrorBody, _status: u16, _request_id: Option<&str>) -> Bytes {
    error.to_json()
}

/// The error that an answer or an event reports, whatever is missing from it.
pub(super) fn reported(error: Option<&Value>) -> UpstreamErrorBody {
    let read = error.filter(|error| !error.is_null()).and_then(UpstreamErrorBody::from_json);
    let mut error = read.unwrap_or_default();
    if error.message.is_empty() {
        error.message = "the provider reports that the response failed".to_owned();
    }
    // The type of the event, not of the error.
    error.kind = error.kind.filter(|kind| kind != "error");
    error
}
