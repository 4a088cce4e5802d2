//! The names of the strategies: how a combo orders its steps, how a provider chooses among its connections.

use serde::{Deserialize, Serialize};

/// How a combo orders its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// In the given order.
    #[default]
    Priority,
    /// In the given order; each is filled before the next.
    FillFirst,
    /// One drawn by weight, the others by falling weight.
    Weighted,
    /// In turn by weight, evenly mixed.
    WeightedSmooth,
    /// Each in turn.
    RoundRobin,
    /// Shuffled.
    Random,
    /// Shuffled decks: each once per deck, never twice in a row.
    StrictRandom,
    /// The cheaper of two drawn ones, by peak-EWMA latency and requests in flight.
    P2c,
    /// The one with the fewest requests in flight.
    LeastUsed,
    /// The cheapest for this request.
    CostOptimized,
    /// The smallest window that the request fits.
    ContextOptimized,
    /// The one that answered last.
    Lkgp,
    /// The one with the most quota left.
    Headroom,
    /// The one whose prompt cache has this session.
    CacheOptimized,
    /// In the given order, but a session stays where it was until the quota there runs out.
    ContextRelay,
    /// By a score of several factors.
    Auto,
    /// All of them at once, and one judges.
    Fusion,
    /// One after the other, each with the answer of the one before.
    Pipeline,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Priority,
        Self::FillFirst,
        Self::Weighted,
        Self::WeightedSmooth,
        Self::RoundRobin,
        Self::Random,
        Self::StrictRandom,
        Self::P2c,
        Self::LeastUsed,
        Self::CostOptimized,
        Self::ContextOptimized,
        Self::Lkgp,
        Self::Headroom,
        Self::CacheOptimized,
        Self::ContextRelay,
        Self::Auto,
        Self::Fusion,
        Self::Pipeline,
    ];

    /// Whether one request asks all of its steps, which `order` leaves as they are given.
    pub const fn runs_all(self) -> bool {
        matches!(self, Self::Fusion | Self::Pipeline)
    }

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::FillFirst => "fill-first",
            Self::Weighted => "weighted",
            Self::WeightedSmooth => "weighted-smooth",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::StrictRandom => "strict-random",
            Self::P2c => "p2c",
            Self::LeastUsed => "least-used",
            Self::CostOptimized => "cost-optimized",
            Self::ContextOptimized => "context-optimized",
            Self::Lkgp => "lkgp",
            Self::Headroom => "headroom",
            Self::CacheOptimized => "cache-optimized",
            Self::ContextRelay => "context-relay",
            Self::Auto => "auto",
            Self::Fusion => "fusion",
            Self::Pipeline => "pipeline",
        }
    }

    /// Reads the word back, or an older word for the same.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "usage" => Some(Self::LeastUsed),
            "context" => Some(Self::ContextOptimized),
            _ => Self::ALL.into_iter().find(|strategy| strategy.as_str() == word),
        }
    }

    /// Whether it goes by turns.
    pub const fn takes_turns(self) -> bool {
        matches!(self, Self::RoundRobin | Self::WeightedSmooth | Self::StrictRandom)
    }

    /// Whether it looks at what the connections behind a step carry now.
    pub const fn looks_at_load(self) -> bool {
        matches!(self, Self::P2c | Self::LeastUsed | Self::Headroom | Self::ContextRelay | Self::Auto)
    }
}

/// How a provider chooses among connections of the same priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountStrategy {
    /// The cheaper of two drawn ones.
    #[default]
    P2c,
    /// In the order of their names; each is filled before the next.
    FillFirst,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
    /// Shuffled decks.
    StrictRandom,
    /// The one with the fewest requests in flight among several drawn ones.
    LeastUsed,
    /// The one with the most quota left among several drawn ones.
    Headroom,
    /// The one that answered last.
    Lkgp,
}

impl AccountStrategy {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::P2c,
        Self::FillFirst,
        Self::RoundRobin,
        Self::Random,
        Self::StrictRandom,
        Self::LeastUsed,
        Self::Headroom,
        Self::Lkgp,
    ];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P2c => "p2c",
            Self::FillFirst => "fill-first",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::StrictRandom => "strict-random",
            Self::LeastUsed => "least-used",
            Self::Headroom => "headroom",
            Self::Lkgp => "lkgp",
        }
    }

    /// Reads the word back. Accounts of one provider cost the same, so that the cheapest is the preferred one.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "cost-optimized" | "priority" => Some(Self::FillFirst),
            _ => Self::ALL.into_iter().find(|strategy| strategy.as_str() == word),
        }
    }

    /// Whether a session may stay with one connection against it.
    pub const fn allows_affinity(self) -> bool {
        !matches!(self, Self::RoundRobin | Self::Random | Self::StrictRandom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_has_a_word_of_its_own_and_the_older_words_still_count() {
        assert!(Strategy::ALL.iter().all(|one| Strategy::parse(one.as_str()) == Some(*one)));
        assert!(AccountStrategy::ALL.iter().all(|one| AccountStrategy::parse(one.as_str()) == Some(*one)));

        assert_eq!(Strategy::parse("usage"), Some(Strategy::LeastUsed));
        assert_eq!(Strategy::parse("context"), Some(Strategy::ContextOptimized));
        assert_eq!((Strategy::parse("best"), AccountStrategy::parse("best")), (None, None));
        let json = serde_json::to_string(&Strategy::WeightedSmooth).unwrap();
        assert_eq!(json, "\"weighted-smooth\"");
    }
}
