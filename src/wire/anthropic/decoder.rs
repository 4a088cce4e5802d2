//! Reading a provider's stream.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::decode_answer::{begin, named_call};
use super::json::Members;
use super::open_blocks::{OpenBlock, OpenBlocks};
use super::usage::Counts;
use super::{citation, stop};
use crate::chat::{BadAnswer, Delta, Event, Family, Opening, Part, PartKind, Seal, Stop, StreamDecoder, Truncated};
use crate::minimax;
use crate::openai_error::UpstreamErrorBody;
use crate::usage::Usage;

/// Reads a stream.
#[derive(Debug, Default)]
pub struct Decoder {
    open: OpenBlocks<OpenKind>,
    has_calls: bool,
    counts: Counts,
    reported: Option<Usage>,
    stopped: bool,
    over: bool,
}

#[derive(Debug)]
enum OpenKind {
    Text,
    Thinking {
        signature: String,
    },
    /// With the input that stood in its opening, for providers that send no pieces.
    Call {
        opening_input: Option<String>,
    },
    /// It is told whole once its input is.
    Native {
        value: Value,
        input: String,
    },
    Ignored,
}

/// One event; the members of all types together.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<Piece<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    /// MiniMax's errors.
    #[serde(borrow, default)]
    base_resp: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct Piece<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    text: Option<String>,
    partial_json: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    #[serde(borrow, default)]
    citation: Option<&'a RawValue>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    #[serde(borrow, default)]
    stop_details: Option<&'a RawValue>,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, name: Option<&str>, data: &[u8], out: &mut Vec<Event>) -> Result<bool, BadAnswer> {
        if self.over || data.is_empty() {
            return Ok(self.over);
        }
        if name == Some("error") {
            return Err(BadAnswer::Error(Box::new(UpstreamErrorBody::parse(data))));
        }
        match serde_json::from_slice::<Frame<'_>>(data) {
            Ok(frame) => self.take(name, frame, data, out),
            // A type or a member that is new to us says nothing that must be known.
            Err(error) if error.is_data() => Ok(false),
            // Compatible providers end like OpenAI does.
            Err(_) if data.trim_ascii() == b"[DONE]" => {
                self.over = self.stopped;
                Ok(self.over)
            }
            Err(_) => Err(BadAnswer::NotJson),
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Truncated> {
        if self.stopped {
            return Ok(());
        }
        self.close_all(out);
        Err(Truncated)
    }
}

impl Decoder {
    fn take(
        &mut self,
        name: Option<&str>,
        frame: Frame<'_>,
        data: &[u8],
        out: &mut Vec<Event>,
    ) -> Result<bool, BadAnswer> {
        if let Some(error) = minimax::error_in(frame.base_resp) {
            return Err(BadAnswer::Error(Box::new(error)));
        }
        let kind = if frame.kind.is_empty() { name.unwrap_or_default() } else { frame.kind.as_ref() };
        let index = frame.index.unwrap_or(0);
        match kind {
            "content_block_delta" => self.delta(index, frame.delta, out)?,
            "content_block_start" => self.start(index, frame.content_block, out)?,
            "content_block_stop" => self.stop_block(index, out),
            "message_start" => self.begin(frame.message, out),
            "message_delta" => self.message_delta(frame.delta, frame.usage, out),
            "message_stop" => {
                self.stop(Stop::Done, out);
                self.over = true;
            }
            "error" => return Err(BadAnswer::Error(Box::new(UpstreamErrorBody::parse(data)))),
            _ if frame.error.is_some() => return Err(BadAnswer::Error(Box::new(UpstreamErrorBody::parse(data)))),
            _ => {}
        }
        Ok(self.over)
    }

    fn begin(&mut self, message: Option<&RawValue>, out: &mut Vec<Event>) {
        let Some(message) = message.map(Members::of) else { return };
        out.push(Event::Begin(begin(&message)));
        self.count(message.get("usage"), out);
    }

    fn count(&mut self, usage: Option<&RawValue>, out: &mut Vec<Event>) {
        let Some(usage) = usage else { return };
        self.counts.merge(Counts::read(usage));
        let usage = self.counts.usage().filter(|usage| *usage != Usage::default());
        if usage.is_some() && usage != self.reported {
            self.reported = usage;
            out.extend(usage.map(Event::Usage));
        }
    }

    fn message_delta(&mut self, delta: Option<Piece<'_>>, usage: Option<&RawValue>, out: &mut Vec<Event>) {
        let delta = delta.unwrap_or_default();
        if let Some(reason) = &delta.stop_reason {
            self.close_all(out);
            if let Some(text) = stop::explanation(delta.stop_details).filter(|_| !self.stopped) {
                let block = self.open.number();
                out.push(Event::Open { block, choice: 0, what: Opening::Refusal });
                out.push(Event::Delta { block, delta: Delta::Text(text) });
                out.push(Event::Close { block });
            }
            self.stop(stop::read(reason, delta.stop_sequence), out);
        }
        self.count(usage, out);
    }

    fn stop(&mut self, stop: Stop, out: &mut Vec<Event>) {
        self.close_all(out);
        if !self.stopped {
            self.stopped = true;
            out.push(Event::Stop { choice: 0, stop: stop.given(self.has_calls) });
        }
    }

