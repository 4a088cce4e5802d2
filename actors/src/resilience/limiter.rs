//! The pace of one connection: calls per minute, the smallest gap between two, and tokens per minute.
//!
//! Each of the three is a GCRA: one word that says until when the bucket is spoken for, in nanoseconds of *our*
//! clock. A request moves the word ahead by its cost; it is refused while the word would run further ahead of now
//! than the burst allows. Nothing refills in the background, nobody locks, and a refusal knows when it ends.
//!
//! Tokens are charged twice: an estimate when a call is let in, the truth when its usage is known. What was too much
//! comes back, but only as far as time has not used it up by itself; what was too little becomes a debt that later
//! calls wait for. So a limiter that guesses never lets more pass than one that had known.

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicU64, Ordering};

use std::time::Duration;

use crate::clock::Moment;

const MINUTE_NS: u64 = 60_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
/// A single debt is at most this many bursts: a wild count must not close a connection for a day.
const MOST_DEBT: u64 = 10;

/// How fast a bucket empties and how much it holds, both as time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_unit: u64,
    burst: u64,
}

impl Rate {
    /// This many a minute, a whole minute's worth at once; 0 is no limit.
    pub fn per_minute(limit: u64) -> Option<Self> {
        let per_unit = MINUTE_NS.checked_div(limit)?.max(1);
        Some(Self { per_unit, burst: per_unit.saturating_mul(limit) })
    }

    /// One at a time with this gap between two; zero is no gap.
    pub fn gap(gap: Duration) -> Option<Self> {
        let gap = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
        (gap > 0).then_some(Self { per_unit: gap, burst: gap })
    }

    /// What is larger than the whole bucket costs the whole bucket: it must pass at some time.
    fn cost(self, units: u64) -> u64 {
        self.per_unit.saturating_mul(units).min(self.burst)
    }
}

/// The pace that holds for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// Calls per minute.
    pub requests: Option<Rate>,
    /// The gap between two calls.
    pub gap: Option<Rate>,
    /// Tokens per minute.
    pub tokens: Option<Rate>,
}

impl Pace {
    /// From numbers; 0 is no limit.
    pub fn new(requests_per_minute: u32, gap: Duration, tokens_per_minute: u64) -> Self {
        Self {
            requests: Rate::per_minute(u64::from(requests_per_minute)),
            gap: Rate::gap(gap),
            tokens: Rate::per_minute(tokens_per_minute),
        }
    }

    /// How far apart calls are when nothing is left over.
    pub fn spacing(&self) -> Duration {
        let of = |rate: Option<Rate>| rate.map_or(0, |rate| rate.per_unit);
        Duration::from_nanos(of(self.requests).max(of(self.gap)))
    }

    /// Whether it slows anything.
    pub const fn is_free(&self) -> bool {
        self.requests.is_none() && self.gap.is_none() && self.tokens.is_none()
    }
}

/// One bucket.
#[derive(Debug)]
struct Bucket {
    /// Until then it is spoken for.
    due: AtomicU64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { due: AtomicU64::new(0) }
    }
}

impl Bucket {
    /// Spend, if there is room; else when there will be.
    fn take(&self, rate: Rate, cost: u64, now: u64) -> Result<u64, u64> {
        let mut due = self.due.load(Ordering::Acquire);
        loop {
            let after = due.max(now).saturating_add(cost);
            if after > now.saturating_add(rate.burst) {
                return Err(after.saturating_sub(rate.burst));
            }
            match self.due.compare_exchange_weak(due, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(after),
                Err(met) => due = met,
            }
        }
    }

    /// When that much would pass.
    fn free_at(&self, rate: Rate, cost: u64, now: u64) -> u64 {
        let after = self.due.load(Ordering::Acquire).max(now).saturating_add(cost);
        after.saturating_sub(rate.burst).max(now)
    }

    /// Spend whether there is room or not.
    fn charge(&self, cost: u64, now: u64) {
        self.change(|due| due.max(now).saturating_add(cost));
    }

