//! How traffic comes back to a connection that was busy before its breaker opened: a tenth, a quarter, a half, all.
//!
//! One good probe says that a provider answers one call, not that it carries a thousand a second again. The share is
//! kept by counting, not by chance, so that it repeats. Whoever is turned away looks for another connection; one
//! that finds none gets through all the same (the connection's queue does not look at the ramp).

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicU64, Ordering};

use std::time::Duration;

use crate::clock::{Moment, millis};

/// The share of each step, in percent.
const STEPS: [u64; 3] = [10, 25, 50];
/// Slower traffic than this needs no ramp.
pub const BUSY_PER_SECOND: u32 = 10;

/// The ramp of one connection.
#[derive(Debug)]
pub struct Ramp {
    /// When it began, plus one; 0 = it does not run.
    since: AtomicU64,
    asked: AtomicU64,
}

impl Default for Ramp {
    fn default() -> Self {
        Self { since: AtomicU64::new(0), asked: AtomicU64::new(0) }
    }
}

impl Ramp {
    /// Begin.
    pub fn begin(&self, now: Moment) {
        self.asked.store(0, Ordering::Relaxed);
        self.since.store(now.as_millis().saturating_add(1), Ordering::Release);
    }

    /// Stop, because it is over or because the breaker opened again.
    pub fn end(&self) {
        self.since.store(0, Ordering::Release);
    }

    /// Whether one more passes.
    ///
    /// # Errors
    /// When the next step begins.
    pub fn pass(&self, length: Duration, now: Moment) -> Result<(), Moment> {
        let since = self.since.load(Ordering::Acquire);
        if since == 0 {
            return Ok(());
        }
        let (began, step_ms) = (since - 1, (millis(length) / STEPS.len() as u64).max(1));
        let step = now.as_millis().saturating_sub(began) / step_ms;
        let Some(share) = usize::try_from(step).ok().and_then(|step| STEPS.get(step)).filter(|_| !length.is_zero())
        else {
            // Only the ramp that was looked at: another one may have begun meanwhile.
            let _ = self.since.compare_exchange(since, 0, Ordering::AcqRel, Ordering::Relaxed);
            return Ok(());
        };
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if (asked + 1) * share / 100 > asked * share / 100 {
            return Ok(());
        }
        Err(Moment::from_millis(began.saturating_add((step + 1).saturating_mul(step_ms))))
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.since.load(Ordering::Acquire) != 0
    }
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(9);

    fn passed(ramp: &Ramp, now: Moment) -> usize {
        (0..100).filter(|_| ramp.pass(LENGTH, now).is_ok()).count()
    }

    #[test]
    fn the_share_grows_step_by_step_to_all() {
        let (ramp, start) = (Ramp::default(), Moment::from_millis(5_000));
        ramp.begin(start);

        let shares = [0, 3, 6, 9].map(|seconds| passed(&ramp, start.after(Duration::from_secs(seconds))));

        assert_eq!(shares, [10, 25, 50, 100]);
        assert!(!ramp.runs());
    }

    #[test]
    fn one_that_does_not_run_or_has_no_length_turns_nobody_away() {
        let ramp = Ramp::default();
        assert_eq!(passed(&ramp, Moment::START), 100);

        ramp.begin(Moment::START);

        assert!((0..50).all(|_| ramp.pass(Duration::ZERO, Moment::START).is_ok()));
    }

    #[test]
    fn one_that_is_turned_away_learns_when_the_next_step_begins() {
        let ramp = Ramp::default();
        ramp.begin(Moment::START);

        let refused = ramp.pass(LENGTH, Moment::from_millis(4_000));

        assert_eq!(refused, Err(Moment::from_millis(6_000)));
    }
}
