//! Reading a stream. A frame is a message of the event stream: its name, and its payload.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::decode_answer::{citation, error_of, stop_of};
use super::errors::status_of_exception;
use super::usage;
use crate::anthropic::json::Members;
use crate::anthropic::open_blocks::{OpenBlock, OpenBlocks};
use crate::chat::ids::call_id;
use crate::chat::{BadAnswer, Begin, Delta, Event, Family, Opening, Seal, Stop, StreamDecoder, Truncated};
use crate::openai_error::UpstreamErrorBody;
use crate::usage::Usage;

/// Reads a stream.
#[derive(Debug, Default)]
pub struct Decoder {
    open: OpenBlocks<OpenKind>,
    has_calls: bool,
    stopped: bool,
    over: bool,
}

#[derive(Debug)]
enum OpenKind {
    Text,
    Thinking { seal: String },
    Call,
}

/// A payload; the members of all events together.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame<'a> {
    #[serde(default)]
    content_block_index: Option<u64>,
    #[serde(borrow, default)]
    start: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<Piece<'a>>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    text: Option<String>,
    tool_use: Option<Input>,
    reasoning_content: Option<Thought>,
    #[serde(borrow, default)]
    citation: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct Input {
    input: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thought {
    text: Option<String>,
    signature: Option<String>,
    redacted_content: Option<String>,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, name: Option<&str>, data: &[u8], out: &mut Vec<Event>) -> Result<bool, BadAnswer> {
        let name = name.unwrap_or_default();
        if self.over {
            return Ok(true);
        }
        if name.ends_with("Exception") || name.ends_with("Error") {
            return Err(BadAnswer::Error(Box::new(exception(name, data))));
        }
        let frame = match serde_json::from_slice::<Frame<'_>>(data) {
            Ok(frame) => frame,
            // An event or a member that is new to us says nothing that must be known.
            Err(error) if error.is_data() => return Ok(false),
            Err(_) if data.is_empty() => Frame::default(),
            Err(_) => return Err(BadAnswer::NotJson),
        };
        let index = frame.content_block_index.unwrap_or(0);
        match name {
            "contentBlockDelta" => self.delta(index, frame.delta.unwrap_or_default(), out)?,
            "contentBlockStart" => self.start(index, frame.start, out)?,
            "contentBlockStop" => self.stop_block(index, out),
            "messageStart" => out.push(Event::Begin(Begin::default())),
            "messageStop" => self.stop(frame.stop_reason.as_deref(), out),
            "metadata" => {
                let usage = frame.usage.and_then(usage::read).filter(|usage| *usage != Usage::default());
                out.extend(usage.map(Event::Usage));
                self.over = self.stopped;
            }
            _ => {}
        }
        Ok(self.over)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Truncated> {
        if self.stopped {
            return Ok(());
        }
        self.close_all(out);
        Err(Truncated)
    }
}

/// In a stream there is only the name; what it stands for among the statuses decides what the connection learns of it.
fn exception(name: &str, data: &[u8]) -> UpstreamErrorBody {
    let json: Option<Value> = serde_json::from_slice(data).ok();
    let error = json.as_ref().and_then(error_of).unwrap_or_else(|| UpstreamErrorBody::parse(data));
    let code = status_of_exception(name).map(|status| status.to_string()).or(error.code);
    UpstreamErrorBody { kind: Some(name.to_owned()), code, ..error }
}

impl Decoder {
    fn start(&mut self, index: u64, start: Option<&RawValue>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        self.stop_block(index, out);
        let Some(call) = start.and_then(|start| Members::of(start).members("toolUse")).filter(|_| !self.stopped) else {
            return Ok(());
        };
        let Some(name) = call.text("name").filter(|name| !name.is_empty()) else { return Ok(()) };
        let place = usize::try_from(index).unwrap_or_default();
        let id = call.text("toolUseId").filter(|id| !id.is_empty()).unwrap_or_else(|| call_id(0, place, &name));
        self.has_calls = true;
        let what = Opening::ToolCall { id, name, namespace: None, custom: false };
        self.open.open(index, OpenKind::Call, Some(what), out).map(drop)
    }

    fn delta(&mut self, index: u64, piece: Piece<'_>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        if self.stopped {
            return Ok(());
        }
        if let Some(thought) = piece.reasoning_content {
            return self.thought(index, thought, out);
        }
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(input) = filled(piece.tool_use.and_then(|call| call.input)) {
            let call = self.open.find(index).filter(|open| matches!(open.kind, OpenKind::Call));
            out.extend(call.map(|call| Event::Delta { block: call.block, delta: Delta::Arguments(input) }));
        }
        let text = filled(piece.text).map(Delta::Text);
        let cited = piece.citation.map(|raw| Delta::Citation(citation(raw)));
        for delta in text.into_iter().chain(cited) {
            let block = self.text_block(index, out)?;
            out.push(Event::Delta { block, delta });
        }
        Ok(())
    }

    /// Texts and thoughts are not announced; one block may change from one to the other.
    fn text_block(&mut self, index: u64, out: &mut Vec<Event>) -> Result<u32, BadAnswer> {
        match self.open.find(index) {
            Some(OpenBlock { block, kind: OpenKind::Text, .. }) => Ok(*block),
            _ => {
                self.stop_block(index, out);
                self.open.open(index, OpenKind::Text, Some(Opening::Text), out)
            }
        }
    }

    fn thought(&mut self, index: u64, thought: Thought, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let thinks = self.open.find(index).is_some_and(|open| matches!(open.kind, OpenKind::Thinking { .. }));
        if !thinks {
            self.stop_block(index, out);
            let what = Opening::Thinking { id: None, summary: false, redacted: thought.redacted_content.is_some() };
            self.open.open(index, OpenKind::Thinking { seal: String::new() }, Some(what), out)?;
        }
        let more = thought.signature.or(thought.redacted_content).unwrap_or_default();
        self.open.hold(more.len())?;
        let Some(open) = self.open.find(index) else { return Ok(()) };
        if let OpenKind::Thinking { seal } = &mut open.kind {
            seal.push_str(&more);
        }
        let text = thought.text.filter(|text| !text.is_empty());
        out.extend(text.map(|text| Event::Delta { block: open.block, delta: Delta::Text(text) }));
        Ok(())
    }

    fn stop(&mut self, reason: Option<&str>, out: &mut Vec<Event>) {
        self.close_all(out);
        if !self.stopped {
            self.stopped = true;
            let stop = reason.map_or(Stop::Done, stop_of).given(self.has_calls);
            out.push(Event::Stop { choice: 0, stop });
        }
    }

    fn stop_block(&mut self, index: u64, out: &mut Vec<Event>) {
        if let Some(open) = self.open.take(index) {
            close(open, out);
        }
    }

    fn close_all(&mut self, out: &mut Vec<Event>) {
        self.open.take_all().into_iter().for_each(|open| close(open, out));
    }
}

fn close(open: OpenBlock<OpenKind>, out: &mut Vec<Event>) {
    let block = open.block;
    if let OpenKind::Thinking { seal } = open.kind
        && !seal.is_empty()
    {
        out.push(Event::Delta { block, delta: Delta::Seal(Seal { family: Family::Anthropic, data: seal }) });
    }
    out.push(Event::Close { block });
}
