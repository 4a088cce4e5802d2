//! Counting the tokens of a prompt without asking for an answer.

use bytes::Bytes;

use super::decode_request::{MaxTokens, decode};
use crate::bad_request::BadRequest;
use crate::chat::Request;

/// Reads a request that only asks how long its prompt is: the same body without a cap on the answer.
///
/// # Errors
/// When the body is no such request; the field is named.
pub fn decode_count_request(body: &[u8]) -> Result<Request, BadRequest> {
    decode(body, MaxTokens::Optional)
}

/// The answer to it.
pub fn count_answer(input_tokens: u64) -> Bytes {
    Bytes::from(format!("{{\"input_tokens\":{input_tokens}}}"))
}
