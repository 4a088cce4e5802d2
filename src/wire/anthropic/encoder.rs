//! Writing a client's stream.
//!
//! Blocks come one after the other. The opening of a call waits for the event behind its first arguments: proof of the call
//! (Gemini sends one behind them) must stand before the call, as an empty thought, or agents do not send it back.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};

use super::encode_answer::{head, usage_so_far};
use super::errors::stream_error;
use super::json::{put, put_text};
use super::{citation, native, stop};
use crate::chat::{Begin, Delta, Event, Family, Opening, PartKind, Reply, Seal, Sequencer, Stop, StreamEncoder};
use crate::openai_error::ErrorBody;
use crate::usage::Usage;

const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// Writes a stream.
#[derive(Debug)]
pub struct Encoder {
    reply: Reply,
    begin: Begin,
    started: bool,
    over: bool,
    choice: Option<u32>,
    sequencer: Sequencer,
    ordered: Vec<Event>,
    open: Option<OpenBlock>,
    /// How many blocks were begun for the client.
    index: u32,
    has_calls: bool,
    stop: Option<Stop>,
    usage: Option<Usage>,
}

/// The block that grows now.
#[derive(Debug)]
struct OpenBlock {
    block: u32,
    kind: OpenKind,
}

#[derive(Debug)]
enum OpenKind {
    Text,
    Thinking {
        seal: Option<Seal>,
    },
    /// Its one member comes with its seal.
    Redacted {
        written: bool,
    },
    /// Not told yet.
    Call {
        id: String,
        name: String,
        custom: bool,
        first: Option<String>,
    },
    Told {
        custom: bool,
    },
    Hidden,
}

