//! A client's messages.

use serde_json::Value;

use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{Media, Message, Part, PartKind, Role, Source, Thinking, ToolCall, ToolResult, media};
use crate::pairing::Calls;

/// All messages; results of tools, and what the user says right behind them, are one message.
pub(super) fn read(messages: Vec<Fields>) -> Result<Vec<Message>, BadRequest> {
    let mut calls = Calls::default();
    let mut out: Vec<Message> = Vec::with_capacity(messages.len());
    let mut in_results = false;
    for mut message in messages {
        calls.next_turn();
        let role = message.required_text("role")?;
        let is_result = role == "tool";
        let (role, parts) = match role.as_str() {
            "system" => (Role::System, said(&mut message)?),
            "developer" => (Role::Developer, said(&mut message)?),
            "user" => (Role::User, said(&mut message)?),
            "assistant" => (Role::Assistant, assistant(&mut message, &mut calls)?),
            "tool" => (Role::User, vec![result(&mut message, &mut calls)?]),
            other => return Err(message.unknown("role", other)),
        };
        match out.last_mut() {
            Some(last) if in_results && role == Role::User => last.parts.extend(parts),
            _ => out.push(Message::new(role, parts)),
        }
        in_results = is_result;
    }
    Ok(out)
}

fn said(message: &mut Fields) -> Result<Vec<Part>, BadRequest> {
    let text = message.text("content")?.filter(|text| !text.is_empty());
    let images = message.texts("images")?;
    Ok(text.map(Part::text).into_iter().chain(images.into_iter().map(image)).collect())
}

/// Base64 without a type, and from some clients a data URL.
pub(super) fn image(data: String) -> Part {
    let source = match Source::from_url(data) {
        Source::Url { url, .. } if url.starts_with("http://") || url.starts_with("https://") => {
            Source::Url { url, mime: None }
        }
        Source::Url { url: data, .. } => Source::Base64 { mime: media::image_type(&data).to_owned(), data },
        known => known,
    };
    Part::new(PartKind::Image(Media { source, detail: None, name: None }))
}

fn assistant(message: &mut Fields, calls: &mut Calls) -> Result<Vec<Part>, BadRequest> {
    let thinking = message.text("thinking")?.filter(|text| !text.is_empty());
    let thinking = thinking.map(|text| Part::new(PartKind::Thinking(Thinking { text, ..Thinking::default() })));
    let mut parts: Vec<Part> = thinking.into_iter().chain(said(message)?).collect();
    for call in message.objects("tool_calls")? {
        parts.push(tool_call(call, calls)?);
    }
    Ok(parts)
}

fn tool_call(mut call: Fields, calls: &mut Calls) -> Result<Part, BadRequest> {
    let given = call.text("id")?;
    let mut function = call.object("function")?.ok_or_else(|| call.missing("function"))?;
    let name = function.required_text("name")?;
    let id = calls.call(given, &name);
    let arguments = match function.take("arguments") {
        None => "{}".to_owned(),
        Some(Value::String(text)) => text,
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(_) => return Err(wrong_type(&function.at("arguments"), "an object")),
    };
    Ok(Part::new(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None })))
}

fn result(message: &mut Fields, calls: &mut Calls) -> Result<Part, BadRequest> {
    let name = message.text("tool_name")?.or(message.text("name")?).filter(|name| !name.is_empty());
    let (call_id, name) = calls.result(message.text("tool_call_id")?, name.as_deref());
    let mut parts = said(message)?;
    if parts.is_empty() {
        parts.push(Part::text(""));
    }
    Ok(Part::new(PartKind::ToolResult(ToolResult { call_id, name, parts, is_error: false, custom: false })))
}
