//! One choice of a stream: text, thoughts, refusals, pictures, sound and calls.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::body::{self, Body, Content, parsed};
use super::decode_parts::citation;
use super::details;
use super::stop;
use super::stream_calls::Calls;
use crate::chat::{BadAnswer, Delta, Event, Family, Media, Opening, Part, PartKind, Seal, Source, Stop, Thinking};

const MAX_AUDIO_BYTES: usize = 32 << 20;

/// Where the events of a choice go.
pub(super) struct Sink<'a> {
    pub(super) choice: u32,
    pub(super) next_block: &'a mut u32,
    /// Sets the ids that are made here apart from those of other answers.
    pub(super) salt: usize,
    pub(super) out: &'a mut Vec<Event>,
}

impl Sink<'_> {
    pub(super) fn open(&mut self, what: Opening) -> u32 {
        let block = *self.next_block;
        *self.next_block = block.saturating_add(1);
        self.out.push(Event::Open { block, choice: self.choice, what });
        block
    }

    pub(super) fn delta(&mut self, block: u32, delta: Delta) {
        self.out.push(Event::Delta { block, delta });
    }

    pub(super) fn close(&mut self, block: u32) {
        self.out.push(Event::Close { block });
    }

    fn whole(&mut self, kind: PartKind) {
        let block = self.open(Opening::Whole(Part::new(kind)));
        self.close(block);
    }
}

/// What is known of a choice.
#[derive(Debug, Default)]
pub(super) struct ChoiceState {
    pub(super) index: u32,
    /// It said something.
    pub(super) said: bool,
    pub(super) stop: Option<Stop>,
    current: Option<Block>,
    /// The text of the thought that is open.
    thought: String,
    calls: Calls,
    refused: bool,
    audio: Option<Audio>,
    /// Proofs that came before their calls.
    early_seals: Vec<(String, Seal)>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    number: u32,
    kind: BlockKind,
    sealed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Text,
    Refusal,
    Thought { summary: bool },
}

#[derive(Debug, Default)]
struct Audio {
    id: Option<String>,
    bytes: Vec<u8>,
}

impl ChoiceState {
    pub(super) fn new(index: u32) -> Self {
        Self { index, ..Self::default() }
    }

    /// Takes the next piece of the choice.
    pub(super) fn take(&mut self, choice: body::Choice<'_>, sink: &mut Sink<'_>) -> Result<(), BadAnswer> {
        // Some send the whole message once more beside the last delta.
        let body = if self.said || !choice.message.present { choice.delta } else { choice.message };
        self.body(body, sink)?;
        self.say(BlockKind::Text, choice.text.0, sink);
        if let Some(logprobs) = parsed(choice.logprobs) {
            sink.out.push(Event::Logprobs { choice: self.index, logprobs });
        }
        if let Some(stop) = stop::read(&choice.finish.0) {
            // Some repeat the reason here in other words.
            let is_sequence = matches!(stop::read(&choice.stopped_by.0), Some(Stop::Other(_)));
            let met = (stop == Stop::Done && is_sequence).then_some(choice.stopped_by.0);
            self.stop = Some(met.map_or(stop, |sequence| Stop::Sequence(Some(sequence))));
        }
        Ok(())
    }

    fn body(&mut self, body: Body<'_>, sink: &mut Sink<'_>) -> Result<(), BadAnswer> {
        let words = if body.reasoning_content.0.is_empty() { body.reasoning.0 } else { body.reasoning_content.0 };
        self.think(words, parsed(body.details), sink);
        match body.content {
            Content::Text(text) => self.say(BlockKind::Text, text, sink),
            Content::Parts(parts) => parts.into_iter().for_each(|part| self.part(part, sink)),
        }
        if let Some(Value::Array(annotations)) = parsed(body.annotations) {
            self.cite(&annotations, sink);
        }
        self.say(BlockKind::Refusal, body.refusal.0, sink);
        if let Some(Value::Array(images)) = parsed(body.images) {
            images.into_iter().for_each(|image| self.part(image, sink));
        }
        if let Some(audio) = parsed(body.audio) {
            self.hear(&audio, sink)?;
        }
        for call in body.calls {
            self.said = true;
            self.close(sink);
            self.calls.take(call, sink)?;
            let calls = &mut self.calls;
            self.early_seals.retain(|(id, seal)| !calls.seal(id, seal, sink));
        }
        Ok(())
    }

