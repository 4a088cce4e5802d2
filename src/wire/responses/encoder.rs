//! Writing a client's stream.
//!
//! An item ends only when the next one begins or the answer stops, because only then it is known whether it was cut short. Texts
//! that follow each other are parts of one message. Nothing is announced before it has content.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::object::{Frame, Status, stem};
use super::writer::{Frames, json_member, text_member};
use super::written_item::{Body, Item, announce, done, seal_item};
use crate::chat::{
    Begin, Delta, Event, Media, Opening, Part, PartKind, Reply, Seal, Sequencer, Stop, StreamEncoder, ToolCall,
};
use crate::openai_error::{ErrorBody, HEARTBEAT};
use crate::usage::Usage;

/// What is said where the model declined without words of its own.
const DECLINED: &str = "The model declined to answer.";

/// The writer of one stream.
#[derive(Debug)]
pub struct Encoder {
    reply: Reply,
    frames: Frames,
    frame: Option<Frame>,
    sequencer: Sequencer,
    /// The block that is being said.
    block: Option<u32>,
    /// It was opened and has no content yet.
    waiting: Option<Opening>,
    /// The seal of a call that waits.
    seal: Option<Seal>,
    open: Option<Item>,
    output: Vec<String>,
    ids: HashSet<String>,
    logprobs: Vec<Value>,
    /// Words of the model were written.
    spoke: bool,
    /// Some of them decline.
    refused: bool,
    usage: Option<Usage>,
    stop: Option<Stop>,
    ended: Option<Status>,
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        if self.ended.is_some() {
            return;
        }
        let begin = if let Event::Begin(begin) = event { begin.clone() } else { Begin::default() };
        self.start(&begin, out);
        match event {
            // The usual case, without a copy.
            Event::Delta { block, delta } if self.block == Some(*block) => self.delta(delta, out),
            Event::Open { choice, .. } if *choice != 0 => {}
            Event::Open { .. } | Event::Delta { .. } | Event::Close { .. } => {
                let mut ready = Vec::new();
                self.sequencer.push(event.clone(), &mut ready);
                ready.iter().for_each(|event| self.block_event(event, out));
            }
            Event::Logprobs { choice: 0, logprobs } => self.add_logprobs(logprobs),
            Event::Stop { choice: 0, stop } => {
                self.stop = Some(stop.clone());
                self.settle(out);
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Took(_) => {}
            Event::Begin(_) | Event::Logprobs { .. } | Event::Stop { .. } => {}
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        if self.ended.is_some() {
            return;
        }
        self.start(&Begin::default(), out);
        if self.stop == Some(Stop::Refused) && !self.refused {
            let spoke = self.spoke;
            // The part itself says that the model declined; where it said something, nothing is added to its words.
            self.open_part(true, out);
            if !spoke {
                self.delta(&Delta::Text(DECLINED.to_owned()), out);
            }
        }
        self.settle(out);
        self.end(self.stop.as_ref().map_or(Status::Completed, Status::of), out);
    }

    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut) {
        if self.ended.is_some() {
            return;
        }
        let status = Status::failed(error);
        if self.frame.is_some() {
            self.end(status, out);
            return;
        }
        self.ended = Some(status);
        self.frames.write("error", out, |out| {
            text_member("code", error.code.as_deref().unwrap_or("server_error"), out);
            text_member("message", &error.message, out);
            json_member("param", &json!(error.param).to_string(), out);
        });
    }

    fn heartbeat(&self) -> Bytes {
        Bytes::from_static(HEARTBEAT.as_bytes())
    }
}

impl Encoder {
    /// A writer for the answer to this request.
    pub fn new(reply: &Reply) -> Self {
        Self::with(reply, Frames::new(false))
    }

    /// A writer that keeps the frames to itself.
    pub(super) fn silent(reply: &Reply) -> Self {
        Self::with(reply, Frames::new(true))
    }

    fn with(reply: &Reply, frames: Frames) -> Self {
        Self {
            reply: reply.clone(),
            frames,
            frame: None,
            sequencer: Sequencer::default(),
            block: None,
            waiting: None,
            seal: None,
            open: None,
            output: Vec::new(),
            ids: HashSet::new(),
            logprobs: Vec::new(),
            spoke: false,
            refused: false,
            usage: None,
            stop: None,
            ended: None,
        }
    }

    /// The id by which the client knows the answer, once it has begun.
    pub fn response_id(&self) -> Option<&str> {
        self.frame.as_ref().map(|frame| frame.id.as_str())
    }

