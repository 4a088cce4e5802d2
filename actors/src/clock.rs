//! Time as the actor system sees it: a monotonic moment for every decision, wall time only where a
//! fact leaves the process (the store, an operator's screen).
//!
//! Decisions never read a clock; they are given a [`Moment`]. Only the shells (actors, permits, the
//! gateway) hold a [`Clock`].

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds on a monotonic clock that started with the process. Fits the 42 bits of the gate word
/// for 139 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment the clock started.
    pub const START: Self = Self(0);

    /// A moment that many milliseconds after the start.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the start.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment moved forward.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// How long after `earlier` this is; zero when it is before it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// How long until this moment; zero when it has passed.
    pub const fn until(self, now: Self) -> Duration {
        self.since(now)
    }
}

/// A duration in whole milliseconds, saturating.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

/// The pair of clocks read at one instant, to carry moments over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic.
    pub moment: Moment,
    /// Wall.
    pub wall: UnixMillis,
}

impl Now {
    /// The wall time of a moment, for the store and for people.
    pub fn to_wall(self, moment: Moment) -> UnixMillis {
        let ahead = signed(moment.0).saturating_sub(signed(self.moment.0));
        UnixMillis(self.wall.0.saturating_add(ahead))
    }

    /// The moment of a stored wall time; one that lies before the start becomes the start.
    pub fn to_moment(self, wall: UnixMillis) -> Moment {
        let ahead = wall.0.saturating_sub(self.wall.0);
        Moment(u64::try_from(signed(self.moment.0).saturating_add(ahead)).unwrap_or(0))
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Where shells get the time from.
pub trait Clock: Send + Sync + 'static {
    /// The monotonic moment.
    fn now(&self) -> Moment;
    /// The wall time.
    fn wall(&self) -> UnixMillis;
    /// Both at once.
    fn both(&self) -> Now {
        Now { moment: self.now(), wall: self.wall() }
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: tokio::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment(millis(self.origin.elapsed()))
    }

    fn wall(&self) -> UnixMillis {
        UnixMillis(signed(millis(since_epoch())))
    }

    /// The wall time of the very moment, which is whole milliseconds: otherwise the same moment would be shown now as one
    /// millisecond and now as the next.
    fn both(&self) -> Now {
        let (elapsed, since) = (self.origin.elapsed(), since_epoch());
        let part = Duration::from_nanos(u64::from(elapsed.subsec_nanos()) % NANOS_PER_MILLI);
        Now { moment: Moment(millis(elapsed)), wall: UnixMillis(signed(millis(since.saturating_sub(part)))) }
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;

fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// A clock that stands still until it is told to move. Tests and the simulation use it.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicU64,
    wall: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `start` (monotonic) and a fixed wall time.
    pub fn at(start: Moment) -> Self {
        Self { now: AtomicU64::new(start.0), wall: AtomicI64::new(1_750_000_000_000) }
    }

    /// Move both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(millis(by), Ordering::SeqCst);
        self.wall.fetch_add(signed(millis(by)), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::SeqCst))
    }

    fn wall(&self) -> UnixMillis {
        UnixMillis(self.wall.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_as_the_same_time_whenever_it_is_asked_for() {
        let clock = SystemClock::default();
        let shown = || clock.both().to_wall(Moment::from_millis(7));
        let stays = |_| {
            let (begin, first) = (std::time::Instant::now(), shown());
            std::iter::repeat_with(shown)
                .take_while(|_| begin.elapsed() < Duration::from_millis(3))
                .all(|at| at == first)
        };

        // More than once, for a wall clock that is being set right at this moment.
        assert!((0..5).any(stays));
    }

    #[test]
    fn a_moment_survives_the_trip_over_a_restart() {
        let before = Now { moment: Moment(5_000), wall: UnixMillis(1_000_000) };
        let stored = before.to_wall(Moment(35_000));

        let after = Now { moment: Moment(10), wall: UnixMillis(1_010_000) };

        assert_eq!(after.to_moment(stored), Moment(20_010));
    }

    #[test]
    fn a_stored_time_from_before_the_start_is_the_start() {
        let now = Now { moment: Moment(10), wall: UnixMillis(1_000_000) };

        assert_eq!(now.to_moment(UnixMillis(1)), Moment::START);
    }
}
