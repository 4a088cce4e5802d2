//! A provider's stream.

use serde_json::Value;
use serde_json::value::RawValue;

use super::shape::{self, Call, Candidate, Chunk, Data, Piece};
use super::{citations, finish, logprobs, media, usage};
use crate::chat::{
    BadAnswer, Begin, Delta, Event, Family, Opening, Part, PartKind, Seal, Source, Stop, StreamDecoder, Truncated, ids,
};
use crate::mend;
use crate::openai_error::UpstreamErrorBody;
use crate::usage::Usage;

/// No provider gives more answers than this to one question.
const MOST_CHOICES: usize = 128;

/// Text beyond this is not kept for the places of its sources.
const MOST_TEXT: usize = 8 * 1024 * 1024;

/// Reads the chunks of `streamGenerateContent`.
#[derive(Debug, Default)]
pub struct Decoder {
    begin: Option<Begin>,
    blocks: u32,
    lanes: Vec<Lane>,
    usage: Option<Usage>,
    blocked: bool,
}

/// One choice.
#[derive(Debug, Default)]
struct Lane {
    index: u32,
    open: Option<(u32, Kind)>,
    calls: usize,
    /// Older models say it in every chunk, newer ones in a chunk after the call: the last word counts, at the end.
    stop: Option<Stop>,
    text: String,
    /// Of an empty text; given behind what else its chunk says.
    seal: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, _name: Option<&str>, data: &[u8], out: &mut Vec<Event>) -> Result<bool, BadAnswer> {
        let data = data.trim_ascii();
        match data.first() {
            None => {}
            Some(b'[') => {
                let chunks: Vec<&RawValue> = serde_json::from_slice(data).map_err(|_| BadAnswer::NotJson)?;
                for chunk in chunks {
                    self.chunk(chunk.get().as_bytes(), out)?;
                }
            }
            Some(_) => self.chunk(data, out)?,
        }
        Ok(false)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Truncated> {
        self.close_all(out);
        let whole = !self.lanes.is_empty() && self.lanes.iter().all(|lane| lane.stop.is_some());
        self.stop_all(out);
        if whole || self.blocked { Ok(()) } else { Err(Truncated) }
    }
}

impl Decoder {
    /// Whether it has heard of any answer, or of why there is none.
    pub(super) fn heard_something(&self) -> bool {
        !self.lanes.is_empty() || self.blocked
    }

    /// The end of an answer that came in one: what names no reason is done.
    pub(super) fn end_of_whole(&mut self, out: &mut Vec<Event>) {
        for lane in &mut self.lanes {
            lane.stop.get_or_insert(Stop::Done);
        }
        self.close_all(out);
        self.stop_all(out);
    }

    fn close_all(&mut self, out: &mut Vec<Event>) {
        for lane in &mut self.lanes {
            lane.close(out);
            lane.late_seal(&mut self.blocks, out);
        }
    }

    fn stop_all(&mut self, out: &mut Vec<Event>) {
        if self.blocked && self.lanes.is_empty() {
            out.push(Event::Stop { choice: 0, stop: Stop::Filtered });
        }
        for lane in &mut self.lanes {
            let stop = lane.stop.take().map(|stop| stop.given(lane.calls > 0));
            out.extend(stop.map(|stop| Event::Stop { choice: lane.index, stop }));
        }
    }

    fn chunk(&mut self, json: &[u8], out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        if let Ok(chunk) = serde_json::from_slice(json) {
            return self.take(chunk, json, out);
        }
        let mended = mend::mended(json, shape::SHAPE, shape::OPAQUE).ok_or(BadAnswer::NotJson)?;
        match serde_json::from_slice(&mended) {
            Ok(chunk) => self.take(chunk, &mended, out),
            Err(_) => Err(BadAnswer::Broken("a chunk is no object of the known kind".to_owned())),
        }
    }