    /// The response object as the client has got it, once the stream is over: what is to be stored.
    pub fn response(&self) -> Option<Bytes> {
        let (frame, status) = (self.frame.as_ref()?, self.ended.as_ref()?);
        Some(frame.object(status, &self.output, self.usage.as_ref()).into())
    }

    fn start(&mut self, begin: &Begin, out: &mut BytesMut) {
        if self.frame.is_some() {
            return;
        }
        let frame = Frame::new(begin, &self.reply);
        let object = frame.object(&Status::InProgress, &[], None);
        for kind in ["response.created", Status::InProgress.event()] {
            self.frames.write(kind, out, |out| json_member("response", &object, out));
        }
        self.frame = Some(frame);
    }

    fn end(&mut self, status: Status, out: &mut BytesMut) {
        let Some(frame) = &self.frame else { return };
        let (output, usage) = (&self.output, self.usage.as_ref());
        self.frames.write(status.event(), out, |out| {
            json_member("response", &frame.object(&status, output, usage), out);
        });
        self.ended = Some(status);
    }

    fn block_event(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Open { block, what: Opening::Whole(part), .. } => {
                self.block = Some(*block);
                self.settle(out);
                self.whole(part, out);
            }
            Event::Open { block, what, .. } => {
                self.settle_before(what, out);
                self.block = Some(*block);
                self.waiting = Some(what.clone());
            }
            Event::Delta { delta, .. } => self.delta(delta, out),
            Event::Close { .. } => {
                // A call without arguments is a call.
                if matches!(self.waiting, Some(Opening::ToolCall { .. })) {
                    self.announce(out);
                }
                self.block = None;
                self.waiting = None;
            }
            _ => {}
        }
    }

    fn delta(&mut self, delta: &Delta, out: &mut BytesMut) {
        match delta {
            Delta::Text(more) | Delta::Arguments(more) if more.is_empty() => return,
            Delta::Seal(seal) if matches!(self.waiting, Some(Opening::ToolCall { .. })) => {
                self.seal = Some(seal.clone());
                return;
            }
            _ => self.announce(out),
        }
        let Some(item) = &mut self.open else { return };
        match (delta, item.body_mut()) {
            (Delta::Text(more), _) => item.grow(more, &mut self.frames, out),
            (Delta::Arguments(more), _) => item.argue(more, &mut self.frames, out),
            (Delta::Citation(source), _) => item.cite(source, &mut self.frames, out),
            (Delta::Seal(seal), Body::Thinking { seal: slot, .. }) => *slot = Some(seal.clone()),
            (Delta::Seal(seal), Body::Call(call)) => call.seal = Some(seal.clone()),
            (Delta::Seal(_), Body::Message(..)) => {}
        }
    }

    /// Announce the block that waits, now that it has content.
    fn announce(&mut self, out: &mut BytesMut) {
        match self.waiting.take() {
            None | Some(Opening::Whole(_)) => {}
            Some(Opening::Text) => self.open_part(false, out),
            Some(Opening::Refusal) => self.open_part(true, out),
            Some(Opening::Thinking { id, redacted, .. }) => {
                let body = Body::Thinking { text: String::new(), seal: None, redacted };
                self.open_item("rs_", id.as_deref(), body, out);
            }
            Some(Opening::ToolCall { id, name, namespace, custom }) => {
                let id = self.call_id(id);
                if let Some(seal) = self.seal.take() {
                    self.seal_item(&id, &seal, out);
                }
                let call = ToolCall { id, name, namespace, custom, arguments: String::new(), seal: None };
                self.open_item(if custom { "ctc_" } else { "fc_" }, None, Body::Call(call), out);
            }
        }
    }

    fn open_part(&mut self, refusal: bool, out: &mut BytesMut) {
        self.spoke = true;
        self.refused |= refusal;
        if !self.message_is_open() {
            self.settle(out);
            self.open_item("msg_", None, Body::Message(Vec::new(), None), out);
        }
        let logprobs = std::mem::take(&mut self.logprobs);
        if let Some(item) = &mut self.open {
            item.open_part(refusal, logprobs, &mut self.frames, out);
        }
    }

    fn message_is_open(&self) -> bool {
        self.open.as_ref().is_some_and(|item| matches!(item.body(), Body::Message(..)))
    }

    fn open_item(&mut self, prefix: &str, id: Option<&str>, body: Body, out: &mut BytesMut) {
        self.settle(out);
        let id = self.item_id(prefix, id);
        self.open = Some(Item::announce(id, self.output.len(), body, &mut self.frames, out));
    }

    /// Texts go on in the message that is open; anything else ends the item.
    fn settle_before(&mut self, what: &Opening, out: &mut BytesMut) {
        if !matches!(what, Opening::Text | Opening::Refusal) || !self.message_is_open() {
            self.settle(out);
        }
    }

    /// End the item that is open.
    fn settle(&mut self, out: &mut BytesMut) {
        let Some(item) = self.open.take() else { return };
        let cut = self.stop.as_ref().is_some_and(|stop| matches!(Status::of(stop), Status::Incomplete(_)));
        let (json, seal) = item.close(if cut { "incomplete" } else { "completed" }, &mut self.frames, out);
        self.output.push(json);
        if let Some((call_id, seal)) = seal {
            self.seal_item(&call_id, &seal, out);
        }
    }

    fn seal_item(&mut self, call_id: &str, seal: &Seal, out: &mut BytesMut) {
        self.settle(out);
        let id = self.item_id("rs_", None);
        let json = seal_item(&id, call_id, seal);
        self.say(&json, &json, out);
    }

    /// An item that comes in one.
    fn say(&mut self, announced: &str, whole: &str, out: &mut BytesMut) {
        announce(self.output.len(), announced, &mut self.frames, out);
        done(self.output.len(), whole, &mut self.frames, out);
        self.output.push(whole.to_owned());
    }

    fn whole(&mut self, part: &Part, out: &mut BytesMut) {
        match &part.kind {
            PartKind::Native(item) if is_item(item) => {
                let mut item = item.clone();
                let id = self.item_id("item_", item.get("id").and_then(Value::as_str));
                if let Some(members) = item.as_object_mut() {
                    members.insert("id".to_owned(), id.into());
                }
                let json = item.to_string();
                self.say(&json, &json, out);
            }
            PartKind::Image(media) => self.image(media, out),
            _ => {}
        }
    }

    /// An image is what the hosted tool that makes images gives.
    fn image(&mut self, media: &Media, out: &mut BytesMut) {
        let crate::chat::Source::Base64 { mime, data } = &media.source else { return };
        let id = self.item_id("ig_", None);
        let format = mime.rsplit('/').next().unwrap_or("png");
        let item = |status: &str, result: Value| {
            json!({"id": id, "type": "image_generation_call", "status": status, "output_format": format, "result": result})
                .to_string()
        };
        self.say(&item("in_progress", Value::Null), &item("completed", data.clone().into()), out);
    }

    fn add_logprobs(&mut self, logprobs: &Value) {
        let list = logprobs.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let list: Vec<Value> = list.iter().map(token).collect();
        let growing = self.open.as_mut().and_then(|item| match item.body_mut() {
            Body::Message(_, part) => part.as_mut(),
            _ => None,
        });
        match growing {
            Some(part) => part.add_logprobs(list),
            None => self.logprobs.extend(list),
        }
    }

    /// The provider's id where it is one of this kind and not taken, else one made of the reply's.
    fn item_id(&mut self, prefix: &str, wanted: Option<&str>) -> String {
        let free = |id: &&str| !id.is_empty() && !self.ids.contains(*id);
        let id = match wanted.filter(|id| prefix == "item_" || id.starts_with(prefix)).filter(free) {
            Some(id) => id.to_owned(),
            None => format!("{prefix}{}_{}", stem(&self.reply.id), self.output.len()),
        };
        self.ids.insert(id.clone());
        id
    }

    /// Two calls of one id would be paired wrongly, and clients refuse them.
    fn call_id(&mut self, id: String) -> String {
        let mut unique = if id.is_empty() { format!("call_{}", stem(&self.reply.id)) } else { id };
        while !self.ids.insert(format!("call:{unique}")) {
            unique.push_str("_2");
        }
        unique
    }
}

/// Whether this is an item of this format, not a block of another one.
fn is_item(item: &Value) -> bool {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
    let others = ["mcp_list_tools", "mcp_approval_request", "compaction", "program", "program_output"];
    kind.ends_with("_call") || kind.ends_with("_call_output") || kind == "tool_search_output" || others.contains(&kind)
}

/// A token with the members that clients demand and some providers leave out.
fn token(told: &Value) -> Value {
    let others = told.get("top_logprobs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let others: Value = others.iter().map(with_bytes).collect();
    let mut token = with_bytes(told);
    if let Some(members) = token.as_object_mut() {
        members.insert("top_logprobs".to_owned(), others);
    }
    token
}

fn with_bytes(token: &Value) -> Value {
    let mut token = token.clone();
    let Some(members) = token.as_object_mut() else { return token };
    if !members.get("bytes").is_some_and(Value::is_array) {
        let text = members.get("token").and_then(Value::as_str).unwrap_or_default();
        let bytes: Value = text.bytes().map(Value::from).collect();
        members.insert("bytes".to_owned(), bytes);
    }
    token
}
