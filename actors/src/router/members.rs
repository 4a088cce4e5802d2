//! Which connections of a leg a request may use, and by what they are compared. Choosing among them and explaining the
//! choice ask the same lines.

use std::ops::Range;

use smallvec::SmallVec;

use super::Only;
use super::itinerary::Leg;
use super::plan::pool::Member;
use super::plan::{AccountStrategy, Pin};
use crate::clock::Moment;

/// Connections of a group that this request may use.
pub(super) enum Members<'a> {
    /// All of them.
    All(Range<usize>),
    /// Some of them, by place.
    Some(&'a [usize]),
}

impl Members<'_> {
    pub fn len(&self) -> usize {
        match self {
            Self::All(range) => range.len(),
            Self::Some(places) => places.len(),
        }
    }

    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::All(_))
    }

    pub fn at(&self, index: usize) -> Option<usize> {
        match self {
            Self::All(range) => Some(range.start + index).filter(|place| range.contains(place)),
            Self::Some(places) => places.get(index).copied(),
        }
    }

    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter_map(|index| self.at(index))
    }
}

/// The places that the pin, the caller's key and the caller's wish leave; `None` = all.
pub(super) fn usable(leg: &Leg, only: &Only) -> Option<SmallVec<[usize; 8]>> {
    let pool = &leg.target.pool;
    let one = match (leg.target.pin, &only.forced) {
        (Pin::Any, None) => None,
        (Pin::Any, Some(forced)) => Some(pool.place(forced)),
        (Pin::At(place), None) => Some(Some(place)),
        (Pin::At(place), Some(forced)) => Some(pool.place(forced).filter(|forced| *forced == place)),
        (Pin::Gone, _) => Some(None),
    };
    let allowed = |place: usize| pool.member(place).is_some_and(|member| only.allows(member.handle.id()));
    match (one, &only.allowed) {
        (Some(one), _) => Some(one.into_iter().filter(|place| allowed(*place)).collect()),
        (None, None) => None,
        (None, Some(set)) if set.len() < pool.members.len() => {
            let mut places: SmallVec<[usize; 8]> = set.iter().filter_map(|id| pool.place(id)).collect();
            // A set has no order of its own, and choices must repeat.
            places.sort_unstable();
            Some(places)
        }
        (None, Some(_)) => Some((0..pool.members.len()).filter(|place| allowed(*place)).collect()),
    }
}

/// Of ascending places those in the range.
pub(super) fn within(places: &[usize], range: Range<usize>) -> &[usize] {
    let from = places.partition_point(|place| *place < range.start);
    let to = places.partition_point(|place| *place < range.end);
    places.get(from..to).unwrap_or_default()
}

/// How many that would serve are compared, and the word for the best.
pub(super) const fn comparison(accounts: AccountStrategy) -> (usize, &'static str) {
    match accounts {
        AccountStrategy::P2c | AccountStrategy::Lkgp => (2, "cheaper_of_two"),
        AccountStrategy::FillFirst => (1, "in_order"),
        AccountStrategy::RoundRobin => (1, "its_turn"),
        AccountStrategy::Random | AccountStrategy::StrictRandom => (1, "drawn"),
        AccountStrategy::LeastUsed => (8, "fewest_in_flight"),
        AccountStrategy::Headroom => (8, "by_headroom"),
    }
}

/// The lower the better.
pub(super) fn score(accounts: AccountStrategy, member: &Member, now: Moment) -> f64 {
    let handle = &member.handle;
    match accounts {
        AccountStrategy::LeastUsed => f64::from(handle.in_flight()),
        AccountStrategy::Headroom => handle.headroom().map_or(2.0, |left| 1.0 - f64::from(left)),
        AccountStrategy::P2c | AccountStrategy::Lkgp => handle.latency().cost(handle.in_flight(), now),
        AccountStrategy::FillFirst
        | AccountStrategy::RoundRobin
        | AccountStrategy::Random
        | AccountStrategy::StrictRandom => 0.0,
    }
}
