//! Strategies that go by turns. The turn counts over all steps of the combo, also those that a filter took out of this
//! request; the next one that is left has it then.

use super::super::hash;
use super::{Placed, StepView, Views};

/// Each in turn.
pub fn round_robin(views: &Views<'_>, turn: u64) -> Vec<Placed> {
    let all = views.all.max(1);
    let start = modulo(turn / u64::from(views.config.sticky_limit.max(1)), all);
    placed(views, |step| (step.place + all - start) % all)
}

/// As the schedule says; the others by falling weight.
pub fn smooth(views: &Views<'_>, turn: u64) -> Vec<Placed> {
    let start = modulo(turn / u64::from(views.config.sticky_limit.max(1)), views.schedule.len().max(1));
    let (before, after) = views.schedule.split_at_checked(start).unwrap_or_default();
    let mut round = after.iter().chain(before);
    let first = round.find(|place| views.steps.iter().any(|step| step.place == **place)).copied();
    placed(views, |step| (Some(step.place) != first, std::cmp::Reverse(step.weight)))
}

/// Each once per deck, and never one twice in a row.
pub fn deck(views: &Views<'_>, turn: u64) -> Vec<Placed> {
    let all = views.all.max(1);
    let turn = turn / u64::from(views.config.sticky_limit.max(1));
    let (number, position) = (turn / all as u64, modulo(turn, all));
    let deck = shuffled(views.seed, number, all);
    let mut rank = vec![0; all];
    for (at, place) in deck.into_iter().enumerate() {
        if let Some(rank) = rank.get_mut(place) {
            *rank = (at + all - position) % all;
        }
    }
    placed(views, |step| rank.get(step.place).copied())
}

/// The deck of that number. Its first two change places when it would begin with what the deck before ended with; the
/// last one never moves by that, so that no deck depends on more than the one before. Two steps can only alternate.
fn shuffled(seed: u64, number: u64, all: usize) -> Vec<usize> {
    if all == 2 {
        return vec![0, 1];
    }
    let mut deck = raw(seed, number, all);
    let ends_with = number.checked_sub(1).and_then(|before| raw(seed, before, all).last().copied());
    if ends_with.is_some()
        && ends_with == deck.first().copied()
        && let [first, second, ..] = deck.as_mut_slice()
    {
        std::mem::swap(first, second);
    }
    deck
}

fn raw(seed: u64, number: u64, all: usize) -> Vec<usize> {
    let mut deck: Vec<usize> = (0..all).collect();
    let mut state = hash::pair(seed, number);
    for last in (1..all).rev() {
        state = hash::pair(state, last as u64);
        deck.swap(last, hash::below(state, last + 1));
    }
    deck
}

fn modulo(number: u64, n: usize) -> usize {
    usize::try_from(number % n as u64).unwrap_or(0)
}

fn placed<K: Ord>(views: &Views<'_>, key: impl Fn(&StepView) -> K) -> Vec<Placed> {
    let mut steps: Vec<(usize, &StepView)> = views.steps.iter().enumerate().collect();
    steps.sort_by_cached_key(|(_, step)| key(step));
    let why = |rank| if rank == 0 { "its_turn" } else { "after_turn" };
    steps.into_iter().enumerate().map(|(rank, (index, _))| Placed::new(index, why(rank))).collect()
}
