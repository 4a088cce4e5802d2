//! How long to stay away: the provider's own word when there is one, else a ladder.
//!
//! Hints are trusted and only clamped, because a provider knows when its window ends. Their jitter goes
//! upward only: coming back early is what the hint forbids. What a wait without a hint has grown by, a cooldown's or a
//! breaker's, is jittered in full: several gateways that lost the same provider must not come back to it at one moment.

use std::time::Duration;

use super::settings::CooldownSettings;

/// The shortest wait: a hint of 0 would make a loop.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The longest rate-limit hint we believe; a longer one is a unit mistake or a ban.
pub const LONGEST_HINT: Duration = Duration::from_secs(3600);
/// The longest quota hint: monthly windows exist.
pub const LONGEST_QUOTA_HINT: Duration = Duration::from_secs(31 * 24 * 3600);

/// A share from 0 to 1 that the caller draws; 0 in tests.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Jitter(f64);

impl Jitter {
    /// No jitter.
    pub const NONE: Self = Self(0.0);

    /// From a draw; anything outside 0..=1 is brought inside.
    pub fn new(share: f64) -> Self {
        Self(if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 })
    }

    /// The duration lengthened by up to a tenth.
    pub fn lengthen(self, duration: Duration) -> Duration {
        duration + duration.mul_f64(self.0 / 10.0)
    }
}

/// The longer ago the last cooldown ended, the less of its ladder is left: half of it after each of these.
pub const HALF_LIFE: Duration = Duration::from_secs(600);

/// The step of a ladder that nobody climbed for this long.
pub fn decayed(level: u32, calm: Duration) -> u32 {
    let halvings = u32::try_from(calm.as_secs() / HALF_LIFE.as_secs()).unwrap_or(u32::MAX);
    level.checked_shr(halvings).unwrap_or(0)
}

/// The ladder step: base, twice the base, four times, ... up to the cap.
pub fn ladder(settings: &CooldownSettings, level: u32) -> Duration {
    let factor = 2u32.saturating_pow(level.min(settings.max_steps).min(31));
    settings.base.saturating_mul(factor).min(settings.max)
}

/// How long a connection cools.
pub fn cooldown(
    settings: &CooldownSettings,
    level: u32,
    hint: Option<Duration>,
    longest_hint: Duration,
    jitter: Jitter,
) -> Duration {
    match hint.filter(|_| settings.use_hints) {
        Some(hint) => jitter.lengthen(hint.clamp(SHORTEST, longest_hint)),
        None => grown(ladder(settings, 0).max(SHORTEST), ladder(settings, level).max(SHORTEST), jitter),
    }
}

/// A wait that grew from a first one to its full length: what it grew by is jittered in full, the first never shortened.
fn grown(first: Duration, full: Duration, jitter: Jitter) -> Duration {
    if full <= first { jitter.lengthen(first) } else { full - (full - first).mul_f64(jitter.0) }
}

/// How long a breaker stays open in its n-th cycle (0 first).
pub fn open_for(reset: Duration, longest: Duration, cycle: u32, jitter: Jitter) -> Duration {
    grown(reset, reset.saturating_mul(2u32.saturating_pow(cycle.min(16))).min(longest.max(reset)), jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CooldownSettings =
        CooldownSettings { base: Duration::from_secs(3), max_steps: 5, max: Duration::from_secs(60), use_hints: true };

    fn wait(level: u32, hint: Option<u64>) -> Duration {
        cooldown(&SETTINGS, level, hint.map(Duration::from_secs), LONGEST_HINT, Jitter::NONE)
    }

    #[test]
    fn a_hint_is_obeyed_to_the_second_and_clamped() {
        assert_eq!(wait(4, Some(20)), Duration::from_secs(20));
        assert_eq!(wait(0, Some(0)), SHORTEST);
        assert_eq!(wait(0, Some(1_000_000_000)), LONGEST_HINT);
    }

    #[test]
    fn without_a_hint_the_ladder_doubles_and_stops() {
        let steps: Vec<u64> = (0..8).map(|level| wait(level, None).as_secs()).collect();

        assert_eq!(steps, [3, 6, 12, 24, 48, 60, 60, 60]);
    }

    #[test]
    fn the_growth_of_a_cooldown_is_jittered_in_full_and_the_first_step_is_never_shortened() {
        let wait = |level, share| cooldown(&SETTINGS, level, None, LONGEST_HINT, Jitter::new(share)).as_millis();

        assert_eq!([wait(4, 0.0), wait(4, 0.5), wait(4, 1.0)], [48_000, 25_500, 3_000]);
        assert_eq!([wait(0, 0.0), wait(0, 1.0)], [3_000, 3_300]);
    }

    #[test]
    fn jitter_only_lengthens_and_by_a_tenth_at_most() {
        let ten = Duration::from_secs(10);

        assert_eq!(Jitter::new(1.0).lengthen(ten), Duration::from_secs(11));
        assert_eq!(Jitter::new(-3.0).lengthen(ten), ten);
        assert_eq!(Jitter::new(f64::NAN).lengthen(ten), ten);
    }

    #[test]
    fn the_growth_of_an_open_time_is_jittered_in_full_and_never_below_the_first() {
        let open = |share| open_for(Duration::from_secs(30), Duration::from_secs(300), 2, Jitter::new(share)).as_secs();

        assert_eq!([open(0.0), open(0.5), open(1.0)], [120, 75, 30]);
    }

    #[test]
    fn a_ladder_nobody_climbs_sinks_by_half_each_half_life() {
        let after = |half_lives| decayed(5, HALF_LIFE * half_lives);

        assert_eq!([after(0), after(1), after(2), after(3), after(99)], [5, 2, 1, 0, 0]);
    }

    #[test]
    fn an_open_breaker_waits_longer_each_cycle_up_to_its_cap() {
        let open = |cycle| open_for(Duration::from_secs(30), Duration::from_secs(300), cycle, Jitter::NONE).as_secs();

        assert_eq!([open(0), open(1), open(2), open(3), open(4), open(40)], [30, 60, 120, 240, 300, 300]);
    }
}
