//! One item of a client's stream while it grows: what is said of it, and the item it becomes.

use bytes::BytesMut;
use serde_json::{Map, Value, json};

use super::writer::{Frames, json_list, json_member, json_text, text_member};
use super::{citation, marks};
use crate::chat::{Citation, Seal, ToolCall};

/// An item that was announced.
#[derive(Debug)]
pub(super) struct Item {
    id: String,
    /// `,"item_id":..,"output_index":..`, which every frame about the item holds.
    place: String,
    index: usize,
    body: Body,
}

/// What it is made of.
#[derive(Debug)]
pub(super) enum Body {
    /// Parts that are whole, as JSON, and the one that grows.
    Message(Vec<String>, Option<Part>),
    Thinking {
        text: String,
        seal: Option<Seal>,
        redacted: bool,
    },
    /// The call; its seal, if it came too late to stand before it, follows it.
    Call(ToolCall),
}

/// A part of a message that grows.
#[derive(Debug, Default)]
pub(super) struct Part {
    refusal: bool,
    text: String,
    annotations: Vec<String>,
    logprobs: Vec<Value>,
}

impl Item {
    /// Announce an item.
    pub(super) fn announce(id: String, index: usize, body: Body, frames: &mut Frames, out: &mut BytesMut) -> Self {
        let place = format!(",\"item_id\":{},\"output_index\":{index}", json_text(&id));
        let item = Self { id, place, index, body };
        let json = item.json("in_progress", true);
        announce(index, &json, frames, out);
        item
    }

    pub(super) fn body(&self) -> &Body {
        &self.body
    }

    pub(super) fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    fn write(&self, kind: &str, frames: &mut Frames, out: &mut BytesMut, members: impl FnOnce(&mut BytesMut)) {
        frames.write(kind, out, |out| {
            out.extend_from_slice(self.place.as_bytes());
            members(out);
        });
    }

    /// Begin a part of a message.
    pub(super) fn open_part(&mut self, refusal: bool, logprobs: Vec<Value>, frames: &mut Frames, out: &mut BytesMut) {
        self.close_part(frames, out);
        let Body::Message(parts, part) = &mut self.body else { return };
        let (index, fresh) = (parts.len(), Part { refusal, ..Part::default() });
        let json = fresh.json();
        *part = Some(Part { logprobs, ..fresh });
        self.write("response.content_part.added", frames, out, |out| {
            json_member("content_index", &index.to_string(), out);
            json_member("part", &json, out);
        });
    }

    /// The part that grows is whole.
    pub(super) fn close_part(&mut self, frames: &mut Frames, out: &mut BytesMut) {
        let Body::Message(parts, open) = &mut self.body else { return };
        let Some(part) = open.take() else { return };
        let (index, json) = (parts.len().to_string(), part.json());
        parts.push(json.clone());
        let kind = if part.refusal { "response.refusal.done" } else { "response.output_text.done" };
        self.write(kind, frames, out, |out| {
            json_member("content_index", &index, out);
            text_member(if part.refusal { "refusal" } else { "text" }, &part.text, out);
            if !part.refusal {
                json_member("logprobs", &Value::Array(part.logprobs.clone()).to_string(), out);
            }
        });
        self.write("response.content_part.done", frames, out, |out| {
            json_member("content_index", &index, out);
            json_member("part", &json, out);
        });
    }

    /// Text of the part, or of the thought, that grows.
    pub(super) fn grow(&mut self, more: &str, frames: &mut Frames, out: &mut BytesMut) {
        match &mut self.body {
            Body::Message(parts, Some(part)) => {
                part.text.push_str(more);
                let (index, refusal) = (parts.len(), part.refusal);
                let kind = if refusal { "response.refusal.delta" } else { "response.output_text.delta" };
                self.write(kind, frames, out, |out| {
                    number_member("content_index", index, out);
                    text_member("delta", more, out);
                    if !refusal {
                        out.extend_from_slice(b",\"logprobs\":[]");
                    }
                });
            }
            Body::Thinking { text, .. } => {
                let first = text.is_empty();
                text.push_str(more);
                if first {
                    self.write("response.reasoning_summary_part.added", frames, out, |out| {
                        out.extend_from_slice(
                            b",\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":\"\"}",
                        );
                    });
                }
                self.write("response.reasoning_summary_text.delta", frames, out, |out| {
                    out.extend_from_slice(b",\"summary_index\":0");
                    text_member("delta", more, out);
                });
            }
            _ => {}
        }
    }

    /// Arguments of the call.
    pub(super) fn argue(&mut self, more: &str, frames: &mut Frames, out: &mut BytesMut) {
        let Body::Call(call) = &mut self.body else { return };
        call.arguments.push_str(more);
        let kind = if call.custom {
            "response.custom_tool_call_input.delta"
        } else {
            "response.function_call_arguments.delta"
        };
        self.write(kind, frames, out, |out| text_member("delta", more, out));
    }

    /// A source of the part that grows.
    pub(super) fn cite(&mut self, source: &Citation, frames: &mut Frames, out: &mut BytesMut) {
        let Body::Message(parts, Some(part)) = &mut self.body else { return };
        let Some(annotation) = citation::write(source, part.text.chars().count() as u64) else { return };
        let (index, place, json) = (parts.len(), part.annotations.len(), annotation.to_string());
        part.annotations.push(json.clone());
        self.write("response.output_text.annotation.added", frames, out, |out| {
            number_member("content_index", index, out);
            number_member("annotation_index", place, out);
            json_member("annotation", &json, out);
        });
    }

