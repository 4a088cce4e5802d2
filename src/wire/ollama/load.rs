//! Requests that only load a model into memory, or unload it: a conversation or prompt that is not there. Ollama's own command
//! line sends one before the first question. There is nothing to ask a provider then.

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::write::{self, Frame, Said};

/// What such a request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The model.
    pub model: String,
    /// It may go (`keep_alive` is 0).
    pub unload: bool,
    /// It came to `/api/generate`.
    pub generate: bool,
}

impl Load {
    /// Looks whether a body for `/api/chat` is one.
    pub fn of_chat(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let is_empty = |messages: &Value| messages.as_array().is_some_and(Vec::is_empty);
        let none = body.get("messages").is_none_or(|messages| messages.is_null() || is_empty(messages));
        none.then(|| Self::of(&body, false)).flatten()
    }

    /// Looks whether a body for `/api/generate` is one.
    pub fn of_generate(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let is_empty = |value: &Value| {
            value.is_null() || value.as_str().is_some_and(str::is_empty) || value.as_array().is_some_and(Vec::is_empty)
        };
        let none = ["prompt", "images", "suffix"].iter().all(|name| body.get(name).is_none_or(is_empty));
        none.then(|| Self::of(&body, true)).flatten()
    }

    fn of(body: &Value, generate: bool) -> Option<Self> {
        // What is wrong with anything else, its reader says.
        let model = body.get("model").and_then(Value::as_str).filter(|model| !model.is_empty())?.to_owned();
        body.get("stream").is_none_or(|stream| stream.is_boolean() || stream.is_null()).then_some(())?;
        let unload = match body.get("keep_alive") {
            Some(Value::Number(number)) => number.as_f64() == Some(0.0),
            Some(Value::String(text)) => matches!(text.as_str(), "0" | "0s" | "0m" | "0h"),
            _ => false,
        };
        Some(Self { model, unload, generate })
    }

    /// The answer, whole and as the only line of a stream; `created` in seconds since the Unix epoch.
    pub fn answer(&self, created: i64) -> Bytes {
        let reason = if self.unload { "unload" } else { "load" };
        let frame = Frame { generate: self.generate, model: &self.model, created_at: &write::time(created) };
        let mut out = BytesMut::with_capacity(160);
        frame.line(&Said::default(), &format!(",\"done\":true,\"done_reason\":\"{reason}\""), &mut out);
        out.freeze()
    }
}
