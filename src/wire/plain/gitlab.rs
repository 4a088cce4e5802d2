//! GitLab's code suggestions (`POST /api/v4/code_suggestions/completions`): a file up to the cursor in, what follows out.
//!
//! From docs.gitlab.com, "Code Suggestions API": `current_file.{file_name, content_above_cursor, content_below_cursor}`,
//! `intent` (`completion` or `generation`) and `stream` go in; a `text_completion` with `choices[].{text, finish_reason}` and
//! `model.name` comes back. A conversation is a text file whose next lines are the answer. A user may call it sixty times a
//! minute.

use serde_json::{Value, json};

use super::{answer, spoken};
use crate::chat::{Answer, BadAnswer, EncodeTarget, Encoded, Refused, Request, Stop, WayBack};
use crate::openai_error::UpstreamErrorBody;

/// The name of the file; the service guesses the language by it.
const FILE: &str = "conversation.md";
/// What the service reads of a file; of a longer one it needs the end.
const LONGEST: usize = 100_000;

/// Writes a request.
///
/// # Errors
/// When it asks for more than words, or for more of them than the service reads.
pub fn encode_request(request: &Request, _: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    let spoken = spoken(request, &[])?;
    let above = spoken.transcript("User", "Assistant");
    if above.chars().count() > LONGEST {
        return Err(Refused::new("messages", "this model's provider reads at most 100,000 characters"));
    }
    let file = json!({"file_name": FILE, "content_above_cursor": above, "content_below_cursor": ""});
    let body = json!({"current_file": file, "intent": "generation", "stream": false}).to_string().into();
    Ok(Encoded { body, dropped: spoken.dropped, way_back: WayBack::default() })
}

/// Reads an answer.
///
/// # Errors
/// When it is an error, no JSON, or holds no text.
pub fn decode_answer(body: &[u8]) -> Result<Answer, BadAnswer> {
    let json: Value = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    if let (None, Some(error)) = (json.get("choices"), UpstreamErrorBody::from_json(&json)) {
        return Err(BadAnswer::Error(Box::new(error)));
    }
    let at = |path: &str| json.pointer(path).and_then(Value::as_str);
    let stop = if at("/choices/0/finish_reason") == Some("length") { Stop::Length } else { Stop::Done };
    answer(at("/choices/0/text"), at("/model/name"), stop)
}
