//! Messages for Ollama.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::encode_request::Writing;
use crate::chat::ids::Spelling;
use crate::chat::repair;
use crate::chat::{Media, Message, Part, PartKind, Refused, Role, Source, ToolCall, ToolResult};

/// The conversation as JSON text: the arguments of calls in it are byte for byte the model's.
pub(super) fn write(writing: &mut Writing<'_>) -> Result<String, Refused> {
    let mut messages = fitting(writing)?;
    repair::name_results(&mut messages);
    if !writing.own() {
        messages = repair::answered(repair::merged(messages));
    }
    let written: Vec<String> = messages.iter().flat_map(|message| self::message(writing, message)).collect();
    if written.is_empty() {
        return Err(Refused::new("messages", "The conversation says nothing"));
    }
    Ok(format!("[{}]", written.join(",")))
}

/// The messages without what Ollama does not take, by their places in the client's request.
fn fitting(writing: &mut Writing<'_>) -> Result<Vec<Message>, Refused> {
    let last = writing.request.messages.iter().rposition(|message| message.role == Role::User);
    let mut fitting = Vec::with_capacity(writing.request.messages.len());
    for (at, message) in writing.request.messages.iter().enumerate() {
        let place = format!("messages[{at}]");
        if message.name.is_some() {
            writing.drop(format!("{place}.name"), "Ollama has no names of speakers");
        }
        if message.parts.iter().any(|part| part.cache.is_some()) {
            writing.drop(format!("{place}.cache"), "Ollama caches by itself");
        }
        let mut parts = Vec::with_capacity(message.parts.len());
        for part in &message.parts {
            if fits(writing, part, &place, last == Some(at))? {
                parts.push(part.clone());
            }
        }
        fitting.push(Message::new(message.role, parts));
    }
    Ok(fitting)
}

fn fits(writing: &mut Writing<'_>, part: &Part, place: &str, is_last: bool) -> Result<bool, Refused> {
    let (kind, media) = match &part.kind {
        PartKind::Thinking(thinking) if thinking.seal.is_some() || thinking.text.is_empty() => {
            writing.drop(format!("{place}.thinking"), "another model thought it");
            return Ok(false);
        }
        PartKind::Native(_) => {
            writing.drop(format!("{place}.native"), "only its own provider knows it");
            return Ok(false);
        }
        PartKind::Image(media) => ("image", media),
        PartKind::Audio(media) => ("audio", media),
        PartKind::Video(media) => ("video", media),
        PartKind::File(media) => ("file", media),
        PartKind::ToolResult(result) => {
            for part in &result.parts {
                fits(writing, part, place, is_last)?;
            }
            return Ok(true);
        }
        _ => return Ok(true),
    };
    let fits = matches!((kind, &media.source), ("image", Source::Base64 { .. }) | (_, Source::Text(_)));
    if !fits && is_last {
        let message = format!("Ollama takes no {kind} in this form; it takes texts and the bytes of images");
        return Err(Refused::new(format!("{place}.{kind}"), message));
    }
    if !fits {
        writing.drop(format!("{place}.{kind}"), "Ollama takes texts and the bytes of images only");
    }
    Ok(fits)
}

/// One message, and before it those of the results in it.
fn message(writing: &Writing<'_>, message: &Message) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut others = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        match &part.kind {
            PartKind::ToolResult(result) => out.push(tool_result(writing, result)),
            _ => others.push(part),
        }
    }
    if others.is_empty() && (!out.is_empty() || message.role != Role::User) {
        return out;
    }
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    // Blocks of an answer may break anywhere, other ones are paragraphs.
    let between = if message.role == Role::Assistant { "" } else { "\n\n" };
    let mut json = format!("{{\"role\":\"{role}\",\"content\":{}", json!(texts(&others, between)));
    let thinking: Vec<&str> = others
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::Thinking(thinking) => Some(thinking.text.as_str()),
            _ => None,
        })
        .collect();
    if !thinking.is_empty() {
        json.push_str(&format!(",\"thinking\":{}", json!(thinking.concat())));
    }
    let images = images(&others);
    if !images.is_empty() {
        json.push_str(&format!(",\"images\":{}", json!(images)));
    }
    let calls: Vec<String> = others
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::ToolCall(call) => Some(tool_call(writing, call)),
            _ => None,
        })
        .collect();
    if !calls.is_empty() {
        json.push_str(&format!(",\"tool_calls\":[{}]", calls.join(",")));
    }
    json.push('}');
    out.push(json);
    out
}

fn texts(parts: &[&Part], between: &str) -> String {
    let text = |part: &&Part| match &part.kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) => Some(text.clone()),
        PartKind::File(Media { source: Source::Text(text), .. }) => Some(text.clone()),
        _ => None,
    };
    parts.iter().filter_map(text).collect::<Vec<String>>().join(between)
}

fn images<'a>(parts: &[&'a Part]) -> Vec<&'a str> {
    let image = |part: &&'a Part| match &part.kind {
        PartKind::Image(Media { source: Source::Base64 { data, .. }, .. }) => Some(data.as_str()),
        _ => None,
    };
    parts.iter().filter_map(image).collect()
}

fn tool_call(writing: &Writing<'_>, call: &ToolCall) -> String {
    let name = writing.names.upstream(&call.name, call.namespace.as_deref(), Spelling::OPENAI);
    let id = Spelling::OPENAI.fit(&call.id);
    let text = call.arguments_or_empty().trim();
    let is_object = text.starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok();
    let arguments =
        if call.custom || !is_object { json!({"input": call.arguments}).to_string() } else { text.to_owned() };
    format!("{{\"id\":{},\"function\":{{\"name\":{},\"arguments\":{arguments}}}}}", json!(id), json!(name))
}

fn tool_result(writing: &Writing<'_>, result: &ToolResult) -> String {
    let parts: Vec<&Part> = result.parts.iter().collect();
    let text = texts(&parts, "\n\n");
    let content = if result.is_error { format!("Error: {text}") } else { text };
    let mut json = json!({"role": "tool", "content": content, "tool_call_id": Spelling::OPENAI.fit(&result.call_id)});
    if let Some(members) = json.as_object_mut() {
        let name = result.name.as_deref().map(|name| writing.names.chosen(name, Spelling::OPENAI));
        members.extend(name.map(|name| ("tool_name".to_owned(), json!(name))));
        let images = images(&parts);
        if !images.is_empty() {
            members.insert("images".to_owned(), Value::from(images));
        }
    }
    json.to_string()
}
