//! What an operator says about a combo beside its steps. Everything has a default, so that a combo without a word
//! of configuration works.

use std::sync::Arc;
use std::time::Duration;

/// When a second target is asked beside a slow first one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HedgeAfter {
    /// After this time.
    Fixed(Duration),
    /// After the share of first-content times that the first target is known to keep, such as 0.95.
    Quantile(f32),
}

/// Hedging.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hedging {
    /// Whether it is done.
    pub enabled: bool,
    /// When.
    pub after: HedgeAfter,
    /// Never earlier than this.
    pub at_least: Duration,
}

impl Default for Hedging {
    fn default() -> Self {
        Self { enabled: false, after: HedgeAfter::Quantile(0.95), at_least: Duration::from_secs(1) }
    }
}

/// What becomes of a request that no candidate fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// The rule is a wish: it is dropped when nobody meets it.
    #[default]
    Lenient,
    /// The rule holds: the request is refused when nobody meets it.
    Strict,
}

impl Strictness {
    /// Reads the word of the API.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "lenient" => Some(Self::Lenient),
            "strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// What a combo asks of the context windows of its targets, beside that the request fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContextRule {
    /// Smaller windows are left out.
    pub min_window: Option<u32>,
    /// Larger windows first among what fits.
    pub prefer_large: bool,
    /// Whether a target whose window is unknown, or too small for the estimate, may serve when nothing else can.
    pub mode: Strictness,
}

/// What becomes of a request when every candidate costs more than its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OverBudget {
    /// It is refused.
    Strict,
    /// The cheapest serves it.
    #[default]
    Cheapest,
}

impl OverBudget {
    /// Reads the word of the API.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "strict" => Some(Self::Strict),
            "cheapest" => Some(Self::Cheapest),
            _ => None,
        }
    }
}

/// When and how a session is handed over to another target, under `context-relay`.
#[derive(Debug, Clone, PartialEq)]
pub struct Handoff {
    /// The used share of a target's quota from which on a session leaves it.
    pub threshold: f32,
    /// The model that writes the summary; `None` = there is none, and nobody pays for a call that was not asked for.
    pub model: Option<Arc<str>>,
    /// Providers for which it is done; empty = all.
    pub providers: Vec<Arc<str>>,
    /// Messages that the summary is made of, at most.
    pub max_messages: u32,
}

impl Default for Handoff {
    fn default() -> Self {
        Self { threshold: 0.85, model: None, providers: Vec::new(), max_messages: 30 }
    }
}

/// What each factor counts under `auto`. They need not add up to one: only their relation counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Quota left.
    pub quota: f32,
    /// Breaker and cooldown.
    pub health: f32,
    /// Cheapness.
    pub cost: f32,
    /// Quickness.
    pub latency: f32,
    /// Fit for the task.
    pub task: f32,
    /// Share of calls that succeeded lately.
    pub stability: f32,
    /// Class of the model.
    pub tier: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { quota: 0.20, health: 0.25, cost: 0.20, latency: 0.15, task: 0.10, stability: 0.05, tier: 0.05 }
    }
}

impl Weights {
    /// The weights of a mode pack.
    pub fn pack(name: &str) -> Option<Self> {
        let (quota, health, cost, latency, task, stability, tier) = match name {
            "balanced" => return Some(Self::default()),
            "ship-fast" => (0.10, 0.25, 0.05, 0.40, 0.10, 0.10, 0.0),
            "cost-saver" => (0.10, 0.15, 0.55, 0.05, 0.10, 0.05, 0.0),
            "quality-first" => (0.10, 0.20, 0.0, 0.05, 0.30, 0.10, 0.25),
            "offline-friendly" => (0.35, 0.30, 0.10, 0.05, 0.05, 0.15, 0.0),
            _ => return None,
        };
        Some(Self { quota, health, cost, latency, task, stability, tier })
    }

    /// The names of the mode packs.
    pub const PACKS: [&'static str; 5] = ["balanced", "ship-fast", "cost-saver", "quality-first", "offline-friendly"];
}

/// What `auto` goes by.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AutoRule {
    /// The weights, if they are set one by one.
    pub weights: Option<Weights>,
    /// The mode pack, if no weights are set.
    pub mode: Option<Arc<str>>,
    /// The share of requests that go to a random candidate, so that a bad memory can be corrected.
    pub exploration: f32,
    /// Only these, as `provider`, `provider/model` or a pattern; empty = all.
    pub pool: Vec<super::glob::Glob>,
}

/// Deadlines of a combo; `None` = the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// The whole request.
    pub total: Option<Duration>,
    /// To the first content of one attempt.
    pub first_content: Option<Duration>,
    /// Between pieces of content.
    pub idle: Option<Duration>,
    /// In a connection's queue.
    pub queue: Option<Duration>,
}

/// How a request that asks several steps is put together under `fusion`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ensemble {
    /// The model that writes the answer out of those of the panel; `None` = the steps, in their order.
    pub judge: Option<Arc<str>>,
    /// What it is told; `None` = the gateway's own words.
    pub prompt: Option<Arc<str>>,
    /// Answers that are enough; 0 = all.
    pub quorum: u32,
    /// Steps that are asked, in their order; `None` = as many as there may be.
    pub panel: Option<u32>,
    /// How long those who are late are waited for once somebody has answered; `None` = half of the time that is left.
    pub patience: Option<Duration>,
}

/// The configuration of a combo.
#[derive(Debug, Clone, PartialEq)]
pub struct ComboConfig {
    /// Attempts a request may cost; `None` = the gateway's number.
    pub max_attempts: Option<u32>,
    /// Times that the same place is tried again before the next, 0..=10.
    pub max_retries: u8,
    /// The pause before the same place is tried again.
    pub retry_delay: Duration,
    /// Requests in a row that stay with one step under `round-robin`, `weighted-smooth` and `strict-random`.
    pub sticky_limit: u32,
    /// Hedging.
    pub hedging: Hedging,
    /// Whether a broken stream may be continued on another target.
    pub continuation: bool,
    /// Context windows.
    pub context: ContextRule,
    /// What becomes of a request whose tags nobody has.
    pub tags: Strictness,
    /// The most a request may cost, in nano-USD.
    pub budget: Option<u64>,
    /// What becomes of a request above it.
    pub over_budget: OverBudget,
    /// Handing a session over.
    pub handoff: Handoff,
    /// What `auto` goes by.
    pub auto: AutoRule,
    /// Running all steps.
    pub ensemble: Ensemble,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Requests in flight per target; `None` = the connections' own limits.
    pub concurrency: Option<u32>,
    /// Whether its metrics are kept.
    pub track_metrics: bool,
}

impl Default for ComboConfig {
    fn default() -> Self {
        Self {
            max_attempts: None,
            max_retries: 0,
            retry_delay: Duration::from_secs(2),
            sticky_limit: 1,
            hedging: Hedging::default(),
            continuation: false,
            context: ContextRule::default(),
            tags: Strictness::default(),
            budget: None,
            over_budget: OverBudget::default(),
            handoff: Handoff::default(),
            auto: AutoRule { exploration: 0.05, ..AutoRule::default() },
            ensemble: Ensemble::default(),
            timeouts: Timeouts::default(),
            concurrency: None,
            track_metrics: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_pack_has_weights_and_no_other_word_has() {
        for name in Weights::PACKS {
            let w = Weights::pack(name).unwrap();
            let sum = w.quota + w.health + w.cost + w.latency + w.task + w.stability + w.tier;
            assert!((sum - 1.0).abs() < 1e-5, "{name}: {sum}");
        }
        assert!(Weights::pack("fast").is_none());
    }
}
