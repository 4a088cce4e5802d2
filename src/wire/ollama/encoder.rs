//! A client's stream: lines of JSON, the last of which says `done`.

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::errors;
use super::usage;
use super::write::{self, Called, Frame, Said};
use crate::chat::{Begin, Delta, Event, Opening, Reply, Stop, StreamEncoder, Took, ToolCall};
use crate::openai_error::ErrorBody;
use crate::usage::Usage;

/// Arguments beyond this are not held back; the call counts as broken.
const MOST_ARGUMENTS: usize = 8 * 1024 * 1024;

/// Writes the stream of `/api/chat` or `/api/generate`.
#[derive(Debug)]
pub struct Encoder {
    generate: bool,
    begin: Begin,
    model: String,
    created: i64,
    /// The time of the answer, once it is written.
    created_at: String,
    usage: Option<Usage>,
    took: Option<Took>,
    stop: Option<Stop>,
    blocks: Vec<(u32, What)>,
    calls: usize,
    over: bool,
}

#[derive(Debug)]
enum What {
    Text,
    Thinking,
    Call(ToolCall),
}

impl Encoder {
    /// For `/api/chat`.
    pub fn new(reply: &Reply) -> Self {
        Self {
            generate: false,
            begin: Begin::default(),
            model: reply.model.clone(),
            created: reply.created,
            created_at: write::time(reply.created),
            usage: None,
            took: None,
            stop: None,
            blocks: Vec::new(),
            calls: 0,
            over: false,
        }
    }

    /// For `/api/generate`.
    pub fn generate(reply: &Reply) -> Self {
        Self { generate: true, ..Self::new(reply) }
    }

    fn line(&self, said: &Said<'_>, rest: &str, out: &mut BytesMut) {
        let model = self.begin.model.as_deref().unwrap_or(&self.model);
        Frame { generate: self.generate, model, created_at: &self.created_at }.line(said, rest, out);
    }

    fn chunk(&self, said: &Said<'_>, out: &mut BytesMut) {
        self.line(said, ",\"done\":false", out);
    }

    fn open(&mut self, block: u32, what: &Opening) {
        let what = match what {
            Opening::Text | Opening::Refusal => What::Text,
            Opening::Thinking { .. } => What::Thinking,
            Opening::ToolCall { id, name, custom, .. } => What::Call(ToolCall {
                id: id.clone(),
                name: name.clone(),
                namespace: None,
                arguments: String::new(),
                custom: *custom,
                seal: None,
            }),
            // Clients cannot read a message with pictures.
            Opening::Whole(_) => return,
        };
        self.blocks.push((block, what));
    }

    fn delta(&mut self, block: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(at) = self.blocks.iter().rposition(|open| open.0 == block) else { return };
        let Some((_, what)) = self.blocks.get_mut(at) else { return };
        match (delta, what) {
            (Delta::Text(text), What::Text) if !text.is_empty() => {
                self.chunk(&Said { content: text, ..Said::default() }, out);
            }
            (Delta::Text(text), What::Thinking) if !text.is_empty() => {
                self.chunk(&Said { thinking: text, ..Said::default() }, out);
            }
            (Delta::Arguments(more), What::Call(call))
                if call.arguments.len().saturating_add(more.len()) <= MOST_ARGUMENTS =>
            {
                call.arguments.push_str(more);
            }
            (Delta::Arguments(_), What::Call(call)) => call.arguments = "too long".to_owned(),
            _ => {}
        }
    }

    fn close(&mut self, block: u32, out: &mut BytesMut) {
        let Some(at) = self.blocks.iter().rposition(|open| open.0 == block) else { return };
        if let (_, What::Call(call)) = self.blocks.remove(at)
            && let Some(called) = Called::of(&call, self.calls)
        {
            self.chunk(&Said { tool_calls: vec![called], ..Said::default() }, out);
            self.calls += 1;
        }
    }

    fn logprobs(&self, logprobs: &Value, out: &mut BytesMut) {
        if let Some(content) = logprobs.get("content").filter(|content| content.is_array()) {
            let mut rest = BytesMut::from(&b",\"logprobs\":"[..]);
            crate::lines::write_json(content, &mut rest);
            rest.extend_from_slice(b",\"done\":false");
            self.line(&Said::default(), &String::from_utf8_lossy(&rest), out);
        }
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            Event::Begin(begin) => {
                self.begin.merge(begin);
                self.created_at = write::time(self.begin.created.unwrap_or(self.created));
            }
            // There is one answer only.
            Event::Open { choice: 1.., .. } | Event::Logprobs { choice: 1.., .. } | Event::Stop { choice: 1.., .. } => {
            }
            Event::Open { block, what, .. } => self.open(*block, what),
            Event::Delta { block, delta } => self.delta(*block, delta, out),
            Event::Close { block } => self.close(*block, out),
            Event::Logprobs { logprobs, .. } => self.logprobs(logprobs, out),
            Event::Stop { stop, .. } => self.stop = Some(stop.clone()),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Took(took) => self.took = Some(*took),
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
        let counts = usage::json(self.usage.as_ref(), self.took);
        let reason = write::word(self.stop.as_ref());
        self.line(&Said::default(), &format!(",\"done\":true,\"done_reason\":\"{reason}\"{counts}"), out);
    }

    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut) {
        if self.over {
            return;
        }
        self.over = true;
        out.extend_from_slice(&errors::error_body(error, 500, None));
        out.extend_from_slice(b"\n");
    }

    fn heartbeat(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.chunk(&Said::default(), &mut out);
        out.freeze()
    }

    /// Lines have no comments: a chunk that says nothing carries it.
    fn note(&mut self, note: &str, out: &mut BytesMut) {
        let rest = format!(",\"done\":false,\"x_omniroute\":{}", Value::from(note));
        self.line(&Said::default(), &rest, out);
    }
}
