//! Writing a client's stream.
//!
//! The official readers want a role in the first delta of a choice, call fragments numbered from 0, and an `index` in every entry of
//! every list that grows.

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use smallvec::SmallVec;

use super::details;
use super::encode_answer::{annotation, answer_id, audio, image};
use super::encode_assistant::extra_content;
use super::stop;
use super::write::{call_begin, call_more, call_proof, json_member, member, number, stream_end, stream_head};
use crate::chat::{Begin, Delta, Event, Opening, Part, PartKind, Reply, Seal, Stop, StreamEncoder, Thinking};
use crate::openai_error::{ErrorBody, HEARTBEAT};
use crate::usage::Usage;

/// Writes a stream of `chat.completion.chunk`s.
#[derive(Debug)]
pub struct Encoder {
    reply: Reply,
    begin: Begin,
    /// The part of a chunk that is the same in all of them; made when the first one is written.
    head: Vec<u8>,
    blocks: SmallVec<[Block; 4]>,
    choices: SmallVec<[ChoiceState; 1]>,
    usage: Option<Usage>,
    failed: bool,
}

#[derive(Debug)]
struct Block {
    number: u32,
    choice: u32,
    kind: BlockKind,
}

#[derive(Debug)]
enum BlockKind {
    Text,
    Refusal,
    Thought {
        thought: Thinking,
        begun: bool,
    },
    Call {
        index: u32,
        custom: bool,
        empty: bool,
    },
    /// Nothing of it is written.
    Silent,
}

#[derive(Debug, Default)]
struct ChoiceState {
    index: u32,
    calls: u32,
    listed: u32,
    thought: bool,
    refused: bool,
    stopped: bool,
}

impl Encoder {
    /// For the client of this request.
    pub fn new(reply: &Reply) -> Self {
        Self {
            reply: reply.clone(),
            begin: Begin::default(),
            head: Vec::new(),
            blocks: SmallVec::new(),
            choices: SmallVec::new(),
            usage: None,
            failed: false,
        }
    }

    fn head(&mut self) {
        if !self.head.is_empty() {
            return;
        }
        let id = self.begin.id.take().unwrap_or_else(|| answer_id(&self.reply));
        let model = self.begin.model.as_ref().unwrap_or(&self.reply.model);
        let created = self.begin.created.unwrap_or(self.reply.created);
        let labels = [("service_tier", &self.begin.service_tier), ("system_fingerprint", &self.begin.fingerprint)];
        let labels: SmallVec<[(&str, &str); 2]> =
            labels.iter().filter_map(|(name, label)| Some((*name, label.as_deref()?))).collect();
        self.head = stream_head("chat.completion.chunk", &id, created, model, &labels);
    }

    /// A chunk of one delta; `write` writes the members of the delta.
    fn delta(&mut self, choice: u32, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        self.choice(choice, out);
        self.chunk(choice, out, write, "null", "null");
    }