    fn start(&mut self, index: u64, block: Option<&RawValue>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        self.stop_block(index, out);
        let Some(raw) = block.filter(|_| !self.stopped) else { return Ok(()) };
        let members = Members::of(raw);
        let first = |name: &str| members.text(name).filter(|text| !text.is_empty());
        match members.text("type").as_deref() {
            Some("text") => {
                let block = self.open.open(index, OpenKind::Text, Some(Opening::Text), out)?;
                say(block, first("text").map(Delta::Text), out);
                let citations = members.list("citations").unwrap_or_default();
                citations.into_iter().for_each(|raw| say(block, Some(Delta::Citation(citation::read(raw))), out));
            }
            Some("thinking") => {
                let signature = first("signature").unwrap_or_default();
                let block = self.open.open(index, OpenKind::Thinking { signature }, Some(thinking(false)), out)?;
                say(block, first("thinking").map(Delta::Text), out);
            }
            Some("redacted_thinking") => {
                let signature = first("data").unwrap_or_default();
                self.open.open(index, OpenKind::Thinking { signature }, Some(thinking(true)), out)?;
            }
            Some("tool_use") => self.start_call(index, &members, out)?,
            Some(_) => {
                self.open.hold(raw.get().len())?;
                let value = serde_json::from_str(raw.get()).unwrap_or_default();
                self.open.open(index, OpenKind::Native { value, input: String::new() }, None, out)?;
            }
            None => drop(self.open.open(index, OpenKind::Ignored, None, out)?),
        }
        Ok(())
    }

    fn start_call(&mut self, index: u64, members: &Members<'_>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let Some((id, name)) = named_call(members, usize::try_from(index).unwrap_or_default()) else {
            return self.open.open(index, OpenKind::Ignored, None, out).map(drop);
        };
        let input = members.get("input").map(RawValue::get);
        let opening_input = input.filter(|input| !is_empty_object(input)).map(str::to_owned);
        self.has_calls = true;
        let what = Opening::ToolCall { id, name, namespace: None, custom: false };
        self.open.open(index, OpenKind::Call { opening_input }, Some(what), out).map(drop)
    }

    fn delta(&mut self, index: u64, piece: Option<Piece<'_>>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let Some(piece) = piece.filter(|_| !self.stopped) else { return Ok(()) };
        if self.open.find(index).is_none() {
            self.open_unannounced(index, &piece, out)?;
        }
        if let Some(held) = piece.signature.as_ref().or(piece.partial_json.as_ref()) {
            let holds = |kind: &OpenKind| matches!(kind, OpenKind::Thinking { .. } | OpenKind::Native { .. });
            if self.open.find(index).is_some_and(|open| holds(&open.kind)) {
                self.open.hold(held.len())?;
            }
        }
        let Some(open) = self.open.find(index) else { return Ok(()) };
        let block = open.block;
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        match (&mut open.kind, piece.kind.as_ref()) {
            (OpenKind::Text, "text_delta") => say(block, text(piece.text).map(Delta::Text), out),
            (OpenKind::Text, "citations_delta") => {
                say(block, piece.citation.map(|raw| Delta::Citation(citation::read(raw))), out);
            }
            (OpenKind::Thinking { .. }, "thinking_delta") => say(block, text(piece.thinking).map(Delta::Text), out),
            (OpenKind::Thinking { signature }, "signature_delta") => {
                signature.push_str(piece.signature.as_deref().unwrap_or_default());
            }
            (OpenKind::Call { opening_input }, "input_json_delta") => {
                if let Some(more) = text(piece.partial_json) {
                    *opening_input = None;
                    say(block, Some(Delta::Arguments(more)), out);
                }
            }
            (OpenKind::Native { input, .. }, "input_json_delta") => {
                input.push_str(piece.partial_json.as_deref().unwrap_or_default());
            }
            _ => {}
        }
        Ok(())
    }

    /// Some providers leave out the openings of plain blocks.
    fn open_unannounced(&mut self, index: u64, piece: &Piece<'_>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let (kind, what) = match piece.kind.as_ref() {
            "text_delta" => (OpenKind::Text, Opening::Text),
            "thinking_delta" => (OpenKind::Thinking { signature: String::new() }, thinking(false)),
            _ => return Ok(()),
        };
        self.open.open(index, kind, Some(what), out).map(drop)
    }

    fn stop_block(&mut self, index: u64, out: &mut Vec<Event>) {
        if let Some(open) = self.open.take(index) {
            self.close(open, out);
        }
    }

    fn close_all(&mut self, out: &mut Vec<Event>) {
        for open in self.open.take_all() {
            self.close(open, out);
        }
    }

    fn close(&mut self, open: OpenBlock<OpenKind>, out: &mut Vec<Event>) {
        let mut block = open.block;
        match open.kind {
            OpenKind::Ignored => return,
            OpenKind::Text => {}
            OpenKind::Thinking { signature } => {
                let seal = (!signature.is_empty()).then_some(Seal { family: Family::Anthropic, data: signature });
                say(block, seal.map(Delta::Seal), out);
            }
            OpenKind::Call { opening_input } => say(block, opening_input.map(Delta::Arguments), out),
            OpenKind::Native { mut value, input } => {
                block = self.open.number();
                if let (Value::Object(members), Ok(input)) = (&mut value, serde_json::from_str(&input)) {
                    members.insert("input".to_owned(), input);
                }
                let what = Opening::Whole(Part::new(PartKind::Native(value)));
                out.push(Event::Open { block, choice: 0, what });
            }
        }
        out.push(Event::Close { block });
    }
}

const fn thinking(redacted: bool) -> Opening {
    Opening::Thinking { id: None, summary: false, redacted }
}

fn say(block: u32, delta: Option<Delta>, out: &mut Vec<Event>) {
    out.extend(delta.map(|delta| Event::Delta { block, delta }));
}

fn is_empty_object(json: &str) -> bool {
    json.bytes().all(|byte| matches!(byte, b'{' | b'}' | b' ' | b'\n' | b'\t' | b'\r')) || json == "\"\""
}
