//! Writing the items of `input`.

use serde_json::{Map, Value, json};

use super::{citation, encode_fit::audio_format, encode_tools::UpstreamNames, marks};
use crate::chat::ids::Spelling;
use crate::chat::{CacheHint, Citation, Media, Message, Part, PartKind, Role, Source, Thinking, ToolCall, ToolResult};

/// The items of a conversation that fits.
pub(super) fn items(messages: &[Message], names: &UpstreamNames<'_>) -> Vec<Value> {
    let mut items = Vec::with_capacity(messages.len());
    for message in messages {
        let mut content = Vec::new();
        for part in &message.parts {
            if let Some(part) = content_of(part, message.role) {
                content.push(part);
                continue;
            }
            flush(message.role, &mut content, &mut items);
            items.extend(item_of(part, names));
        }
        flush(message.role, &mut content, &mut items);
    }
    items
}

fn flush(role: Role, content: &mut Vec<Value>, items: &mut Vec<Value>) {
    if !content.is_empty() {
        let content = std::mem::take(content);
        items.push(json!({"type": "message", "role": role_name(role), "content": content}));
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// A part that stands inside a message.
fn content_of(part: &Part, role: Role) -> Option<Value> {
    let mut content = match &part.kind {
        PartKind::Text { text, citations } if role == Role::Assistant => {
            let length = text.chars().count() as u64;
            let annotations: Vec<Value> =
                citations.iter().filter_map(|c: &Citation| citation::write(c, length)).collect();
            json!({"type": "output_text", "text": text, "annotations": annotations})
        }
        PartKind::Text { text, .. } => json!({"type": "input_text", "text": text}),
        PartKind::Refusal(refusal) => json!({"type": "refusal", "refusal": refusal}),
        PartKind::Image(media) => image(media),
        PartKind::File(media) => file(media),
        PartKind::Audio(media) => audio(media)?,
        _ => return None,
    };
    if let (Some(hint), Some(members)) = (&part.cache, content.as_object_mut()) {
        members.insert("prompt_cache_breakpoint".to_owned(), breakpoint(hint));
    }
    Some(content)
}

fn breakpoint(hint: &CacheHint) -> Value {
    match hint.ttl.as_deref() {
        Some("1h") => json!({"mode": "explicit", "ttl": "12h"}),
        _ => json!({"mode": "explicit"}),
    }
}

fn image(media: &Media) -> Value {
    let detail = media.detail.as_deref().unwrap_or("auto");
    match &media.source {
        Source::FileId(id) => json!({"type": "input_image", "file_id": id, "detail": detail}),
        source => json!({"type": "input_image", "image_url": source.to_url(), "detail": detail}),
    }
}

fn file(media: &Media) -> Value {
    let mut file = Map::from_iter([("type".to_owned(), Value::from("input_file"))]);
    match &media.source {
        Source::FileId(id) => drop(file.insert("file_id".to_owned(), id.clone().into())),
        Source::Url { url, .. } => drop(file.insert("file_url".to_owned(), url.clone().into())),
        // A document of plain text is read best as text.
        Source::Text(text) => return json!({"type": "input_text", "text": text}),
        source @ Source::Base64 { mime, .. } => {
            let name = media.name.clone().unwrap_or_else(|| format!("file.{}", extension(mime)));
            file.insert("filename".to_owned(), name.into());
            file.insert("file_data".to_owned(), source.to_url().into());
        }
    }
    if let Some(name) = media.name.as_ref().filter(|_| matches!(media.source, Source::FileId(_))) {
        file.insert("filename".to_owned(), name.clone().into());
    }
    if let Some(detail) = &media.detail {
        file.insert("detail".to_owned(), detail.clone().into());
    }
    Value::Object(file)
}

fn extension(mime: &str) -> &str {
    match mime {
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        "text/markdown" => "md",
        other => other.rsplit(['/', '.', '-', '+']).next().unwrap_or("bin"),
    }
}

fn audio(media: &Media) -> Option<Value> {
    let Source::Base64 { data, .. } = &media.source else { return None };
    Some(json!({"type": "input_audio", "input_audio": {"data": data, "format": audio_format(media)?}}))
}

/// A part that is an item of its own.
fn item_of(part: &Part, names: &UpstreamNames<'_>) -> Option<Value> {
    match &part.kind {
        PartKind::ToolCall(call) => Some(call_item(call, names)),
        PartKind::ToolResult(result) => Some(result_item(result)),
        PartKind::Thinking(thinking) => Some(reasoning(thinking)),
        PartKind::Native(item) => Some(item.clone()),
        _ => None,
    }
}

fn call_item(call: &ToolCall, names: &UpstreamNames<'_>) -> Value {
    let id = Spelling::OPENAI.fit(&call.id);
    let name = names.of(&call.name, call.namespace.as_deref());
    let mut item = if call.custom {
        json!({"type": "custom_tool_call", "call_id": id, "name": name, "input": call.arguments})
    } else {
        json!({"type": "function_call", "call_id": id, "name": name, "arguments": call.arguments_or_empty()})
    };
    if let (Some(namespace), Some(members)) = (&call.namespace, item.as_object_mut()) {
        members.insert("namespace".to_owned(), namespace.clone().into());
    }
    item
}

fn result_item(result: &ToolResult) -> Value {
    let kind = if result.custom { "custom_tool_call_output" } else { "function_call_output" };
    json!({"type": kind, "call_id": Spelling::OPENAI.fit(&result.call_id), "output": output(result)})
}

fn output(result: &ToolResult) -> Value {
    let prefix = if result.is_error { "Error: " } else { "" };
    if result.parts.is_empty() {
        return prefix.trim_end().into();
    }
    if let [only] = result.parts.as_slice()
        && let Some(text) = only.as_text().filter(|_| only.cache.is_none())
    {
        return format!("{prefix}{text}").into();
    }
    let mut list: Vec<Value> = result.parts.iter().filter_map(|part| content_of(part, Role::User)).collect();
    if result.is_error {
        list.insert(0, json!({"type": "input_text", "text": "Error:"}));
    }
    Value::Array(list)
}

fn reasoning(thinking: &Thinking) -> Value {
    let mut item = Map::from_iter([("type".to_owned(), Value::from("reasoning"))]);
    if let Some(id) = &thinking.id {
        item.insert("id".to_owned(), id.clone().into());
    }
    let told = !thinking.text.is_empty();
    let part = |kind: &str| json!([{"type": kind, "text": thinking.text}]);
    item.insert("summary".to_owned(), if told && thinking.summary { part("summary_text") } else { json!([]) });
    if told && !thinking.summary {
        item.insert("content".to_owned(), part("reasoning_text"));
    }
    if let Some(seal) = &thinking.seal {
        item.insert("encrypted_content".to_owned(), marks::thought(seal, thinking.redacted).into());
    }
    Value::Object(item)
}
