//! How many calls at a time a connection carries, learned from what it refuses.
//!
//! Nobody publishes this number and it moves with the provider's load. So it starts unknown: a refusal while `k` calls
//! run says that `k` was too many, and the limit becomes seven tenths of it; each full round of successes adds one.
//! After a calm while it is forgotten. Calls that were on their way when the limit was cut say nothing new: a burst
//! of a hundred refusals is one lesson.

use std::time::Duration;

use super::outcome::Outcome;
use crate::clock::Moment;

/// Without a refusal for this long the limit is forgotten.
pub const CALM: Duration = Duration::from_secs(300);

/// The learned limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aimd {
    /// 0 = unknown.
    limit: u32,
    successes: u32,
    cut_at: Moment,
    refused_at: Moment,
}

impl Aimd {
    /// The limit, 0 when there is none.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// A call ended that was admitted then, with this many running, itself included. `most` is the configured limit, 0 for none.
    pub fn hear(&mut self, outcome: Outcome, admitted_at: Moment, running: u32, most: u32, now: Moment) {
        match outcome {
            Outcome::RateLimited | Outcome::Overloaded => self.refused(admitted_at, running, now),
            Outcome::Success => self.succeeded(most, now),
            _ => {}
        }
    }

    /// Forget what was learned; whether there was anything.
    pub fn forget(&mut self) -> bool {
        let knew = self.limit > 0;
        *self = Self::default();
        knew
    }

    fn refused(&mut self, admitted_at: Moment, running: u32, now: Moment) {
        self.refused_at = now;
        let known_already = self.limit > 0 && admitted_at <= self.cut_at;
        if known_already {
            return;
        }
        let cut = u32::try_from(u64::from(running) * 7 / 10).unwrap_or(u32::MAX).max(1);
        // More running than the limit is left over from before the limit; it must not raise it.
        self.limit = if self.limit == 0 { cut } else { self.limit.min(cut) };
        self.successes = 0;
        self.cut_at = now;
    }

    fn succeeded(&mut self, most: u32, now: Moment) {
        if self.limit == 0 {
            return;
        }
        if now.since(self.refused_at) >= CALM {
            self.forget();
            return;
        }
        self.successes += 1;
        if self.successes >= self.limit {
            self.successes = 0;
            let ceiling = if most == 0 { u32::MAX } else { most };
            self.limit = self.limit.saturating_add(1).min(ceiling);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn a_refusal_cuts_to_seven_tenths_and_a_round_of_successes_adds_one() {
        let mut aimd = Aimd::default();
        aimd.hear(Outcome::RateLimited, at(1), 10, 0, at(2));
        assert_eq!(aimd.limit(), 7);

        (0..7).for_each(|_| aimd.hear(Outcome::Success, at(3), 1, 0, at(4)));

        assert_eq!(aimd.limit(), 8);
    }

    #[test]
    fn a_burst_of_refusals_is_one_lesson() {
        let mut aimd = Aimd::default();

        (1..=100).rev().for_each(|running| aimd.hear(Outcome::RateLimited, at(1), running, 0, at(50)));

        assert_eq!(aimd.limit(), 70);
    }

    #[test]
    fn a_calm_while_forgets_and_it_never_grows_past_the_configured() {
        let mut aimd = Aimd::default();
        aimd.hear(Outcome::Overloaded, at(1), 4, 3, at(2));
        (0..50).for_each(|_| aimd.hear(Outcome::Success, at(3), 1, 3, at(4)));
        assert_eq!(aimd.limit(), 3);

        aimd.hear(Outcome::Success, at(3), 1, 3, at(2).after(CALM));

        assert_eq!(aimd.limit(), 0);
    }

    #[test]
    fn failures_that_say_nothing_about_load_teach_nothing() {
        let mut aimd = Aimd::default();
        for outcome in Outcome::ALL {
            if !matches!(outcome, Outcome::RateLimited | Outcome::Overloaded) {
                aimd.hear(outcome, at(1), 9, 0, at(2));
            }
        }

        assert_eq!(aimd, Aimd::default());
    }

    proptest! {
        /// Never zero once known, never above the configured, and a cut never raises it.
        #[test]
        fn any_history_keeps_it_within_its_bounds(
            events in prop::collection::vec((any::<bool>(), 1u32..200, 0u64..500, 0u64..5_000), 1..200), most in 0u32..50,
        ) {
            let (mut aimd, mut now) = (Aimd::default(), Moment::START);
            for (refused, running, ago, wait) in events {
                now = now.after(Duration::from_millis(wait));
                let admitted = at(now.as_millis().saturating_sub(ago));
                let before = aimd.limit();
                let running = if most == 0 { running } else { running.min(most) };
                aimd.hear(if refused { Outcome::RateLimited } else { Outcome::Success }, admitted, running, most, now);
                if refused {
                    prop_assert!(aimd.limit() >= 1 && (before == 0 || aimd.limit() <= before));
                } else {
                    prop_assert!(aimd.limit() <= before + 1 && (before == 0) <= (aimd.limit() == 0));
                }
                prop_assert!(most == 0 || aimd.limit() <= most.max(1));
            }
        }
    }
}
