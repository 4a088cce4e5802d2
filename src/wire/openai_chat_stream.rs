//! Watching a chat stream that is passed through: what each event means, what of it the client gets, and how the stream ended.
//!
//! A clean end of the connection proves nothing: OpenAI clients take it for success. Only a `finish_reason` does, so the watcher
//! decides between complete, truncated and empty, and the caller writes the last event: [`DONE_FRAME`] or an error.
//! `[DONE]`, upstream errors and broken events are therefore never forwarded from here.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;
use serde_json::value::RawValue;
use smallvec::SmallVec;

mod chunk;
mod stencil;

pub use super::openai_chat_parts::FinishReason;
use super::{
    lenient::Any, openai_chat_parts::Body, openai_error::UpstreamErrorBody, splice, sse::SseEvent, usage::Usage,
};
pub(crate) use chunk::Chunk;
use stencil::Stencil;

/// What closes a complete chat stream.
pub const DONE_FRAME: &str = "data: [DONE]\n\n";

/// More choices than any request may ask for are not remembered.
const MAX_CHOICES: usize = 128;
const MAX_LABEL: usize = 512;

/// What one event means and what the client gets of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The bytes for the client; none when it gets nothing.
    pub forward: Option<Bytes>,
    /// What it means for the attempt.
    pub kind: Kind,
}

/// What an event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Life without content: a role, an empty delta, `choices:[]`, a comment, a ping.
    Lifecycle,
    /// Content; `first` for the first of the stream.
    Content {
        /// Nothing but lifecycle came before.
        first: bool,
    },
    /// At least one choice ended.
    Finish {
        /// The same chunk carries content.
        content: bool,
    },
    /// Only usage.
    Usage,
    /// `[DONE]`.
    Done,
    /// The upstream reports a failure.
    Error(UpstreamErrorBody),
    /// Not a JSON object: something was lost, and with it perhaps half of a tool call.
    InvalidJson,
}

/// What a provider is known not to send.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct EndRules {
    /// It may end without any `finish_reason`.
    pub finish_reason_optional: bool,
    /// It may end without `[DONE]`. Matters only without a `finish_reason`; after one, `[DONE]` is never demanded.
    pub done_optional: bool,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The answer is whole; the client gets [`DONE_FRAME`].
    Complete {
        /// The upstream left `[DONE]` out.
        missing_done: bool,
    },
    /// Content came, the end did not.
    Truncated(Truncation),
    /// Neither content nor an end came.
    Empty,
}

/// Why an answer is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// The upstream closed without a `finish_reason`.
    NoFinish,
    /// It even sent `[DONE]`, but no `finish_reason`.
    DoneWithoutFinish,
    /// It reported an error.
    UpstreamError,
    /// It sent something that is no chunk.
    InvalidJson,
}

/// Follows one upstream chat stream.
#[derive(Debug)]
pub struct StreamWatch {
    client_wants_usage: bool,
    content_seen: bool,
    done: bool,
    broken: Option<Truncation>,
    finishes: SmallVec<[(u32, FinishReason); 2]>,
    usage: Option<Usage>,
    chars_out: u64,
    id: Option<String>,
    model: Option<String>,
    stencil: Option<Stencil>,
}

impl StreamWatch {
    /// A watcher for a client that did or did not ask for usage in the stream.
    pub fn new(client_wants_usage: bool) -> Self {
        Self {
            client_wants_usage,
            content_seen: false,
            done: false,
            broken: None,
            finishes: SmallVec::new(),
            usage: None,
            chars_out: 0,
            id: None,
            model: None,
            stencil: None,
        }
    }

