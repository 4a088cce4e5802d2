//! The pace of one connection: calls per minute, the smallest gap between two, and tokens per minute.
//!
//! Each of the three is a GCRA: one word that says until when the bucket is spoken for, in nanoseconds of *our*
//! clock. A request moves the word ahead by its cost; it is refused while the word would run further ahead of now
//! than the burst allows. Nothing refills in the background, nobody locks, and a refusal knows when it ends.
//!
//! Tokens are charged twice: an estimate when a call is let in, the truth when its usage is known. What was too much
//! comes back, but only as far as time has not used it up by itself; what was too little becomes a debt that later
//! calls wait for. So a limiter that guesses never lets more pass than one that had known.

mod bucket;

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Moment;

use self::bucket::Bucket;
pub use self::bucket::{Pace, Rate};

const NS_PER_MS: u64 = 1_000_000;
/// A single debt is at most this many bursts: a wild count must not close a connection for a day.
const MOST_DEBT: u64 = 10;

/// The three buckets.
#[derive(Debug)]
pub struct Limiter {
    requests: Bucket,
    gap: Bucket,
    tokens: Bucket,
    /// All that was ever given back of the tokens: moves what was charged later to the front.
    refunded: AtomicU64,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            requests: Bucket::default(),
            gap: Bucket::default(),
            tokens: Bucket::default(),
            refunded: AtomicU64::new(0),
        }
    }
}

/// What one call was charged; needed to give back or to true up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticket {
    requests: Option<Rate>,
    gap: Option<Rate>,
    tokens: Option<Charge>,
}

impl Ticket {
    /// Whether nothing was charged.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Charge {
    rate: Rate,
    cost: u64,
    /// Where the bucket stood after it.
    end: u64,
    refunded: u64,
}

impl Limiter {
    /// Take a call with that many tokens, or nothing.
    ///
    /// # Errors
    /// When it is worth asking again.
    pub fn take(&self, pace: &Pace, tokens: u64, now: Moment) -> Result<Ticket, Moment> {
        let at = ns(now);
        let mut ticket = Ticket::default();
        let took = self.take_calls(pace, at, &mut ticket).and_then(|()| self.take_tokens(pace, tokens, at));
        match took {
            Ok(charge) => Ok(Ticket { tokens: charge, ..ticket }),
            Err(until) => {
                self.give_back(&ticket, now);
                // The first bucket that refuses need not be the last one to be free.
                Err(moment(until).max(self.free_at(pace, tokens, now)))
            }
        }
    }

    /// When a call with that many tokens would pass; now, if it would.
    pub fn free_at(&self, pace: &Pace, tokens: u64, now: Moment) -> Moment {
        let at = ns(now);
        let of = |rate: Option<Rate>, bucket: &Bucket, units| {
            rate.map_or(at, |rate| bucket.free_at(rate, rate.cost(units), at))
        };
        let latest = of(pace.requests, &self.requests, 1).max(of(pace.gap, &self.gap, 1));
        moment(latest.max(of(pace.tokens, &self.tokens, tokens)))
    }

    /// The call was never sent.
    pub fn give_back(&self, ticket: &Ticket, now: Moment) {
        if let Some(rate) = ticket.requests {
            self.requests.refund(rate.per_unit);
        }
        if let Some(rate) = ticket.gap {
            self.gap.refund(rate.per_unit);
        }
        self.true_up(ticket, 0, now);
    }

    /// The call used this many tokens.
    pub fn true_up(&self, ticket: &Ticket, actual: u64, now: Moment) {
        let Some(charge) = ticket.tokens else { return };
        let at = ns(now);
        let real = charge.rate.per_unit.saturating_mul(actual).min(charge.rate.burst.saturating_mul(MOST_DEBT));
        if real >= charge.cost {
            self.tokens.charge(real - charge.cost, at);
            return;
        }
        // What time has used up by itself cannot come back; what others got back has moved this charge ahead.
        let moved = self.refunded.load(Ordering::Acquire).saturating_sub(charge.refunded);
        let left = charge.end.saturating_sub(moved).saturating_sub(at);
        let back = (charge.cost - real).min(left);
        self.refunded.fetch_add(back, Ordering::AcqRel);
        self.tokens.refund(back);
    }

    /// Forget all that was spent.
    pub fn clear(&self) {
        [&self.requests, &self.gap, &self.tokens].into_iter().for_each(|bucket| bucket.change(|_| 0));
    }

    /// The share of the tokens or calls that could pass at once, whichever is smaller; `None` without a limit.
    pub fn room(&self, pace: &Pace, now: Moment) -> Option<f32> {
        let at = ns(now);
        let of = |rate: Option<Rate>, bucket: &Bucket| {
            let rate = rate?;
            let ahead = bucket.due.load(Ordering::Acquire).saturating_sub(at).min(rate.burst);
            Some(1.0 - ahead as f32 / rate.burst as f32)
        };
        let shares = [of(pace.requests, &self.requests), of(pace.tokens, &self.tokens)];
        shares.into_iter().flatten().reduce(f32::min)
    }

    fn take_calls(&self, pace: &Pace, at: u64, ticket: &mut Ticket) -> Result<(), u64> {
        if let Some(rate) = pace.requests {
            self.requests.take(rate, rate.cost(1), at)?;
            ticket.requests = Some(rate);
        }
        if let Some(rate) = pace.gap {
            self.gap.take(rate, rate.cost(1), at)?;
            ticket.gap = Some(rate);
        }
        Ok(())
    }

    fn take_tokens(&self, pace: &Pace, tokens: u64, at: u64) -> Result<Option<Charge>, u64> {
        let Some(rate) = pace.tokens else { return Ok(None) };
        // Read before the charge: a refund in between counts as one that moved it.
        let refunded = self.refunded.load(Ordering::Acquire);
        let cost = rate.cost(tokens);
        let end = self.tokens.take(rate, cost, at)?;
        Ok(Some(Charge { rate, cost, end, refunded }))
    }
}

const fn ns(moment: Moment) -> u64 {
    moment.as_millis().saturating_mul(NS_PER_MS)
}

/// Rounded up: a moment too early would be refused again.
const fn moment(ns: u64) -> Moment {
    Moment::from_millis(ns.div_ceil(NS_PER_MS))
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests;

#[cfg(test)]
#[cfg(feature = "loom")]
mod model;
