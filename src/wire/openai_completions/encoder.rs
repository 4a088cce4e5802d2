//! Writing a client's stream.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::Value;
use smallvec::SmallVec;

use super::encode_answer::{answer_id, reason};
use super::logprobs::lists;
use crate::chat::{Begin, Delta, Event, Opening, Part, Reply, Stop, StreamEncoder};
use crate::openai::{stream_end, stream_head};
use crate::openai_error::{ErrorBody, HEARTBEAT};
use crate::usage::Usage;

/// Writes a stream of `text_completion`s.
#[derive(Debug)]
pub struct Encoder {
    reply: Reply,
    begin: Begin,
    head: Vec<u8>,
    /// The blocks that are text, each with its choice.
    texts: SmallVec<[(u32, u32); 4]>,
    choices: SmallVec<[Choice; 1]>,
    usage: Option<Usage>,
    over: bool,
}

#[derive(Debug)]
struct Choice {
    index: u32,
    offset: usize,
    stopped: bool,
}

impl Encoder {
    /// For the client of this request.
    pub fn new(reply: &Reply) -> Self {
        Self {
            reply: reply.clone(),
            begin: Begin::default(),
            head: Vec::new(),
            texts: SmallVec::new(),
            choices: SmallVec::new(),
            usage: None,
            over: false,
        }
    }

    fn head(&mut self) {
        if !self.head.is_empty() {
            return;
        }
        let id = self.begin.id.take().unwrap_or_else(|| answer_id(&self.reply));
        let model = self.begin.model.as_ref().unwrap_or(&self.reply.model);
        let created = self.begin.created.unwrap_or(self.reply.created);
        self.head = stream_head("text_completion", &id, created, model, &[]);
    }

    /// Writing into memory cannot fail.
    fn chunk(&mut self, choice: u32, text: &str, logprobs: &Value, finish: Option<&str>, out: &mut BytesMut) {
        self.head();
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"text\":");
        let _ = serde_json::to_writer(out.writer(), text);
        out.extend_from_slice(b",\"index\":");
        let _ = serde_json::to_writer(out.writer(), &choice);
        out.extend_from_slice(b",\"logprobs\":");
        let _ = serde_json::to_writer(out.writer(), logprobs);
        out.extend_from_slice(b",\"finish_reason\":");
        let _ = serde_json::to_writer(out.writer(), &finish);
        out.extend_from_slice(b"}]}\n\n");
    }

    fn choice(&mut self, index: u32) -> Option<&mut Choice> {
        let known = self.choices.iter().position(|choice| choice.index == index);
        if known.is_none() {
            self.choices.push(Choice { index, offset: 0, stopped: false });
        }
        let at = known.unwrap_or(self.choices.len().saturating_sub(1));
        self.choices.get_mut(at).filter(|choice| !choice.stopped)
    }

    fn say(&mut self, choice: u32, text: &str, out: &mut BytesMut) {
        if !text.is_empty() && self.choice(choice).is_some() {
            self.chunk(choice, text, &Value::Null, None, out);
        }
    }

    fn open(&mut self, block: u32, choice: u32, what: &Opening, out: &mut BytesMut) {
        self.texts.retain(|known| known.0 != block);
        match what {
            Opening::Text | Opening::Refusal => self.texts.push((block, choice)),
            Opening::Whole(part) => self.say(choice, Part::as_text(part).unwrap_or_default(), out),
            Opening::Thinking { .. } | Opening::ToolCall { .. } => {}
        }
    }

    fn logprobs(&mut self, choice: u32, logprobs: &Value, out: &mut BytesMut) {
        let Some(state) = self.choice(choice) else { return };
        let lists = lists(logprobs, &mut state.offset);
        self.chunk(choice, "", &lists, None, out);
    }

    fn stop(&mut self, choice: u32, stop: &Stop, out: &mut BytesMut) {
        let Some(state) = self.choice(choice) else { return };
        state.stopped = true;
        self.chunk(choice, "", &Value::Null, Some(reason(stop)), out);
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
            Event::Delta { block, delta: Delta::Text(text) } => {
                let known = self.texts.iter().find(|known| known.0 == *block).copied();
                if let Some((_, choice)) = known {
                    self.say(choice, text, out);
                }
            }
            Event::Delta { .. } => {}
            Event::Close { block } => self.texts.retain(|known| known.0 != *block),
            Event::Logprobs { choice, logprobs } => self.logprobs(*choice, logprobs, out),
            Event::Stop { choice, stop } => self.stop(*choice, stop, out),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Took(_) => {}
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if self.choices.is_empty() {
            self.choice(0);
        }
        let open: SmallVec<[u32; 1]> = self.choices.iter().map(|choice| choice.index).collect();
        open.into_iter().for_each(|choice| self.stop(choice, &Stop::Done, out));
        stream_end(&self.head, self.usage.filter(|_| self.reply.include_usage), out);
    }

    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.over, true) {
            out.extend_from_slice(&error.to_sse());
        }
    }

    fn heartbeat(&self) -> Bytes {
        Bytes::from_static(HEARTBEAT.as_bytes())
    }
}