    /// The item is whole; it is given back as JSON, and the seal that must follow it.
    pub(super) fn close(
        mut self,
        status: &str,
        frames: &mut Frames,
        out: &mut BytesMut,
    ) -> (String, Option<(String, Seal)>) {
        self.close_part(frames, out);
        match &self.body {
            Body::Message(..) => {}
            Body::Thinking { text, .. } if text.is_empty() => {}
            Body::Thinking { text, .. } => {
                let part = format!("{{\"type\":\"summary_text\",\"text\":{}}}", json_text(text));
                self.write("response.reasoning_summary_text.done", frames, out, |out| {
                    out.extend_from_slice(b",\"summary_index\":0");
                    text_member("text", text, out);
                });
                self.write("response.reasoning_summary_part.done", frames, out, |out| {
                    out.extend_from_slice(b",\"summary_index\":0");
                    json_member("part", &part, out);
                });
            }
            Body::Call(call) if call.custom => {
                self.write("response.custom_tool_call_input.done", frames, out, |out| {
                    text_member("input", &call.arguments, out);
                });
            }
            Body::Call(call) => {
                self.write("response.function_call_arguments.done", frames, out, |out| {
                    text_member("name", &call.name, out);
                    text_member("arguments", call.arguments_or_empty(), out);
                });
            }
        }
        let json = self.json(status, false);
        done(self.index, &json, frames, out);
        let seal = match self.body {
            Body::Call(call) => call.seal.map(|seal| (call.id, seal)),
            _ => None,
        };
        (json, seal)
    }

    /// The item; `empty` as it is announced.
    fn json(&self, status: &str, empty: bool) -> String {
        let id = json_text(&self.id);
        match &self.body {
            Body::Message(parts, _) => format!(
                "{{\"id\":{id},\"type\":\"message\",\"status\":\"{status}\",\"role\":\"assistant\",\"content\":{}}}",
                json_list(parts)
            ),
            Body::Thinking { text, seal, redacted } => reasoning(&self.id, text, seal.as_ref(), *redacted),
            Body::Call(call) => call_json(&self.id, call, status, empty),
        }
    }
}

impl Part {
    pub(super) fn add_logprobs(&mut self, more: Vec<Value>) {
        self.logprobs.extend(more);
    }

    fn json(&self) -> String {
        if self.refusal {
            return format!("{{\"type\":\"refusal\",\"refusal\":{}}}", json_text(&self.text));
        }
        format!(
            "{{\"type\":\"output_text\",\"text\":{},\"annotations\":{},\"logprobs\":{}}}",
            json_text(&self.text),
            json_list(&self.annotations),
            Value::Array(self.logprobs.clone())
        )
    }
}

fn reasoning(id: &str, text: &str, seal: Option<&Seal>, redacted: bool) -> String {
    let summary = if text.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": text}]) };
    let sealed = seal.map(|seal| marks::thought(seal, redacted));
    json!({"id": id, "type": "reasoning", "summary": summary, "encrypted_content": sealed}).to_string()
}

/// A thought that holds nothing but the seal of a call.
pub(super) fn seal_item(id: &str, call_id: &str, seal: &Seal) -> String {
    let sealed = marks::call(seal, call_id);
    json!({"id": id, "type": "reasoning", "summary": [], "encrypted_content": sealed}).to_string()
}

fn call_json(id: &str, call: &ToolCall, status: &str, empty: bool) -> String {
    let kind = if call.custom { "custom_tool_call" } else { "function_call" };
    let text = |text: &str| Value::from(text);
    let mut item = Map::from_iter([("id".to_owned(), text(id)), ("type".to_owned(), text(kind))]);
    item.insert("status".to_owned(), text(status));
    item.insert("call_id".to_owned(), text(&call.id));
    item.insert("name".to_owned(), text(&call.name));
    if let Some(namespace) = &call.namespace {
        item.insert("namespace".to_owned(), text(namespace));
    }
    let arguments = match (empty, call.custom) {
        (true, _) => "",
        (false, true) => &call.arguments,
        (false, false) => call.arguments_or_empty(),
    };
    item.insert(if call.custom { "input" } else { "arguments" }.to_owned(), text(arguments));
    Value::Object(item).to_string()
}

/// The frame that announces an item.
pub(super) fn announce(index: usize, json: &str, frames: &mut Frames, out: &mut BytesMut) {
    frames.write("response.output_item.added", out, |out| {
        number_member("output_index", index, out);
        json_member("item", json, out);
    });
}

/// The frame that ends an item.
pub(super) fn done(index: usize, json: &str, frames: &mut Frames, out: &mut BytesMut) {
    frames.write("response.output_item.done", out, |out| {
        number_member("output_index", index, out);
        json_member("item", json, out);
    });
}

fn number_member(name: &str, number: usize, out: &mut BytesMut) {
    use std::fmt::Write as _;
    // Writing into memory cannot fail.
    let _ = write!(out, ",\"{name}\":{number}");
}
