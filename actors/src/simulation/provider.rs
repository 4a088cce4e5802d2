//! A provider that is played: what it answers depends on its mood, and its mood changes with time.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::clock::Moment;
use crate::resilience::outcome::Outcome;
use crate::router::fallback::RetryClass;

/// How a provider behaves for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Up,
    /// Every call fails with 500.
    Fails,
    /// Every call is told 503.
    Overloaded,
    /// Every call is told 429, perhaps with a time.
    Limited(Option<Duration>),
    /// A quota is used up, until then.
    QuotaGone(Duration),
    /// Nobody listens.
    Refuses,
    /// Calls are accepted and never answered.
    Hangs,
    /// Answers take ten times as long.
    Slow,
    /// Answers break off after their first content.
    Cuts,
    /// The keys are refused.
    KeysRefused,
    /// The accounts are out of money.
    NoMoney,
    /// One of its models is gone.
    ModelGone(usize),
    /// Up and down in turn.
    Flaps(Duration),
    /// A share of calls fails, in percent.
    BrownOut(u32),
    /// Calls beyond so many at a time are told 429.
    Narrow(u32),
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply {
    /// After this time; `None` = never.
    pub after: Option<Duration>,
    pub outcome: Outcome,
    pub retry_after: Option<Duration>,
    /// The client has seen content before it ended.
    pub started: bool,
    pub tokens: u64,
    /// What the provider may know of a call that fails.
    pub class: RetryClass,
}

/// One provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub mood: Mood,
    /// How long it usually takes.
    pub latency: Duration,
    pub in_flight: u32,
    /// So many calls in a window of this length are answered to each account, and its headers say what is left.
    pub bucket: Option<(u64, Duration)>,
}

impl Reply {
    /// A call beyond what the account's window allows.
    pub fn over_the_limit(self) -> Self {
        let after = Some(Duration::from_millis(10));
        Self { after, outcome: Outcome::RateLimited, started: false, tokens: 0, class: RetryClass::Answered, ..self }
    }
}

impl Provider {
    /// What happens to a call that begins now.
    pub fn reply(&self, model: usize, now: Moment, rng: &mut SmallRng) -> Reply {
        let quick = Duration::from_millis(rng.random_range(5..60));
        let usual = self.latency.mul_f64(rng.random_range(0.5..2.0));
        let ends = |outcome, after| Reply {
            after: Some(after),
            outcome,
            retry_after: None,
            started: false,
            tokens: 0,
            class: RetryClass::Answered,
        };
        let hinted = |outcome, hint| Reply { retry_after: hint, ..ends(outcome, quick) };
        let whole = Reply { tokens: rng.random_range(10..800), started: true, ..ends(Outcome::Success, usual) };
        match self.mood {
            Mood::Up => whole,
            Mood::Fails => ends(Outcome::ServerFault, quick),
            Mood::Overloaded => ends(Outcome::Overloaded, quick),
            Mood::Limited(hint) => hinted(Outcome::RateLimited, hint),
            Mood::QuotaGone(hint) => hinted(Outcome::QuotaExhausted, Some(hint)),
            Mood::Refuses => {
                Reply { class: RetryClass::NotSent, ..ends(Outcome::ConnectFailed, Duration::from_millis(1)) }
            }
            Mood::Hangs => Reply { after: None, class: RetryClass::MaybeAccepted, ..whole },
            Mood::Slow => Reply { after: Some(usual * 10), ..whole },
            Mood::Cuts => Reply { started: true, class: RetryClass::Started, ..ends(Outcome::BrokenAnswer, usual) },
            Mood::KeysRefused => ends(Outcome::AuthRefused, quick),
            Mood::NoMoney => ends(Outcome::CreditsExhausted, quick),
            Mood::ModelGone(gone) if gone == model => ends(Outcome::ModelFault, quick),
            Mood::ModelGone(_) => whole,
            Mood::Flaps(phase) if (now.as_millis() / crate::clock::millis(phase).max(1)).is_multiple_of(2) => {
                ends(Outcome::ServerFault, quick)
            }
            Mood::Flaps(_) => whole,
            Mood::BrownOut(share) if rng.random_range(0..100) < share => ends(Outcome::ServerFault, quick),
            Mood::BrownOut(_) => whole,
            Mood::Narrow(most) if self.in_flight >= most => ends(Outcome::RateLimited, quick),
            Mood::Narrow(_) => whole,
        }
    }
}

/// Some trouble.
pub(super) fn trouble(rng: &mut SmallRng) -> Mood {
    let seconds = |rng: &mut SmallRng, most: u64| Duration::from_secs(rng.random_range(0..most));
    match rng.random_range(0..17) {
        0 | 1 => Mood::Fails,
        2 => Mood::Overloaded,
        3 => Mood::Limited(None),
        4 => Mood::Limited(Some(seconds(rng, 25))),
        5 => Mood::QuotaGone(seconds(rng, 90)),
        6 => Mood::Refuses,
        7 => Mood::Hangs,
        8 => Mood::Slow,
        9 => Mood::Cuts,
        10 => Mood::KeysRefused,
        11 => Mood::NoMoney,
        12 => Mood::ModelGone(rng.random_range(0..2)),
        13 | 14 => Mood::Flaps(Duration::from_millis(rng.random_range(300..6_000))),
        15 => Mood::BrownOut(rng.random_range(10..60)),
        _ => Mood::Narrow(rng.random_range(1..5)),
    }
}
