//! Strategies without chance or turns: by the operator's order, by price, by window, by memory.

use std::cmp::Reverse;

use super::super::features::RequestFeatures;
use super::{Placed, StepView, Views, rendezvous};

/// As given.
pub fn priority(views: &Views<'_>) -> Vec<Placed> {
    let why = |index| if index == 0 { "first" } else { "in_order" };
    (0..views.steps.len()).map(|index| Placed::new(index, why(index))).collect()
}

/// As given, and each for the same reason: all of them are asked.
pub fn all(views: &Views<'_>, why: &'static str) -> Vec<Placed> {
    (0..views.steps.len()).map(|index| Placed::new(index, why)).collect()
}

/// The cheapest for this request; an unknown price comes last.
pub fn cheapest(views: &Views<'_>) -> Vec<Placed> {
    let why = |step: &StepView| if step.price.is_some() { "by_cost" } else { "unknown_price" };
    sorted(views, why, |step| (step.price.is_none(), step.price))
}

/// The smallest window that the request fits; then the unknown ones; then what is too small, the largest first. A
/// combo may want it the other way round.
pub fn smallest_window(views: &Views<'_>, features: &RequestFeatures) -> Vec<Placed> {
    let (needed, large) = (features.tokens(), views.config.context.prefer_large);
    let rank = |step: &StepView| match step.window {
        Some(window) if window >= needed && large => (0, u32::MAX - window),
        Some(window) if window >= needed => (0, window),
        None => (1, 0),
        Some(window) => (2, u32::MAX - window),
    };
    let why = |step: &StepView| ["fits", "unknown_window", "too_small"].get(rank(step).0).copied().unwrap_or("fits");
    sorted(views, why, rank)
}

/// The one that answered last; the others as given.
pub fn answered_last(views: &Views<'_>) -> Vec<Placed> {
    sorted(views, |step| if step.answered_last { "answered_last" } else { "in_order" }, |step| !step.answered_last)
}

/// The most quota left; unknown comes last.
pub fn headroom(views: &Views<'_>) -> Vec<Placed> {
    let why = |step: &StepView| if step.load.headroom.is_some() { "by_headroom" } else { "unknown_headroom" };
    sorted(views, why, |step| (!step.load.available, step.load.headroom.is_none(), Reverse(permille(step))))
}

/// The step where this session belongs; without a session as given.
pub fn by_session(views: &Views<'_>, features: &RequestFeatures) -> Vec<Placed> {
    match features.affinity {
        Some(session) => sorted(views, |_| "affinity", |step| Reverse(rendezvous(session, step))),
        None => priority(views),
    }
}

/// A session stays where it was while there is quota; then, and for new ones, the order counts, and what has no quota
/// left comes last.
pub fn relay(views: &Views<'_>) -> Vec<Placed> {
    let used_up = |step: &StepView| {
        let floor = 1.0 - views.config.handoff.threshold;
        step.may_hand_off && step.load.headroom.is_some_and(|left| left <= floor)
    };
    let leaves = views.steps.iter().any(|step| step.has_session && used_up(step));
    let why = |step: &StepView| match (step.has_session, used_up(step)) {
        (true, false) => "session",
        (_, true) => "quota_low",
        _ if leaves => "handoff",
        _ => "in_order",
    };
    sorted(views, why, |step| if used_up(step) { 2 } else { u8::from(!step.has_session) })
}

fn permille(step: &StepView) -> u32 {
    // In whole thousandths, so that what is as good as equal keeps the operator's order.
    step.load.headroom.map_or(0, |left| (left.clamp(0.0, 1.0) * 1_000.0) as u32)
}

/// Stable: what is equal stays in the operator's order.
fn sorted<K: Ord>(
    views: &Views<'_>,
    why: impl Fn(&StepView) -> &'static str,
    key: impl Fn(&StepView) -> K,
) -> Vec<Placed> {
    let mut steps: Vec<(usize, &StepView)> = views.steps.iter().enumerate().collect();
    steps.sort_by_cached_key(|(_, step)| key(step));
    steps.into_iter().map(|(index, step)| Placed::new(index, why(step))).collect()
}
