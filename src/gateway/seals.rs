//! What a provider sealed, kept for clients that do not send it back.
//!
//! Gemini refuses a call of the current turn without its signature, Anthropic refuses a tool loop without its thinking
//! blocks. Clients of other formats replay calls by their ids only. So what came with a call is remembered under the
//! caller and the id of the call, for a while, in this process; a request that misses it gets it back.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::wire::chat::{Answer, Collector, Delta, Event, Message, Opening, Part, PartKind, Request, Role, Seal};

/// A tool loop that pauses for longer starts anew.
const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Bytes of all that is kept.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What came with one call.
#[derive(Debug, Clone, Default)]
struct Kept {
    /// The thoughts before it, up to the call before.
    thoughts: Vec<Part>,
    /// Its own seal.
    seal: Option<Seal>,
}

/// The memory.
#[derive(Debug, Clone)]
pub struct Seals(Cache<(String, String), Kept>);

impl Default for Seals {
    fn default() -> Self {
        let weigh = |key: &(String, String), kept: &Kept| {
            let bytes = key.0.len() + key.1.len() + kept.bytes();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().time_to_live(KEPT_FOR).max_capacity(MOST_BYTES).weigher(weigh).build())
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        let of_seal = |seal: &Seal| seal.data.len();
        let of_part = |part: &Part| match &part.kind {
            PartKind::Thinking(thinking) => thinking.text.len() + thinking.seal.as_ref().map_or(0, of_seal),
            _ => 0,
        };
        self.thoughts.iter().map(of_part).sum::<usize>() + self.seal.as_ref().map_or(0, of_seal)
    }
}

/// The memory as one caller sees it.
#[derive(Debug, Clone)]
pub struct OwnSeals {
    seals: Seals,
    owner: Arc<str>,
}

impl OwnSeals {
    /// Keep what an answer sealed.
    pub fn keep(&self, answer: &Answer) {
        self.seals.keep(&self.owner, answer);
    }

    /// Give a request back what its client left out.
    pub fn restore(&self, request: &mut Request) {
        self.seals.restore(&self.owner, request);
    }

    /// Listen to a stream.
    pub fn watch(&self) -> SealWatch {
        SealWatch { seals: self.clone(), collector: Collector::default(), blocks: Vec::new() }
    }
}

/// Collects the thoughts and calls of a stream; its text is of no interest.
#[derive(Debug)]
pub struct SealWatch {
    seals: OwnSeals,
    collector: Collector,
    blocks: Vec<u32>,
}

impl SealWatch {
    /// Take the next event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Open { block, what: Opening::Thinking { .. } | Opening::ToolCall { .. }, .. } => {
                self.blocks.push(*block);
                self.collector.take(event);
            }
            // A call is known by its id, its arguments are not kept.
            Event::Delta { delta: Delta::Arguments(_), .. } => {}
            Event::Delta { block, .. } if self.blocks.contains(block) => self.collector.take(event),
            _ => {}
        }
    }

    /// The stream is whole: keep what it sealed.
    pub fn finish(self) {
        self.seals.keep(&self.collector.finish());
    }
}

impl Seals {
    /// The memory of one caller.
    pub fn of(&self, owner: impl Into<Arc<str>>) -> OwnSeals {
        OwnSeals { seals: self.clone(), owner: owner.into() }
    }

    /// Keep what an answer sealed.
    pub fn keep(&self, owner: &str, answer: &Answer) {
        for choice in &answer.choices {
            let mut thoughts = Vec::new();
            for part in &choice.parts {
                match &part.kind {
                    PartKind::Thinking(thinking) if thinking.seal.is_some() => thoughts.push(part.clone()),
                    PartKind::ToolCall(call) => {
                        let kept = Kept { thoughts: std::mem::take(&mut thoughts), seal: call.seal.clone() };
                        if kept.seal.is_some() || !kept.thoughts.is_empty() {
                            self.0.insert((owner.to_owned(), call.id.clone()), kept);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Give a request back what its client left out.
    pub fn restore(&self, owner: &str, request: &mut Request) {
        for message in request.messages.iter_mut().filter(|message| message.role == Role::Assistant) {
            self.restore_message(owner, message);
        }
    }

    fn restore_message(&self, owner: &str, message: &mut Message) {
        let sealed = |part: &Part| matches!(&part.kind, PartKind::Thinking(thinking) if thinking.seal.is_some());
        let has_thoughts = message.parts.iter().any(sealed);
        let (mut parts, mut called) = (Vec::with_capacity(message.parts.len()), false);
        for mut part in std::mem::take(&mut message.parts) {
            if let PartKind::ToolCall(call) = &mut part.kind
                && let Some(kept) = self.0.get(&(owner.to_owned(), call.id.clone()))
            {
                if !has_thoughts {
                    // A turn begins with its thoughts; later ones stand before the call that they led to.
                    let place = if called { parts.len() } else { 0 };
                    parts.splice(place..place, kept.thoughts);
                }
                called = true;
                call.seal = call.seal.take().or(kept.seal);
            }
            parts.push(part);
        }
        message.parts = parts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chat::{Choice, Family, Format, Stop, Thinking, ToolCall};

    fn seal(data: &str) -> Seal {
        Seal { family: Family::Google, data: data.into() }
    }

    fn call(seal: Option<Seal>) -> Part {
        Part::new(PartKind::ToolCall(ToolCall {
            id: "call_1".into(),
            name: "f".into(),
            namespace: None,
            arguments: "{}".into(),
            custom: false,
            seal,
        }))
    }

    fn thought() -> Part {
        Part::new(PartKind::Thinking(Thinking { text: "hm".into(), seal: Some(seal("t")), ..Thinking::default() }))
    }

    fn kept() -> Seals {
        let seals = Seals::default();
        let parts = vec![thought(), call(Some(seal("c")))];
        let choice = Choice { index: 0, parts, stop: Stop::ToolCalls, logprobs: None };
        seals.keep("me", &Answer { choices: vec![choice], ..Answer::default() });
        seals
    }

    fn replayed(seals: &Seals, owner: &str, parts: Vec<Part>) -> Vec<Part> {
        let mut request = Request::new(Format::OpenAiChat, "m");
        request.messages.push(Message::new(Role::Assistant, parts));
        seals.restore(owner, &mut request);
        request.messages.remove(0).parts
    }

    #[test]
    fn a_call_that_comes_back_bare_gets_its_thoughts_and_its_seal() {
        assert_eq!(replayed(&kept(), "me", vec![call(None)]), [thought(), call(Some(seal("c")))]);
    }

    #[test]
    fn a_turn_begins_with_its_thoughts_whatever_was_said_before_the_call() {
        let parts = replayed(&kept(), "me", vec![Part::text("I will look"), call(None)]);

        assert_eq!(parts, [thought(), Part::text("I will look"), call(Some(seal("c")))]);
    }

    #[test]
    fn nobody_gets_what_was_sealed_for_another_caller() {
        assert_eq!(replayed(&kept(), "you", vec![call(None)]), [call(None)]);
    }

    #[test]
    fn what_the_client_kept_itself_stays_as_it_is() {
        let parts = vec![thought(), call(Some(seal("own")))];

        assert_eq!(replayed(&kept(), "me", parts.clone()), parts);
    }
}