    /// Takes the next event of the upstream.
    pub fn step(&mut self, event: &SseEvent) -> Step {
        if self.done || self.broken.is_some() || event.is_comment {
            return Step::drop(Kind::Lifecycle);
        }
        if event.event.as_deref() == Some(b"error") {
            return Step::drop(self.error(UpstreamErrorBody::parse(&event.data)));
        }
        if event.data.is_empty() {
            return Step::drop(Kind::Lifecycle);
        }
        if event.data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return Step::drop(Kind::Done);
        }
        self.chunk(event)
    }

    /// How the stream ended, once no event will come any more.
    pub fn end(&self, rules: EndRules) -> Ending {
        let finished = !self.finishes.is_empty();
        let excused = rules.finish_reason_optional && self.content_seen && (self.done || rules.done_optional);
        match self.broken {
            Some(reason) => Ending::Truncated(reason),
            None if finished || excused => Ending::Complete { missing_done: !self.done },
            None if !self.content_seen => Ending::Empty,
            None if self.done => Ending::Truncated(Truncation::DoneWithoutFinish),
            None => Ending::Truncated(Truncation::NoFinish),
        }
    }

    /// The last usage the upstream reported.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Characters of text, reasoning and tool arguments so far, for an estimate.
    pub fn chars_out(&self) -> u64 {
        self.chars_out
    }

    /// Content has come: from here on no other candidate may answer.
    pub fn content_seen(&self) -> bool {
        self.content_seen
    }

    /// The choices that ended, and why.
    pub fn finish_reasons(&self) -> &[(u32, FinishReason)] {
        &self.finishes
    }

    /// The id of the answer, as the upstream gave it.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The model that the upstream says answered.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn chunk(&mut self, event: &SseEvent) -> Step {
        if let Some((chars, forward)) = self.stencil.as_ref().and_then(|stencil| stencil.again(event)) {
            self.chars_out = self.chars_out.saturating_add(chars);
            return Step { forward: Some(forward), kind: Kind::Content { first: false } };
        }
        let text = std::str::from_utf8(&event.data).unwrap_or_default();
        let before = self.chars_out;
        let (kind, shown) = match self.parsed(text) {
            Ok(read) => read,
            Err(broken) => return Step::drop(broken),
        };
        // Before any usage only: a stencil with usage in it would have to be read again.
        if let (Kind::Content { .. }, Shown::Without(hidden), None) = (&kind, &shown, self.usage) {
            self.stencil = Stencil::cut(text, self.chars_out.saturating_sub(before), hidden);
        }
        Step { forward: shown.of(event, text), kind }
    }

    /// What a chunk means, and what of it the client gets; or how it breaks the stream.
    fn parsed(&mut self, text: &str) -> Result<(Kind, Shown), Kind> {
        let Ok(Any(chunk)) = serde_json::from_str::<Any<Chunk<'_>>>(text) else { return Err(self.invalid()) };
        if !chunk.object {
            // Gemini wraps its error into an array, even here.
            let error = serde_json::from_str(text).ok().as_ref().and_then(UpstreamErrorBody::from_json);
            return Err(match error {
                Some(error) => self.error(error),
                None => self.invalid(),
            });
        }
        if let Some(error) = chunk.error_body(text) {
            return Err(self.error(error));
        }
        self.remember(&chunk);
        let usage = chunk.usage.and_then(Usage::from_openai);
        self.usage = usage.or(self.usage);
        let kind = self.judge(&chunk, usage.is_some());
        Ok((kind, self.shown(text, &chunk, usage.is_some())))
    }

    fn judge(&mut self, chunk: &Chunk<'_>, has_usage: bool) -> Kind {
        if chunk.choices.list.is_empty() {
            return if has_usage { Kind::Usage } else { Kind::Lifecycle };
        }
        let (mut content, mut finished) = (false, false);
        for choice in &chunk.choices.list {
            content |= self.count(&choice.body);
            if let Some(reason) = choice.finish {
                finished = true;
                self.finish(choice.index, reason);
            }
        }
        let first = content && !self.content_seen;
        self.content_seen |= content;
        match (finished, content) {
            (true, _) => Kind::Finish { content },
            (false, true) => Kind::Content { first },
            (false, false) => Kind::Lifecycle,
        }
    }

    fn count(&mut self, body: &Body) -> bool {
        self.chars_out = self.chars_out.saturating_add(body.chars).saturating_add(body.reasoning_chars);
        body.content
    }

    fn finish(&mut self, index: u32, reason: FinishReason) {
        if let Some(known) = self.finishes.iter_mut().find(|(known, _)| *known == index) {
            known.1 = reason;
        } else if self.finishes.len() < MAX_CHOICES {
            self.finishes.push((index, reason));
        }
    }

    /// What is for the client: the event as it came, or without the usage that the client did not ask for.
    fn shown(&self, text: &str, chunk: &Chunk<'_>, has_usage: bool) -> Shown {
        let hidden = chunk.usage.filter(|_| !self.client_wants_usage);
        if chunk.choices.list.is_empty() && has_usage {
            let with_list = || if chunk.choices.given { None } else { with_choices(text) };
            return if hidden.is_some() { Shown::Nothing } else { with_list().map_or(Shown::ALL, Shown::Instead) };
        }
        // A chunk without choices says nothing to a chat client, and most clients fall over it.
        if !chunk.choices.given {
            return Shown::Nothing;
        }
        let cut = hidden.and_then(|usage| splice::member_cut(text, splice::place_of(usage.get(), text)));
        cut.map_or(Shown::ALL, Shown::Without)
    }

    fn remember(&mut self, chunk: &Chunk<'_>) {
        for (slot, seen) in [(&mut self.id, chunk.id), (&mut self.model, chunk.model)] {
            if slot.is_none() {
                *slot = seen.and_then(label);
            }
        }
    }

    fn error(&mut self, error: UpstreamErrorBody) -> Kind {
        self.broken = Some(Truncation::UpstreamError);
        Kind::Error(error)
    }

    fn invalid(&mut self) -> Kind {
        self.broken = Some(Truncation::InvalidJson);
        Kind::InvalidJson
    }
}

