//! The ledger of one request: every candidate that was tried or passed over, with what became of it, in order.
//!
//! Several attempts may be open at a time, so each is known by its place. What is read of it while the request runs
//! (headers) and after it (the usage record) is the same list.

use std::time::Duration;

use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::facts::Price;
use omniroute_actors::router::{Lease, Skip, SkipReason, Skips};
use omniroute_actors::usage::record::{AttemptRecord, SKIPPED, Tokens};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::tally::{Ended, millis};

/// The outcome of an attempt that another one, started later or earlier, made needless.
pub const HEDGE_LOST: &str = "hedge_lost";
/// So many candidates that were passed over are named.
const MOST_SKIPPED: usize = 64;

/// An entry's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub usize);

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    began: Instant,
    entries: Vec<AttemptRecord>,
    /// Prices of the attempts, by place.
    prices: SmallVec<[(usize, Price); 3]>,
    tried: usize,
    /// Who was passed over, and why, for people.
    passed_over: Vec<String>,
    answering: Option<Place>,
    waited: Duration,
    /// Tokens of the prompt, estimated, for what was sent and never answered.
    prompt: u64,
}

impl Ledger {
    /// An empty one of a request that came at this time.
    pub fn begin(began: Instant) -> Self {
        Self {
            began,
            entries: Vec::new(),
            prices: SmallVec::new(),
            tried: 0,
            passed_over: Vec::new(),
            answering: None,
            waited: Duration::ZERO,
            prompt: 0,
        }
    }

    /// What the prompt is thought to have, in tokens.
    pub const fn expect_prompt(&mut self, tokens: u64) {
        self.prompt = tokens;
    }

    /// An attempt begins.
    pub fn attempt(&mut self, lease: &Lease, now: Instant) -> Place {
        let place = Place(self.entries.len());
        self.entries.push(AttemptRecord {
            connection: lease.config.id.clone(),
            provider: lease.config.provider.clone(),
            model: lease.model().clone(),
            reason: Some(lease.decision().to_string()),
            started_ms: millis(now.duration_since(self.began)),
            waited_ms: millis(std::mem::take(&mut self.waited)),
            ..AttemptRecord::default()
        });
        if let Some(price) = lease.leg().and_then(|leg| leg.target.facts.price) {
            self.prices.push((place.0, price));
        }
        self.tried += 1;
        place
    }

    /// The request waited before its next attempt.
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// It ran beside another one.
    pub fn hedged(&mut self, place: Place) {
        if let Some(entry) = self.entries.get_mut(place.0) {
            entry.hedged = true;
        }
    }

    /// Its request was on its way after this time.
    pub fn sent(&mut self, place: Place, after: Duration) {
        if let Some(entry) = self.entries.get_mut(place.0) {
            entry.connect_ms = Some(millis(after));
        }
    }

    /// It ended.
    pub fn ended(&mut self, place: Place, ended: Ended) {
        self.end(place, ended, ended.outcome.as_str());
    }

    /// It was made needless by another one.
    pub fn given_up(&mut self, place: Place, ended: Ended, why: &'static str) {
        self.end(place, ended, why);
    }

    fn end(&mut self, place: Place, ended: Ended, outcome: &str) {
        let since_start = millis(ended.at.duration_since(self.began));
        let may_be_billed = ended.class.may_be_billed() && Some(place) != self.answering;
        let guess = Tokens { prompt: self.prompt, estimated: true, ..Tokens::default() };
        let Some(entry) = self.entries.get_mut(place.0) else { return };
        outcome.clone_into(&mut entry.outcome);
        entry.status = ended.status;
        entry.class = Some(ended.class.as_str().to_owned());
        entry.took_ms = since_start.saturating_sub(entry.started_ms);
        if may_be_billed {
            self.used(place, guess);
        }
    }

    /// It answers the client.
    pub fn answered(&mut self, place: Place, now: Instant) {
        self.answering = Some(place);
        let since_start = millis(now.duration_since(self.began));
        if let Some(entry) = self.entries.get_mut(place.0) {
            entry.first_content_ms = Some(since_start.saturating_sub(entry.started_ms));
        }
    }

    /// The attempt that answers the client.
    pub const fn answering(&self) -> Option<Place> {
        self.answering
    }

    /// What it used.
    pub fn used(&mut self, place: Place, tokens: Tokens) {
        let price = self.prices.iter().find(|(at, _)| *at == place.0).map(|(_, price)| *price);
        if let Some(entry) = self.entries.get_mut(place.0) {
            entry.tokens = Some(tokens);
            entry.cost_nano_usd = price.map(|price| cost(&price, &tokens));
        }
    }

    /// Candidates were passed over.
    pub fn skipped(&mut self, skips: &Skips) {
        // What the caller may not use is none of its business.
        for skip in skips.named().iter().filter(|skip| skip.reason != SkipReason::NotAllowed) {
            self.passed(skip);
        }
        let rest = skips.rest().iter().filter(|(reason, _)| *reason != SkipReason::NotAllowed);
        self.passed_over.extend(rest.map(|(reason, count)| format!("{count} more:{}", reason.as_str())));
    }

    fn passed(&mut self, skip: &Skip) {
        let Some(connection) = &skip.connection else { return };
        if self.entries.len() - self.tried >= MOST_SKIPPED {
            return;
        }
        let config = connection.config();
        self.passed_over.push(format!("{}:{}", config.name, skip.reason.as_str()));
        self.entries.push(AttemptRecord {
            connection: config.id.clone(),
            provider: skip.provider.clone(),
            model: skip.model.clone(),
            outcome: SKIPPED.to_owned(),
            reason: Some(skip.reason.as_str().to_owned()),
            started_ms: millis(Instant::now().duration_since(self.began)),
            ..AttemptRecord::default()
        });
    }

    /// How many were tried.
    pub const fn tried(&self) -> usize {
        self.tried
    }

    /// Why the answering connection was not the first choice: `name:reason, ...`; empty when it was.
    pub fn reasons(&self) -> String {
        let failed = |entry: &&AttemptRecord| {
            entry.was_tried() && !entry.outcome.is_empty() && entry.outcome != Outcome::Success.as_str()
        };
        let failed = self.entries.iter().filter(failed).map(|entry| format!("{}:{}", entry.connection, entry.outcome));
        self.passed_over.iter().cloned().chain(failed).collect::<Vec<_>>().join(", ")
    }

    /// The entries. What the request used goes to the attempt that answered it.
    pub fn close(&mut self, tokens: Tokens) -> Vec<AttemptRecord> {
        if let Some(place) = self.answering {
            self.used(place, tokens);
        }
        std::mem::take(&mut self.entries)
    }
}

/// In nano-USD. Cached tokens are a part of the prompt.
fn cost(price: &Price, tokens: &Tokens) -> u64 {
    let cached = tokens.cached.min(tokens.prompt);
    let of = |count: u64, price: u64| u128::from(count) * u128::from(price);
    let millionth = of(tokens.prompt - cached, price.input)
        + of(cached, price.cache_read.unwrap_or(price.input))
        + of(tokens.completion, price.output);
    u64::try_from(millionth / 1_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_are_paid_as_such_and_only_once() {
        let price = Price { input: 3_000_000, output: 15_000_000, cache_read: Some(300_000), cache_write: None };
        let tokens = Tokens { prompt: 1_000, completion: 100, cached: 800, ..Tokens::default() };

        assert_eq!(cost(&price, &tokens), 600 + 240 + 1_500);
        assert_eq!(cost(&Price { cache_read: None, ..price }, &tokens), 3_000 + 1_500);
    }
}
