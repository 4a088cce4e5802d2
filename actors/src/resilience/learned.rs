//! What a provider says about its own limits in the headers of its answers, and what follows from it.
//!
//! Two things follow. An empty bucket keeps requests at home until it refills: they would only be refused there. And
//! the share that is left tells a router where there is room. Headers are believed with care, because a wrong one must
//! never make a connection worse than one that was not listened to: no rest is longer than [`LONGEST_REST`], a
//! success that reports an empty bucket of no size is passed over, and what is known fades.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Moment, Now, UnixMillis};

/// However far away a reset is, after this long one request looks again.
pub const LONGEST_REST: Duration = Duration::from_secs(900);
/// What is older than this is forgotten.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Without a reset, a share says something for this long.
const FADES: Duration = Duration::from_secs(60);
/// Limits per minute beyond this are no pace.
const MOST_PER_MINUTE: u64 = 1_000_000_000_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Requests.
    Requests,
    /// Tokens, both ways.
    Tokens,
    /// Tokens of the prompt.
    InputTokens,
    /// Tokens of the answer.
    OutputTokens,
    /// Requests of a day.
    RequestsPerDay,
    /// Tokens of a day.
    TokensPerDay,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Requests, Self::Tokens, Self::InputTokens, Self::OutputTokens, Self::RequestsPerDay, Self::TokensPerDay];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::RequestsPerDay => "requests_per_day",
            Self::TokensPerDay => "tokens_per_day",
        }
    }
}

/// One bucket as an answer reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// What it counts.
    pub kind: Kind,
    /// How much it holds.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// How long until it is full.
    pub reset: Option<Duration>,
    /// Whether the limit is one of a minute.
    pub per_minute: bool,
}

/// One bucket as it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// How much it holds.
    pub limit: Option<u64>,
    /// How much was left.
    pub remaining: Option<u64>,
    /// When it is full again.
    pub reset_at: Option<Moment>,
    /// When that was said.
    pub at: Moment,
    /// Whether the limit is one of a minute.
    pub per_minute: bool,
    /// Nothing is let through before this.
    pub rest_until: Moment,
}

/// Everything that is known about a connection's limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned {
    buckets: [Option<Known>; Kind::ALL.len()],
}

/// A bucket in wall time, as it outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LearnedRecord {
    /// What it counts.
    pub kind: Kind,
    /// How much it holds.
    pub limit: Option<u64>,
    /// How much was left.
    pub remaining: Option<u64>,
    /// When it is full again.
    pub reset_at: Option<UnixMillis>,
    /// When that was said.
    pub at: UnixMillis,
    /// Whether the limit is one of a minute.
    pub per_minute: bool,
    /// Nothing is let through before this.
    pub rest_until: UnixMillis,
}

impl Learned {
    /// Hear what an answer reported. `refused`: it was a refusal for going too fast.
    pub fn hear(&mut self, reported: &[Reported], refused: bool, now: Moment) {
        for report in reported {
            if let Some(slot) = self.slot(report.kind) {
                *slot = Some(known(report, *slot, refused, now));
            }
        }
    }

    /// Until when requests stay at home.
    pub fn rest_until(&self) -> Moment {
        self.buckets.iter().flatten().map(|known| known.rest_until).max().unwrap_or(Moment::START)
    }

    /// The share that is left in the emptiest bucket; `None` when nothing is known any more.
    pub fn headroom(&self, now: Moment) -> Option<f32> {
        self.buckets.iter().flatten().filter_map(|known| known.share(now)).reduce(f32::min)
    }

    /// When [`Self::headroom`] changes by itself.
    pub fn fades_at(&self, now: Moment) -> Option<Moment> {
        self.buckets.iter().flatten().map(|known| known.fresh_until()).filter(|at| *at > now).min()
    }

    /// Calls per minute, if a limit of a minute is known.
    pub fn requests_per_minute(&self) -> Option<u32> {
        self.per_minute(Kind::Requests).map(|limit| u32::try_from(limit).unwrap_or(u32::MAX))
    }

    /// Tokens per minute, if a limit of a minute is known.
    pub fn tokens_per_minute(&self) -> Option<u64> {
        self.per_minute(Kind::Tokens)
    }

