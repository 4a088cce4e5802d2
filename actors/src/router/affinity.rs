//! Which connection of a group a session belongs to, whoever else is there: when one of `n` goes, only its own
//! sessions move.

use smallvec::SmallVec;

use super::hash;
use super::members::Members;
use super::plan::pool::{Group, Pool, SMALL_GROUP};

/// Connections of a large group that are looked at in a session's order before it takes any.
const MOST_ON_THE_RING: usize = 16;

/// The first places of a group in the order of a session: all of a small group by highest random weight, some of a
/// large one by its ring.
pub(super) enum Order<'a> {
    /// Places with their weights, and how many are asked for: the heaviest that is left comes next.
    Weights(SmallVec<[(u64, usize); 8]>, usize),
    /// Points of the ring; the same place comes again.
    Ring(Box<dyn Iterator<Item = usize> + 'a>),
}

impl<'a> Order<'a> {
    pub fn new(session: u64, pool: &'a Pool, group: &'a Group, members: &Members<'_>) -> Self {
        if members.len() > SMALL_GROUP && members.is_whole() {
            let mut seen = SmallVec::<[usize; MOST_ON_THE_RING]>::new();
            let fresh = move |place: &usize| {
                let is_new = !seen.contains(place);
                if is_new {
                    seen.push(*place);
                }
                is_new
            };
            return Self::Ring(Box::new(group.clockwise(hash::stir(session)).filter(fresh).take(MOST_ON_THE_RING)));
        }
        let weight = |place: usize| pool.member(place).map(|member| (hash::pair(session, member.hash), place));
        let most = if members.len() > SMALL_GROUP { MOST_ON_THE_RING } else { SMALL_GROUP };
        Self::Weights(members.places().filter_map(weight).collect(), most)
    }
}

impl Iterator for Order<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Ring(places) => places.next(),
            Self::Weights(weights, left) => {
                *left = left.checked_sub(1)?;
                let heaviest = (0..weights.len()).max_by_key(|at| weights.get(*at))?;
                Some(weights.swap_remove(heaviest).1)
            }
        }
    }
}
