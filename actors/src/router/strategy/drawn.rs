//! Strategies that draw.

use rand::{Rng, RngExt};

use super::super::features::RequestFeatures;
use super::{Load, Placed, Views, prefer_session};

/// Shuffled.
pub fn random<R: Rng>(views: &Views<'_>, rng: &mut R) -> Vec<Placed> {
    shuffled(views, rng).into_iter().map(|index| Placed::new(index, "drawn")).collect()
}

/// One is drawn by weight; the others follow by falling weight. All zero counts as all equal; a zero beside others is
/// never drawn but stays as a fallback.
pub fn weighted<R: Rng>(views: &Views<'_>, rng: &mut R) -> Vec<Placed> {
    let weight = |index: usize| views.steps.get(index).map_or(0, |step| u64::from(step.weight));
    let mut indices: Vec<usize> = (0..views.steps.len()).collect();
    let total: u64 = indices.iter().map(|index| weight(*index)).sum();
    if total == 0 {
        return random(views, rng);
    }
    let mut ticket = rng.random_range(0..total);
    let drawn = indices.iter().position(|index| match ticket.checked_sub(weight(*index)) {
        Some(rest) => {
            ticket = rest;
            false
        }
        None => true,
    });
    let first = indices.remove(drawn.unwrap_or(0));
    indices.sort_by_key(|index| std::cmp::Reverse(weight(*index)));
    let rest = indices.into_iter().map(|index| Placed::new(index, "by_weight"));
    std::iter::once(Placed::new(first, "drawn_by_weight")).chain(rest).collect()
}

/// The cheaper of two drawn ones first, the others by cost. Always taking the cheapest of all would send every replica
/// to the same place at the same moment.
pub fn two_choices<R: Rng>(views: &Views<'_>, features: &RequestFeatures, rng: &mut R) -> Vec<Placed> {
    let load = |index: usize| views.steps.get(index).map_or(Load::NONE, |step| step.load);
    let mut indices = shuffled(views, rng);
    // What takes nothing is not worth one of the two draws.
    indices.sort_by_key(|index| !load(*index).available);
    if let [first, second, ..] = indices.as_mut_slice()
        && load(*second).cost < load(*first).cost
    {
        std::mem::swap(first, second);
    }
    if let [_, rest @ ..] = indices.as_mut_slice() {
        rest.sort_by(|a, b| load(*a).cost.total_cmp(&load(*b).cost));
    }
    let why = |place| if place == 0 { "cheaper_of_two" } else { "by_load" };
    let placed = indices.into_iter().enumerate();
    let mut placed = placed.map(|(place, index)| Placed::new(index, why(place))).collect();
    prefer_session(&mut placed, views, features);
    placed
}

/// The fewest requests in flight; equals in drawn order, so that idle ones share.
pub fn least_used<R: Rng>(views: &Views<'_>, features: &RequestFeatures, rng: &mut R) -> Vec<Placed> {
    let load = |index: usize| views.steps.get(index).map_or(Load::NONE, |step| step.load);
    let mut indices = shuffled(views, rng);
    indices.sort_by_key(|index| (!load(*index).available, load(*index).in_flight));
    let mut placed = indices.into_iter().map(|index| Placed::new(index, "fewest_in_flight")).collect();
    prefer_session(&mut placed, views, features);
    placed
}

fn shuffled<R: Rng>(views: &Views<'_>, rng: &mut R) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..views.steps.len()).collect();
    for last in (1..indices.len()).rev() {
        indices.swap(last, rng.random_range(0..=last));
    }
    indices
}
