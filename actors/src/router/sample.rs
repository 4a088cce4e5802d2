//! What the connections behind a step carry now, from a look at a few of them.
//!
//! Steps that lead to the same provider share one look per request: a combo of a hundred steps looks at as many
//! connections as it has providers, times two. Whether a single model is locked there is found out when its leg is
//! walked.

use std::sync::Arc;

use rand::{Rng, RngExt};
use smallvec::SmallVec;

use super::filter::Screen;
use super::plan::pool::{Member, Pool};
use super::plan::{Pin, Target};
use super::strategy::Load;
use crate::clock::Moment;
use crate::resilience::gate::BreakerState;

/// Connections that are looked at; a group with no more is looked at as a whole.
const MOST: usize = 2;
/// Groups that are looked at while none serves.
const MOST_GROUPS: usize = 3;

/// The looks of one request, by pool: the plan holds every pool while an itinerary is drawn up.
#[derive(Default)]
pub(super) struct Looks(SmallVec<[(*const Pool, Pin, Load); 8]>);

impl Looks {
    /// What the target's connections carry, looked at once.
    pub fn load<R: Rng>(&mut self, target: &Target, screen: &Screen, now: Moment, rng: &mut R) -> Load {
        // A step's own tags let other connections pass.
        let known = self.0.iter().find(|(pool, pin, _)| *pool == Arc::as_ptr(&target.pool) && *pin == target.pin);
        if let Some((_, _, load)) = known.filter(|_| target.tags.is_empty()) {
            return *load;
        }
        let seen = load(target, screen, now, rng);
        if target.tags.is_empty() {
            self.0.push((Arc::as_ptr(&target.pool), target.pin, seen));
        }
        seen
    }
}

/// The best that was seen.
fn load<R: Rng>(target: &Target, screen: &Screen, now: Moment, rng: &mut R) -> Load {
    if let Pin::At(place) = target.pin {
        return target.pool.member(place).map_or(Load::NONE, |member| look(target, member, screen, now));
    }
    let mut best = Load::NONE;
    for group in target.pool.groups.iter().take(MOST_GROUPS) {
        let range = group.range();
        let start = if range.len() > MOST { rng.random_range(0..range.len()) } else { 0 };
        for step in 0..range.len().min(MOST) {
            let place = range.start + (start + step) % range.len();
            if let Some(member) = target.pool.member(place) {
                best = better(best, look(target, member, screen, now));
            }
        }
        if best.available {
            break;
        }
    }
    best
}

fn better(best: Load, seen: Load) -> Load {
    let headroom = match (best.headroom, seen.headroom) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
    let chosen = if seen.available && (!best.available || seen.cost < best.cost) { seen } else { best };
    Load { headroom, ..chosen }
}

fn look(target: &Target, member: &Member, screen: &Screen, now: Moment) -> Load {
    let handle = &member.handle;
    if screen.admits(target, member).is_err() || handle.look(target.model.as_str(), now).is_err() {
        return Load::NONE;
    }
    let in_flight = handle.in_flight();
    let health = match handle.gate().view().state {
        BreakerState::Closed => 1.0,
        BreakerState::Degraded => 0.7,
        BreakerState::Open | BreakerState::HalfOpen => 0.5,
    };
    let counts = handle.remembered().counts;
    let ratio = || 1.0 - f64::from(counts.failures) / f64::from(counts.calls);
    Load {
        available: true,
        cost: handle.latency().cost(in_flight, now),
        in_flight,
        headroom: handle.headroom(),
        health,
        success: (counts.calls > 0).then(|| ratio() as f32),
    }
}
