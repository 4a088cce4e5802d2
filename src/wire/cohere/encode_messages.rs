//! Writing the conversation for Cohere.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::encode_request::Writer;
use crate::chat::ids::Spelling;
use crate::chat::{Media, Message, Part, PartKind, ReasoningMode, Refused, Role, Source, ToolCall, ToolResult, repair};
use crate::openai::gathered;

/// Writes the conversation.
///
/// # Errors
/// When the last message of the user holds what Cohere cannot see.
pub(super) fn messages(writer: &mut Writer<'_>) -> Result<Value, Refused> {
    let messages = repair::answered(gathered(repair::without_empty(writer.request.messages.clone())));
    let says = |part: &Part| !matches!(part.kind, PartKind::ToolResult(_));
    let last = messages.iter().rposition(|message| message.role == Role::User && message.parts.iter().any(says));
    let mut written = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        if message.name.is_some() {
            writer.drop(format!("messages[{index}].name"), "Cohere knows no names of speakers");
        }
        let place = Place { message: index, asked_now: last == Some(index) };
        match message.role {
            // Instructions stand at the head only; a later one is told in the user's turn.
            Role::System | Role::Developer if written.iter().any(is_turn) => written.extend(reminder(message)),
            Role::System | Role::Developer => written.extend(instruction(message)),
            Role::User => user(writer, message, place, &mut written)?,
            Role::Assistant => written.extend(assistant(writer, message, index)),
        }
    }
    Ok(Value::Array(written))
}

#[derive(Clone, Copy)]
struct Place {
    message: usize,
    asked_now: bool,
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
fn user(writer: &mut Writer<'_>, message: &Message, place: Place, out: &mut Vec<Value>) -> Result<(), Refused> {
    let (mut moved, mut said) = (Vec::new(), Vec::new());
    for one in &message.parts {
        match &one.kind {
            PartKind::ToolResult(found) => out.push(result(writer, found, place, &mut moved)?),
            _ => said.extend(part(writer, one, place)?),
        }
    }
    moved.extend(said);
    if !moved.is_empty() {
        out.push(json!({"role": "user", "content": content(moved)}));
    }
    Ok(())
}

fn result(
    writer: &mut Writer<'_>,
    result: &ToolResult,
    place: Place,
    moved: &mut Vec<Value>,
) -> Result<Value, Refused> {
    let texts: Vec<&str> = result.parts.iter().filter_map(Part::as_text).collect();
    let mark = if result.is_error { "Error: " } else { "" };
    for one in result.parts.iter().filter(|one| one.as_text().is_none()) {
        moved.extend(part(writer, one, Place { asked_now: false, ..place })?);
    }
    let id = Spelling::OPENAI.fit(&result.call_id);
    Ok(json!({"role": "tool", "tool_call_id": id, "content": format!("{mark}{}", texts.join("\n"))}))
}

/// A text where one text is all there is.
fn content(parts: Vec<Value>) -> Value {
    match parts.as_slice() {
        [one] if one.get("text").is_some() => one.get("text").cloned().unwrap_or_default(),
        _ => Value::Array(parts),
    }
}

fn part(writer: &mut Writer<'_>, part: &Part, place: Place) -> Result<Option<Value>, Refused> {
    let (written, kind) = match &part.kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) => (Some(json!({"type": "text", "text": text})), "text"),
        PartKind::Image(media) => (image(media), "image"),
        PartKind::File(media) => (document(media), "file"),
        PartKind::Audio(_) => (None, "audio"),
        PartKind::Video(_) => (None, "video"),
        PartKind::Native(_) => (None, "native"),
        PartKind::ToolCall(_) | PartKind::ToolResult(_) | PartKind::Thinking(_) => return Ok(None),
    };
    if written.is_none() {
        let field = format!("messages[{}].{kind}", place.message);
        if place.asked_now && kind != "native" {
            return Err(Refused::new(field, format!("Cohere cannot read this kind of {kind}")));
        }
        writer.drop(field, "Cohere has no place for it");
    }
    Ok(written)
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
fn assistant(writer: &mut Writer<'_>, message: &Message, index: usize) -> Option<Value> {
    let (mut text, mut thoughts, mut calls) = (String::new(), Vec::new(), Vec::new());
    for one in &message.parts {
        match &one.kind {
            PartKind::Text { text: more, .. } | PartKind::Refusal(more) => text.push_str(more),
            PartKind::Thinking(thought) if thought.seal.is_none() && thinks(writer) => {
                thoughts.push(json!({"type": "thinking", "thinking": thought.text}));
            }
            PartKind::Thinking(_) => writer.drop(format!("messages[{index}].thinking"), "Cohere does not want it back"),
            PartKind::ToolCall(call) => calls.push(tool_call(writer, call)),
            _ => writer.drop(format!("messages[{index}].native"), "Cohere has no place for it"),
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
