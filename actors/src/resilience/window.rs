//! A rolling count of calls and failures over the last seconds, in ten buckets.
//!
//! Counting consecutive failures alone never sees a brown-out of 30 %; a plain ratio over all time
//! never forgets. An idle gap empties the window by itself: the next call starts cold.

use std::time::Duration;

use crate::clock::{Moment, millis};

const BUCKETS: usize = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Which slice of time this bucket holds now.
    slice: u64,
    calls: u32,
    failures: u32,
    slow: u32,
}

/// The window.
#[derive(Debug, Clone)]
pub struct Window {
    buckets: [Bucket; BUCKETS],
    slice_ms: u64,
}

/// What the window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls that said something about the provider.
    pub calls: u32,
    /// Those that failed.
    pub failures: u32,
    /// Those that took longer than they should.
    pub slow: u32,
}

impl Window {
    /// A window of that length.
    pub fn new(length: Duration) -> Self {
        Self { buckets: [Bucket::default(); BUCKETS], slice_ms: (millis(length) / BUCKETS as u64).max(1) }
    }

    /// Count one call.
    pub fn record(&mut self, failed: bool, slow: bool, now: Moment) {
        let slice = self.slice(now);
        if let Some(bucket) = self.buckets.get_mut((slice % BUCKETS as u64) as usize) {
            if bucket.slice != slice {
                *bucket = Bucket { slice, ..Bucket::default() };
            }
            bucket.calls = bucket.calls.saturating_add(1);
            bucket.failures = bucket.failures.saturating_add(u32::from(failed));
            bucket.slow = bucket.slow.saturating_add(u32::from(slow));
        }
    }

    /// The counts of the last window.
    pub fn counts(&self, now: Moment) -> Counts {
        let newest = self.slice(now);
        let oldest = newest.saturating_sub(BUCKETS as u64 - 1);
        self.buckets.iter().filter(|bucket| (oldest..=newest).contains(&bucket.slice)).fold(
            Counts::default(),
            |sum, bucket| Counts {
                calls: sum.calls.saturating_add(bucket.calls),
                failures: sum.failures.saturating_add(bucket.failures),
                slow: sum.slow.saturating_add(bucket.slow),
            },
        )
    }

    /// Forget everything.
    pub fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }

    /// Slices are counted from 1 so that an untouched bucket (slice 0) is never current.
    fn slice(&self, now: Moment) -> u64 {
        now.as_millis() / self.slice_ms + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_calls_fall_out_of_the_window() {
        let mut window = Window::new(Duration::from_secs(30));
        window.record(true, false, Moment::from_millis(0));
        window.record(false, true, Moment::from_millis(20_000));

        assert_eq!(window.counts(Moment::from_millis(20_000)), Counts { calls: 2, failures: 1, slow: 1 });
        assert_eq!(window.counts(Moment::from_millis(31_000)), Counts { calls: 1, failures: 0, slow: 1 });
        assert_eq!(window.counts(Moment::from_millis(90_000)), Counts::default());
    }
}
