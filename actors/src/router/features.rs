//! What routing knows about a request: never its content, only what decides who can serve it, and who should.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::clock::UnixMillis;

/// Abilities that a request needs, or that a model has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Needs(u8);

impl Needs {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// Tool calls.
    pub const TOOLS: Self = Self(1);
    /// Pictures as input.
    pub const VISION: Self = Self(1 << 1);
    /// Sound as input.
    pub const AUDIO: Self = Self(1 << 2);
    /// Documents as input.
    pub const FILES: Self = Self(1 << 3);
    /// Answers that follow a JSON schema.
    pub const JSON_SCHEMA: Self = Self(1 << 4);
    /// Thinking that can be asked for.
    pub const REASONING: Self = Self(1 << 5);
    /// All of them.
    pub const ALL: Self = Self(0b11_1111);

    const WORDS: [(Self, &'static str); 6] = [
        (Self::TOOLS, "tools"),
        (Self::VISION, "vision"),
        (Self::AUDIO, "audio"),
        (Self::FILES, "files"),
        (Self::JSON_SCHEMA, "json_schema"),
        (Self::REASONING, "reasoning"),
    ];

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These if the condition holds, for building.
    #[must_use]
    pub const fn and_if(self, condition: bool, other: Self) -> Self {
        if condition { self.and(other) } else { self }
    }

    /// Those of these that `can` does not have.
    #[must_use]
    pub const fn beyond(self, can: Self) -> Self {
        Self(self.0 & !can.0)
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` is in it.
    pub const fn covers(self, other: Self) -> bool {
        other.beyond(self).is_empty()
    }

    /// Their words, in a fixed order.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS.into_iter().filter(move |(need, _)| self.covers(*need)).map(|(_, word)| word)
    }

    /// Reads one word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(_, known)| *known == word).map(|(need, _)| need)
    }
}

impl fmt::Debug for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.words()).finish()
    }
}

/// Tags of a request, a step or a connection.
pub type Tags = SmallVec<[Arc<str>; 2]>;

/// How many of the request's tags must be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TagMatch {
    /// One is enough.
    #[default]
    Any,
    /// Every one.
    All,
}

/// How much thought the client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effort {
    /// Cheap and fast will do.
    Low,
    /// As usual.
    Medium,
    /// The better model is worth its price.
    High,
}

impl Effort {
    /// Reads the word of a header.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "low" | "minimal" => Some(Self::Low),
            "medium" => Some(Self::Medium),
            "high" | "xhigh" | "max" => Some(Self::High),
            _ => None,
        }
    }
}

/// The request, as far as routing looks at it.
#[derive(Debug, Clone, Default)]
pub struct RequestFeatures {
    /// Tokens of the prompt, estimated; 0 = unknown.
    pub prompt_tokens: u32,
    /// Tokens the answer may have, asked for or estimated.
    pub output_tokens: u32,
    /// What it needs.
    pub needs: Needs,
    /// Tags that it wants its connection to have.
    pub tags: Tags,
    /// Whether one tag is enough.
    pub tag_match: TagMatch,
    /// The session, hashed with its tenant by the caller, so that nobody can share or forge a pin.
    pub affinity: Option<u64>,
    /// The client key's id.
    pub key: Option<Arc<str>>,
    /// When it came, by the wall clock: policies have hours.
    pub at: UnixMillis,
    /// What kind of task it is, in the words of the models' categories.
    pub task: Option<Arc<str>>,
    /// The mode pack that the client asks for, for `auto`.
    pub mode: Option<Arc<str>>,
    /// How much thought it wants, for `auto`.
    pub effort: Option<Effort>,
    /// The most it may cost, in nano-USD.
    pub budget: Option<u64>,
    /// What becomes of it when nothing is within its budget; `None` = what the combo says.
    pub over_budget: Option<super::config::OverBudget>,
    /// The highest price of a million input tokens, in nano-USD.
    pub max_input_price: Option<u64>,
    /// The highest price of a million output tokens, in nano-USD.
    pub max_output_price: Option<u64>,
}

impl RequestFeatures {
    /// The window it needs.
    pub const fn tokens(&self) -> u32 {
        self.prompt_tokens.saturating_add(self.output_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_beyond_an_ability_has_words() {
        let needs = Needs::TOOLS.and(Needs::VISION).and_if(false, Needs::AUDIO);

        let missing = needs.beyond(Needs::TOOLS);

        assert_eq!(missing.words().collect::<Vec<_>>(), ["vision"]);
        assert!(!Needs::TOOLS.covers(needs) && Needs::ALL.covers(needs) && needs.covers(Needs::NONE));
        assert!(Needs::ALL.words().all(|word| Needs::parse(word).is_some()) && Needs::parse("flight").is_none());
    }
}
