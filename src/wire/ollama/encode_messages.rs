//! Messages for Ollama.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::encode_request::Writing;
use crate::chat::ids::Spelling;
use crate::chat::lost::{self, Misfit};
use crate::chat::repair;
use crate::chat::{Format, Media, Message, Part, PartKind, Refused, Role, Source, ToolCall, ToolResult};

/// The conversation as JSON text: the arguments of calls in it are byte for byte the model's.
pub(super) fn write(writing: &mut Writing<'_>) -> Result<String, Refused> {
    let misfit = |_: Role, part: &Part| misfit(part);
    let mut messages = lost::fitting(writing.request, Format::Ollama, &mut writing.dropped, misfit)?;
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

/// Why Ollama has no place for a part.
fn misfit(part: &Part) -> Option<Misfit> {
    let (word, media) = match &part.kind {
        PartKind::Thinking(thinking) if thinking.seal.is_some() || thinking.text.is_empty() => {
            return Some(Misfit::aside("thinking", "another model thought it"));
        }
        PartKind::Native(_) => return Some(Misfit::aside("native", "only its own provider knows it")),
        PartKind::Image(Media { source: Source::Base64 { .. }, .. }) => return None,
        PartKind::Image(media) | PartKind::Audio(media) | PartKind::Video(media) | PartKind::File(media) => {
            (part.kind.word(), media)
        }
        _ => return None,
    };
    let fits = matches!(&media.source, Source::Text(_));
    (!fits).then(|| Misfit::content(word, "Ollama takes texts and the bytes of images only"))
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
