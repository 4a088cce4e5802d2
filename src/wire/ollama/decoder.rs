//! A provider's stream, of `/api/chat` or of `/api/generate`.

use serde_json::Value;
use serde_json::value::RawValue;

use super::shape::{self, Call, Chunk};
use super::{decode_messages, usage};
use crate::chat::{BadAnswer, Begin, Delta, Event, Opening, Stop, StreamDecoder, Truncated, ids};
use crate::mend;
use crate::openai_error::UpstreamErrorBody;

/// Reads lines of JSON.
#[derive(Debug, Default)]
pub struct Decoder {
    begun: bool,
    /// When the answer was made, to tell its calls from those of other answers.
    stamp: String,
    blocks: u32,
    open: Option<(u32, Kind)>,
    calls: usize,
    spoke: bool,
    over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, _name: Option<&str>, data: &[u8], out: &mut Vec<Event>) -> Result<bool, BadAnswer> {
        if self.over || data.trim_ascii().is_empty() {
            return Ok(self.over);
        }
        if let Ok(chunk) = serde_json::from_slice(data) {
            return self.take(chunk, data, out);
        }
        let mended = mend::mended(data, shape::SHAPE, shape::OPAQUE).ok_or(BadAnswer::NotJson)?;
        match serde_json::from_slice(&mended) {
            Ok(chunk) => self.take(chunk, &mended, out),
            Err(_) => Err(BadAnswer::Broken("a line is no object of the known kind".to_owned())),
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Truncated> {
        self.close(out);
        if self.over { Ok(()) } else { Err(Truncated) }
    }
}

impl Decoder {
    /// The end of an answer that came in one; false when there was none.
    pub(super) fn end_of_whole(&mut self, out: &mut Vec<Event>) -> bool {
        if !self.over && self.spoke {
            self.stop(None, out);
        }
        self.over
    }

    fn take(&mut self, chunk: Chunk<'_>, json: &[u8], out: &mut Vec<Event>) -> Result<bool, BadAnswer> {
        if chunk.error.is_some() {
            return Err(BadAnswer::Error(Box::new(UpstreamErrorBody::parse(json))));
        }
        self.begin(&chunk, out);
        let (counted, took) = (usage::read(&chunk), usage::read_took(&chunk));
        self.spoke |= chunk.message.is_some() || chunk.response.is_some();
        let said = chunk.message.unwrap_or_default();
        for thought in [said.thinking, chunk.thinking].into_iter().flatten() {
            self.grow(Kind::Thinking, thought, out);
        }
        for text in [said.content, chunk.response].into_iter().flatten() {
            self.grow(Kind::Text, text, out);
        }
        self.images(said.images, out);
        for call in said.tool_calls.unwrap_or_default() {
            self.call(call, out);
        }
        let logprobs = chunk.logprobs.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        if let Some(content @ Value::Array(_)) = logprobs {
            let logprobs = Value::Object([("content".to_owned(), content)].into_iter().collect());
            out.push(Event::Logprobs { choice: 0, logprobs });
        }
        if chunk.done == Some(true) {
            self.stop(chunk.done_reason, out);
            out.extend(counted.map(Event::Usage));
            out.extend(took.map(Event::Took));
        }
        Ok(self.over)
    }

    fn begin(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.stamp = chunk.created_at.as_deref().unwrap_or_default().to_owned();
        let created = self.stamp.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
        let model = chunk.model.as_deref().map(str::to_owned);
        out.push(Event::Begin(Begin { model, created, ..Begin::default() }));
    }

    fn stop(&mut self, reason: Option<String>, out: &mut Vec<Event>) {
        self.close(out);
        let stop = match reason.as_deref() {
            None | Some("" | "stop" | "load" | "unload") => Stop::Done,
            Some("length") => Stop::Length,
            Some("tool_calls") => Stop::ToolCalls,
            Some(_) => Stop::Other(reason.unwrap_or_default()),
        };
        out.push(Event::Stop { choice: 0, stop: stop.given(self.calls > 0) });
        self.over = true;
    }

    fn opened(&mut self, what: Opening, out: &mut Vec<Event>) -> u32 {
        self.close(out);
        let block = self.blocks;
        self.blocks = block.saturating_add(1);
        out.push(Event::Open { block, choice: 0, what });
        block
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        out.extend(self.open.take().map(|(block, _)| Event::Close { block }));
    }

    fn grow(&mut self, kind: Kind, text: String, out: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        let block = match self.open {
            Some((block, open)) if open == kind => block,
            _ => {
                let what = match kind {
                    Kind::Text => Opening::Text,
                    Kind::Thinking => Opening::Thinking { id: None, summary: false, redacted: false },
                };
                let block = self.opened(what, out);
                self.open = Some((block, kind));
                block
            }
        };
        out.push(Event::Delta { block, delta: Delta::Text(text) });
    }

    fn images(&mut self, images: Option<&RawValue>, out: &mut Vec<Event>) {
        let images = images.and_then(|raw| serde_json::from_str::<Vec<String>>(raw.get()).ok());
        for image in images.unwrap_or_default() {
            let block = self.opened(Opening::Whole(decode_messages::image(image)), out);
            out.push(Event::Close { block });
        }
    }

    fn call(&mut self, call: Call<'_>, out: &mut Vec<Event>) {
        let Some(function) = call.function else { return };
        let Some(name) = function.name.filter(|name| !name.is_empty()) else { return };
        let raw = function.arguments.map_or("{}", RawValue::get);
        // Some servers write them as text, as OpenAI does.
        let arguments = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
        let made = || ids::call_id(0, self.calls, &format!("{}\n{name}\n{arguments}", self.stamp));
        let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(made);
        self.calls += 1;
        let block = self.opened(Opening::ToolCall { id, name, namespace: None, custom: false }, out);
        out.push(Event::Delta { block, delta: Delta::Arguments(arguments) });
        out.push(Event::Close { block });
    }
}