impl Encoder {
    /// A writer of the answer to this request.
    pub fn new(reply: &Reply) -> Self {
        Self {
            reply: reply.clone(),
            begin: Begin::default(),
            started: false,
            over: false,
            choice: None,
            sequencer: Sequencer::default(),
            ordered: Vec::new(),
            open: None,
            index: 0,
            has_calls: false,
            stop: None,
            usage: None,
        }
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            // What belongs to the block that is open needs no sequence.
            Event::Delta { block, delta } if self.open.as_ref().is_some_and(|open| open.block == *block) => {
                self.delta(delta, out);
            }
            Event::Begin(begin) => {
                self.begin.merge(begin);
                self.start(out);
            }
            Event::Open { choice, .. } if *self.choice.get_or_insert(*choice) != *choice => {}
            Event::Open { .. } | Event::Delta { .. } | Event::Close { .. } => self.in_order(event.clone(), out),
            Event::Stop { choice, stop } if *self.choice.get_or_insert(*choice) == *choice => {
                self.stop = Some(stop.clone());
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Took(_) => {}
            Event::Stop { .. } | Event::Logprobs { .. } => {}
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        if self.over {
            return;
        }
        self.over = true;
        self.start(out);
        self.close_all(out);
        if self.index == 0 {
            self.begin_block(out, |out| out.extend_from_slice(br#"{"type":"text","text":""}"#));
            self.end_block(out);
        }
        let stop = self.stop.take().unwrap_or(Stop::Done).given(self.has_calls);
        out.extend_from_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
        out.extend_from_slice(stop::members(&stop).as_bytes());
        out.extend_from_slice(b"},\"usage\":");
        out.extend_from_slice(usage_so_far(self.usage.as_ref()).as_bytes());
        out.extend_from_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut) {
        if self.over {
            return;
        }
        self.over = true;
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(&stream_error(error));
        out.extend_from_slice(b"\n\n");
    }

    fn heartbeat(&self) -> Bytes {
        Bytes::from_static(PING.as_bytes())
    }
}

impl Encoder {
    fn start(&mut self, out: &mut BytesMut) {
        if self.started {
            return;
        }
        self.started = true;
        out.extend_from_slice(b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
        head(out, &self.begin, &self.reply);
        out.extend_from_slice(b",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
        out.extend_from_slice(usage_so_far(self.usage.as_ref()).as_bytes());
        out.extend_from_slice(b"}}\n\n");
    }

    fn in_order(&mut self, event: Event, out: &mut BytesMut) {
        let mut ordered = std::mem::take(&mut self.ordered);
        self.sequencer.push(event, &mut ordered);
        for event in ordered.drain(..) {
            match event {
                Event::Open { block, what, .. } => self.open(block, what, out),
                Event::Delta { block, delta } if self.open.as_ref().is_some_and(|open| open.block == block) => {
                    self.delta(&delta, out);
                }
                Event::Close { .. } => self.close(out),
                _ => {}
            }
        }
        self.ordered = ordered;
    }

    /// The stream is over though blocks are open: each is closed, and the next in line gets its turn.
    fn close_all(&mut self, out: &mut BytesMut) {
        while let Some(block) = self.open.as_ref().map(|open| open.block) {
            self.in_order(Event::Close { block }, out);
            if self.open.as_ref().is_some_and(|open| open.block == block) {
                self.close(out);
            }
        }
    }

    fn open(&mut self, block: u32, what: Opening, out: &mut BytesMut) {
        self.start(out);
        self.close(out);
        let kind = match what {
            Opening::Text | Opening::Refusal => {
                self.begin_block(out, |out| out.extend_from_slice(br#"{"type":"text","text":""}"#));
                OpenKind::Text
            }
            Opening::Thinking { redacted: false, .. } => {
                self.begin_block(out, |out| {
                    out.extend_from_slice(br#"{"type":"thinking","thinking":"","signature":""}"#);
                });
                OpenKind::Thinking { seal: None }
            }
            Opening::Thinking { redacted: true, .. } => OpenKind::Redacted { written: false },
            Opening::ToolCall { id, name, custom, .. } => {
                self.has_calls = true;
                OpenKind::Call { id, name, custom, first: None }
            }
            Opening::Whole(part) => {
                self.whole(&part.kind, out);
                OpenKind::Hidden
            }
        };
        self.open = Some(OpenBlock { block, kind });
    }

    fn whole(&mut self, kind: &PartKind, out: &mut BytesMut) {
        match kind {
            PartKind::Native(value) if native::is_of_answers(value) => {
                self.begin_block(out, |out| put(out, value));
                self.end_block(out);
            }
            PartKind::Text { text, .. } if !text.is_empty() => {
                self.begin_block(out, |out| out.extend_from_slice(br#"{"type":"text","text":""}"#));
                self.piece(out, "text_delta", "text", text);
                self.end_block(out);
            }
            _ => {}
        }
    }

    fn delta(&mut self, delta: &Delta, out: &mut BytesMut) {
        let Some(mut open) = self.open.take() else { return };
        match (&mut open.kind, delta) {
            (OpenKind::Text, Delta::Text(text)) => self.piece(out, "text_delta", "text", text),
            (OpenKind::Text, Delta::Citation(cited)) => {
                self.piece_head(out, "citations_delta", "citation");
                put(out, &citation::for_client(cited));
                out.extend_from_slice(b"}}\n\n");
            }
            (OpenKind::Thinking { .. }, Delta::Text(text)) => self.piece(out, "thinking_delta", "thinking", text),
            (OpenKind::Thinking { seal }, Delta::Seal(given)) => *seal = Some(given.clone()),
            (OpenKind::Redacted { written }, Delta::Seal(seal)) if !*written => {
                *written = true;
                self.begin_block(out, |out| redacted(out, seal));
            }
            (OpenKind::Told { custom }, Delta::Arguments(more)) => self.arguments(out, more, *custom),
            (OpenKind::Call { first: first @ None, .. }, Delta::Arguments(more)) => *first = Some(more.clone()),
            (OpenKind::Call { .. }, Delta::Arguments(more)) => {
                let custom = self.tell(&mut open, None, out);
                self.arguments(out, more, custom);
            }
            (OpenKind::Call { .. }, Delta::Seal(seal)) => {
                self.tell(&mut open, Some(seal), out);
            }
            _ => {}
        }
        self.open = Some(open);
    }

    /// Tell a call that was held back, its proof before it.
    fn tell(&mut self, open: &mut OpenBlock, seal: Option<&Seal>, out: &mut BytesMut) -> bool {
        let OpenKind::Call { id, name, custom, first } = std::mem::replace(&mut open.kind, OpenKind::Hidden) else {
            return false;
        };
        if let Some(seal) = seal {
            self.begin_block(out, |out| {
                out.extend_from_slice(br#"{"type":"thinking","thinking":"","signature":""}"#);
            });
            self.piece(out, "signature_delta", "signature", &seal.to_field(Family::Anthropic));
            self.end_block(out);
        }
        self.begin_block(out, |out| {
            out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":");
            put_text(out, &id);
            out.extend_from_slice(b",\"name\":");
            put_text(out, &name);
            out.extend_from_slice(b",\"input\":{}}");
        });
        if custom {
            self.piece(out, "input_json_delta", "partial_json", "{\"input\":\"");
        }
        if let Some(first) = first {
            self.arguments(out, &first, custom);
        }
        open.kind = OpenKind::Told { custom };
        custom
    }

    /// The text of a custom tool grows inside of a JSON string.
    fn arguments(&self, out: &mut BytesMut, more: &str, custom: bool) {
        if custom {
            let quoted = serde_json::Value::from(more).to_string();
            let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
            self.piece(out, "input_json_delta", "partial_json", inner);
        } else {
            self.piece(out, "input_json_delta", "partial_json", more);
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        let Some(mut open) = self.open.take() else { return };
        if matches!(open.kind, OpenKind::Call { .. }) {
            self.tell(&mut open, None, out);
        }
        match open.kind {
            OpenKind::Hidden | OpenKind::Redacted { written: false } | OpenKind::Call { .. } => return,
            OpenKind::Thinking { seal: Some(seal) } => {
                self.piece(out, "signature_delta", "signature", &seal.to_field(Family::Anthropic));
            }
            OpenKind::Told { custom: true } => self.piece(out, "input_json_delta", "partial_json", "\"}"),
            _ => {}
        }
        self.end_block(out);
    }

    fn begin_block(&mut self, out: &mut BytesMut, content: impl FnOnce(&mut BytesMut)) {
        // Writing to a buffer cannot fail.
        let _ = write!(
            out,
            "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":{},\"content_block\":",
            self.index
        );
        self.index = self.index.saturating_add(1);
        content(out);
        out.extend_from_slice(b"}\n\n");
    }

    fn end_block(&self, out: &mut BytesMut) {
        let _ = write!(
            out,
            "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{}}}\n\n",
            self.index.saturating_sub(1)
        );
    }

    fn piece(&self, out: &mut BytesMut, kind: &str, member: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.piece_head(out, kind, member);
        put_text(out, text);
        out.extend_from_slice(b"}}\n\n");
    }

    fn piece_head(&self, out: &mut BytesMut, kind: &str, member: &str) {
        out.reserve(192);
        out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
        let _ = write!(out, "{}", self.index.saturating_sub(1));
        out.extend_from_slice(b",\"delta\":{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"");
        out.extend_from_slice(member.as_bytes());
        out.extend_from_slice(b"\":");
    }
}

fn redacted(out: &mut BytesMut, seal: &Seal) {
    out.extend_from_slice(b"{\"type\":\"redacted_thinking\",\"data\":");
    put_text(out, &seal.to_field(Family::Anthropic));
    out.extend_from_slice(b"}");
}