    fn chunk(
        &mut self,
        choice: u32,
        out: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut),
        logprobs: &str,
        finish: &str,
    ) {
        self.head();
        out.reserve(self.head.len().saturating_add(160));
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        number(out, choice);
        out.extend_from_slice(b",\"delta\":{");
        write(out);
        out.extend_from_slice(b"},\"logprobs\":");
        out.extend_from_slice(logprobs.as_bytes());
        out.extend_from_slice(b",\"finish_reason\":");
        out.extend_from_slice(finish.as_bytes());
        out.extend_from_slice(b"}]}\n\n");
    }

    /// The place of a choice; its role is told first.
    fn choice(&mut self, index: u32, out: &mut BytesMut) -> usize {
        if let Some(at) = self.choices.iter().position(|choice| choice.index == index) {
            return at;
        }
        self.choices.push(ChoiceState { index, ..ChoiceState::default() });
        let role = |out: &mut BytesMut| out.extend_from_slice(b"\"role\":\"assistant\",\"content\":\"\"");
        self.chunk(index, out, role, "null", "null");
        self.choices.len().saturating_sub(1)
    }

    fn state(&mut self, index: u32, out: &mut BytesMut) -> Option<&mut ChoiceState> {
        let at = self.choice(index, out);
        self.choices.get_mut(at)
    }

    fn open(&mut self, number: u32, choice: u32, what: &Opening, out: &mut BytesMut) {
        let functions_form = self.reply.request.functions_form;
        let Some(state) = self.state(choice, out) else { return };
        let kind = match what {
            _ if state.stopped => BlockKind::Silent,
            Opening::Text => BlockKind::Text,
            Opening::Refusal => {
                state.refused = true;
                BlockKind::Refusal
            }
            Opening::Thinking { id, summary, redacted } => {
                let (id, summary, redacted) = (id.clone(), *summary, *redacted);
                BlockKind::Thought { thought: Thinking { id, summary, redacted, ..Thinking::default() }, begun: false }
            }
            // The old form has room for one call.
            Opening::ToolCall { .. } if functions_form && state.calls > 0 => BlockKind::Silent,
            Opening::ToolCall { id, name, custom, .. } => {
                let index = state.calls;
                state.calls = index.saturating_add(1);
                self.delta(choice, out, |out| call_begin(out, index, id, name, *custom, functions_form));
                BlockKind::Call { index, custom: *custom, empty: true }
            }
            Opening::Whole(part) => {
                self.whole(choice, part, out);
                BlockKind::Silent
            }
        };
        self.blocks.retain(|block| block.number != number);
        self.blocks.push(Block { number, choice, kind });
    }

    fn whole(&mut self, choice: u32, part: &Part, out: &mut BytesMut) {
        let (name, value) = match &part.kind {
            PartKind::Text { text: words, .. } => {
                return self.delta(choice, out, |out| member(out, "content", words));
            }
            PartKind::Image(media) => ("images", image(media)),
            PartKind::Audio(media) => ("audio", audio(media, &self.reply)),
            _ => return,
        };
        match value {
            Some(value) if name == "audio" => self.delta(choice, out, |out| json_member(out, name, &value)),
            Some(value) => self.list_entry(choice, name, value, out),
            None => {}
        }
    }

    /// One more entry of a list of the message.
    fn list_entry(&mut self, choice: u32, name: &str, mut entry: Value, out: &mut BytesMut) {
        let Some(state) = self.state(choice, out) else { return };
        let index = state.listed;
        state.listed = index.saturating_add(1);
        if let Some(object) = entry.as_object_mut() {
            object.insert("index".into(), index.into());
        }
        self.delta(choice, out, |out| json_member(out, name, &Value::Array(vec![entry])));
    }

    fn grow(&mut self, number: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(at) = self.blocks.iter().position(|block| block.number == number) else { return };
        // Taken out, so that writing may borrow the rest.
        let Some(block) = self.blocks.get_mut(at) else { return };
        let choice = block.choice;
        let mut kind = std::mem::replace(&mut block.kind, BlockKind::Silent);
        self.grow_kind(choice, &mut kind, delta, out);
        if let Some(block) = self.blocks.get_mut(at) {
            block.kind = kind;
        }
    }

    fn grow_kind(&mut self, choice: u32, kind: &mut BlockKind, delta: &Delta, out: &mut BytesMut) {
        if self.choices.iter().any(|state| state.index == choice && state.stopped) {
            return;
        }
        match (kind, delta) {
            (BlockKind::Text, Delta::Text(more)) => self.said(choice, "content", more, out),
            (BlockKind::Refusal, Delta::Text(more)) => self.said(choice, "refusal", more, out),
            (BlockKind::Thought { thought, begun }, Delta::Text(more)) if !more.is_empty() => {
                thought.text.push_str(more);
                let first = !std::mem::replace(begun, true);
                let again = self.state(choice, out).is_some_and(|state| std::mem::replace(&mut state.thought, true));
                if first && again {
                    self.said(choice, "reasoning_content", "\n\n", out);
                }
                self.said(choice, "reasoning_content", more, out);
            }
            (BlockKind::Thought { thought, .. }, Delta::Seal(seal)) => self.proof(choice, thought, seal, out),
            (BlockKind::Call { index, custom, empty }, Delta::Arguments(more)) if !more.is_empty() => {
                *empty = false;
                let (index, custom, old) = (*index, *custom, self.reply.request.functions_form);
                self.delta(choice, out, |out| call_more(out, index, more, custom, old));
            }
            (BlockKind::Call { index, .. }, Delta::Seal(seal)) if !self.reply.request.functions_form => {
                let (index, extra) = (*index, extra_content(seal));
                self.delta(choice, out, |out| call_proof(out, index, &extra));
            }
            (BlockKind::Text, Delta::Citation(citation)) => {
                if let Some(annotation) = annotation(citation) {
                    self.list_entry(choice, "annotations", annotation, out);
                }
            }
            _ => {}
        }
    }

    fn said(&mut self, choice: u32, name: &str, more: &str, out: &mut BytesMut) {
        if !more.is_empty() {
            self.delta(choice, out, |out| member(out, name, more));
        }
    }

    /// A seal proves the whole thought, so its entry has all of it.
    fn proof(&mut self, choice: u32, thought: &mut Thinking, seal: &Seal, out: &mut BytesMut) {
        thought.seal = Some(seal.clone());
        for entry in details::write(thought) {
            self.list_entry(choice, "reasoning_details", Value::Object(entry), out);
        }
    }

    fn close(&mut self, number: u32, out: &mut BytesMut) {
        let Some(at) = self.blocks.iter().position(|block| block.number == number) else { return };
        let Block { choice, kind, .. } = self.blocks.remove(at);
        let stopped = self.choices.iter().any(|state| state.index == choice && state.stopped);
        if let BlockKind::Call { index, custom: false, empty: true } = kind
            && !stopped
        {
            let old = self.reply.request.functions_form;
            self.delta(choice, out, |out| call_more(out, index, "{}", false, old));
        }
    }

    fn logprobs(&mut self, choice: u32, logprobs: &Value, out: &mut BytesMut) {
        if self.state(choice, out).is_some_and(|state| !state.stopped) {
            self.chunk(choice, out, |_| {}, &logprobs.to_string(), "null");
        }
    }

    fn stop(&mut self, choice: u32, stop: &Stop, out: &mut BytesMut) {
        let open: SmallVec<[u32; 4]> =
            self.blocks.iter().filter(|block| block.choice == choice).map(|block| block.number).collect();
        open.into_iter().for_each(|number| self.close(number, out));
        let functions_form = self.reply.request.functions_form;
        let Some(state) = self.state(choice, out).filter(|state| !state.stopped) else { return };
        state.stopped = true;
        let stop = stop.clone().given(state.calls > 0);
        let reason = stop::write(&stop, functions_form, state.refused);
        self.chunk(choice, out, |_| {}, "null", &format!("\"{reason}\""));
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        if self.failed {
            return;
        }
        match event {
            Event::Begin(begin) => self.begin.merge(begin),
            Event::Open { block, choice, what } => self.open(*block, *choice, what, out),
            Event::Delta { block, delta } => self.grow(*block, delta, out),
            Event::Close { block } => self.close(*block, out),
            Event::Logprobs { choice, logprobs } => self.logprobs(*choice, logprobs, out),
            Event::Stop { choice, stop } => self.stop(*choice, stop, out),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Took(_) => {}
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        if self.choices.is_empty() {
            self.choice(0, out);
        }
        let open: SmallVec<[u32; 1]> =
            self.choices.iter().filter(|choice| !choice.stopped).map(|choice| choice.index).collect();
        open.into_iter().for_each(|choice| self.stop(choice, &Stop::Done, out));
        self.head();
        stream_end(&self.head, self.usage.filter(|_| self.reply.include_usage), out);
    }

    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.failed, true) {
            out.extend_from_slice(&error.to_sse());
        }
    }

    fn heartbeat(&self) -> Bytes {
        Bytes::from_static(HEARTBEAT.as_bytes())
    }
}
