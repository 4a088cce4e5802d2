//! What a model answers, whole.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::event::{Begin, Delta, Event, Opening};
use super::part::{Part, PartKind, Thinking, ToolCall};
use crate::usage::Usage;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// What the provider says about the answer as a whole.
    pub begin: Begin,
    /// The answers; mostly one.
    pub choices: Vec<Choice>,
    /// What was used, if the provider said so.
    pub usage: Option<Usage>,
    /// How long it took, as the provider says or as whoever asked it has measured: there is no clock here.
    pub took: Option<Took>,
}

/// How long an answer took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Took {
    /// From the question to the end.
    pub total: Duration,
    /// Until the model that answers was asked, or loaded.
    pub load: Duration,
    /// From then to the first content; zero where the answer came in one and nobody can tell.
    pub prompt: Duration,
    /// From there to the end.
    pub answer: Duration,
}

/// One of the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Which one.
    pub index: u32,
    /// What it says.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub stop: Stop,
    /// The probabilities of its words, as OpenAI writes them (`content` list).
    pub logprobs: Option<Value>,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The model was done.
    Done,
    /// It wrote one of the stop sequences; which one, if the provider says so.
    Sequence(Option<String>),
    /// The cap on tokens was reached.
    Length,
    /// It waits for the results of tools.
    ToolCalls,
    /// The provider's filter cut it off.
    Filtered,
    /// The model declined.
    Refused,
    /// The provider paused a long turn; the client is to send it back to go on.
    Paused,
    /// The model's context is full.
    ContextFull,
    /// It tried to call a tool and failed to write the call.
    MalformedCall,
    /// A reason that no other format knows.
    Other(String),
}

impl Stop {
    /// The invariant of both directions: an answer with calls waits for results, one without does not.
    #[must_use]
    pub fn given(self, has_calls: bool) -> Self {
        match self {
            Self::Done | Self::Sequence(None) if has_calls => Self::ToolCalls,
            Self::ToolCalls if !has_calls => Self::Done,
            other => other,
        }
    }
}

impl Answer {
    /// Characters of what was said, for an estimate.
    pub fn chars_out(&self) -> u64 {
        self.choices.iter().flat_map(|choice| &choice.parts).map(Part::chars).sum()
    }

    /// The same answer as the events of a stream.
    pub fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::Begin(self.begin.clone())];
        let mut block = 0;
        for choice in &self.choices {
            for part in &choice.parts {
                events.extend(part_events(block, choice.index, part));
                block += 1;
            }
            if let Some(logprobs) = &choice.logprobs {
                events.push(Event::Logprobs { choice: choice.index, logprobs: logprobs.clone() });
            }
            events.push(Event::Stop { choice: choice.index, stop: choice.stop.clone() });
        }
        events.extend(self.usage.map(Event::Usage));
        events.extend(self.took.map(Event::Took));
        events
    }
}

fn part_events(block: u32, choice: u32, part: &Part) -> Vec<Event> {
    let (what, deltas) = match &part.kind {
        PartKind::Text { text, citations } => {
            let cited = citations.iter().cloned().map(Delta::Citation);
            (Opening::Text, std::iter::once(Delta::Text(text.clone())).chain(cited).collect())
        }
        PartKind::Refusal(text) => (Opening::Refusal, vec![Delta::Text(text.clone())]),
        PartKind::Thinking(thinking) => {
            let Thinking { id, text, summary, redacted, seal } = thinking.clone();
            let text = (!text.is_empty()).then_some(Delta::Text(text));
            let opening = Opening::Thinking { id, summary, redacted };
            (opening, text.into_iter().chain(seal.map(Delta::Seal)).collect())
        }
        PartKind::ToolCall(call) => {
            let ToolCall { id, name, namespace, arguments, custom, seal } = call.clone();
            let opening = Opening::ToolCall { id, name, namespace, custom };
            (opening, std::iter::once(Delta::Arguments(arguments)).chain(seal.map(Delta::Seal)).collect())
        }
        other => (Opening::Whole(Part::new(other.clone())), Vec::new()),
    };
    let open = Event::Open { block, choice, what };
    let deltas = deltas.into_iter().map(|delta| Event::Delta { block, delta });
    std::iter::once(open).chain(deltas).chain([Event::Close { block }]).collect()
}

/// Puts a whole answer together out of the events of a stream.
#[derive(Debug, Default)]
pub struct Collector {
    begin: Begin,
    choices: BTreeMap<u32, Choice>,
    usage: Option<Usage>,
    took: Option<Took>,
    /// Of each block: its choice, and its place there.
    places: BTreeMap<u32, (u32, usize)>,
}

impl Collector {
    /// Take the next event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Begin(begin) => self.begin.merge(begin),
            Event::Open { block, choice, what } => {
                let parts = &mut self.choice(*choice).parts;
                parts.push(what.part());
                let place = parts.len() - 1;
                self.places.insert(*block, (*choice, place));
            }
            Event::Delta { block, delta } => {
                if let Some(part) = self.part(*block) {
                    delta.add_to(part);
                }
            }
            Event::Close { .. } => {}
            Event::Logprobs { choice, logprobs } => add_logprobs(&mut self.choice(*choice).logprobs, logprobs),
            Event::Stop { choice, stop } => self.choice(*choice).stop = stop.clone(),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Took(took) => self.took = Some(*took),
        }
    }

    /// What came together.
    pub fn finish(self) -> Answer {
        let choices = self.choices.into_values().collect();
        Answer { begin: self.begin, choices, usage: self.usage, took: self.took }
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let fresh = || Choice { index, parts: Vec::new(), stop: Stop::Done, logprobs: None };
        self.choices.entry(index).or_insert_with(fresh)
    }

    fn part(&mut self, block: u32) -> Option<&mut Part> {
        let (choice, place) = *self.places.get(&block)?;
        self.choices.get_mut(&choice)?.parts.get_mut(place)
    }
}

/// Streams bring them in pieces: lists are joined, anything else is replaced.
fn add_logprobs(all: &mut Option<Value>, more: &Value) {
    let (Some(Value::Object(all)), Value::Object(more)) = (all.as_mut(), more) else {
        *all = Some(more.clone());
        return;
    };
    for (name, value) in more {
        match (all.get_mut(name), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more.iter().cloned()),
            _ => drop(all.insert(name.clone(), value.clone())),
        }
    }
}
