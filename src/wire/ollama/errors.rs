//! Errors as Ollama's clients read them.

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::lines;
use crate::openai_error::ErrorBody;

#[derive(Serialize)]
struct Told<'a> {
    error: &'a str,
}

/// An error in place of an answer, or as a line of a stream: its words are all there is.
pub fn error_body(error: &ErrorBody, _status: u16, _request_id: Option<&str>) -> Bytes {
    let mut out = BytesMut::with_capacity(error.message.len().saturating_add(16));
    lines::write_json(&Told { error: &error.message }, &mut out);
    out.freeze()
}