    /// Lets the open block of this kind grow, or opens one.
    fn say(&mut self, kind: BlockKind, text: String, sink: &mut Sink<'_>) {
        if text.is_empty() {
            return;
        }
        let block = self.block(kind, None, sink);
        if matches!(kind, BlockKind::Thought { .. }) {
            self.thought.push_str(&text);
        }
        sink.delta(block, Delta::Text(text));
    }

    fn block(&mut self, kind: BlockKind, id: Option<String>, sink: &mut Sink<'_>) -> u32 {
        if let Some(open) = self.current.filter(|open| open.kind == kind && !open.sealed) {
            return open.number;
        }
        self.close(sink);
        self.said = true;
        self.thought.clear();
        self.refused |= kind == BlockKind::Refusal;
        let number = sink.open(match kind {
            BlockKind::Text => Opening::Text,
            BlockKind::Refusal => Opening::Refusal,
            BlockKind::Thought { summary } => Opening::Thinking { id, summary, redacted: false },
        });
        self.current = Some(Block { number, kind, sealed: false });
        number
    }

    fn close(&mut self, sink: &mut Sink<'_>) {
        if let Some(open) = self.current.take() {
            sink.close(open.number);
        }
    }

    /// Text of thoughts comes under up to three names at once; the details have their seals.
    fn think(&mut self, words: String, details: Option<Value>, sink: &mut Sink<'_>) {
        let thoughts = match &details {
            Some(Value::Array(list)) => details::read(list),
            _ => Vec::new(),
        };
        if thoughts.iter().all(|thought| thought.text.is_empty()) {
            self.say(BlockKind::Thought { summary: false }, words, sink);
        }
        thoughts.into_iter().for_each(|thought| self.thought(thought, sink));
    }

    fn thought(&mut self, thought: Thinking, sink: &mut Sink<'_>) {
        let Thinking { id, mut text, summary, redacted, seal } = thought;
        if redacted {
            return self.hidden_thought(id, seal, sink);
        }
        // The whole thought once more, now that it is sealed.
        if seal.is_some() && self.has_thought(&text) {
            text.clear();
        }
        let kind = match self.current {
            // A bare seal belongs to whatever thought is open.
            Some(Block { kind: kind @ BlockKind::Thought { .. }, sealed: false, .. }) if text.is_empty() => kind,
            _ => BlockKind::Thought { summary },
        };
        let block = self.block(kind, id, sink);
        if !text.is_empty() {
            self.thought.push_str(&text);
            sink.delta(block, Delta::Text(text));
        }
        if let Some(seal) = seal {
            self.seal(block, seal, sink);
        }
    }

    /// Whether the open thought is this one, or ends in it: thoughts without seals run together.
    fn has_thought(&self, text: &str) -> bool {
        let before = self.thought.strip_suffix(text);
        before.is_some_and(|before| before.trim().is_empty() || before.ends_with("\n\n"))
    }

    fn seal(&mut self, block: u32, seal: Seal, sink: &mut Sink<'_>) {
        sink.delta(block, Delta::Seal(seal));
        if let Some(open) = &mut self.current {
            open.sealed = true;
        }
    }

    /// What may not be read: the proof of a call, what an open summary is a summary of, or a thought of its own.
    fn hidden_thought(&mut self, id: Option<String>, seal: Option<Seal>, sink: &mut Sink<'_>) {
        let Some(seal) = seal else { return };
        if seal.family == Family::Google
            && let Some(id) = id
        {
            if !self.calls.seal(&id, &seal, sink) {
                self.early_seals.push((id, seal));
            }
            return;
        }
        match self.current {
            Some(Block { number, kind: BlockKind::Thought { summary: true }, sealed: false }) => {
                self.seal(number, seal, sink);
            }
            _ => self.redacted(id, seal, sink),
        }
    }

