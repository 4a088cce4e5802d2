//! Which security events are news. A stranger can cause thousands of the same kind in a second, and each row of the audit
//! log costs a write: the first of a kind is written down, the same again after a minute.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;

const SAME_AGAIN_AFTER: Duration = Duration::from_secs(60);
const REMEMBERED: u64 = 10_000;
/// Of all kinds together.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// What was noted lately.
pub struct Alarms {
    seen: Cache<String, ()>,
    all: DefaultDirectRateLimiter,
}

impl std::fmt::Debug for Alarms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alarms").field("kinds", &self.seen.entry_count()).finish_non_exhaustive()
    }
}

impl Default for Alarms {
    fn default() -> Self {
        Self {
            seen: Cache::builder().max_capacity(REMEMBERED).time_to_live(SAME_AGAIN_AFTER).build(),
            all: RateLimiter::direct(Quota::per_second(PER_SECOND)),
        }
    }
}

impl Alarms {
    /// Whether an event of this kind is to be written down. Asked once for each event.
    pub fn is_news(&self, kind: &str) -> bool {
        let first = self.seen.entry(kind.to_owned()).or_insert(()).is_fresh();
        first && self.all.check().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_news_and_the_same_again_is_not() {
        let alarms = Alarms::default();

        let asked = ["a", "a", "b", "a"].map(|kind| alarms.is_news(kind));

        assert_eq!(asked, [true, false, true, false]);
    }

    #[test]
    fn a_flood_of_many_kinds_is_cut() {
        let alarms = Alarms::default();

        let told = (0..1_000).filter(|kind| alarms.is_news(&kind.to_string())).count();

        assert!(told < 100, "{told}");
    }
}
