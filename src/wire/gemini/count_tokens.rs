//! How long is a prompt?

use bytes::Bytes;

use super::{decode_request, keys};
use crate::bad_request::BadRequest;
use crate::chat::Request;

/// Reads a request for `countTokens`: contents alone, or a whole request for an answer.
///
/// # Errors
/// As for the request for an answer.
pub fn decode_count_tokens(body: &[u8], model: &str) -> Result<Request, BadRequest> {
    let mut body = keys::body(body)?;
    match body.object("generateContentRequest")? {
        Some(inner) => decode_request::read(inner, model, false),
        None => decode_request::read(body, model, false),
    }
}

/// The answer to it.
pub fn count_tokens_body(tokens: u64) -> Bytes {
    Bytes::from(format!("{{\"totalTokens\":{tokens}}}"))
}
