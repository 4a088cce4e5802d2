//! How many extra attempts a provider, or a client key, may cause: a share of its recent requests and a small floor.
//!
//! Without it, a provider in trouble gets every request as often as there are attempts, just when it can carry the
//! least. The share bounds the amplification whatever the number of attempts; the floor lets quiet traffic retry.
//!
//! Ten slots of a second each hold what was deposited and withdrawn, each slot one word. A withdrawal is one exchange
//! of the current slot, so two callers cannot spend the same unit.

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Moment;

/// What happened longer ago is forgotten.
const SLOTS: usize = if cfg!(feature = "loom") { 2 } else { 10 };
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const STAMP_MASK: u64 = (1 << 24) - 1;

/// The terms of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Extra attempts per hundred requests.
    pub percent: u32,
    /// Extra attempts per second that are always there.
    pub floor_per_s: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self { percent: 20, floor_per_s: 3 }
    }
}

/// One second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Slot {
    /// Which second, counted from 1 so that an untouched slot is never current.
    stamp: u64,
    deposits: u64,
    withdrawals: u64,
}

impl Slot {
    const fn pack(self) -> u64 {
        self.stamp << (2 * COUNT_BITS) | self.deposits << COUNT_BITS | self.withdrawals
    }

    const fn unpack(word: u64) -> Self {
        Self {
            stamp: word >> (2 * COUNT_BITS),
            deposits: word >> COUNT_BITS & COUNT_MASK,
            withdrawals: word & COUNT_MASK,
        }
    }
}

/// The budget.
#[derive(Debug)]
pub struct RetryBudget {
    slots: [AtomicU64; SLOTS],
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl RetryBudget {
    /// A request came.
    pub fn deposit(&self, now: Moment) {
        self.change(now, |slot| (slot.deposits < COUNT_MASK).then_some(Slot { deposits: slot.deposits + 1, ..slot }));
    }

    /// Take one extra attempt; whether there was one.
    pub fn withdraw(&self, terms: Terms, now: Moment) -> bool {
        self.change(now, |slot| {
            let left = self.balance(terms, now) > 0 && slot.withdrawals < COUNT_MASK;
            left.then_some(Slot { withdrawals: slot.withdrawals + 1, ..slot })
        })
    }

    /// The attempt was not made after all.
    pub fn give_back(&self, now: Moment) {
        self.change(now, |slot| slot.withdrawals.checked_sub(1).map(|withdrawals| Slot { withdrawals, ..slot }));
    }

    /// Whether more than half of what there may be is left: enough for attempts that are only meant to be quick.
    pub fn is_plenty(&self, terms: Terms, now: Moment) -> bool {
        let (earned, spent) = self.account(terms, now);
        spent.saturating_mul(2) < earned
    }

    /// Extra attempts that are left.
    pub fn balance(&self, terms: Terms, now: Moment) -> u64 {
        let (earned, spent) = self.account(terms, now);
        earned.saturating_sub(spent)
    }

    /// What was earned and what was spent lately.
    fn account(&self, terms: Terms, now: Moment) -> (u64, u64) {
        let current = stamp(now);
        let live = |slot: &Slot| slot.stamp > 0 && current.wrapping_sub(slot.stamp) & STAMP_MASK < SLOTS as u64;
        let slots = self.slots.iter().map(|word| Slot::unpack(word.load(Ordering::Acquire))).filter(live);
        let (deposits, withdrawals) = slots
            .fold((0, 0), |(deposits, withdrawals), slot| (deposits + slot.deposits, withdrawals + slot.withdrawals));
        let earned = deposits * u64::from(terms.percent) / 100;
        (earned + u64::from(terms.floor_per_s) * SLOTS as u64, withdrawals)
    }

    /// Replace the current slot; `None` leaves it as it is.
    fn change(&self, now: Moment, next: impl Fn(Slot) -> Option<Slot>) -> bool {
        let current = stamp(now);
        let Some(word) = self.slots.get((current % SLOTS as u64) as usize) else { return false };
        let mut met = word.load(Ordering::Acquire);
        loop {
            let slot = Slot::unpack(met);
            let slot = if slot.stamp == current { slot } else { Slot { stamp: current, ..Slot::default() } };
            let Some(to) = next(slot) else { return false };
            match word.compare_exchange_weak(met, to.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(changed) => met = changed,
            }
        }
    }
}

const fn stamp(now: Moment) -> u64 {
    (now.as_millis() / 1_000 + 1) & STAMP_MASK
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms { percent: 20, floor_per_s: 3 };

    fn spend(budget: &RetryBudget, now: Moment) -> usize {
        (0..10_000).take_while(|_| budget.withdraw(TERMS, now)).count()
    }

    #[test]
    fn quiet_traffic_has_the_floor_and_busy_traffic_a_fifth_more() {
        let (quiet, busy, now) = (RetryBudget::default(), RetryBudget::default(), Moment::from_millis(50_000));
        (0..1_000).for_each(|_| busy.deposit(now));

        assert_eq!(spend(&quiet, now), 30);
        assert_eq!(spend(&busy, now), 230);
    }

    #[test]
    fn what_is_ten_seconds_old_no_longer_counts() {
        let (budget, now) = (RetryBudget::default(), Moment::from_millis(50_000));
        assert_eq!(spend(&budget, now), 30);

        let nearly = now.after(Duration::from_millis(9_900));
        assert_eq!(spend(&budget, nearly), 0);

        assert_eq!(spend(&budget, now.after(Duration::from_secs(10))), 30);
    }

    #[test]
    fn an_attempt_that_was_not_made_is_there_again() {
        let (budget, now) = (RetryBudget::default(), Moment::START);
        spend(&budget, now);

        budget.give_back(now);

        assert_eq!(spend(&budget, now), 1);
    }

    #[test]
    fn nothing_allowed_is_nothing_given() {
        let (budget, none) = (RetryBudget::default(), Terms { percent: 0, floor_per_s: 0 });
        (0..500).for_each(|_| budget.deposit(Moment::START));

        assert!(!budget.withdraw(none, Moment::START));
    }

    proptest! {
        /// In any ten seconds, attempts stay within the share of the requests and the floor.
        #[test]
        fn no_history_spends_more_than_the_terms(events in prop::collection::vec((any::<bool>(), 0u64..400), 1..500)) {
            let (budget, mut now) = (RetryBudget::default(), Moment::START);
            let (mut came, mut spent) = (Vec::new(), Vec::new());
            for (request, wait) in events {
                now = now.after(Duration::from_millis(wait));
                if request {
                    budget.deposit(now);
                    came.push(now);
                } else if budget.withdraw(TERMS, now) {
                    spent.push(now);
                    let within = |times: &[Moment]| {
                        times.iter().filter(|at| stamp(now) - stamp(**at) < SLOTS as u64).count()
                    };
                    prop_assert!(within(&spent) <= within(&came) / 5 + 30);
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
    fn the_last_unit_is_given_once_and_no_deposit_is_lost() {
        loom::model(|| {
            let budget = Arc::new(RetryBudget::default());
            let terms = Terms { percent: 100, floor_per_s: 0 };
            budget.deposit(Moment::START);
            let other = {
                let budget = Arc::clone(&budget);
                thread::spawn(move || budget.withdraw(terms, Moment::START))
            };

            let here = budget.withdraw(terms, Moment::START);

            assert!(here != other.join().unwrap());
        });
    }
}