    /// Forget everything; whether anything was known.
    pub fn forget(&mut self) -> bool {
        std::mem::take(self) != Self::default()
    }

    /// What is known, by kind.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &Known)> {
        Kind::ALL.into_iter().zip(&self.buckets).filter_map(|(kind, known)| Some((kind, known.as_ref()?)))
    }

    /// For the store and for people.
    pub fn records(&self, now: Now) -> Vec<LearnedRecord> {
        let fresh = self.iter().filter(|(_, known)| now.moment.since(known.at) < REMEMBERED);
        let record = |(kind, known): (Kind, &Known)| LearnedRecord {
            kind,
            limit: known.limit,
            remaining: known.remaining,
            reset_at: known.reset_at.map(|at| now.to_wall(at)),
            at: now.to_wall(known.at),
            per_minute: known.per_minute,
            rest_until: now.to_wall(known.rest_until),
        };
        fresh.map(record).collect()
    }

    /// From the store; what is too old stays behind.
    pub fn restore(records: &[LearnedRecord], now: Now) -> Self {
        let mut learned = Self::default();
        let most = now.moment.after(LONGEST_REST);
        // Clocks are set back by seconds now and then; a record from far ahead is one of another clock.
        let believable = -MINUTE_MS..day_ms();
        for record in records {
            let age = now.wall.0.saturating_sub(record.at.0);
            if let Some(slot) = learned.slot(record.kind).filter(|_| believable.contains(&age)) {
                *slot = Some(Known {
                    limit: record.limit,
                    remaining: record.remaining,
                    reset_at: record.reset_at.map(|at| now.to_moment(at)),
                    at: now.to_moment(record.at),
                    per_minute: record.per_minute,
                    rest_until: now.to_moment(record.rest_until).min(most),
                });
            }
        }
        learned
    }

    fn per_minute(&self, kind: Kind) -> Option<u64> {
        let known = self.iter().find(|(of, _)| *of == kind)?.1;
        known.limit.filter(|limit| known.per_minute && (1..=MOST_PER_MINUTE).contains(limit))
    }

    fn slot(&mut self, kind: Kind) -> Option<&mut Option<Known>> {
        self.buckets.get_mut(kind as usize)
    }
}

const MINUTE_MS: i64 = 60_000;

fn day_ms() -> i64 {
    i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX)
}

impl Known {
    fn fresh_until(&self) -> Moment {
        self.reset_at.unwrap_or_else(|| self.at.after(FADES)).min(self.at.after(REMEMBERED))
    }

    /// Once its reset has passed, nothing is known of what is left.
    fn share(&self, now: Moment) -> Option<f32> {
        let (limit, remaining) = (self.limit.filter(|limit| *limit > 0)?, self.remaining?);
        (now < self.fresh_until()).then(|| (remaining.min(limit) as f64 / limit as f64) as f32)
    }
}

