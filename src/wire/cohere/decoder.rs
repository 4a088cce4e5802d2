//! Reading Cohere's stream.
//!
//! A text stays open past its `content-end`: its sources may come later.

use serde_json::{Value, json};

use super::frame::{Content, Frame, Message};
use super::{stop, usage};
use crate::chat::ids::call_id;
use crate::chat::{BadAnswer, Begin, Citation, Delta, Event, Family, Opening, StreamDecoder, Truncated};
use crate::lenient::Any;
use crate::openai::{Call, parsed};
use crate::openai_error::UpstreamErrorBody;

/// Reads a stream of Cohere's events.
#[derive(Debug, Default)]
pub struct Decoder {
    next_block: u32,
    open: Option<(u32, Kind)>,
    calls: usize,
    over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
    Call,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, name: Option<&str>, data: &[u8], out: &mut Vec<Event>) -> Result<bool, BadAnswer> {
        let data = data.trim_ascii();
        if self.over || data.is_empty() || data == b"[DONE]" {
            return Ok(self.over);
        }
        let text = std::str::from_utf8(data).map_err(|_| BadAnswer::NotJson)?;
        let Any(frame) = serde_json::from_str::<Any<Frame<'_>>>(text).map_err(|_| BadAnswer::NotJson)?;
        let kind = if frame.kind.0.is_empty() { name.unwrap_or_default().to_owned() } else { frame.kind.0.clone() };
        self.event(&kind, frame, text, out)?;
        Ok(self.over)
    }

    fn end(&mut self, _out: &mut Vec<Event>) -> Result<(), Truncated> {
        if self.over { Ok(()) } else { Err(Truncated) }
    }
}

impl Decoder {
    fn event(&mut self, kind: &str, frame: Frame<'_>, text: &str, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let Frame { id, delta, .. } = frame;
        let delta = delta.map(|delta| *delta).unwrap_or_default();
        match kind {
            "message-start" => out.push(Event::Begin(begin(id.0))),
            "content-start" | "content-delta" | "tool-plan-delta" | "citation-start" => {
                self.message(delta.message.unwrap_or_default(), out);
                self.logprobs(frame.logprobs.or(delta.logprobs), out);
            }
            "tool-call-start" | "tool-call-delta" => {
                let calls = delta.message.unwrap_or_default().calls.0;
                calls.into_iter().for_each(|call| self.call(call, kind == "tool-call-start", out));
            }
            "tool-call-end" => self.close(out),
            "message-end" => self.finish(&delta, out)?,
            // Newer kinds of events say nothing to us; a piece without any kind is an error, or nonsense.
            "" | "error" => return Err(failure(text)),
            _ => {}
        }
        Ok(())
    }

    /// What a message says, but for its calls.
    fn message(&mut self, message: Message<'_>, out: &mut Vec<Event>) {
        self.say(Kind::Text, message.plan.0, out);
        for Content { text, thinking } in message.content.0 {
            self.say(Kind::Thought, thinking, out);
            self.say(Kind::Text, text, out);
        }
        if let Some(citations) = parsed(message.citations) {
            self.cite(&citations, out);
        }
    }

    fn say(&mut self, kind: Kind, text: String, out: &mut Vec<Event>) {
        if !text.is_empty() {
            let block = self.block(kind, out);
            out.push(Event::Delta { block, delta: Delta::Text(text) });
        }
    }

    fn block(&mut self, kind: Kind, out: &mut Vec<Event>) -> u32 {
        match self.open {
            Some((block, open)) if open == kind => block,
            _ => {
                let thought = Opening::Thinking { id: None, summary: false, redacted: false };
                self.begin(kind, if kind == Kind::Thought { thought } else { Opening::Text }, out)
            }
        }
    }

    fn begin(&mut self, kind: Kind, what: Opening, out: &mut Vec<Event>) -> u32 {
        self.close(out);
        let block = self.next_block;
        self.next_block = block.saturating_add(1);
        self.open = Some((block, kind));
        out.push(Event::Open { block, choice: 0, what });
        block
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        out.extend(self.open.take().map(|(block, _)| Event::Close { block }));
    }

