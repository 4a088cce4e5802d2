//! Peak EWMA of the time to the first content: jumps up with a slow answer, sinks slowly with time.
//!
//! Two relaxed atomics written by whoever finished a request. A lost update costs one sample.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;

/// After this time a peak has sunk to a third.
const DECAY: Duration = Duration::from_secs(10);
/// After this time without an answer what is known of a slow connection counts for a third.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// What a connection that was never used counts as: good enough to be tried soon.
const UNKNOWN_MS: f64 = 50.0;

/// The average.
#[derive(Debug)]
pub struct PeakEwma {
    value: AtomicU64,
    stamp: AtomicU64,
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self { value: AtomicU64::new(UNKNOWN_MS.to_bits()), stamp: AtomicU64::new(0) }
    }
}

impl PeakEwma {
    /// Count one latency.
    pub fn observe(&self, latency: Duration, now: Moment) {
        let sample = latency.as_secs_f64() * 1_000.0;
        let old = f64::from_bits(self.value.load(Ordering::Relaxed));
        let age = now.since(Moment::from_millis(self.stamp.load(Ordering::Relaxed)));
        let keep = (-age.as_secs_f64() / DECAY.as_secs_f64()).exp();
        let value = if sample > old { sample } else { old * keep + sample * (1.0 - keep) };
        self.value.store(value.to_bits(), Ordering::Relaxed);
        self.stamp.store(now.as_millis(), Ordering::Relaxed);
    }

    /// The average in milliseconds.
    pub fn millis(&self) -> f64 {
        f64::from_bits(self.value.load(Ordering::Relaxed))
    }

    /// What another request would cost: the average times the queue it would join. A bad one that was not heard of for a
    /// while fades, or nobody would ever find out that it has recovered.
    pub fn cost(&self, in_flight: u32, now: Moment) -> f64 {
        self.faded(now) * (f64::from(in_flight) + 1.0)
    }

    fn faded(&self, now: Moment) -> f64 {
        let value = self.millis();
        if value <= UNKNOWN_MS {
            return value;
        }
        let age = now.since(Moment::from_millis(self.stamp.load(Ordering::Relaxed)));
        UNKNOWN_MS + (value - UNKNOWN_MS) * (-age.as_secs_f64() / FORGOTTEN.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_counts_at_once_and_fades_with_time() {
        let ewma = PeakEwma::default();
        ewma.observe(Duration::from_millis(900), Moment::from_millis(0));
        assert!((ewma.millis() - 900.0).abs() < 1.0);

        ewma.observe(Duration::from_millis(20), Moment::from_millis(100));
        assert!(ewma.millis() > 800.0);
        ewma.observe(Duration::from_millis(20), Moment::from_millis(60_000));

        assert!(ewma.millis() < 30.0);
    }

    #[test]
    fn a_slow_connection_that_nobody_asks_any_more_is_worth_another_try_after_a_while() {
        let (slow, good) = (PeakEwma::default(), PeakEwma::default());
        slow.observe(Duration::from_secs(9), Moment::from_millis(0));
        good.observe(Duration::from_millis(120), Moment::from_millis(0));
        let cheaper = |seconds: u64| {
            let now = Moment::from_millis(seconds * 1_000);
            good.observe(Duration::from_millis(120), now);
            slow.cost(0, now) < good.cost(0, now)
        };

        assert_eq!([1, 60, 600].map(cheaper), [false, false, true]);
    }
}