    fn take(&mut self, chunk: Chunk<'_>, json: &[u8], out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        if chunk.error.is_some() {
            return Err(BadAnswer::Error(Box::new(UpstreamErrorBody::parse(json))));
        }
        self.begin(&chunk, out);
        for (place, candidate) in (0..).zip(chunk.candidates.unwrap_or_default()) {
            self.candidate(candidate, place, out)?;
        }
        let reason = chunk.prompt_feedback.and_then(|feedback| feedback.block_reason);
        self.blocked |= reason.is_some_and(|reason| reason != "BLOCK_REASON_UNSPECIFIED");
        let counted = chunk.usage_metadata.as_ref().and_then(usage::read);
        let is_empty = |usage: &Usage| usage.prompt_tokens() == 0 && usage.completion_tokens() == 0;
        if let Some(usage) = counted.filter(|usage| self.usage != Some(*usage) && !is_empty(usage)) {
            self.usage = Some(usage);
            out.push(Event::Usage(usage));
        }
        Ok(())
    }

    fn begin(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) {
        let complete = self.begin.as_ref().is_some_and(|begin| begin.id.is_some() && begin.model.is_some());
        if complete {
            return;
        }
        let word = |raw: Option<&RawValue>| serde_json::from_str::<String>(raw?.get()).ok();
        let mut begin = self.begin.clone().unwrap_or_default();
        let more = Begin { id: word(chunk.response_id), model: word(chunk.model_version), ..Begin::default() };
        begin.merge(&more);
        if self.begin.as_ref() != Some(&begin) {
            out.push(Event::Begin(begin.clone()));
            self.begin = Some(begin);
        }
    }

    fn candidate(&mut self, candidate: Candidate<'_>, place: u32, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let index = candidate.index.unwrap_or(place);
        let answer_id = self.begin.as_ref().and_then(|begin| begin.id.as_deref()).unwrap_or_default();
        let at = match self.lanes.iter().position(|lane| lane.index == index) {
            Some(at) => at,
            None if self.lanes.len() >= MOST_CHOICES => {
                return Err(BadAnswer::Broken(format!("more than {MOST_CHOICES} candidates")));
            }
            None => {
                self.lanes.push(Lane { index, ..Lane::default() });
                self.lanes.len() - 1
            }
        };
        let Some(lane) = self.lanes.get_mut(at) else { return Ok(()) };
        let metadata =
            [("groundingMetadata", candidate.grounding_metadata), ("citationMetadata", candidate.citation_metadata)];
        let pieces = candidate.content.and_then(|content| content.parts).unwrap_or_default();
        // Sources belong to the text, and a call behind it would close it.
        let last_text = pieces.iter().rposition(Piece::is_text);
        for (at, piece) in pieces.into_iter().enumerate() {
            lane.piece(piece, answer_id, &mut self.blocks, out);
            if last_text == Some(at) {
                metadata.iter().for_each(|(name, raw)| lane.sources(name, *raw, &mut self.blocks, out));
            }
        }
        if last_text.is_none() {
            metadata.iter().for_each(|(name, raw)| lane.sources(name, *raw, &mut self.blocks, out));
        }
        if let Some(result) = candidate.logprobs_result.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()) {
            let event = |logprobs| Event::Logprobs { choice: index, logprobs };
            out.extend(logprobs::read(&result).map(event));
        }
        if let Some(stop) = candidate.finish_reason.as_deref().and_then(finish::read) {
            lane.stop = Some(stop);
        }
        Ok(())
    }
}

impl Lane {
    fn piece(&mut self, piece: Piece<'_>, answer_id: &str, blocks: &mut u32, out: &mut Vec<Event>) {
        let Piece { text, thought, seal, call, inline_data, file_data, other } = piece;
        let seal = seal.filter(|seal| !seal.is_empty());
        if let Some(call) = call {
            self.call(call, seal, answer_id, blocks, out);
        } else if let Some(part) = inline_data.and_then(inline).or_else(|| file_data.and_then(file)) {
            self.whole(part, blocks, out);
        } else if let Some((name, value)) = other {
            let value = serde_json::from_str::<Value>(value.get()).unwrap_or_default();
            let native = Value::Object([(name, value)].into_iter().collect());
            self.whole(Part::new(PartKind::Native(native)), blocks, out);
        } else if thought {
            self.grow(Kind::Thinking, text.unwrap_or_default(), blocks, out);
            self.seal_thought(seal, blocks, out);
        } else {
            self.text(text.unwrap_or_default(), seal, blocks, out);
        }
    }

    fn text(&mut self, text: String, seal: Option<String>, blocks: &mut u32, out: &mut Vec<Event>) {
        if text.is_empty() {
            self.seal = seal.or(self.seal.take());
            return;
        }
        if seal.is_some() {
            self.close(out);
            self.late_seal(blocks, out);
            self.seal = seal;
        }
        if self.text.len().saturating_add(text.len()) <= MOST_TEXT {
            self.text.push_str(&text);
        }
        self.grow(Kind::Text, text, blocks, out);
    }

