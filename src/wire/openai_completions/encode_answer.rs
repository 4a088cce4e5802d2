//! Writing a whole answer for a client.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::logprobs::lists;
use crate::chat::{Answer, Choice, PartKind, Reply, Stop};
use crate::openai::{finish_reason, usage};

/// Writes an answer for a client of this format.
pub fn encode_answer(answer: &Answer, reply: &Reply) -> Bytes {
    let begin = &answer.begin;
    let mut body = Map::new();
    body.insert("id".into(), begin.id.clone().unwrap_or_else(|| answer_id(reply)).into());
    body.insert("object".into(), "text_completion".into());
    body.insert("created".into(), begin.created.unwrap_or(reply.created).into());
    body.insert("model".into(), begin.model.as_ref().unwrap_or(&reply.model).as_str().into());
    if let Some(fingerprint) = &begin.fingerprint {
        body.insert("system_fingerprint".into(), fingerprint.as_str().into());
    }
    let mut choices: Vec<Value> = answer.choices.iter().map(choice).collect();
    if choices.is_empty() {
        choices.push(choice(&Choice { index: 0, parts: Vec::new(), stop: Stop::Done, logprobs: None }));
    }
    body.insert("choices".into(), choices.into());
    if let Some(used) = &answer.usage {
        body.insert("usage".into(), usage(used));
    }
    serde_json::to_vec(&body).unwrap_or_default().into()
}

/// The id of an answer whose provider gives none.
pub(super) fn answer_id(reply: &Reply) -> String {
    format!("cmpl-{}", reply.id)
}

fn choice(choice: &Choice) -> Value {
    let text = |kind: &PartKind| match kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) => Some(text.clone()),
        _ => None,
    };
    let text: String = choice.parts.iter().filter_map(|part| text(&part.kind)).collect();
    let logprobs = choice.logprobs.as_ref().map(|logprobs| lists(logprobs, &mut 0));
    json!({"text": text, "index": choice.index, "logprobs": logprobs, "finish_reason": reason(&choice.stop)})
}

/// There are no calls here, and a refusal is text.
pub(super) fn reason(stop: &Stop) -> &'static str {
    finish_reason(&stop.clone().given(false), false, true)
}
