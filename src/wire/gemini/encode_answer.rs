//! A whole answer for a client.

use bytes::{Bytes, BytesMut};

use super::usage;
use super::write::{self, Ending};
use crate::chat::{Answer, Choice, PartKind, Reply};

/// Writes the answer to `generateContent`.
pub fn encode_answer(answer: &Answer, reply: &Reply) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    out.extend_from_slice(b"{\"candidates\":[");
    let empty = [Choice { index: 0, parts: Vec::new(), stop: crate::chat::Stop::Done, logprobs: None }];
    let choices = if answer.choices.is_empty() { empty.as_slice() } else { &answer.choices };
    for (place, choice) in choices.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(b",");
        }
        candidate(choice, &mut out);
    }
    out.extend_from_slice(b"]");
    if let Some(usage) = &answer.usage {
        out.extend_from_slice(b",\"usageMetadata\":");
        out.extend_from_slice(usage::json(usage).as_bytes());
    }
    out.extend_from_slice(b",\"modelVersion\":");
    write::json(answer.begin.model.as_ref().unwrap_or(&reply.model), &mut out);
    out.extend_from_slice(b",\"responseId\":");
    write::json(answer.begin.id.as_ref().unwrap_or(&reply.id), &mut out);
    out.extend_from_slice(b"}");
    out.freeze()
}

fn candidate(choice: &Choice, out: &mut BytesMut) {
    let mut ending = Ending::of(choice);
    out.extend_from_slice(b"{\"content\":{\"parts\":[");
    let mut any = false;
    for part in &choice.parts {
        let before = out.len();
        if any {
            out.extend_from_slice(b",");
        }
        if write::whole(part, out) {
            any = true;
        } else {
            out.truncate(before);
            ending.malformed |= matches!(part.kind, PartKind::ToolCall(_));
        }
    }
    out.extend_from_slice(b"],\"role\":\"model\"}");
    ending.write(choice.index, out);
    out.extend_from_slice(b"}");
}
