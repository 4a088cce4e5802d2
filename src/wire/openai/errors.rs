//! Errors for chat clients.

use bytes::Bytes;

use crate::openai_error::ErrorBody;

/// The body of an error: OpenAI's shape needs neither the status nor the id of the request in it.
pub fn error_body(error: &ErrorBody, _status: u16, _request_id: Option<&str>) -> Bytes {
    error.to_json()
}
