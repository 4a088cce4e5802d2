//! A client's stream: server-sent events, or one JSON array.
//!
//! Every event of content is a chunk at once, but a call waits until it is whole. Why the answer ended, its sources and what it used
//! stand in the last chunk. Clients read every line that is not `data: ` as JSON, so there is never a comment and no end mark.

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::errors;
use super::usage;
use super::write::{self, Ending};
use crate::chat::{Begin, Delta, Event, Family, Opening, PartKind, Reply, Seal, StreamEncoder, ToolCall};
use crate::openai_error::ErrorBody;

/// Arguments beyond this are not held back; the call counts as broken.
const MOST_ARGUMENTS: usize = 8 * 1024 * 1024;

/// Text beyond this is not kept for the places of its sources.
const MOST_TEXT: usize = 8 * 1024 * 1024;

/// Writes `streamGenerateContent`.
#[derive(Debug)]
pub struct Encoder {
    begin: Begin,
    id: String,
    model: String,
    as_array: bool,
    /// What stands behind the candidates of every chunk.
    tail: String,
    usage: String,
    blocks: Vec<(u32, Block)>,
    lanes: Vec<Lane>,
    started: bool,
    over: bool,
}

/// An open piece.
#[derive(Debug)]
struct Block {
    choice: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Text,
    Thinking { seal: Option<Seal>, spoke: bool },
    Call(ToolCall),
    Whole,
}

/// One choice.
#[derive(Debug, Default)]
struct Lane {
    choice: u32,
    ending: Ending,
}

impl Encoder {
    /// For the answer to this request.
    pub fn new(reply: &Reply) -> Self {
        Self {
            begin: Begin::default(),
            id: reply.id.clone(),
            model: reply.model.clone(),
            as_array: reply.as_array,
            tail: String::new(),
            usage: String::new(),
            blocks: Vec::new(),
            lanes: Vec::new(),
            started: false,
            over: false,
        }
    }

    fn lane(&mut self, choice: u32) -> Option<&mut Lane> {
        if !self.lanes.iter().any(|lane| lane.choice == choice) {
            self.lanes.push(Lane { choice, ..Lane::default() });
        }
        self.lanes.iter_mut().find(|lane| lane.choice == choice)
    }

    fn open(&mut self, block: u32, choice: u32, what: &Opening, out: &mut BytesMut) {
        // The choice is part of the answer, even if this is all it says.
        let lane = self.lane(choice);
        let what = match what {
            Opening::Text | Opening::Refusal => What::Text,
            Opening::Thinking { .. } => What::Thinking { seal: None, spoke: false },
            Opening::ToolCall { id, name, custom, .. } => What::Call(ToolCall {
                id: id.clone(),
                name: name.clone(),
                namespace: None,
                arguments: String::new(),
                custom: *custom,
                seal: None,
            }),
            Opening::Whole(part) => {
                if let (PartKind::Native(value), Some(lane)) = (&part.kind, lane) {
                    lane.ending.metadata(value);
                }
                self.chunk(choice, out, |out| write::whole(part, out));
                What::Whole
            }
        };
        self.blocks.push((block, Block { choice, what }));
    }