impl Step {
    fn drop(kind: Kind) -> Self {
        Self { forward: None, kind }
    }
}

/// What of a chunk the client gets.
enum Shown {
    /// Nothing.
    Nothing,
    /// The event as it came, but for these bytes of its data.
    Without(Range<usize>),
    /// This event.
    Instead(Bytes),
}

impl Shown {
    const ALL: Self = Self::Without(0..0);

    fn of(self, event: &SseEvent, text: &str) -> Option<Bytes> {
        match self {
            Self::Nothing => None,
            Self::Without(hidden) if hidden.is_empty() => Some(event.raw.clone()),
            Self::Without(hidden) => Some(framed(&[text.get(..hidden.start)?, text.get(hidden.end..)?])),
            Self::Instead(other) => Some(other),
        }
    }
}

/// The usage chunk for a client that asked for it; clients iterate over `choices`, so it must be a list.
fn with_choices(text: &str) -> Option<Bytes> {
    let keys = splice::keys_of(text).unwrap_or_default();
    let object = splice::Object::new(text, &keys);
    let edit = |index| if object.name(index) == "choices" { splice::Edit::Remove } else { splice::Edit::Keep };
    let with_list = object.rebuild(edit, &["\"choices\":[]".to_owned()])?;
    Some(framed(&[&with_list]))
}

/// One event of the joined parts. Data that came in several lines goes out in several lines.
fn framed(parts: &[&str]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length.saturating_add(8));
    out.extend_from_slice(b"data: ");
    for part in parts {
        if memchr(b'\n', part.as_bytes()).is_none() {
            out.extend_from_slice(part.as_bytes());
        } else {
            out.extend_from_slice(part.replace('\n', "\ndata: ").as_bytes());
        }
    }
    out.extend_from_slice(b"\n\n");
    Bytes::from(out)
}

/// A label given as text, or as whatever else but null.
fn label(raw: &RawValue) -> Option<String> {
    let text = serde_json::from_str::<String>(raw.get()).ok()?;
    Some(text.chars().filter(|c| !c.is_control()).take(MAX_LABEL).collect()).filter(|text: &String| !text.is_empty())
}

#[cfg(test)]
mod tests;
