//! Strategies: pure functions from what is known about the steps of a combo to an order with a reason for each step.
//!
//! One file per family. Time, chance and turns are arguments; what a strategy looks at is in its [`StepView`]s.

mod auto;
mod drawn;
mod ordered;
mod smooth;
#[cfg(test)]
mod tests;
mod turns;

use rand::Rng;

pub use self::auto::Factors;
pub(super) use self::smooth::schedule;
use super::config::ComboConfig;
use super::features::RequestFeatures;
use super::hash;
use super::plan::Strategy;

/// A session leaves its place when another request there would cost this many times what it costs elsewhere.
pub const OVERLOADED: f64 = 4.0;

/// What the connections behind a step carry now, from a sample of bounded size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Whether one of them takes requests.
    pub available: bool,
    /// What another request would cost there: latency times queue.
    pub cost: f64,
    /// Requests in flight on the cheapest.
    pub in_flight: u32,
    /// The share of its quota that is left.
    pub headroom: Option<f32>,
    /// 1 = breaker closed, 0 = takes nothing.
    pub health: f32,
    /// Share of calls that succeeded lately, of the cheapest.
    pub success: Option<f32>,
}

impl Load {
    /// Of a step that nobody serves.
    pub const NONE: Self =
        Self { available: false, cost: f64::MAX, in_flight: u32::MAX, headroom: None, health: 0.0, success: None };
}

/// What a strategy knows about one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepView {
    /// Its place among all steps of the combo, those that fell out included.
    pub place: usize,
    /// The hash of its id.
    pub hash: u64,
    /// Its weight.
    pub weight: u32,
    /// Load, for the strategies that look at it.
    pub load: Load,
    /// What the request would cost there, in nano-USD.
    pub price: Option<u64>,
    /// Its window.
    pub window: Option<u32>,
    /// Fit for the task, between 0 and 1.
    pub task: f32,
    /// Class of its model, between 0 and 1.
    pub tier: Option<f32>,
    /// It answered last.
    pub answered_last: bool,
    /// It served this session last.
    pub has_session: bool,
    /// A session may be handed over from it.
    pub may_hand_off: bool,
}

/// The steps of a combo that are left after the filters.
#[derive(Debug, Clone, Copy)]
pub struct Views<'a> {
    /// The steps.
    pub steps: &'a [StepView],
    /// How many there were before the filters.
    pub all: usize,
    /// Whose turn it is when, under `weighted-smooth`.
    pub schedule: &'a [usize],
    /// The combo's configuration.
    pub config: &'a ComboConfig,
    /// What tells combos apart that shuffle decks.
    pub seed: u64,
    /// Whether a share of the requests may explore.
    pub explore: bool,
}

/// A step in its place, and why it is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Which of the views.
    pub index: usize,
    /// The word for it.
    pub why: &'static str,
    /// The factors of its score, under `auto`.
    pub factors: Option<Factors>,
}

impl Placed {
    const fn new(index: usize, why: &'static str) -> Self {
        Self { index, why, factors: None }
    }
}

/// Order the steps, the first choice first: each exactly once.
pub fn order<R: Rng>(
    strategy: Strategy,
    views: &Views<'_>,
    features: &RequestFeatures,
    turn: u64,
    rng: &mut R,
) -> Vec<Placed> {
    match strategy {
        Strategy::Priority | Strategy::FillFirst => ordered::priority(views),
        Strategy::Fusion => ordered::all(views, "panel"),
        Strategy::Pipeline => ordered::all(views, "step"),
        Strategy::Weighted => drawn::weighted(views, rng),
        Strategy::WeightedSmooth => turns::smooth(views, turn),
        Strategy::RoundRobin => turns::round_robin(views, turn),
        Strategy::Random => drawn::random(views, rng),
        Strategy::StrictRandom => turns::deck(views, turn),
        Strategy::P2c => drawn::two_choices(views, features, rng),
        Strategy::LeastUsed => drawn::least_used(views, features, rng),
        Strategy::CostOptimized => ordered::cheapest(views),
        Strategy::ContextOptimized => ordered::smallest_window(views, features),
        Strategy::Lkgp => ordered::answered_last(views),
        Strategy::Headroom => ordered::headroom(views),
        Strategy::CacheOptimized => ordered::by_session(views, features),
        Strategy::ContextRelay => ordered::relay(views),
        Strategy::Auto => auto::score(views, features, rng),
    }
}

/// Where a session belongs among these steps, whoever else is there: highest random weight.
fn rendezvous(session: u64, step: &StepView) -> u64 {
    hash::pair(session, step.hash)
}

/// The session's own step comes first, unless it is down or far dearer than what would be first without it.
fn prefer_session(placed: &mut Vec<Placed>, views: &Views<'_>, features: &RequestFeatures) {
    let load = |index: usize| views.steps.get(index).map_or(Load::NONE, |step| step.load);
    let Some(session) = features.affinity else { return };
    let alive = views.steps.iter().enumerate().filter(|(_, step)| step.load.available);
    let Some((own, _)) = alive.max_by_key(|(_, step)| rendezvous(session, step)) else { return };
    let first = placed.first().map_or(f64::MAX, |first| load(first.index).cost);
    if load(own).cost <= first * OVERLOADED
        && let Some(at) = placed.iter().position(|placed| placed.index == own)
    {
        placed.remove(at);
        placed.insert(0, Placed::new(own, "affinity"));
    }
}