    fn delta(&mut self, block: u32, delta: &Delta, out: &mut BytesMut) {
        let Some((_, open)) = self.blocks.iter_mut().rev().find(|open| open.0 == block) else { return };
        let choice = open.choice;
        match (delta, &mut open.what) {
            (Delta::Text(text), What::Text) if !text.is_empty() => {
                self.keep(choice, text);
                self.chunk(choice, out, |out| {
                    write::text(text, false, out);
                    true
                });
            }
            (Delta::Text(text), What::Thinking { spoke, .. }) if !text.is_empty() => {
                *spoke = true;
                self.chunk(choice, out, |out| {
                    write::text(text, true, out);
                    true
                });
            }
            (Delta::Seal(new), What::Thinking { seal, .. }) => *seal = Some(new.clone()),
            (Delta::Arguments(more), What::Call(call))
                if call.arguments.len().saturating_add(more.len()) <= MOST_ARGUMENTS =>
            {
                call.arguments.push_str(more);
            }
            (Delta::Arguments(_), What::Call(call)) => call.arguments = "too long".to_owned(),
            (Delta::Seal(new), What::Call(call)) => call.seal = Some(new.clone()),
            (Delta::Citation(source), What::Text) => {
                if let Some(lane) = self.lane(choice) {
                    lane.ending.citations.push(source.clone());
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, choice: u32, text: &str) {
        if let Some(Lane { ending, .. }) = self.lane(choice)
            && ending.text.len().saturating_add(text.len()) <= MOST_TEXT
        {
            ending.text.push_str(text);
        }
    }

    fn close(&mut self, block: u32, out: &mut BytesMut) {
        let Some(at) = self.blocks.iter().rposition(|open| open.0 == block) else { return };
        let (_, Block { choice, what }) = self.blocks.remove(at);
        match what {
            What::Thinking { seal: Some(seal), spoke } => self.chunk(choice, out, |out| {
                write::seal(&seal, spoke || seal.family != Family::Google, out);
                true
            }),
            What::Call(call) => {
                let mut whole = false;
                self.chunk(choice, out, |out| {
                    whole = write::call(&call, out);
                    whole
                });
                if let Some(lane) = self.lane(choice) {
                    lane.ending.malformed |= !whole;
                }
            }
            What::Text | What::Thinking { .. } | What::Whole => {}
        }
    }

    fn logprobs(&mut self, choice: u32, more: &Value) {
        let Some(lane) = self.lane(choice) else { return };
        let known = lane.ending.logprobs.get_or_insert_with(|| serde_json::json!({"content": []}));
        let list = known.get_mut("content").and_then(Value::as_array_mut);
        if let (Some(list), Some(more)) = (list, more.get("content").and_then(Value::as_array)) {
            list.extend(more.iter().cloned());
        }
    }

    /// A chunk with one piece of one choice; nothing when there is no piece after all.
    fn chunk(&mut self, choice: u32, out: &mut BytesMut, piece: impl FnOnce(&mut BytesMut) -> bool) {
        let before = out.len();
        self.head(out);
        out.extend_from_slice(b"{\"content\":{\"parts\":[");
        if !piece(out) {
            out.truncate(before);
            return;
        }
        out.extend_from_slice(b"],\"role\":\"model\"},\"index\":");
        write::json(&choice, out);
        out.extend_from_slice(b"}");
        self.foot(out);
        // The choice is part of the answer, and of its last chunk.
        let _ = self.lane(choice);
    }

    fn head(&self, out: &mut BytesMut) {
        out.extend_from_slice(self.before());
        out.extend_from_slice(b"{\"candidates\":[");
    }

    fn foot(&mut self, out: &mut BytesMut) {
        self.started = true;
        if self.tail.is_empty() {
            let mut tail = BytesMut::new();
            tail.extend_from_slice(b",\"modelVersion\":");
            write::json(self.begin.model.as_ref().unwrap_or(&self.model), &mut tail);
            tail.extend_from_slice(b",\"responseId\":");
            write::json(self.begin.id.as_ref().unwrap_or(&self.id), &mut tail);
            self.tail = String::from_utf8_lossy(&tail).into_owned();
        }
        out.extend_from_slice(b"]");
        if !self.usage.is_empty() {
            out.extend_from_slice(b",\"usageMetadata\":");
            out.extend_from_slice(self.usage.as_bytes());
        }
        out.extend_from_slice(self.tail.as_bytes());
        out.extend_from_slice(b"}");
        out.extend_from_slice(self.after());
    }

    const fn before(&self) -> &'static [u8] {
        match (self.as_array, self.started) {
            (false, _) => b"data: ",
            (true, false) => b"[",
            (true, true) => b",\r\n",
        }
    }

    const fn after(&self) -> &'static [u8] {
        if self.as_array { b"" } else { b"\r\n\r\n" }
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            Event::Begin(begin) => self.begin.merge(begin),
            Event::Open { block, choice, what } => self.open(*block, *choice, what, out),
            Event::Delta { block, delta } => self.delta(*block, delta, out),
            Event::Close { block } => self.close(*block, out),
            Event::Logprobs { choice, logprobs } => self.logprobs(*choice, logprobs),
            Event::Stop { choice, stop } => {
                if let Some(lane) = self.lane(*choice) {
                    lane.ending.stop = Some(stop.clone());
                }
            }
            Event::Usage(usage) => self.usage = usage::json(usage),
            Event::Took(_) => {}
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        if self.over {
            return;
        }
        while let Some(block) = self.blocks.first().map(|open| open.0) {
            self.close(block, out);
        }
        self.over = true;
        if self.lanes.is_empty() {
            self.lanes.push(Lane::default());
        }
        self.head(out);
        for (place, lane) in self.lanes.iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(b",");
            }
            // Who reads the first text of every chunk finds one, as Google has it.
            let content: &[u8] = b"{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"}";
            out.extend_from_slice(content);
            lane.ending.write(lane.choice, out);
            out.extend_from_slice(b"}");
        }
        self.foot(out);
        if self.as_array {
            out.extend_from_slice(b"]");
        }
    }

    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut) {
        if self.over {
            return;
        }
        self.over = true;
        out.extend_from_slice(self.before());
        out.extend_from_slice(&errors::error_body(error, errors::status_of(error), None));
        out.extend_from_slice(if self.as_array { b"]" } else { self.after() });
    }

    fn heartbeat(&self) -> Bytes {
        // A blank line between events, and white space between the values of an array.
        Bytes::from_static(b"\n")
    }

    /// An array has no comments: a chunk that says nothing carries it.
    fn note(&mut self, note: &str, out: &mut BytesMut) {
        if !self.as_array {
            out.extend_from_slice(format!(": {note}\r\n\r\n").as_bytes());
            return;
        }
        out.extend_from_slice(self.before());
        self.started = true;
        let empty = "{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"index\":0}";
        let chunk = format!("{{\"candidates\":[{empty}],\"xOmniroute\":{}}}", Value::from(note));
        out.extend_from_slice(chunk.as_bytes());
    }
}
