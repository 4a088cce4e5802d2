//! Reading a provider's stream.
//!
//! What ends the answer (`finish_reason`, usage) is held back until nothing more can come: upstreams say `stop` on every chunk, send
//! calls after it, or report zero usage first. The end is `[DONE]`, the chunk of usage behind the last choice, or the end of the
//! connection once every choice has ended.

use serde_json::value::RawValue;

use super::body::{Choice, Chunk, given};
use super::stream_choice::{ChoiceState, Sink};
use crate::chat::{BadAnswer, Begin, Event, StreamDecoder, Truncated};
use crate::lenient::Any;
use crate::openai_error::UpstreamErrorBody;
use crate::usage::Usage;

const MAX_CHOICES: usize = 128;

/// Reads a stream of `chat.completion.chunk`s.
#[derive(Debug, Default)]
pub struct Decoder {
    begin: Begin,
    begun: bool,
    choices: Vec<ChoiceState>,
    next_block: u32,
    usage: Option<Usage>,
    over: bool,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, name: Option<&str>, data: &[u8], out: &mut Vec<Event>) -> Result<bool, BadAnswer> {
        let data = data.trim_ascii();
        if self.over || data.is_empty() && name != Some("error") {
            return Ok(self.over);
        }
        if name == Some("error") {
            return Err(BadAnswer::Error(Box::new(UpstreamErrorBody::parse(data))));
        }
        if data == b"[DONE]" {
            self.finish(out)?;
            return Ok(true);
        }
        let text = std::str::from_utf8(data).map_err(|_| BadAnswer::NotJson)?;
        let Any(chunk) = serde_json::from_str::<Any<Chunk<'_>>>(text).map_err(|_| BadAnswer::NotJson)?;
        self.chunk(chunk, text, out)?;
        Ok(self.over)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Truncated> {
        if self.over {
            return Ok(());
        }
        if !self.has_ended() {
            // What was used is owed even so.
            out.extend(self.usage.take().map(Event::Usage));
            return Err(Truncated);
        }
        self.finish(out).map_err(|_| Truncated)
    }
}

impl Decoder {
    /// Takes a chunk, or a whole answer, which reads the same but for `message`.
    pub(super) fn chunk(&mut self, chunk: Chunk<'_>, text: &str, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        if let Some(error) = chunk.error_body(text) {
            return Err(BadAnswer::Error(Box::new(error)));
        }
        if !chunk.object {
            return Err(BadAnswer::Broken("a chunk is no object".into()));
        }
        self.begin(&chunk, out);
        if let Some(usage) = chunk.usage.and_then(Usage::from_openai).filter(|usage| *usage != Usage::default()) {
            self.usage = Some(usage);
        }
        let only_usage = chunk.choices.list.is_empty() && given(chunk.usage).is_some();
        for choice in chunk.choices.list {
            self.choice(choice, out)?;
        }
        if only_usage && self.usage.is_some() && self.has_ended() {
            self.finish(out)?;
        }
        Ok(())
    }

    fn begin(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) {
        if self.begun {
            return;
        }
        let text = |raw: Option<&RawValue>| {
            let text: String = serde_json::from_str(given(raw)?.get()).ok()?;
            Some(text).filter(|text| !text.is_empty())
        };
        self.begin.merge(&Begin {
            id: text(chunk.id),
            model: text(chunk.model),
            created: chunk.created.and_then(|raw| serde_json::from_str(raw.get()).ok()).filter(|at| *at > 0),
            service_tier: text(chunk.service_tier),
            fingerprint: text(chunk.fingerprint),
        });
        // Azure's first chunk has empty labels and no choices; the next one knows better.
        self.begun = !chunk.choices.list.is_empty();
        if self.begun {
            out.push(Event::Begin(self.begin.clone()));
        }
    }

    fn choice(&mut self, choice: Choice<'_>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let known = self.choices.iter().position(|state| state.index == choice.index);
        if known.is_none() && self.choices.len() >= MAX_CHOICES {
            return Err(BadAnswer::Broken("too many choices".into()));
        }
        let at = known.unwrap_or(self.choices.len());
        if known.is_none() {
            self.choices.push(ChoiceState::new(choice.index));
        }
        let salt = salt(self.begin.id.as_deref());
        let Some(state) = self.choices.get_mut(at) else { return Ok(()) };
        let mut sink = Sink { choice: state.index, next_block: &mut self.next_block, salt, out };
        state.take(choice, &mut sink)
    }

    fn has_ended(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.stop.is_some())
    }

    /// Tells everything that was held back.
    pub(super) fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        if !self.choices.iter().any(|choice| choice.said || choice.stop.is_some()) {
            return Err(BadAnswer::Broken("it says nothing".into()));
        }
        let salt = salt(self.begin.id.as_deref());
        for state in &mut self.choices {
            let mut sink = Sink { choice: state.index, next_block: &mut self.next_block, salt, out };
            state.finish(&mut sink)?;
        }
        out.extend(self.usage.take().map(Event::Usage));
        self.over = true;
        Ok(())
    }
}

/// A number for the answer, the same whenever it is read.
fn salt(id: Option<&str>) -> usize {
    id.unwrap_or_default().bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)))
}
