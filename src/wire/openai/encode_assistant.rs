//! Writing what the model said in earlier turns.

use serde_json::{Map, Value, json};

use super::details;
use super::encode_answer::annotation;
use super::encode_parts::{content, part};
use super::encode_request::{Writer, put};
use crate::chat::ids::Spelling;
use crate::chat::lost::Misfit;
use crate::chat::{Media, Message, Part, PartKind, Seal, Source, Thinking, ToolCall};

/// A message of the model; none when nothing of it can be carried.
pub(super) fn assistant(writer: &Writer<'_>, message: &Message) -> Option<Value> {
    let mut said = Said::default();
    let mut thoughts = Vec::new();
    for one in &message.parts {
        match &one.kind {
            PartKind::Thinking(thinking) => thoughts.push(thinking),
            _ => said.part(writer, one),
        }
    }
    said.into_message(writer, message, &thoughts)
}

/// Why what the model said has no place here. Thoughts go back only where they are wanted, and only to models that can read
/// their seals.
pub(super) fn assistant_misfit(writer: &Writer<'_>, kind: &PartKind) -> Option<Misfit> {
    let why = match kind {
        PartKind::Image(media) if writer.is_own() && media.source.to_url().is_some() => return None,
        PartKind::Image(_) => "the model's pictures cannot be sent",
        PartKind::Audio(Media { source: Source::FileId(_), .. }) => return None,
        PartKind::Audio(_) => "sound of earlier answers cannot be sent",
        PartKind::Video(_) | PartKind::File(_) => "chat completions have no place for it",
        PartKind::Thinking(_) if !writer.target.traits.reasoning_content => "the provider wants no thoughts back",
        PartKind::Thinking(thought) if thought.seal.as_ref().is_some_and(|seal| seal.family != writer.family()) => {
            "sealed for another family of models"
        }
        _ => return None,
    };
    Some(Misfit::aside(kind.word(), why))
}

#[derive(Default)]
struct Said {
    texts: Vec<Value>,
    annotations: Vec<Value>,
    refusal: Option<String>,
    calls: Vec<Value>,
    images: Vec<Value>,
    audio: Option<Value>,
    /// Something else stood between the last text and the next.
    apart: bool,
}

impl Said {
    fn part(&mut self, writer: &Writer<'_>, one: &Part) {
        let apart = std::mem::replace(&mut self.apart, one.as_text().is_none());
        match &one.kind {
            PartKind::Text { citations, .. } if writer.is_own() => {
                self.texts.extend(part(writer, one));
                self.annotations.extend(citations.iter().filter_map(annotation));
            }
            PartKind::Text { text, .. } => self.append(text, apart),
            PartKind::Refusal(text) => self.refusal.get_or_insert_default().push_str(text),
            PartKind::ToolCall(call) => self.calls.push(written_call(writer, call)),
            PartKind::Image(media) => {
                self.images
                    .extend(media.source.to_url().map(|url| json!({"type": "image_url", "image_url": {"url": url}})));
            }
            PartKind::Audio(Media { source: Source::FileId(id), .. }) => self.audio = Some(json!({"id": id})),
            _ => {}
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

    fn into_message(self, writer: &Writer<'_>, message: &Message, thoughts: &[&Thinking]) -> Option<Value> {
        let says = !(self.texts.is_empty() && self.calls.is_empty() && self.images.is_empty());
        let has_calls = !self.calls.is_empty();
        let mut object = Map::new();
        object.insert("role".into(), "assistant".into());
        put(&mut object, "name", message.name.as_deref());
        let content = if self.texts.is_empty() { Value::Null } else { content(self.texts) };
        object.insert("content".into(), content);
        if !self.annotations.is_empty() {
            object.insert("annotations".into(), self.annotations.into());
        }
        think(thoughts, &mut object);
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

/// What the model thought.
fn think(kept: &[&Thinking], object: &mut Map<String, Value>) {
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