    /// A call, or more of its arguments.
    fn call(&mut self, call: Call<'_>, starts: bool, out: &mut Vec<Event>) {
        let Call { id, name, arguments, .. } = call;
        if starts && !name.is_empty() {
            let id = if id.is_empty() { call_id(0, self.calls, &name) } else { id };
            self.calls = self.calls.saturating_add(1);
            self.begin(Kind::Call, Opening::ToolCall { id, name, namespace: None, custom: false }, out);
        }
        if let Some((block, Kind::Call)) = self.open.filter(|_| !arguments.is_empty()) {
            out.push(Event::Delta { block, delta: Delta::Arguments(arguments) });
        }
    }

    fn cite(&mut self, citations: &Value, out: &mut Vec<Event>) {
        let Some((block, Kind::Text)) = self.open else { return };
        let citations = citations.as_array().map_or(std::slice::from_ref(citations), Vec::as_slice);
        out.extend(citations.iter().map(|one| Event::Delta { block, delta: Delta::Citation(citation(one)) }));
    }

    fn logprobs(&self, logprobs: Option<&serde_json::value::RawValue>, out: &mut Vec<Event>) {
        let Some(told) = parsed(logprobs) else { return };
        let list = told.as_array().map_or(std::slice::from_ref(&told), Vec::as_slice);
        let content: Vec<Value> = list.iter().map(token).collect();
        out.push(Event::Logprobs { choice: 0, logprobs: json!({"content": content}) });
    }

    fn finish(&mut self, end: &Frame<'_>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let reason = end.finish.as_ref().map_or("", |finish| finish.0.as_str());
        let stop = stop::read(reason).ok_or_else(|| ended_by_error(parsed(end.error)))?;
        self.close(out);
        out.push(Event::Stop { choice: 0, stop: stop.given(self.calls > 0) });
        out.extend(parsed(end.usage).as_ref().and_then(usage::read).map(Event::Usage));
        self.over = true;
        Ok(())
    }

    /// A whole answer says the same at once.
    pub(super) fn whole(&mut self, answer: Frame<'_>, text: &str, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let end = Frame { finish: answer.finish, usage: answer.usage, error: answer.error, ..Frame::default() };
        let Some(mut message) = answer.message.filter(|_| end.finish.is_some()) else { return Err(failure(text)) };
        let calls = std::mem::take(&mut message.calls.0);
        out.push(Event::Begin(begin(answer.id.0)));
        self.message(message, out);
        calls.into_iter().for_each(|call| self.call(call, true, out));
        self.logprobs(answer.logprobs, out);
        self.finish(&end, out)
    }
}

fn begin(id: String) -> Begin {
    Begin { id: Some(id).filter(|id| !id.is_empty()), ..Begin::default() }
}

/// What stands in place of an answer.
fn failure(text: &str) -> BadAnswer {
    let told = serde_json::from_str(text).ok().as_ref().and_then(UpstreamErrorBody::from_json);
    match told {
        Some(error) => BadAnswer::Error(Box::new(error)),
        None => BadAnswer::Broken("no message is in it".into()),
    }
}

/// The provider gave up; mostly it does not say why.
fn ended_by_error(told: Option<Value>) -> BadAnswer {
    let told = told.and_then(|told| UpstreamErrorBody::from_json(&json!({"error": told})));
    let message = "the provider ended the answer with an error".to_owned();
    let untold = || UpstreamErrorBody { message, ..UpstreamErrorBody::default() };
    BadAnswer::Error(Box::new(told.unwrap_or_else(untold)))
}

/// A source. Documents have no address, so it is kept as it was written, too.
fn citation(cited: &Value) -> Citation {
    let place = |name: &str| cited.get(name).and_then(Value::as_u64);
    let document = |name: &str| {
        let found = cited.get("sources")?.get(0)?.get("document")?.get(name)?;
        found.as_str().map(str::to_owned)
    };
    Citation {
        url: document("url"),
        title: document("title"),
        quote: cited.get("text").and_then(Value::as_str).map(str::to_owned),
        span: place("start").zip(place("end")),
        native: Some((Family::Other, cited.to_string())),
    }
}

/// A token's probability in OpenAI's words; Cohere may join several tokens.
fn token(entry: &Value) -> Value {
    let chances = entry.get("logprobs").and_then(Value::as_array);
    let chance: f64 = chances.into_iter().flatten().filter_map(Value::as_f64).sum();
    let text = entry.get("text").and_then(Value::as_str).unwrap_or_default();
    json!({"token": text, "logprob": chance, "bytes": null, "top_logprobs": []})
}