    fn redacted(&mut self, id: Option<String>, seal: Seal, sink: &mut Sink<'_>) {
        self.close(sink);
        self.said = true;
        let block = sink.open(Opening::Thinking { id, summary: false, redacted: true });
        sink.delta(block, Delta::Seal(seal));
        sink.close(block);
    }

    /// A part of a content list, or one of the pictures beside it.
    fn part(&mut self, part: Value, sink: &mut Sink<'_>) {
        let text = |name: &str| part.get(name).and_then(Value::as_str).map(str::to_owned);
        match part.get("type").and_then(Value::as_str).unwrap_or("text") {
            "text" | "output_text" => self.say(BlockKind::Text, text("text").unwrap_or_default(), sink),
            "refusal" => self.say(BlockKind::Refusal, text("refusal").unwrap_or_default(), sink),
            "thinking" | "reasoning" => self.say(BlockKind::Thought { summary: false }, thought_text(&part), sink),
            "image_url" => {
                let url = part.pointer("/image_url/url").or_else(|| part.get("image_url")).and_then(Value::as_str);
                let Some(url) = url else { return };
                self.close(sink);
                self.said = true;
                sink.whole(PartKind::Image(Media { source: Source::from_url(url), detail: None, name: None }));
            }
            _ => {
                self.close(sink);
                self.said = true;
                sink.whole(PartKind::Native(part));
            }
        }
    }

    fn cite(&mut self, annotations: &[Value], sink: &mut Sink<'_>) {
        let block = self.block(BlockKind::Text, None, sink);
        annotations.iter().for_each(|annotation| sink.delta(block, Delta::Citation(citation(annotation))));
    }

    /// Sound comes in pieces and is told whole; its words are text.
    fn hear(&mut self, audio: &Value, sink: &mut Sink<'_>) -> Result<(), BadAnswer> {
        let text = |name: &str| audio.get(name).and_then(Value::as_str);
        let heard = self.audio.get_or_insert_default();
        heard.id = heard.id.take().or_else(|| text("id").map(str::to_owned));
        let data = text("data").map(|data| BASE64_STANDARD.decode(data).unwrap_or_default()).unwrap_or_default();
        heard.bytes.extend(data);
        if heard.bytes.len() > MAX_AUDIO_BYTES {
            return Err(BadAnswer::Broken("the sound is too long".into()));
        }
        self.said = true;
        let transcript = text("transcript").unwrap_or_default().to_owned();
        self.say(BlockKind::Text, transcript, sink);
        Ok(())
    }

    /// Closes everything and tells why the choice ended.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), BadAnswer> {
        for (_, seal) in std::mem::take(&mut self.early_seals) {
            self.redacted(None, seal, sink);
        }
        self.close(sink);
        if let Some(audio) = self.audio.take().filter(|audio| !audio.bytes.is_empty()) {
            let source = Source::Base64 { mime: "audio/wav".into(), data: BASE64_STANDARD.encode(audio.bytes) };
            sink.whole(PartKind::Audio(Media { source, detail: None, name: audio.id }));
        }
        self.calls.finish(sink)?;
        let stop = self.stop.take().unwrap_or(Stop::Done);
        let stop = if self.refused && stop == Stop::Done { Stop::Refused } else { stop };
        let stop = stop.given(self.calls.any());
        sink.out.push(Event::Stop { choice: self.index, stop });
        Ok(())
    }
}

/// Mistral lists the texts of a thought.
fn thought_text(part: &Value) -> String {
    match part.get("thinking").or_else(|| part.get("text")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list.iter().filter_map(|item| item.get("text").and_then(Value::as_str)).collect(),
        _ => String::new(),
    }
}
