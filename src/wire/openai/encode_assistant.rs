//! Writing what the model said in earlier turns.

use serde_json::{Map, Value, json};

use super::details;
use super::encode_parts::{Place, content, part};
use super::encode_request::{Writer, put};
use crate::chat::ids::Spelling;
use crate::chat::{Message, Part, PartKind, Seal, Source, Thinking, ToolCall};

/// A message of the model; none when nothing of it can be carried.
pub(super) fn assistant(writer: &mut Writer<'_>, message: &Message, index: usize) -> Option<Value> {
    let mut said = Said::default();
    let mut thoughts = Vec::new();
    for one in &message.parts {
        match &one.kind {
            PartKind::Thinking(thinking) => thoughts.push(thinking),
            _ => said.part(writer, one, index),
        }
    }
    said.into_message(writer, message, &thoughts, index)
}

#[derive(Default)]
struct Said {
    texts: Vec<Value>,
    refusal: Option<String>,
    calls: Vec<Value>,
    images: Vec<Value>,
    audio: Option<Value>,
    /// Something else stood between the last text and the next.
    apart: bool,
}

impl Said {
    fn part(&mut self, writer: &mut Writer<'_>, one: &Part, index: usize) {
        let place = Place { message: index, asked_now: false };
        let apart = std::mem::replace(&mut self.apart, one.as_text().is_none());
        match &one.kind {
            PartKind::Text { text, citations } => {
                if !citations.is_empty() {
                    writer.drop(format!("messages[{index}].citations"), "sources of earlier answers are not sent");
                }
                if writer.is_own() {
                    self.texts.extend(part(writer, one, place).ok().flatten());
                } else {
                    self.append(text, apart);
                }
            }
            PartKind::Refusal(text) => self.refusal.get_or_insert_default().push_str(text),
            PartKind::ToolCall(call) => self.calls.push(written_call(writer, call)),
            PartKind::Image(media) if writer.is_own() => {
                self.images
                    .extend(media.source.to_url().map(|url| json!({"type": "image_url", "image_url": {"url": url}})));
            }
            PartKind::Audio(media) => match &media.source {
                Source::FileId(id) => self.audio = Some(json!({"id": id})),
                _ => writer.drop(format!("messages[{index}].audio"), "sound of earlier answers cannot be sent"),
            },
            PartKind::Thinking(_) | PartKind::ToolResult(_) => {}
            PartKind::Image(_) => {
                writer.drop(format!("messages[{index}].image"), "the model's pictures cannot be sent")
            }
            PartKind::Video(_) | PartKind::File(_) | PartKind::Native(_) => {
                writer.drop(format!("messages[{index}].native"), "chat completions have no place for it");
            }
        }
    }

    /// One text for all: neighbours were one text before somebody cut it for its citations.
    fn append(&mut self, more: &str, apart: bool) {
        if let Some(Value::String(text)) = self.texts.first_mut().and_then(|text| text.get_mut("text")) {
            if apart && !text.is_empty() && !more.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(more);
        } else {
            self.texts.push(json!({"type": "text", "text": more}));
        }
    }

    fn into_message(
        self,
        writer: &mut Writer<'_>,
        message: &Message,
        thoughts: &[&Thinking],
        index: usize,
    ) -> Option<Value> {
        let says = !(self.texts.is_empty() && self.calls.is_empty() && self.images.is_empty());
        let has_calls = !self.calls.is_empty();
        let mut object = Map::new();
        object.insert("role".into(), "assistant".into());
        put(&mut object, "name", message.name.as_deref());
        let content = if self.texts.is_empty() { Value::Null } else { content(self.texts) };
        object.insert("content".into(), content);
        think(writer, thoughts, index, &mut object);
        if !(says || self.refusal.is_some() || self.audio.is_some()) {
            return None;
        }
        put(&mut object, "refusal", self.refusal);
        put(&mut object, "audio", self.audio);
        if !self.images.is_empty() {
            object.insert("images".into(), self.images.into());
        }
        if has_calls {
            object.insert("tool_calls".into(), self.calls.into());
            if writer.target.traits.reasoning_content {
                object.entry("reasoning_content").or_insert_with(|| "".into());
            }
        }
        Some(Value::Object(object))
    }
}

/// Thoughts go back only where they are wanted, and only to models that can read their seals.
fn think(writer: &mut Writer<'_>, thoughts: &[&Thinking], index: usize, object: &mut Map<String, Value>) {
    let family = writer.family();
    let readable = |thought: &&&Thinking| thought.seal.as_ref().is_none_or(|seal| seal.family == family);
    let wanted = writer.target.traits.reasoning_content;
    let kept: Vec<&&Thinking> = thoughts.iter().filter(readable).filter(|_| wanted).collect();
    if kept.len() < thoughts.len() {
        let why = if wanted { "sealed for another family of models" } else { "the provider wants no thoughts back" };
        writer.drop(format!("messages[{index}].thinking"), why);
    }
    let texts: Vec<&str> = kept.iter().map(|thought| thought.text.as_str()).filter(|text| !text.is_empty()).collect();
    if !texts.is_empty() {
        object.insert("reasoning_content".into(), texts.join("\n\n").into());
    }
    let entries: Vec<Value> = kept.iter().flat_map(|thought| details::write(thought)).map(Value::Object).collect();
    if !entries.is_empty() {
        object.insert("reasoning_details".into(), numbered(entries));
    }
}

/// Entries with their place: readers of streams join them by it.
pub(super) fn numbered(entries: Vec<Value>) -> Value {
    let number = |(index, mut entry): (usize, Value)| {
        if let Some(object) = entry.as_object_mut() {
            object.insert("index".into(), index.into());
        }
        entry
    };
    Value::Array(entries.into_iter().enumerate().map(number).collect())
}

fn written_call(writer: &Writer<'_>, call: &ToolCall) -> Value {
    let name = writer.names.upstream(&call.name, call.namespace.as_deref(), Spelling::OPENAI);
    let mut object = Map::new();
    object.insert("id".into(), writer.call_id(&call.id).into());
    if call.custom && writer.is_own() {
        object.insert("type".into(), "custom".into());
        object.insert("custom".into(), json!({"name": name, "input": call.arguments}));
    } else {
        let disguised = call.custom.then(|| json!({"input": call.arguments}).to_string());
        let arguments = disguised.unwrap_or_else(|| call.arguments_or_empty().to_owned());
        object.insert("type".into(), "function".into());
        object.insert("function".into(), json!({"name": name, "arguments": arguments}));
    }
    if let Some(seal) = call.seal.as_ref().filter(|seal| seal.family == writer.family()) {
        object.insert("extra_content".into(), extra_content(seal));
    }
    Value::Object(object)
}

/// The proof of a call.
pub(super) fn extra_content(seal: &Seal) -> Value {
    json!({seal.family.as_str(): {"thought_signature": seal.data}})
}
