//! JSON text of an answer's pieces, written without a tree in between.

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{citations, finish, logprobs, seals};
use crate::chat::{Choice, Citation, Family, Media, Part, PartKind, Seal, Stop, Thinking, ToolCall};

/// Any value; strings are escaped.
pub(super) fn json(value: &(impl Serialize + ?Sized), out: &mut BytesMut) {
    // Plain data into memory: neither the shape nor the writer can fail.
    let _ = serde_json::to_writer(out.writer(), value);
}

/// A piece of text, thought or not.
pub(super) fn text(text: &str, thought: bool, out: &mut BytesMut) {
    out.extend_from_slice(b"{\"text\":");
    json(text, out);
    out.extend_from_slice(if thought { b",\"thought\":true}" } else { b"}" });
}

/// The end of a thought: its seal. One without words is the seal of a text, as Google writes it.
pub(super) fn seal(seal: &Seal, of_thought: bool, out: &mut BytesMut) {
    out.extend_from_slice(b"{\"text\":\"\"");
    if of_thought {
        out.extend_from_slice(b",\"thought\":true");
    }
    signature(Some(seal), out);
    out.extend_from_slice(b"}");
}

fn signature(seal: Option<&Seal>, out: &mut BytesMut) {
    if let Some(seal) = seal {
        out.extend_from_slice(b",\"thoughtSignature\":");
        json(&seals::field(seal), out);
    }
}

/// A call; false when its arguments are no JSON object, and nothing is written then.
pub(super) fn call(call: &ToolCall, out: &mut BytesMut) -> bool {
    let arguments = call.arguments_or_empty().trim();
    let as_input = call.custom.then(|| serde_json::json!({"input": call.arguments}).to_string());
    let arguments = as_input.as_deref().unwrap_or(arguments);
    if !arguments.starts_with('{') || serde_json::from_str::<&RawValue>(arguments).is_err() {
        return false;
    }
    out.extend_from_slice(b"{\"functionCall\":{\"id\":");
    json(&call.id, out);
    out.extend_from_slice(b",\"name\":");
    json(&call.name, out);
    out.extend_from_slice(b",\"args\":");
    // It may hold line ends, which would end the event of a stream.
    one_line(arguments, out);
    out.extend_from_slice(b"}");
    signature(call.seal.as_ref(), out);
    out.extend_from_slice(b"}");
    true
}

/// JSON text on one line: between its tokens a line end is a space, and inside of strings there is none.
fn one_line(json: &str, out: &mut BytesMut) {
    if !json.contains(['\n', '\r']) {
        out.extend_from_slice(json.as_bytes());
        return;
    }
    for piece in json.split_inclusive(['\n', '\r']) {
        out.extend_from_slice(piece.trim_end_matches(['\n', '\r']).as_bytes());
        out.extend_from_slice(b" ");
    }
}

/// Bytes; none when they cannot be written.
pub(super) fn media(media: &Media, is_image: bool, out: &mut BytesMut) -> bool {
    let Some(value) = super::media::json(media, is_image) else { return false };
    json(&value, out);
    true
}

/// Something native, if it is Google's own.
pub(super) fn native(value: &Value, out: &mut BytesMut) -> bool {
    let own = [
        "executableCode",
        "codeExecutionResult",
        "functionResponse",
        "toolCall",
        "toolResponse",
        "fileData",
        "inlineData",
    ];
    let is_own = value.as_object().is_some_and(|all| all.keys().any(|key| own.contains(&key.as_str())));
    if is_own {
        json(value, out);
    }
    is_own
}

/// A piece that comes in one. False when there is nothing to write.
pub(super) fn whole(part: &Part, out: &mut BytesMut) -> bool {
    match &part.kind {
        PartKind::Text { text: words, .. } | PartKind::Refusal(words) => {
            text(words, false, out);
            true
        }
        PartKind::Image(picture) => media(picture, true, out),
        PartKind::Audio(bytes) | PartKind::Video(bytes) | PartKind::File(bytes) => media(bytes, false, out),
        PartKind::ToolCall(one) => call(one, out),
        PartKind::Thinking(thought) => thinking(thought, out),
        PartKind::Native(value) => native(value, out),
        PartKind::ToolResult(_) => false,
    }
}

fn thinking(thought: &Thinking, out: &mut BytesMut) -> bool {
    match &thought.seal {
        Some(by) if thought.text.is_empty() => seal(by, by.family != Family::Google, out),
        None if thought.text.is_empty() => return false,
        by => {
            out.extend_from_slice(b"{\"text\":");
            json(&thought.text, out);
            out.extend_from_slice(b",\"thought\":true");
            signature(by.as_ref(), out);
            out.extend_from_slice(b"}");
        }
    }
    true
}

/// What a candidate says at its end, beside its content.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Why it ends.
    pub(super) stop: Option<Stop>,
    /// A call could not be written.
    pub(super) malformed: bool,
    /// The sources of its text.
    pub(super) citations: Vec<Citation>,
    /// Its text, as far as the places of sources need it.
    pub(super) text: String,
    /// Metadata of the provider's own.
    pub(super) native: Vec<Value>,
    /// Probabilities, as OpenAI writes them.
    pub(super) logprobs: Option<Value>,
}

impl Ending {
    /// The end of a whole choice.
    pub(super) fn of(choice: &Choice) -> Self {
        let mut ending = Self { stop: Some(choice.stop.clone()), logprobs: choice.logprobs.clone(), ..Self::default() };
        for part in &choice.parts {
            match &part.kind {
                PartKind::Text { text, citations } => {
                    ending.text.push_str(text);
                    ending.citations.extend(citations.iter().cloned());
                }
                PartKind::Native(value) => ending.metadata(value),
                _ => {}
            }
        }
        ending
    }

    /// Keep it if it is metadata of a candidate.
    pub(super) fn metadata(&mut self, value: &Value) {
        let is_metadata = |all: &serde_json::Map<String, Value>| {
            all.contains_key("groundingMetadata") || all.contains_key("citationMetadata")
        };
        if value.as_object().is_some_and(is_metadata) {
            self.native.push(value.clone());
        }
    }

    /// The members behind the content, each with a comma before it.
    pub(super) fn write(&self, index: u32, out: &mut BytesMut) {
        let reason = match (&self.stop, self.malformed) {
            (_, true) => finish::word(&Stop::MalformedCall),
            (stop, false) => stop.as_ref().map_or("STOP", finish::word),
        };
        out.extend_from_slice(b",\"finishReason\":");
        json(reason, out);
        out.extend_from_slice(b",\"index\":");
        json(&index, out);
        let mut members = citations::json(&self.citations, &self.text);
        for native in self.native.iter().filter_map(Value::as_object) {
            members.extend(native.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        members.extend(self.logprobs.as_ref().and_then(logprobs::json).map(|all| ("logprobsResult".to_owned(), all)));
        for (name, value) in members {
            out.extend_from_slice(b",");
            json(&name, out);
            out.extend_from_slice(b":");
            json(&value, out);
        }
    }
}
