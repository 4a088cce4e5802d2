//! The lines of an answer.

use bytes::BytesMut;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::chat::{Stop, ToolCall};
use crate::lines;

/// What a line says.
#[derive(Debug, Default, Serialize)]
pub(super) struct Said<'a> {
    pub(super) role: Assistant,
    pub(super) content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) thinking: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<Called<'a>>,
}

/// The only speaker of an answer.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Assistant {
    #[default]
    Assistant,
}

#[derive(Debug, Serialize)]
pub(super) struct Called<'a> {
    id: &'a str,
    function: Function<'a>,
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    index: usize,
    name: &'a str,
    arguments: Box<RawValue>,
}

impl<'a> Called<'a> {
    /// A call; none when its arguments are no object: half a call must not be run.
    pub(super) fn of(call: &'a ToolCall, index: usize) -> Option<Self> {
        let text = call.arguments_or_empty().trim();
        let text = if call.custom { serde_json::json!({"input": call.arguments}).to_string() } else { text.to_owned() };
        let arguments = RawValue::from_string(text).ok().filter(|raw| raw.get().starts_with('{'))?;
        Some(Self { id: &call.id, function: Function { index, name: &call.name, arguments } })
    }
}

/// Why an answer ended, as it is written.
pub(super) fn word(stop: Option<&Stop>) -> &'static str {
    match stop {
        Some(Stop::Length | Stop::ContextFull) => "length",
        _ => "stop",
    }
}

/// When an answer was made, in RFC 3339.
pub(super) fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// The frame of a line.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// `/api/generate`: the answer is a text, not a message.
    pub(super) generate: bool,
    pub(super) model: &'a str,
    pub(super) created_at: &'a str,
}

impl Frame<'_> {
    /// A line; `rest` are the members behind what it says, each with a comma before it.
    pub(super) fn line(&self, said: &Said<'_>, rest: &str, out: &mut BytesMut) {
        self.json(said, rest, out);
        out.extend_from_slice(b"\n");
    }

    /// The same without an end.
    pub(super) fn json(&self, said: &Said<'_>, rest: &str, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"model\":");
        lines::write_json(self.model, out);
        out.extend_from_slice(b",\"created_at\":\"");
        out.extend_from_slice(self.created_at.as_bytes());
        if self.generate {
            out.extend_from_slice(b"\",\"response\":");
            lines::write_json(said.content, out);
            if !said.thinking.is_empty() {
                out.extend_from_slice(b",\"thinking\":");
                lines::write_json(said.thinking, out);
            }
        } else {
            out.extend_from_slice(b"\",\"message\":");
            lines::write_json(said, out);
        }
        out.extend_from_slice(rest.as_bytes());
        out.extend_from_slice(b"}");
    }
}
