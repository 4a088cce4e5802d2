//! The ledger of one request: every candidate that was tried or passed over, with what became of it, in order.
//!
//! Several attempts may be open at a time, so each is known by its place. What is read of it while the request runs
//! (headers) and after it (the usage record) is the same list. Where a request makes several calls at once, each of them
//! writes into that list through a [branch](Ledger::branch), so that nothing is lost when one of them is dropped half-way.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::facts::Price;
use omniroute_actors::router::{Lease, Skip, SkipReason, Skips};
use omniroute_actors::usage::record::{AttemptRecord, SKIPPED, Tokens};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::tally::{Ended, millis};
use omniroute_actors::router::fallback::RetryClass;

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
    book: Rc<RefCell<Book>>,
    /// The next attempt of this branch waited so long.
    waited: Duration,
    /// What the attempts of this branch are for, where it is not the answer itself.
    role: Option<Rc<str>>,
}

#[derive(Debug)]
struct Book {
    began: Instant,
    entries: Vec<AttemptRecord>,
    /// Prices of the attempts, by place.
    prices: SmallVec<[(usize, Price); 3]>,
    tried: usize,
    /// Who was passed over, and why, for people.
    passed_over: Vec<String>,
    answering: Option<Place>,
    /// Tokens of the prompt, estimated, for what was sent and never answered.
    prompt: u64,
    /// What calls used whose answers only led to the client's.
    spent: Tokens,
}

impl Ledger {
    /// An empty one of a request that came at this time.
    pub fn begin(began: Instant) -> Self {
        let book = Book {
            began,
            entries: Vec::new(),
            prices: SmallVec::new(),
            tried: 0,
            passed_over: Vec::new(),
            answering: None,
            prompt: 0,
            spent: Tokens::default(),
        };
        Self { book: Rc::new(RefCell::new(book)), waited: Duration::ZERO, role: None }
    }

    /// The same ledger for calls that are made beside others, each marked with what it is for.
    pub fn branch(&self, role: Option<&str>) -> Self {
        let role = role.map(Rc::from).or_else(|| self.role.clone());
        Self { book: Rc::clone(&self.book), waited: Duration::ZERO, role }
    }

    /// What the prompt is thought to have, in tokens.
    pub fn expect_prompt(&mut self, tokens: u64) {
        self.book.borrow_mut().prompt = tokens;
    }

    /// An attempt begins.
    pub fn attempt(&mut self, lease: &Lease, now: Instant) -> Place {
        let mut book = self.book.borrow_mut();
        let place = Place(book.entries.len());
        let began = book.began;
        book.entries.push(AttemptRecord {
            connection: lease.config.id.clone(),
            provider: lease.config.provider.clone(),
            model: lease.model().clone(),
            reason: Some(lease.decision().to_string()),
            role: self.role.as_deref().map(str::to_owned),
            started_ms: millis(now.duration_since(began)),
            waited_ms: millis(std::mem::take(&mut self.waited)),
            ..AttemptRecord::default()
        });
        if let Some(price) = lease.leg().and_then(|leg| leg.target.facts.price) {
            book.prices.push((place.0, price));
        }
        book.tried += 1;
        place
    }

    /// The request waited before its next attempt.
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// It ran beside another one.
    pub fn hedged(&mut self, place: Place) {
        self.change(place, |entry| entry.hedged = true);
    }

    /// Its request was on its way after this time.
    pub fn sent(&mut self, place: Place, after: Duration) {
        self.change(place, |entry| entry.connect_ms = Some(millis(after)));
    }

    fn change(&self, place: Place, change: impl FnOnce(&mut AttemptRecord)) {
        if let Some(entry) = self.book.borrow_mut().entries.get_mut(place.0) {
            change(entry);
        }
    }

    /// It ended.
    pub fn ended(&mut self, place: Place, ended: Ended) {
        self.book.borrow_mut().end(place, ended, ended.outcome.as_str());
    }

    /// It was made needless by another one.
    pub fn given_up(&mut self, place: Place, ended: Ended, why: &'static str) {
        self.book.borrow_mut().end(place, ended, why);
    }