    fn refund(&self, cost: u64) {
        self.change(|due| due.saturating_sub(cost));
    }

    fn change(&self, next: impl Fn(u64) -> u64) {
        let mut due = self.due.load(Ordering::Acquire);
        while let Err(met) = self.due.compare_exchange_weak(due, next(due), Ordering::AcqRel, Ordering::Acquire) {
            due = met;
        }
    }
}

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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn tokens(per_minute: u64) -> Pace {
        Pace::new(0, Duration::ZERO, per_minute)
    }

    #[test]
    fn a_minutes_worth_may_be_spent_at_once_and_comes_back_evenly() {
        let (limiter, pace) = (Limiter::default(), Pace::new(60, Duration::ZERO, 0));

        let burst = (0..100).filter(|_| limiter.take(&pace, 0, at(5_000)).is_ok()).count();

        assert_eq!(burst, 60);
        assert_eq!(limiter.take(&pace, 0, at(5_000)), Err(at(6_000)));
        assert!(limiter.take(&pace, 0, at(6_000)).is_ok());
        assert!(limiter.take(&pace, 0, at(6_000)).is_err());
    }

    #[test]
    fn two_calls_keep_their_gap() {
        let (limiter, pace) = (Limiter::default(), Pace::new(0, Duration::from_millis(200), 0));
        limiter.take(&pace, 0, at(1_000)).unwrap();

        assert_eq!(limiter.take(&pace, 0, at(1_100)), Err(at(1_200)));
        assert!(limiter.take(&pace, 0, at(1_200)).is_ok());
    }

    #[test]
    fn what_one_bucket_refuses_costs_the_others_nothing() {
        let (limiter, pace) = (Limiter::default(), Pace::new(2, Duration::ZERO, 100));
        limiter.take(&pace, 100, at(0)).unwrap();

        (0..50).for_each(|_| assert!(limiter.take(&pace, 100, at(0)).is_err()));

        assert!(limiter.take(&pace, 0, at(0)).is_ok(), "the second call of the minute is still there");
    }

    #[test]
    fn a_call_larger_than_the_bucket_passes_when_the_bucket_is_full() {
        let (limiter, pace) = (Limiter::default(), tokens(1_000));

        assert!(limiter.take(&pace, 50_000, at(0)).is_ok());
        assert_eq!(limiter.take(&pace, 50_000, at(0)), Err(at(60_000)));
    }

    #[test]
    fn too_high_an_estimate_comes_back_and_too_low_a_one_becomes_a_debt() {
        let (limiter, pace) = (Limiter::default(), tokens(1_000));
        let high = limiter.take(&pace, 1_000, at(0)).unwrap();
        limiter.true_up(&high, 400, at(0));
        let low = limiter.take(&pace, 600, at(0)).unwrap();

        limiter.true_up(&low, 1_600, at(0));

        assert_eq!(limiter.take(&pace, 1, at(0)), Err(at(60_060)), "a thousand of debt is a minute");
    }

    #[test]
    fn a_call_that_was_never_sent_costs_nothing() {
        let (limiter, pace) = (Limiter::default(), Pace::new(1, Duration::from_secs(1), 10));
        let ticket = limiter.take(&pace, 10, at(0)).unwrap();

        limiter.give_back(&ticket, at(0));

        assert!(limiter.take(&pace, 10, at(0)).is_ok());
    }

    #[test]
    fn a_wild_count_closes_a_connection_for_minutes_at_most() {
        let (limiter, pace) = (Limiter::default(), tokens(1_000));
        let ticket = limiter.take(&pace, 1, at(0)).unwrap();

        limiter.true_up(&ticket, u64::MAX, at(0));

        assert!(limiter.free_at(&pace, 0, at(0)) <= at(10 * 60_000));
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Take { estimate: u64, actual: u64 },
        End(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
        let take = (0u64..600, 0u64..600).prop_map(|(estimate, actual)| Step::Take { estimate, actual });
        let step = prop_oneof![2 => take, 1 => (0usize..8).prop_map(Step::End)];
        prop::collection::vec((0u64..20_000, step), 1..80)
    }

    proptest! {
        /// In any stretch of time no more passes than the burst and what comes back meanwhile.
        #[test]
        fn no_stretch_of_time_lets_more_pass_than_the_rate(
            asks in prop::collection::vec((0u64..3_000, 1u64..50), 1..150), per_minute in 50u64..2_000,
        ) {
            let (limiter, pace) = (Limiter::default(), tokens(per_minute));
            let (mut now, mut passed) = (0, Vec::new());
            for (wait, units) in asks {
                now += wait;
                match limiter.take(&pace, units, at(now)) {
                    Ok(_) => passed.push((now, units)),
                    Err(until) => {
                        prop_assert!(until > at(now));
                        prop_assert_eq!(limiter.free_at(&pace, units, at(now)), until);
                    }
                }
            }
            for (first, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (to, units) in &passed[first..] {
                    sum += units;
                    let most = per_minute as f64 * (1.0 + (to - from) as f64 / 60_000.0);
                    prop_assert!(sum as f64 <= most + 1.0, "{sum} in {} ms", to - from);
                }
            }
        }

        /// Guessing and truing up never leaves a bucket emptier of claims than knowing would have.
        #[test]
        fn a_guess_that_is_trued_up_is_never_more_generous_than_the_truth(steps in steps()) {
            let (guessing, knowing, pace) = (Limiter::default(), Limiter::default(), tokens(1_000));
            let (mut now, mut open) = (0, Vec::new());
            for (wait, step) in steps {
                now += wait;
                match step {
                    Step::Take { estimate, actual } if actual <= estimate => {
                        if let Ok(ticket) = guessing.take(&pace, estimate, at(now)) {
                            knowing.tokens.charge(pace.tokens.unwrap().cost(actual), ns(at(now)));
                            open.push((ticket, actual));
                        }
                    }
                    Step::Take { .. } => {}
                    Step::End(index) if index < open.len() => {
                        let (ticket, actual) = open.swap_remove(index);
                        guessing.true_up(&ticket, actual, at(now));
                    }
                    Step::End(_) => {}
                }
                let due = |limiter: &Limiter| limiter.tokens.due.load(Ordering::Acquire).max(ns(at(now)));
                prop_assert!(due(&guessing) >= due(&knowing));
            }
        }

        /// A refusal names the moment at which the same question is answered with yes, if nobody else asks.
        #[test]
        fn a_refusal_tells_the_first_moment_that_works(takes in prop::collection::vec(1u64..400, 1..40), rpm in 1u32..30) {
            let (limiter, pace) = (Limiter::default(), Pace::new(rpm, Duration::from_millis(7), 1_000));
            let mut now = at(3);
            for units in takes {
                if let Err(until) = limiter.take(&pace, units, now) {
                    prop_assert!(until > now);
                    prop_assert!(limiter.take(&pace, units, until).is_ok());
                    now = until;
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "loom")]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn of_two_callers_one_gets_the_last_cell() {
        loom::model(|| {
            let limiter = Arc::new(Limiter::default());
            let pace = Pace::new(1, Duration::ZERO, 0);
            let other = {
                let limiter = Arc::clone(&limiter);
                thread::spawn(move || limiter.take(&pace, 0, Moment::START).is_ok())
            };

            let here = limiter.take(&pace, 0, Moment::START).is_ok();

            assert!(here != other.join().unwrap());
        });
    }

    #[test]
    fn a_refund_and_a_charge_at_once_lose_nothing() {
        loom::model(|| {
            let limiter = Arc::new(Limiter::default());
            let pace = Pace::new(0, Duration::ZERO, 60);
            let first = limiter.take(&pace, 20, Moment::START).unwrap();
            let other = {
                let limiter = Arc::clone(&limiter);
                thread::spawn(move || limiter.true_up(&first, 10, Moment::START))
            };

            limiter.take(&pace, 30, Moment::START).unwrap();
            other.join().unwrap();

            assert_eq!(limiter.tokens.due.load(Ordering::Acquire), 40_000_000_000);
        });
    }
}
