//! Reading a whole answer.

use serde_json::Value;
use serde_json::value::RawValue;

use super::usage;
use crate::anthropic::json::{Members, is_json};
use crate::chat::ids::call_id;
use crate::chat::{Answer, BadAnswer, Begin, Choice, Citation, Family, Part, PartKind, Seal, Stop, Thinking, ToolCall};
use crate::openai_error::UpstreamErrorBody;

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
    let message = members.members("output").and_then(|output| output.members("message"));
    let reason = members.text("stopReason");
    if message.is_none() && reason.is_none() {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        return Err(match json.as_ref().and_then(error_of) {
            Some(error) => BadAnswer::Error(Box::new(error)),
            None => BadAnswer::Broken("it has neither a message nor a stop reason".to_owned()),
        });
    }
    let blocks = message.and_then(|message| message.list("content")).unwrap_or_default();
    let parts: Vec<Part> = blocks.into_iter().enumerate().flat_map(parts_of).collect();
    let has_calls = parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
    let stop = reason.map_or(Stop::Done, |reason| stop_of(&reason)).given(has_calls);
    Ok(Answer {
        begin: Begin::default(),
        choices: vec![Choice { index: 0, parts, stop, logprobs: None }],
        usage: members.get("usage").and_then(usage::read),
        took: None,
    })
}

/// Errors are a message beside nothing, with either case of its first letter, and sometimes the type.
pub(crate) fn error_of(json: &Value) -> Option<UpstreamErrorBody> {
    let kind = json.get("__type").and_then(Value::as_str).map(|kind| kind.rsplit('#').next().unwrap_or(kind));
    let lower = UpstreamErrorBody::from_json(json);
    let upper = || {
        let message = json.get("Message")?.as_str()?;
        UpstreamErrorBody::from_json(&serde_json::json!({ "message": message }))
    };
    let mut error = lower.or_else(upper)?;
    error.kind = kind.map(str::to_owned).or(error.kind);
    Some(error)
}

/// Why an answer ended.
pub(crate) fn stop_of(reason: &str) -> Stop {
    match reason {
        "end_turn" => Stop::Done,
        "tool_use" => Stop::ToolCalls,
        "max_tokens" => Stop::Length,
        "stop_sequence" => Stop::Sequence(None),
        "guardrail_intervened" | "content_filtered" => Stop::Filtered,
        "malformed_tool_use" | "malformed_model_output" => Stop::MalformedCall,
        "model_context_window_exceeded" => Stop::ContextFull,
        other => Stop::Other(other.to_owned()),
    }
}

fn parts_of((index, raw): (usize, &RawValue)) -> Option<Part> {
    let block = Members::of(raw);
    let (name, value) = block.only()?;
    let kind = match name {
        "text" => PartKind::Text { text: block.text("text").unwrap_or_default(), citations: Vec::new() },
        "toolUse" => call(&Members::of(value), index)?,
        "reasoningContent" => reasoning(&Members::of(value)),
        "citationsContent" => cited(&Members::of(value)),
        _ => PartKind::Native(serde_json::from_str(raw.get()).ok()?),
    };
    Some(Part::new(kind))
}

fn call(call: &Members<'_>, index: usize) -> Option<PartKind> {
    let name = call.text("name").filter(|name| !name.is_empty())?;
    let id = call.text("toolUseId").filter(|id| !id.is_empty()).unwrap_or_else(|| call_id(0, index, &name));
    let arguments = call.get("input").map_or("{}", RawValue::get).to_owned();
    Some(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None }))
}

fn reasoning(content: &Members<'_>) -> PartKind {
    let seal =
        |data: Option<String>| data.filter(|d| !d.is_empty()).map(|data| Seal { family: Family::Anthropic, data });
    if let Some(data) = content.text("redactedContent") {
        return PartKind::Thinking(Thinking { redacted: true, seal: seal(Some(data)), ..Thinking::default() });
    }
    let text = content.members("reasoningText").unwrap_or_default();
    PartKind::Thinking(Thinking {
        text: text.text("text").unwrap_or_default(),
        seal: seal(text.text("signature")),
        ..Thinking::default()
    })
}

fn cited(content: &Members<'_>) -> PartKind {
    let texts = content.list("content").unwrap_or_default();
    let text: String = texts.into_iter().filter_map(|raw| Members::of(raw).text("text")).collect();
    let citations = content.list("citations").unwrap_or_default().into_iter().map(citation).collect();
    PartKind::Text { text, citations }
}

/// Where a text comes from.
pub(crate) fn citation(raw: &RawValue) -> Citation {
    let members = Members::of(raw);
    let place = members.members("location").and_then(|location| location.members("web"));
    let quotes = members.list("sourceContent").unwrap_or_default();
    let quote: String = quotes.into_iter().filter_map(|raw| Members::of(raw).text("text")).collect();
    Citation {
        url: place.and_then(|web| web.text("url")),
        title: members.text("title"),
        quote: (!quote.is_empty()).then_some(quote),
        span: None,
        native: None,
    }
}
