//! Exchanges that were made since the start, for the metrics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::config::SyncDirection;

/// The counts.
#[derive(Debug, Default)]
pub struct Exchanges {
    pulled: [AtomicU64; 2],
    pushed: [AtomicU64; 2],
    succeeded_at: AtomicI64,
}

/// What they are at one moment: how many worked, how many failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExchangeCounts {
    /// Configurations that were fetched.
    pub pulled: [u64; 2],
    /// Configurations that were brought.
    pub pushed: [u64; 2],
    /// When the last one worked, in milliseconds since the epoch; 0 if none did.
    pub succeeded_at: i64,
}

impl Exchanges {
    /// Count one that worked at a moment, or did not.
    pub fn count(&self, direction: SyncDirection, worked_at: Option<i64>) {
        let [worked, failed] = match direction {
            SyncDirection::Pull => &self.pulled,
            SyncDirection::Push => &self.pushed,
        };
        match worked_at {
            Some(at) => {
                worked.fetch_add(1, Relaxed);
                self.succeeded_at.store(at, Relaxed);
            }
            None => drop(failed.fetch_add(1, Relaxed)),
        }
    }

    /// The counts now.
    pub fn counts(&self) -> ExchangeCounts {
        let read = |counts: &[AtomicU64; 2]| counts.each_ref().map(|count| count.load(Relaxed));
        let succeeded_at = self.succeeded_at.load(Relaxed);
        ExchangeCounts { pulled: read(&self.pulled), pushed: read(&self.pushed), succeeded_at }
    }
}
