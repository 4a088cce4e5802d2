//! What a stream says, piece by piece.
//!
//! ```text
//! Begin  (Open Delta* Close)*  Logprobs*  Stop (one per choice)  Usage*  Took?
//! ```
//! A decoder may give `Begin` again when it learns more, deltas of several open blocks may alternate, a `Usage` replaces the
//! one before it, and every block that was opened is closed before its choice's `Stop`.

use super::answer::{Stop, Took};
use super::part::{Citation, Part, PartKind, Seal, Thinking, ToolCall};
use crate::usage::Usage;

/// One thing that a stream says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The answer begins. This is no content: a stream that said only this may still fail unseen.
    Begin(Begin),
    /// A piece begins.
    Open {
        /// Its number in the stream, rising from 0, of all choices together.
        block: u32,
        /// The choice it belongs to.
        choice: u32,
        /// What it is.
        what: Opening,
    },
    /// A piece grows.
    Delta {
        /// Which one.
        block: u32,
        /// By what.
        delta: Delta,
    },
    /// A piece is whole.
    Close {
        /// Which one.
        block: u32,
    },
    /// The probabilities of words that were just said, as OpenAI writes them.
    Logprobs {
        /// Of which choice.
        choice: u32,
        /// `{"content": [..]}`.
        logprobs: serde_json::Value,
    },
    /// A choice is whole.
    Stop {
        /// Which one.
        choice: u32,
        /// Why.
        stop: Stop,
    },
    /// What was used so far.
    Usage(Usage),
    /// How long it took.
    Took(Took),
}

impl Event {
    /// Whether a client sees something of it: before the first such event an attempt may fail unseen.
    pub fn is_content(&self) -> bool {
        match self {
            Self::Delta { delta: Delta::Text(text) | Delta::Arguments(text), .. } => !text.is_empty(),
            Self::Delta { delta, .. } => matches!(delta, Delta::Seal(_) | Delta::Citation(_)),
            Self::Open { what, .. } => matches!(what, Opening::ToolCall { .. } | Opening::Whole(_)),
            Self::Stop { .. } => true,
            Self::Begin(_) | Self::Close { .. } | Self::Logprobs { .. } | Self::Usage(_) | Self::Took(_) => false,
        }
    }
}

/// What is said about an answer as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Begin {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that answers, by the provider's name for it.
    pub model: Option<String>,
    /// When it was made, in seconds since the Unix epoch.
    pub created: Option<i64>,
    /// The class of service that was given.
    pub service_tier: Option<String>,
    /// OpenAI's `system_fingerprint`.
    pub fingerprint: Option<String>,
}

impl Begin {
    /// Learn what is not known yet.
    pub fn merge(&mut self, more: &Self) {
        let learn = |known: &mut Option<String>, more: &Option<String>| {
            if known.is_none() {
                known.clone_from(more);
            }
        };
        learn(&mut self.id, &more.id);
        learn(&mut self.model, &more.model);
        learn(&mut self.service_tier, &more.service_tier);
        learn(&mut self.fingerprint, &more.fingerprint);
        self.created = self.created.or(more.created);
    }
}

/// What a piece is when it begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Opening {
    /// Text.
    Text,
    /// The model declines.
    Refusal,
    /// Reasoning.
    Thinking {
        /// The provider's name for it.
        id: Option<String>,
        /// It is a summary.
        summary: bool,
        /// Nothing of it may be read.
        redacted: bool,
    },
    /// A call. A decoder opens it only when id and name are known.
    ToolCall {
        /// Pairs it with its result.
        id: String,
        /// The tool.
        name: String,
        /// Its group.
        namespace: Option<String>,
        /// Its input is text, not JSON.
        custom: bool,
    },
    /// A piece that comes in one (an image, audio, something native); no deltas follow.
    Whole(Part),
}

impl Opening {
    /// The piece as it is before it grows.
    pub fn part(&self) -> Part {
        match self.clone() {
            Self::Text => Part::text(""),
            Self::Refusal => Part::new(PartKind::Refusal(String::new())),
            Self::Thinking { id, summary, redacted } => {
                Part::new(PartKind::Thinking(Thinking { id, summary, redacted, ..Thinking::default() }))
            }
            Self::ToolCall { id, name, namespace, custom } => Part::new(PartKind::ToolCall(ToolCall {
                id,
                name,
                namespace,
                custom,
                arguments: String::new(),
                seal: None,
            })),
            Self::Whole(part) => part,
        }
    }
}

/// What a piece grows by.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// Text of a text, a refusal or a thought.
    Text(String),
    /// Arguments of a call.
    Arguments(String),
    /// The seal of a thought or a call.
    Seal(Seal),
    /// A source of a text.
    Citation(Citation),
}

impl Delta {
    /// Let a piece grow; one of another kind stays as it is.
    pub fn add_to(&self, part: &mut Part) {
        match (self, &mut part.kind) {
            (Self::Text(more), PartKind::Text { text, .. } | PartKind::Refusal(text)) => text.push_str(more),
            (Self::Text(more), PartKind::Thinking(thinking)) => thinking.text.push_str(more),
            (Self::Arguments(more), PartKind::ToolCall(call)) => call.arguments.push_str(more),
            (Self::Seal(seal), PartKind::Thinking(thinking)) => thinking.seal = Some(seal.clone()),
            (Self::Seal(seal), PartKind::ToolCall(call)) => call.seal = Some(seal.clone()),
            (Self::Citation(citation), PartKind::Text { citations, .. }) => citations.push(citation.clone()),
            _ => {}
        }
    }
}
