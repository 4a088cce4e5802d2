//! How often a client key may be used: per minute and per day.
//!
//! The limit of a minute is a bucket (GCRA): all of it may be spent at once, and it comes back evenly, one request every
//! `60 s / limit`. The limit of a day counts from midnight UTC. A request that is refused costs nothing of either: a
//! client that keeps on asking is let in as soon as one that waits, and no sooner.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::store::ApiKeyRow;

const DAY_MS: i64 = 86_400_000;

/// A limit of a key is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key's limit of requests per {per} is reached")]
pub struct LimitReached {
    /// The span of time that the limit is for, in words.
    pub per: &'static str,
    /// When it is worth coming back.
    pub wait: Duration,
}

/// The counters of one key. They outlive changes of the key, so that an edit is no way around a limit.
#[derive(Default)]
pub(super) struct Limits {
    per_minute: Option<(NonZeroU32, DefaultDirectRateLimiter)>,
    per_day: Option<NonZeroU32>,
    /// The day since the epoch (high half) and its requests (low half).
    today: AtomicU64,
    /// When the key was last used; 0 when not since the last flush.
    pub(super) used_at: AtomicI64,
}

impl Limits {
    /// Of a stored key; `before` are those it had until now.
    pub(super) fn of(row: &ApiKeyRow, before: Option<&Arc<Self>>) -> Arc<Self> {
        let positive = |limit: Option<i32>| limit.and_then(|limit| u32::try_from(limit).ok()).and_then(NonZeroU32::new);
        let (minute, per_day) = (positive(row.max_requests_per_minute), positive(row.max_requests_per_day));
        let same =
            |limits: &Self| limits.per_minute.as_ref().map(|(rate, _)| *rate) == minute && limits.per_day == per_day;
        if let Some(before) = before.filter(|before| same(before)) {
            return Arc::clone(before);
        }
        let counted = |pick: fn(&Self) -> u64| before.map_or(0, |before| pick(before));
        Arc::new(Self {
            per_minute: minute.map(|rate| (rate, RateLimiter::direct(Quota::per_minute(rate)))),
            per_day,
            today: AtomicU64::new(counted(|limits| limits.today.load(Ordering::Relaxed))),
            used_at: AtomicI64::new(before.map_or(0, |before| before.used_at.load(Ordering::Relaxed))),
        })
    }

    /// Count one request. The day is looked at first and counted last: neither limit pays for what the other refuses.
    pub(super) fn check(&self, wall_ms: i64) -> Result<(), LimitReached> {
        self.used_at.store(wall_ms, Ordering::Relaxed);
        let day_is_over = LimitReached { per: "day", wait: until_midnight(wall_ms) };
        if next_of_day(self.today.load(Ordering::Relaxed), self.per_day, wall_ms).is_none() {
            return Err(day_is_over);
        }
        if let Some((_, limiter)) = &self.per_minute {
            let wait = limiter.check().map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()));
            wait.map_err(|wait| LimitReached { per: "minute", wait })?;
        }
        let next = |word| next_of_day(word, self.per_day, wall_ms);
        let counted = self.today.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        counted.map(drop).map_err(|_| day_is_over)
    }
}

/// The count with one more request of this day; `None` when the day has no more.
fn next_of_day(word: u64, limit: Option<NonZeroU32>, wall_ms: i64) -> Option<u64> {
    let Some(limit) = limit else { return Some(word) };
    let day = u64::try_from(wall_ms / DAY_MS).unwrap_or(0);
    let used = if word >> 32 == day { word & u64::from(u32::MAX) } else { 0 };
    (used < u64::from(limit.get())).then_some(day << 32 | (used + 1))
}

fn until_midnight(wall_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(DAY_MS - wall_ms.rem_euclid(DAY_MS)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use omniroute_actors::clock::{Clock, ManualClock, Moment};

    use super::super::keyring::tests::row;
    use super::super::principal::Principal;
    use super::*;

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::at(Moment::START))
    }

    fn key(per_minute: Option<i32>, per_day: Option<i32>) -> ApiKeyRow {
        ApiKeyRow { max_requests_per_minute: per_minute, max_requests_per_day: per_day, ..row("k1", "hash") }
    }

    fn of(row: &ApiKeyRow, clock: &Arc<ManualClock>) -> Principal {
        Principal::of_key(row, None, clock.clone())
    }

    #[test]
    fn the_request_over_the_limit_of_a_minute_is_told_when_to_come_back() {
        let principal = of(&key(Some(2), None), &clock());

        let counted = [principal.check_rate(), principal.check_rate()];
        let refused = principal.check_rate().unwrap_err();

        assert_eq!((counted, refused.per), ([Ok(()), Ok(())], "minute"));
        assert!(refused.wait > Duration::ZERO && refused.wait <= Duration::from_secs(30), "{refused:?}");
    }

    #[test]
    fn whoever_keeps_on_asking_waits_no_longer_for_it() {
        let principal = of(&key(Some(2), None), &clock());
        let _ = [principal.check_rate(), principal.check_rate()];

        let first = principal.check_rate().unwrap_err();
        let last = (0..1_000).map(|_| principal.check_rate().unwrap_err()).next_back().unwrap();

        assert!(last.wait <= first.wait, "{first:?} {last:?}");
    }

    #[test]
    fn what_the_day_refuses_costs_nothing_of_the_minute() {
        let clock = clock();
        let principal = of(&key(Some(2), Some(1)), &clock);
        assert!(principal.check_rate().is_ok());

        let refused: Vec<_> = (0..10).map(|_| principal.check_rate().unwrap_err()).collect();
        clock.advance(refused[9].wait);

        assert!(refused.iter().all(|refused| refused.per == "day"));
        assert_eq!(principal.check_rate(), Ok(()), "the minute still has one");
    }

    #[test]
    fn what_the_minute_refuses_costs_nothing_of_the_day() {
        let clock = clock();
        let principal = of(&key(Some(1), Some(2)), &clock);
        assert!(principal.check_rate().is_ok());

        let refused: Vec<_> = (0..10).map(|_| principal.check_rate().unwrap_err()).collect();
        let edited = Principal::of_key(&key(None, Some(2)), Some(&principal), clock.clone());

        assert!(refused.iter().all(|refused| refused.per == "minute"));
        assert_eq!((edited.check_rate(), edited.check_rate().unwrap_err().per), (Ok(()), "day"));
    }

    #[test]
    fn the_limit_of_a_day_is_new_with_the_day_and_old_after_an_edit() {
        let clock = clock();
        let first = of(&key(None, Some(1)), &clock);
        assert!(first.check_rate().is_ok());

        let second = Principal::of_key(&key(Some(60), Some(1)), Some(&first), clock.clone());
        let refused = second.check_rate().unwrap_err();
        clock.advance(refused.wait);

        assert_eq!(refused.wait, until_midnight(clock.wall().0 - i64::try_from(refused.wait.as_millis()).unwrap()));
        assert!(second.check_rate().is_ok());
    }
}
