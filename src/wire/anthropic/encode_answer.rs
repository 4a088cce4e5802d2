//! Writing a whole answer for a client.

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use super::json::{arguments_object, put, put_text};
use super::{citation, native, stop};
use crate::chat::{Answer, Begin, Choice, Family, Part, PartKind, Reply, Stop, Thinking};
use crate::usage::Usage;

/// Writes an answer. There is one choice; of several the first is told.
pub fn encode_answer(answer: &Answer, reply: &Reply) -> Bytes {
    let choice = answer.choices.first();
    let has_calls = |choice: &Choice| choice.parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
    let stop = choice.map_or(Stop::Done, |choice| choice.stop.clone().given(has_calls(choice)));
    let mut out = BytesMut::with_capacity(1_024);
    head(&mut out, &answer.begin, reply);
    out.extend_from_slice(b",\"content\":[");
    let before = out.len();
    for part in choice.map(|choice| choice.parts.as_slice()).unwrap_or_default() {
        block(&mut out, part, before);
    }
    if out.len() == before {
        out.extend_from_slice(br#"{"type":"text","text":""}"#);
    }
    out.extend_from_slice(b"],");
    out.extend_from_slice(stop::members(&stop).as_bytes());
    out.extend_from_slice(b",\"usage\":");
    out.extend_from_slice(answer.usage.unwrap_or_default().to_anthropic().as_bytes());
    out.extend_from_slice(b"}");
    out.freeze()
}

/// The open object of a message up to its content.
pub(crate) fn head(out: &mut BytesMut, begin: &Begin, reply: &Reply) {
    out.extend_from_slice(b"{\"id\":");
    match &begin.id {
        Some(id) => put_text(out, id),
        None => put_text(out, &format!("msg_{}", reply.id)),
    }
    out.extend_from_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    put_text(out, begin.model.as_deref().unwrap_or(&reply.model));
}

fn block(out: &mut BytesMut, part: &Part, first: usize) {
    let comma = |out: &mut BytesMut| {
        if out.len() > first {
            out.extend_from_slice(b",");
        }
    };
    match &part.kind {
        PartKind::Text { text, citations } => {
            comma(out);
            let citations: Vec<Box<RawValue>> = citations.iter().map(citation::for_client).collect();
            put(out, &Shown::Text { text, citations });
        }
        PartKind::Refusal(text) => {
            comma(out);
            put(out, &Shown::Text { text, citations: Vec::new() });
        }
        PartKind::Thinking(thinking) => {
            if let Some(shown) = shown_thought(thinking) {
                comma(out);
                put(out, &shown);
            }
        }
        PartKind::ToolCall(call) => {
            if let Some(seal) = &call.seal {
                comma(out);
                put(out, &Shown::Thinking { thinking: "", signature: seal.to_field(Family::Anthropic) });
            }
            comma(out);
            let input = arguments_object(&call.arguments, call.custom);
            put(out, &Shown::ToolUse { id: &call.id, name: &call.name, input });
        }
        PartKind::Native(value) if native::is_of_answers(value) => {
            comma(out);
            put(out, value);
        }
        _ => {}
    }
}

fn shown_thought(thinking: &Thinking) -> Option<Shown<'_>> {
    let seal = thinking.seal.as_ref().map(|seal| seal.to_field(Family::Anthropic));
    match (thinking.redacted, seal) {
        (true, None) => None,
        (true, Some(data)) => Some(Shown::RedactedThinking { data }),
        (false, seal) => Some(Shown::Thinking { thinking: &thinking.text, signature: seal.unwrap_or_default() }),
    }
}

/// A block as a client sees it.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Shown<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        citations: Vec<Box<RawValue>>,
    },
    Thinking {
        thinking: &'a str,
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Box<RawValue>,
    },
}

/// Usage before anything is known.
pub(crate) fn usage_so_far(usage: Option<&Usage>) -> String {
    usage.copied().unwrap_or_default().to_anthropic()
}
