//! Writing the conversation for Cohere.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::encode_request::Writer;
use crate::chat::ids::Spelling;
use crate::chat::lost::{self, Misfit};
use crate::chat::{
    Format, Media, Message, Part, PartKind, ReasoningMode, Refused, Role, Source, ToolCall, ToolResult, repair,
};
use crate::openai::gathered;

/// Writes the conversation.
///
/// # Errors
/// When the user asks about something that Cohere cannot see.
pub(super) fn messages(writer: &mut Writer<'_>) -> Result<Value, Refused> {
    let (mut dropped, takes_thoughts) = (std::mem::take(&mut writer.dropped), thinks(writer));
    let misfit = |role: Role, part: &Part| misfit(role, part, takes_thoughts);
    let fitting = lost::fitting(writer.request, Format::Cohere, &mut dropped, misfit);
    writer.dropped = dropped;
    let messages = repair::answered(gathered(repair::without_empty(fitting?)));
    let mut written = Vec::with_capacity(messages.len());
    for message in &messages {
        match message.role {
            // Instructions stand at the head only; a later one is told in the user's turn.
            Role::System | Role::Developer if written.iter().any(is_turn) => written.extend(reminder(message)),
            Role::System | Role::Developer => written.extend(instruction(message)),
            Role::User => user(message, &mut written),
            Role::Assistant => written.extend(assistant(writer, message)),
        }
    }
    Ok(Value::Array(written))
}

/// Why Cohere has no place for a part.
fn misfit(role: Role, part: &Part, takes_thoughts: bool) -> Option<Misfit> {
    let (word, no_place) = (part.kind.word(), "Cohere has no place for it");
    match &part.kind {
        PartKind::Text { .. } | PartKind::Refusal(_) | PartKind::ToolCall(_) | PartKind::ToolResult(_) => None,
        PartKind::Thinking(thought) if thought.seal.is_none() && takes_thoughts => None,
        PartKind::Thinking(_) => Some(Misfit::aside(word, "Cohere does not want it back")),
        PartKind::Native(_) => Some(Misfit::aside(word, no_place)),
        _ if role != Role::User => Some(Misfit::aside(word, no_place)),
        _ => self::part(part).is_none().then(|| Misfit::content(word, no_place)),
    }
}

fn is_turn(message: &Value) -> bool {
    message.get("role").and_then(Value::as_str) != Some("system")
}

fn instruction(message: &Message) -> Option<Value> {
    words(message).map(|words| json!({"role": "system", "content": words}))
}

fn reminder(message: &Message) -> Option<Value> {
    let told = |words| json!({"role": "user", "content": format!("<system-reminder>\n{words}\n</system-reminder>")});
    words(message).map(told)
}

fn words(message: &Message) -> Option<String> {
    let texts: Vec<&str> = message.parts.iter().filter_map(Part::as_text).collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

/// A message for each result, then what they cannot hold and what else the user says.
fn user(message: &Message, out: &mut Vec<Value>) {
    let (mut moved, mut said) = (Vec::new(), Vec::new());
    for one in &message.parts {
        match &one.kind {
            PartKind::ToolResult(found) => out.push(result(found, &mut moved)),
            _ => said.extend(part(one)),
        }
    }
    moved.extend(said);
    if !moved.is_empty() {
        out.push(json!({"role": "user", "content": content(moved)}));
    }
}

fn result(result: &ToolResult, moved: &mut Vec<Value>) -> Value {
    let texts: Vec<&str> = result.parts.iter().filter_map(Part::as_text).collect();
    let mark = if result.is_error { "Error: " } else { "" };
    moved.extend(result.parts.iter().filter(|one| one.as_text().is_none()).filter_map(part));
    let id = Spelling::OPENAI.fit(&result.call_id);
    json!({"role": "tool", "tool_call_id": id, "content": format!("{mark}{}", texts.join("\n"))})
}

/// A text where one text is all there is.
fn content(parts: Vec<Value>) -> Value {
    match parts.as_slice() {
        [one] if one.get("text").is_some() => one.get("text").cloned().unwrap_or_default(),
        _ => Value::Array(parts),
    }
}

fn part(part: &Part) -> Option<Value> {
    match &part.kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) => Some(json!({"type": "text", "text": text})),
        PartKind::Image(media) => image(media),
        PartKind::File(media) => document(media),
        _ => None,
    }
}

fn image(media: &Media) -> Option<Value> {
    let mut image = Map::new();
    image.insert("url".into(), media.source.to_url()?.into());
    crate::openai::put(&mut image, "detail", media.detail.as_deref());
    Some(json!({"type": "image_url", "image_url": image}))
}

/// Only text can be read.
fn document(media: &Media) -> Option<Value> {
    let text = match &media.source {
        Source::Text(text) => text.clone(),
        Source::Base64 { mime, data } if mime.starts_with("text/") => {
            String::from_utf8(BASE64_STANDARD.decode(data).ok()?).ok()?
        }
        Source::Base64 { .. } | Source::Url { .. } | Source::FileId(_) => return None,
    };
    let titled = media.name.as_ref().map_or_else(|| text.clone(), |name| format!("{name}\n\n{text}"));
    Some(json!({"type": "text", "text": titled}))
}

/// What the model said before its calls is its plan.
fn assistant(writer: &Writer<'_>, message: &Message) -> Option<Value> {
    let (mut text, mut thoughts, mut calls) = (String::new(), Vec::new(), Vec::new());
    for one in &message.parts {
        match &one.kind {
            PartKind::Text { text: more, .. } | PartKind::Refusal(more) => text.push_str(more),
            PartKind::Thinking(thought) => thoughts.push(json!({"type": "thinking", "thinking": thought.text})),
            PartKind::ToolCall(call) => calls.push(tool_call(writer, call)),
            _ => {}
        }
    }
    let mut said = Map::new();
    said.insert("role".into(), "assistant".into());
    if !calls.is_empty() {
        if !text.is_empty() {
            said.insert("tool_plan".into(), text.into());
        }
        said.insert("tool_calls".into(), calls.into());
    } else if !text.is_empty() {
        thoughts.push(json!({"type": "text", "text": text}));
    }
    if !thoughts.is_empty() {
        said.insert("content".into(), content(thoughts));
    }
    (said.len() > 1).then_some(Value::Object(said))
}

/// Only a model that thinks takes thoughts.
fn thinks(writer: &Writer<'_>) -> bool {
    writer.request.reasoning.as_ref().is_some_and(|reasoning| reasoning.mode == ReasoningMode::On)
}

fn tool_call(writer: &Writer<'_>, call: &ToolCall) -> Value {
    let name = writer.names.upstream(&call.name, call.namespace.as_deref(), Spelling::OPENAI);
    let disguised = call.custom.then(|| json!({"input": call.arguments}).to_string());
    let arguments = disguised.unwrap_or_else(|| call.arguments_or_empty().to_owned());
    let id = Spelling::OPENAI.fit(&call.id);
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}
