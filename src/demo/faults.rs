//! How an account misbehaves: by its mode, by a seeded sequence, or because a request asks for it.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;

/// The Retry-After of a rate limit that names none.
const RETRY_AFTER: u32 = 2;
/// How long a slow head takes.
const SLOW_HEAD: Duration = Duration::from_millis(800);

/// One fault, applied to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Answer with this status.
    Status(u16),
    /// 429 with a Retry-After in seconds.
    RateLimited(u32),
    /// Never answer.
    Hang,
    /// Break the connection after this many pieces of content.
    Cut(usize),
    /// Wait this long before the head.
    SlowHead(Duration),
    /// Wait this long before each piece of content.
    SlowTokens(Duration),
}

impl Fault {
    /// Read an `x-demo-fault` header: `status=503`, `hang`, `cut=3`, `slow=200` (ms a token), `rate=10` (s to wait).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.trim().split_once('=').unwrap_or((text.trim(), ""));
        Some(match name.trim() {
            "hang" if value.is_empty() => Self::Hang,
            "status" => Self::Status(value.trim().parse().ok().filter(|status| (400..600).contains(status))?),
            "cut" => Self::Cut(value.trim().parse().ok()?),
            "slow" => Self::SlowTokens(Duration::from_millis(value.trim().parse().ok().filter(|ms| *ms <= 60_000)?)),
            "rate" => Self::RateLimited(value.trim().parse().ok()?),
            _ => return None,
        })
    }
}

/// What an account is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Always works.
    Healthy,
    /// Fails now and then.
    Flaky,
    /// Answers 503 to everything.
    Down,
    /// Answers 429 to everything.
    RateLimited,
}

impl Mode {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "healthy" => Self::Healthy,
            "flaky" => Self::Flaky,
            "down" => Self::Down,
            "rate_limited" => Self::RateLimited,
            _ => return None,
        })
    }
}

/// One account and where it stands in its sequence.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) key: &'static str,
    mode: ArcSwap<Mode>,
    retry_after: AtomicU32,
    served: AtomicU64,
}

impl Account {
    pub(super) fn new(key: &'static str, mode: Mode) -> Self {
        Self {
            key,
            mode: ArcSwap::from_pointee(mode),
            retry_after: AtomicU32::new(RETRY_AFTER),
            served: AtomicU64::new(0),
        }
    }

    pub(super) fn switch(&self, mode: Mode, retry_after: Option<u32>) {
        self.retry_after.store(retry_after.unwrap_or(RETRY_AFTER), Ordering::Relaxed);
        self.mode.store(mode.into());
    }

    /// The fault for the next request.
    pub(super) fn next_fault(&self, seed: u64, failure_percent: u8) -> Option<Fault> {
        match **self.mode.load() {
            Mode::Healthy => None,
            Mode::Down => Some(Fault::Status(503)),
            Mode::RateLimited => Some(Fault::RateLimited(self.retry_after.load(Ordering::Relaxed))),
            Mode::Flaky => planned(seed, self.served.fetch_add(1, Ordering::Relaxed), failure_percent),
        }
    }
}

/// The fault of request number `count` in the sequence of `seed`.
fn planned(seed: u64, count: u64, failure_percent: u8) -> Option<Fault> {
    let roll = mixed(seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    if roll % 100 >= u64::from(failure_percent) {
        return None;
    }
    Some(match (roll >> 32) % 4 {
        0 => Fault::Status(503),
        1 => Fault::RateLimited(RETRY_AFTER),
        2 => Fault::SlowHead(SLOW_HEAD),
        _ => Fault::Cut(0),
    })
}

/// The finalizer of SplitMix64: neighbouring counts give unrelated numbers.
const fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_sequence_and_the_percentage_holds() {
        let sequence = |seed| (0..2000).map(|count| planned(seed, count, 30)).collect::<Vec<_>>();
        let faults = sequence(7).into_iter().flatten().collect::<Vec<_>>();

        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
        assert!((500..700).contains(&faults.len()), "{}", faults.len());
        for kind in [Fault::Status(503), Fault::RateLimited(2), Fault::SlowHead(SLOW_HEAD), Fault::Cut(0)] {
            assert!(faults.contains(&kind), "{kind:?} never happens");
        }
    }

    #[test]
    fn no_percent_is_no_fault_and_a_hundred_is_always_one() {
        assert!((0..500).all(|count| planned(1, count, 0).is_none()));
        assert!((0..500).all(|count| planned(1, count, 100).is_some()));
    }

    #[test]
    fn a_fault_header_is_read_or_refused() {
        assert_eq!(Fault::parse("status=503"), Some(Fault::Status(503)));
        assert_eq!(Fault::parse(" hang "), Some(Fault::Hang));
        assert_eq!(Fault::parse("cut=3"), Some(Fault::Cut(3)));
        assert_eq!(Fault::parse("slow=200"), Some(Fault::SlowTokens(Duration::from_millis(200))));
        assert_eq!(Fault::parse("rate=10"), Some(Fault::RateLimited(10)));
        for bad in ["", "status=200", "status=x", "cut=-1", "hang=1", "slow=99999999", "teapot"] {
            assert_eq!(Fault::parse(bad), None, "{bad}");
        }
    }
}
