//! A lease: a connection for one attempt, with everything that the next attempt needs.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Route;
use super::itinerary::{Itinerary, Leg};
use super::plan::Strategy;
use super::skip::Skips;
use crate::connection::config::{ConnectionConfig, UpstreamTarget};
use crate::connection::lease::Permit;
use crate::ids::{ComboName, ConnectionId, ModelName};

/// A place that was tried: a leg of the itinerary, and a connection of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempted {
    /// Which leg.
    pub leg: usize,
    /// The place of its connection in the provider's pool.
    pub place: usize,
}

/// Where this request was, each attempt once.
pub type Tried = SmallVec<[Attempted; 1]>;

/// Restricts a request to some connections.
#[derive(Debug, Clone, Default)]
pub struct Only {
    /// The caller's key allows these; `None` = all.
    pub allowed: Option<Arc<HashSet<ConnectionId>>>,
    /// The caller asks for this one.
    pub forced: Option<ConnectionId>,
}

impl Only {
    pub(super) fn allows(&self, id: &ConnectionId) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(id))
            && self.forced.as_ref().is_none_or(|forced| forced == id)
    }
}

/// Why this connection: in words for a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The combo, if it is one.
    pub combo: Option<ComboName>,
    /// The combo's strategy.
    pub strategy: Option<Strategy>,
    /// The word for the leg's place.
    pub leg: &'static str,
    /// The word for the choice among its connections.
    pub pick: &'static str,
    /// Wishes were dropped, because nothing met all of them.
    pub relaxed: bool,
}

impl Decision {
    /// Whether the session went where it belongs.
    pub fn is_affine(&self) -> bool {
        self.pick == "affinity" || matches!(self.leg, "affinity" | "session")
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((combo, strategy)) = self.combo.as_ref().zip(self.strategy) {
            write!(f, "combo={combo}; strategy={}; ", strategy.as_str())?;
        }
        write!(f, "leg={}; pick={}", self.leg, self.pick)?;
        if self.relaxed { write!(f, "; relaxed") } else { Ok(()) }
    }
}

/// A connection for one attempt.
#[derive(Debug)]
pub struct Lease {
    /// Comes back when this is dropped.
    pub permit: Permit,
    /// The connection's configuration at this moment, its secret included.
    pub config: Arc<ConnectionConfig>,
    /// Its place in the itinerary.
    pub at: Attempted,
    /// What was tried before.
    pub tried: Tried,
    /// For the next attempt.
    pub itinerary: Arc<Itinerary>,
    /// What was passed over on the way here.
    pub skipped: Skips,
    pub(super) pick: &'static str,
}

impl Lease {
    /// The model to ask for.
    pub const fn model(&self) -> &ModelName {
        self.permit.model()
    }

    /// Where it is asked.
    pub fn target(&self) -> &Arc<UpstreamTarget> {
        self.config.target.for_model(self.model().as_str())
    }

    /// The leg it is on.
    pub fn leg(&self) -> Option<&Leg> {
        self.itinerary.legs.get(self.at.leg)
    }

    /// Why this connection.
    pub fn decision(&self) -> Decision {
        let combo = self.itinerary.combo.as_ref();
        Decision {
            combo: combo.map(|combo| combo.name.clone()),
            strategy: combo.map(|combo| combo.strategy),
            leg: self.leg().map_or("direct", |leg| leg.why),
            pick: self.pick,
            relaxed: self.itinerary.relaxed,
        }
    }

    /// It answered: combos and providers that go by what worked last remember it.
    pub fn answered(&self) {
        let Some(leg) = self.leg() else { return };
        leg.answered(self.itinerary.features.affinity);
        if let Some(member) = leg.target.pool.member(self.at.place) {
            leg.target.pool.state.answered(member.hash);
        }
    }

    /// The question for the next attempt after this one failed, or for one beside it: another connection.
    pub fn next(&self, only: Only) -> Route {
        self.onward(only, self.at.leg)
    }

    /// The same, but for another model: for failures that every connection of this one would meet. The others of this
    /// leg are asked again only when nothing else is left.
    pub fn next_leg(&self, only: Only) -> Route {
        self.onward(only, self.at.leg + 1)
    }

    /// The question for one more attempt at the same place, if the combo allows one: when it does not take the request
    /// any more, the walk goes on from there.
    pub fn again(&self, only: Only) -> Option<Route> {
        let path = self.leg().and_then(|leg| leg.path.as_ref());
        let most = path.map_or(0, |path| path.combo.config.max_retries);
        let done = self.tried.iter().filter(|tried| **tried == self.at).count();
        (done < usize::from(most)).then(|| Route { again: Some(self.at), ..self.onward(only, self.at.leg) })
    }

    fn onward(&self, only: Only, from: usize) -> Route {
        let mut tried = self.tried.clone();
        tried.push(self.at);
        Route {
            model: Arc::from(""),
            features: Arc::clone(&self.itinerary.features),
            itinerary: Some(Arc::clone(&self.itinerary)),
            tried,
            only,
            from,
            again: None,
        }
    }
}
