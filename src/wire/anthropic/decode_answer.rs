//! Reading a provider's whole answer.

use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{Members, is_json};
use super::{citation, stop};
use crate::chat::ids::call_id;
use crate::chat::{Answer, BadAnswer, Begin, Choice, Family, Part, PartKind, Seal, Stop, Thinking, ToolCall};
use crate::minimax;
use crate::openai_error::UpstreamErrorBody;
use crate::usage::Usage;

/// Reads an answer.
///
/// # Errors
/// When it is an error, no JSON, or no answer at all.
pub fn decode_answer(body: &[u8]) -> Result<Answer, BadAnswer> {
    if !is_json(body) {
        return Err(BadAnswer::NotJson);
    }
    // JSON is UTF-8.
    let members = Members::of_text(std::str::from_utf8(body).unwrap_or_default());
    if members.get("error").is_some() || members.text("type").as_deref() == Some("error") {
        return Err(BadAnswer::Error(Box::new(UpstreamErrorBody::parse(body))));
    }
    if let Some(error) = minimax::error_in(members.get("base_resp")) {
        return Err(BadAnswer::Error(Box::new(error)));
    }
    let (blocks, reason) = (members.list("content"), members.text("stop_reason"));
    if blocks.is_none() && reason.is_none() {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        return Err(match json.as_ref().and_then(UpstreamErrorBody::from_json) {
            Some(error) => BadAnswer::Error(Box::new(error)),
            None => BadAnswer::Broken("it has neither content nor a stop reason".to_owned()),
        });
    }
    let mut parts: Vec<Part> = blocks.unwrap_or_default().into_iter().enumerate().filter_map(part).collect();
    let explained = stop::explanation(members.get("stop_details"));
    parts.extend(explained.map(|text| Part::new(PartKind::Refusal(text))));
    let has_calls = parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
    let stop = reason.map_or(Stop::Done, |reason| stop::read(&reason, members.text("stop_sequence")));
    Ok(Answer {
        begin: begin(&members),
        choices: vec![Choice { index: 0, parts, stop: stop.given(has_calls), logprobs: None }],
        usage: members.get("usage").and_then(Usage::from_anthropic),
        took: None,
    })
}

/// What a message says of itself.
pub(crate) fn begin(message: &Members<'_>) -> Begin {
    let tier = message.members("usage").and_then(|usage| usage.text("service_tier"));
    // The class that everybody gets has another name elsewhere.
    let tier = tier.map(|tier| if tier == "standard" { "default".to_owned() } else { tier });
    Begin { id: message.text("id"), model: message.text("model"), service_tier: tier, ..Begin::default() }
}

fn part((index, raw): (usize, &RawValue)) -> Option<Part> {
    let block = Members::of(raw);
    let kind = match block.text("type").as_deref() {
        Some("text") => {
            let citations = block.list("citations").unwrap_or_default().into_iter().map(citation::read).collect();
            PartKind::Text { text: block.text("text").unwrap_or_default(), citations }
        }
        Some("thinking") => {
            let signature = block.text("signature").filter(|signature| !signature.is_empty());
            let seal = signature.map(|data| Seal { family: Family::Anthropic, data });
            PartKind::Thinking(Thinking {
                text: block.text("thinking").unwrap_or_default(),
                seal,
                ..Thinking::default()
            })
        }
        Some("redacted_thinking") => {
            let seal = block.text("data").map(|data| Seal { family: Family::Anthropic, data });
            PartKind::Thinking(Thinking { redacted: true, seal, ..Thinking::default() })
        }
        Some("tool_use") => {
            let (id, name) = named_call(&block, index)?;
            let arguments = block.get("input").map_or("{}", RawValue::get).to_owned();
            PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None })
        }
        _ => PartKind::Native(serde_json::from_str(raw.get()).ok()?),
    };
    Some(Part::new(kind))
}

/// A call's id and name; one without a name calls nothing.
pub(crate) fn named_call(block: &Members<'_>, index: usize) -> Option<(String, String)> {
    let name = block.text("name").filter(|name| !name.is_empty())?;
    let id = block.text("id").filter(|id| !id.is_empty()).unwrap_or_else(|| call_id(0, index, &name));
    Some((id, name))
}