    fn grow(&mut self, kind: Kind, text: String, blocks: &mut u32, out: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        let block = self.opened(kind, blocks, out);
        out.push(Event::Delta { block, delta: Delta::Text(text) });
    }

    /// The open block of this kind.
    fn opened(&mut self, kind: Kind, blocks: &mut u32, out: &mut Vec<Event>) -> u32 {
        if let Some((block, open)) = self.open
            && open == kind
            && self.seal.is_none()
        {
            return block;
        }
        self.close(out);
        self.late_seal(blocks, out);
        let what = match kind {
            Kind::Text => Opening::Text,
            Kind::Thinking => Opening::Thinking { id: None, summary: true, redacted: false },
        };
        let block = self.begin(what, blocks, out);
        self.open = Some((block, kind));
        block
    }

    fn begin(&self, what: Opening, blocks: &mut u32, out: &mut Vec<Event>) -> u32 {
        let block = *blocks;
        *blocks = block.saturating_add(1);
        out.push(Event::Open { block, choice: self.index, what });
        block
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        out.extend(self.open.take().map(|(block, _)| Event::Close { block }));
    }

    fn seal_thought(&mut self, seal: Option<String>, blocks: &mut u32, out: &mut Vec<Event>) {
        let Some(seal) = seal else { return };
        let block = self.opened(Kind::Thinking, blocks, out);
        out.push(Event::Delta { block, delta: Delta::Seal(sealed(&seal)) });
        self.close(out);
    }

    /// The seal of a text, as a thought without words.
    fn late_seal(&mut self, blocks: &mut u32, out: &mut Vec<Event>) {
        let Some(seal) = self.seal.take() else { return };
        let block = self.begin(Opening::Thinking { id: None, summary: false, redacted: false }, blocks, out);
        out.push(Event::Delta { block, delta: Delta::Seal(sealed(&seal)) });
        out.push(Event::Close { block });
    }

    fn call(&mut self, call: Call<'_>, seal: Option<String>, answer_id: &str, blocks: &mut u32, out: &mut Vec<Event>) {
        // Arguments in pieces come only to those who ask for them, which is never done here.
        let Some(name) = call.name.filter(|name| !name.is_empty()) else { return };
        self.close(out);
        self.late_seal(blocks, out);
        let arguments = call.args.map_or("{}", RawValue::get).to_owned();
        let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| {
            // The same call in another answer of the conversation must get another id.
            let what = format!("{answer_id}\n{}\n{name}\n{arguments}", self.index);
            ids::call_id(0, self.calls, &what)
        });
        self.calls += 1;
        let block = self.begin(Opening::ToolCall { id, name, namespace: None, custom: false }, blocks, out);
        out.push(Event::Delta { block, delta: Delta::Arguments(arguments) });
        out.extend(seal.map(|seal| Event::Delta { block, delta: Delta::Seal(sealed(&seal)) }));
        out.push(Event::Close { block });
    }

    fn whole(&mut self, part: Part, blocks: &mut u32, out: &mut Vec<Event>) {
        self.close(out);
        self.late_seal(blocks, out);
        let block = self.begin(Opening::Whole(part), blocks, out);
        out.push(Event::Close { block });
    }

    /// Sources of the text if they can be named, else the metadata as it is.
    fn sources(&mut self, name: &str, metadata: Option<&RawValue>, blocks: &mut u32, out: &mut Vec<Event>) {
        let metadata = metadata.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        let Some(metadata) = metadata.filter(|value| value.as_object().is_some_and(|all| !all.is_empty())) else {
            return;
        };
        let citations = citations::read(&metadata, &self.text);
        if citations.is_empty() {
            let native = Value::Object([(name.to_owned(), metadata)].into_iter().collect());
            self.whole(Part::new(PartKind::Native(native)), blocks, out);
            return;
        }
        let held = self.seal.take();
        let block = self.opened(Kind::Text, blocks, out);
        self.seal = held;
        out.extend(citations.into_iter().map(|source| Event::Delta { block, delta: Delta::Citation(source) }));
    }
}

fn sealed(field: &str) -> Seal {
    Seal::from_field(field, Family::Google)
}

fn inline(data: Data) -> Option<Part> {
    let mime = data.mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    Some(media::part(Source::Base64 { mime, data: data.data? }, data.display_name))
}

fn file(data: Data) -> Option<Part> {
    Some(media::part(Source::Url { url: data.file_uri?, mime: data.mime_type }, data.display_name))
}
