//! NLP Cloud's chatbot (`POST /v1/gpu/{model}/chatbot`): the last words, what they are about, and the exchanges before them.
//!
//! From NLP Cloud's API reference, "Chatbot and conversational AI": `input`, `context` and `history` (a list of
//! `{"input", "response"}`) go in, `response` and the grown `history` come back; errors are `{"detail"}`.

use serde_json::{Map, Value, json};

use super::{answer, spoken};
use crate::chat::{Answer, BadAnswer, EncodeTarget, Encoded, Refused, Request, Role, Stop, WayBack};
use crate::openai_error::UpstreamErrorBody;

/// Writes a request.
///
/// # Errors
/// When it asks for more than words.
pub fn encode_request(request: &Request, _: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    let spoken = spoken(request, &[])?;
    let (mut history, mut asked) = (Vec::new(), String::new());
    for (role, words) in spoken.turns {
        match role {
            Role::Assistant => history.push(json!({"input": std::mem::take(&mut asked), "response": words})),
            _ => asked = words,
        }
    }
    let mut body = Map::new();
    body.insert("input".into(), asked.into());
    if !spoken.instructions.is_empty() {
        body.insert("context".into(), spoken.instructions.into());
    }
    if !history.is_empty() {
        body.insert("history".into(), history.into());
    }
    let body = Value::Object(body).to_string().into();
    Ok(Encoded { body, dropped: spoken.dropped, way_back: WayBack::default() })
}

/// Reads an answer.
///
/// # Errors
/// When it is an error, no JSON, or holds no text.
pub fn decode_answer(body: &[u8]) -> Result<Answer, BadAnswer> {
    let json: Value = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    if let (None, Some(error)) = (json.get("response"), UpstreamErrorBody::from_json(&json)) {
        return Err(BadAnswer::Error(Box::new(error)));
    }
    answer(json.get("response").and_then(Value::as_str), None, Stop::Done)
}
