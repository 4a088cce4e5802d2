//! A whole answer for a client.

use bytes::{Bytes, BytesMut};

use super::usage;
use super::write::{self, Called, Frame, Said};
use crate::chat::{Answer, PartKind, Reply};

/// Writes the answer of `/api/chat`.
pub fn encode_answer(answer: &Answer, reply: &Reply) -> Bytes {
    encode(answer, reply, false)
}

/// Writes the answer of `/api/generate`.
pub fn encode_generate(answer: &Answer, reply: &Reply) -> Bytes {
    encode(answer, reply, true)
}

fn encode(answer: &Answer, reply: &Reply, generate: bool) -> Bytes {
    let choice = answer.choices.first();
    let (mut content, mut thinking) = (String::new(), String::new());
    let mut tool_calls = Vec::new();
    for part in choice.into_iter().flat_map(|choice| &choice.parts) {
        match &part.kind {
            PartKind::Text { text, .. } | PartKind::Refusal(text) => content.push_str(text),
            PartKind::Thinking(thought) => thinking.push_str(&thought.text),
            PartKind::ToolCall(call) => tool_calls.extend(Called::of(call, tool_calls.len())),
            _ => {}
        }
    }
    let said = Said { content: &content, thinking: &thinking, tool_calls, ..Said::default() };
    let created_at = write::time(answer.begin.created.unwrap_or(reply.created));
    let model = answer.begin.model.as_deref().unwrap_or(&reply.model);
    let reason = write::word(choice.map(|choice| &choice.stop));
    let counts = usage::json(answer.usage.as_ref(), answer.took);
    let logprobs = choice.and_then(|choice| choice.logprobs.as_ref()?.get("content"));
    let logprobs = logprobs.map(|content| format!(",\"logprobs\":{content}")).unwrap_or_default();
    let rest = format!("{logprobs},\"done\":true,\"done_reason\":\"{reason}\"{counts}");
    let mut out = BytesMut::with_capacity(512);
    Frame { generate, model, created_at: &created_at }.json(&said, &rest, &mut out);
    out.freeze()
}