/// What is not said again stays known.
fn known(report: &Reported, before: Option<Known>, refused: bool, now: Moment) -> Known {
    let limit = report.limit.or(before.and_then(|before| before.limit));
    let reset = report.reset.map(|reset| reset.min(REMEMBERED));
    // A success with nothing left out of nothing, or out of one, is a header that means something else.
    let believable = refused || limit.is_some_and(|limit| limit > 1);
    let rest = reset.filter(|_| report.remaining == Some(0) && believable).unwrap_or_default().min(LONGEST_REST);
    Known {
        limit,
        remaining: report.remaining,
        reset_at: reset.map(|reset| now.after(reset)),
        at: now,
        per_minute: report.per_minute || before.is_some_and(|before| before.per_minute && before.limit == limit),
        rest_until: if rest.is_zero() { Moment::START } else { now.after(rest) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Moment = Moment::from_millis(100_000);

    fn report(kind: Kind, limit: u64, remaining: u64, reset_ms: u64) -> Reported {
        Reported {
            kind,
            limit: Some(limit),
            remaining: Some(remaining),
            reset: Some(Duration::from_millis(reset_ms)),
            per_minute: false,
        }
    }

    fn heard(reports: &[Reported]) -> Learned {
        let mut learned = Learned::default();
        learned.hear(reports, false, NOW);
        learned
    }

    #[test]
    fn an_empty_bucket_keeps_requests_at_home_until_its_reset() {
        let learned = heard(&[report(Kind::Requests, 100, 0, 5_000), report(Kind::Tokens, 1_000, 900, 60_000)]);

        assert_eq!(learned.rest_until(), NOW.after(Duration::from_secs(5)));
        assert_eq!(learned.headroom(NOW), Some(0.0));
    }

    #[test]
    fn a_later_answer_with_something_left_ends_the_rest() {
        let mut learned = heard(&[report(Kind::Requests, 100, 0, 5_000)]);

        learned.hear(&[report(Kind::Requests, 100, 3, 5_000)], false, NOW);

        assert_eq!(learned.rest_until(), Moment::START);
    }

    #[test]
    fn a_wild_header_is_clamped_or_passed_over() {
        let far = heard(&[report(Kind::Requests, 100, 0, u64::MAX / 2)]);
        let senseless = heard(&[report(Kind::Requests, 0, 0, 60_000), report(Kind::Tokens, 1, 0, 60_000)]);
        let overfull = heard(&[report(Kind::Tokens, 10, 1_000, 60_000)]);

        assert_eq!(far.rest_until(), NOW.after(LONGEST_REST));
        assert_eq!(senseless.rest_until(), Moment::START);
        assert_eq!(overfull.headroom(NOW), Some(1.0));
    }

    #[test]
    fn what_is_left_is_no_longer_known_once_the_reset_has_passed() {
        let learned = heard(&[report(Kind::Requests, 100, 25, 5_000), report(Kind::Tokens, 100, 50, 9_000)]);

        let shares = [0, 6, 10].map(|seconds| learned.headroom(NOW.after(Duration::from_secs(seconds))));

        assert_eq!(shares, [Some(0.25), Some(0.5), None]);
        assert_eq!(learned.fades_at(NOW), Some(NOW.after(Duration::from_secs(5))));
    }

    #[test]
    fn only_a_limit_of_a_minute_is_a_pace() {
        let daily = heard(&[report(Kind::Requests, 500, 1, 1)]);
        let minutely = heard(&[Reported { per_minute: true, ..report(Kind::Requests, 500, 1, 1) }]);

        assert_eq!((daily.requests_per_minute(), minutely.requests_per_minute()), (None, Some(500)));
    }

    #[test]
    fn what_was_learned_survives_a_restart_for_a_day() {
        let learned = heard(&[report(Kind::Requests, 100, 0, 60_000)]);
        let before = Now { moment: NOW, wall: UnixMillis(1_000_000_000_000) };
        let stored = learned.records(before);
        let later = |ms: i64| Now { moment: Moment::from_millis(10), wall: UnixMillis(before.wall.0 + ms) };

        let soon = Learned::restore(&stored, later(20_000));

        assert_eq!(soon.rest_until(), Moment::from_millis(40_010));
        assert_eq!(Learned::restore(&stored, later(day_ms())), Learned::default());
        assert_eq!(Learned::restore(&stored, later(-300_000)), Learned::default(), "from the future");
    }

    proptest! {
        /// Whatever headers say: nothing rests longer than the longest rest, shares are shares, a record comes back.
        #[test]
        fn any_headers_do_bounded_harm(
            reports in prop::collection::vec(
                (0usize..6, any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>(), any::<bool>()), 1..20),
            refused in any::<bool>(),
        ) {
            let mut learned = Learned::default();
            for (kind, limit, remaining, reset, per_minute) in reports {
                let kind = Kind::ALL[kind];
                let reset = reset.map(Duration::from_millis);
                learned.hear(&[Reported { kind, limit, remaining, reset, per_minute }], refused, NOW);
            }

            prop_assert!(learned.rest_until() <= NOW.after(LONGEST_REST));
            prop_assert!(learned.headroom(NOW).is_none_or(|share| (0.0..=1.0).contains(&share)));
            let now = Now { moment: NOW, wall: UnixMillis(1_000_000_000_000) };
            prop_assert_eq!(Learned::restore(&learned.records(now), now), learned);
        }
    }
}