    /// Whatever was begun and has no end yet was cut off now: nobody waits for it any more.
    pub fn cut_off(&mut self, why: &'static str, at: Instant) {
        let mut book = self.book.borrow_mut();
        let open = |(place, entry): (usize, &AttemptRecord)| entry.outcome.is_empty().then_some(Place(place));
        let open: SmallVec<[Place; 8]> = book.entries.iter().enumerate().filter_map(open).collect();
        let ended = Ended { outcome: Outcome::Abandoned, status: 0, class: RetryClass::MaybeAccepted, at };
        open.into_iter().for_each(|place| book.end(place, ended, why));
    }

    /// It answers the client.
    pub fn answered(&mut self, place: Place, now: Instant) {
        let mut book = self.book.borrow_mut();
        book.answering = Some(place);
        let since_start = millis(now.duration_since(book.began));
        if let Some(entry) = book.entries.get_mut(place.0) {
            entry.first_content_ms = Some(since_start.saturating_sub(entry.started_ms));
        }
    }

    /// The attempt that answers the client.
    pub fn answering(&self) -> Option<Place> {
        self.book.borrow().answering
    }

    /// What it used.
    pub fn used(&mut self, place: Place, tokens: Tokens) {
        self.book.borrow_mut().used(place, tokens);
    }

    /// What it used that was not the client's answer, or not all of it: the request used that as well.
    pub fn spent(&mut self, place: Place, tokens: Tokens) {
        let mut book = self.book.borrow_mut();
        book.used(place, tokens);
        book.spent = book.spent.and(&tokens);
        // Whatever answers the client from here on, it is not this attempt.
        book.answering = book.answering.filter(|answering| *answering != place);
    }

    /// What it used is the client's answer after all.
    pub fn promoted(&mut self, place: Place) -> Tokens {
        let mut book = self.book.borrow_mut();
        book.answering = Some(place);
        let used = book.entries.get(place.0).and_then(|entry| entry.tokens).unwrap_or_default();
        book.spent = book.spent.without(&used);
        used
    }

    /// What calls used so far whose answers only led to the client's.
    pub fn spent_so_far(&self) -> Tokens {
        self.book.borrow().spent
    }

    /// Candidates were passed over.
    pub fn skipped(&mut self, skips: &Skips) {
        let mut book = self.book.borrow_mut();
        // What the caller may not use is none of its business.
        for skip in skips.named().iter().filter(|skip| skip.reason != SkipReason::NotAllowed) {
            book.passed(skip);
        }
        let rest = skips.rest().iter().filter(|(reason, _)| *reason != SkipReason::NotAllowed);
        book.passed_over.extend(rest.map(|(reason, count)| format!("{count} more:{}", reason.as_str())));
    }

    /// How many were tried.
    pub fn tried(&self) -> usize {
        self.book.borrow().tried
    }

    /// Why the answering connection was not the first choice: `name:reason, ...`; empty when it was.
    pub fn reasons(&self) -> String {
        let book = self.book.borrow();
        let failed = |entry: &&AttemptRecord| {
            entry.was_tried() && !entry.outcome.is_empty() && entry.outcome != Outcome::Success.as_str()
        };
        let failed = book.entries.iter().filter(failed).map(|entry| format!("{}:{}", entry.connection, entry.outcome));
        book.passed_over.iter().cloned().chain(failed).collect::<Vec<_>>().join(", ")
    }

    /// The entries. What the request used last goes to the attempt that answered it.
    pub fn close(&mut self, tokens: Tokens) -> Vec<AttemptRecord> {
        let mut book = self.book.borrow_mut();
        if let Some(place) = book.answering {
            book.used(place, tokens);
        }
        std::mem::take(&mut book.entries)
    }
}

impl Book {
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

    fn used(&mut self, place: Place, tokens: Tokens) {
        let price = self.prices.iter().find(|(at, _)| *at == place.0).map(|(_, price)| *price);
        if let Some(entry) = self.entries.get_mut(place.0) {
            entry.tokens = Some(tokens);
            entry.cost_nano_usd = price.map(|price| cost(&price, &tokens));
        }
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
