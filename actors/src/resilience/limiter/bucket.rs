//! One bucket, and how fast it empties: a single word that says until when it is spoken for.

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicU64, Ordering};

use std::time::Duration;

const MINUTE_NS: u64 = 60_000_000_000;

/// How fast a bucket empties and how much it holds, both as time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub(super) per_unit: u64,
    pub(super) burst: u64,
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
    pub(super) fn cost(self, units: u64) -> u64 {
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
pub(super) struct Bucket {
    /// Until then it is spoken for.
    pub(super) due: AtomicU64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { due: AtomicU64::new(0) }
    }
}

impl Bucket {
    /// Spend, if there is room; else when there will be.
    pub(super) fn take(&self, rate: Rate, cost: u64, now: u64) -> Result<u64, u64> {
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
    pub(super) fn free_at(&self, rate: Rate, cost: u64, now: u64) -> u64 {
        let after = self.due.load(Ordering::Acquire).max(now).saturating_add(cost);
        after.saturating_sub(rate.burst).max(now)
    }

    /// Spend whether there is room or not.
    pub(super) fn charge(&self, cost: u64, now: u64) {
        self.change(|due| due.max(now).saturating_add(cost));
    }

    pub(super) fn refund(&self, cost: u64) {
        self.change(|due| due.saturating_sub(cost));
    }

    pub(super) fn change(&self, next: impl Fn(u64) -> u64) {
        let mut due = self.due.load(Ordering::Acquire);
        while let Err(met) = self.due.compare_exchange_weak(due, next(due), Ordering::AcqRel, Ordering::Acquire) {
            due = met;
        }
    }
}
