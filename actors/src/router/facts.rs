//! What is known about a model. What is not known never excludes it; where a strategy orders by it, it comes last.

use std::sync::Arc;

use smallvec::SmallVec;

use super::features::{Needs, RequestFeatures};
use crate::ids::{ModelName, ProviderId};

/// Knows about models that no list of the plan names.
pub trait Knows: Send + Sync {
    /// What is known about this model at this provider.
    fn facts(&self, provider: &ProviderId, model: &ModelName) -> Arc<ModelFacts>;
}

/// Whoever knows about such models, if anybody does.
#[derive(Clone, Default)]
pub struct Knowing(Option<Arc<dyn Knows>>);

impl Knowing {
    /// This one.
    pub fn of(knows: Arc<dyn Knows>) -> Self {
        Self(Some(knows))
    }

    /// What is known; nothing where nobody knows.
    pub fn facts(&self, provider: &ProviderId, model: &ModelName) -> Arc<ModelFacts> {
        self.0.as_ref().map(|knows| knows.facts(provider, model)).unwrap_or_default()
    }
}

impl std::fmt::Debug for Knowing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Knowing").field(&self.0.is_some()).finish()
    }
}

/// Prices of a million tokens, in nano-USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    /// Read.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Read from the provider's prompt cache; `None` = as `input`.
    pub cache_read: Option<u64>,
    /// Written to the provider's prompt cache; `None` = as `input`.
    pub cache_write: Option<u64>,
}

impl Price {
    /// What the request would cost, in nano-USD; `cached` when its session was here before, so that most of its
    /// prompt is in the provider's cache.
    pub fn of(&self, features: &RequestFeatures, cached: bool) -> u64 {
        let input = if cached { self.cache_read.unwrap_or(self.input) } else { self.input };
        let cost = |tokens: u32, price: u64| u128::from(tokens) * u128::from(price);
        let millionth = cost(features.prompt_tokens, input) + cost(features.output_tokens, self.output);
        u64::try_from(millionth / 1_000_000).unwrap_or(u64::MAX)
    }
}

/// The class of a model or of the account that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Costs nothing.
    Free,
    /// Small and cheap.
    Standard,
    /// The usual one for work.
    Pro,
    /// The best there is.
    Ultra,
}

impl Tier {
    /// All of them, the lowest first.
    pub const ALL: [Self; 4] = [Self::Free, Self::Standard, Self::Pro, Self::Ultra];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Standard => "standard",
            Self::Pro => "pro",
            Self::Ultra => "ultra",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == word)
    }

    /// Its worth between 0 and 1.
    pub const fn worth(self) -> f32 {
        match self {
            Self::Free => 0.0,
            Self::Standard => 0.33,
            Self::Pro => 0.67,
            Self::Ultra => 1.0,
        }
    }
}

/// The facts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFacts {
    /// Tokens that prompt and answer may have together.
    pub context: Option<u32>,
    /// Tokens that an answer may have.
    pub max_output: Option<u32>,
    /// What it can do.
    pub can: Option<Needs>,
    /// What it is said to be able to do, where not everything is known.
    pub has: Needs,
    /// And what it is said not to be able to do.
    pub lacks: Needs,
    /// What it costs.
    pub price: Option<Price>,
    /// What it is good at, such as `coding`; the words of `auto/<category>`.
    pub categories: SmallVec<[Arc<str>; 3]>,
    /// Its class.
    pub tier: Option<Tier>,
}

impl ModelFacts {
    /// What the request would cost, if the price is known.
    pub fn cost(&self, features: &RequestFeatures, cached: bool) -> Option<u64> {
        self.price.map(|price| price.of(features, cached))
    }

    /// What it is known to lack of this.
    pub const fn missing(&self, needs: Needs) -> Needs {
        match self.can {
            Some(can) => needs.beyond(can),
            None => needs.beyond(Needs::ALL.beyond(self.lacks)),
        }
    }

    /// Lay what somebody says about single abilities over what is known; what they do not speak of stays.
    pub fn said(&mut self, has: Needs, lacks: Needs) {
        match self.can {
            Some(can) => self.can = Some(can.beyond(lacks).and(has)),
            None if has.and(lacks) == Needs::ALL => self.can = Some(has),
            None => {
                self.has = self.has.beyond(lacks).and(has);
                self.lacks = self.lacks.beyond(has).and(lacks);
            }
        }
    }

    /// Whether it is known to be able to do this.
    pub const fn surely_can(&self, need: Needs) -> bool {
        match self.can {
            Some(can) => can.covers(need),
            None => self.has.covers(need),
        }
    }

    /// Whether it is known to be good at this.
    pub fn is_for(&self, category: &str) -> bool {
        self.categories.iter().any(|known| known.eq_ignore_ascii_case(category))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_abilities_are_laid_over_what_is_known_and_the_unknown_excludes_nothing() {
        let (tools, vision) = (Needs::TOOLS, Needs::VISION);
        let mut unknown = ModelFacts::default();
        let mut known = ModelFacts { can: Some(tools), ..ModelFacts::default() };

        unknown.said(tools, vision);
        known.said(vision, tools);

        assert_eq!(unknown.missing(tools.and(vision).and(Needs::AUDIO)), vision);
        assert_eq!((known.can, known.missing(tools)), (Some(vision), tools));
        assert!(unknown.surely_can(tools) && !unknown.surely_can(Needs::AUDIO) && known.surely_can(vision));
        unknown.said(vision, Needs::NONE);
        assert!(unknown.missing(Needs::ALL).is_empty());
        unknown.said(tools, Needs::ALL.beyond(tools));
        assert_eq!(unknown.can, Some(tools));
    }

    #[test]
    fn a_request_costs_its_input_and_its_output_and_less_from_the_cache() {
        let price =
            Price { input: 3_000_000_000, output: 15_000_000_000, cache_read: Some(300_000_000), cache_write: None };
        let features = RequestFeatures { prompt_tokens: 10_000, output_tokens: 1_000, ..Default::default() };

        assert_eq!(price.of(&features, false), 45_000_000);
        assert_eq!(price.of(&features, true), 18_000_000);
        assert_eq!(
            Price { input: u64::MAX, ..price }.of(&RequestFeatures { prompt_tokens: u32::MAX, ..features }, false),
            u64::MAX
        );
    }
}
