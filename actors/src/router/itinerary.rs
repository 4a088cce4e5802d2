//! The itinerary of one request: the *legs* in the order in which they are tried, made once and then carried from
//! attempt to attempt. A leg is a model at a provider; which of the provider's connections serves it is decided when
//! the leg is walked, so that an itinerary costs the same over ten connections and over ten thousand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::features::RequestFeatures;
use super::filter::{Misfit, Screen};
use super::plan::{Combo, Strategy, Target};
use super::resolve::Resolution;
use super::strategy::Factors;

/// How a leg was come by: the combos that it is nested in, the innermost first.
#[derive(Debug)]
pub(super) struct Path {
    pub combo: Arc<Combo>,
    /// The step of the combo above that leads here, and that combo.
    pub above: Option<(Arc<str>, u64, Arc<Path>)>,
    /// Whether this request has used up a turn of the combo.
    pub took_turn: AtomicBool,
}

/// A model at a provider.
#[derive(Debug, Clone)]
pub struct Leg {
    /// What it leads to.
    pub target: Arc<Target>,
    /// The word for its place.
    pub why: &'static str,
    /// The factors of its score, under `auto`.
    pub factors: Option<Factors>,
    pub(super) step: u64,
    pub(super) path: Option<Arc<Path>>,
}

impl Leg {
    /// The ids of the steps that lead to it, joined: unique in its combo, nested combos included.
    pub fn key(&self) -> String {
        let mut ids = vec![&*self.target.step];
        let mut path = self.path.as_deref();
        while let Some((id, _, above)) = path.and_then(|path| path.above.as_ref()) {
            ids.push(id);
            path = Some(above);
        }
        ids.reverse();
        ids.join(">")
    }

    /// The step of the outermost combo that leads to it; nothing for what stands in no combo.
    fn root(&self) -> Option<u64> {
        let (mut step, mut path) = (self.step, self.path.as_deref()?);
        while let Some((_, above, next)) = &path.above {
            (step, path) = (*above, next);
        }
        Some(step)
    }

    /// Somebody answered here: every combo on the way remembers its step.
    pub(super) fn answered(&self, session: Option<u64>) {
        let (mut step, mut path) = (self.step, self.path.as_deref());
        while let Some(here) = path {
            here.combo.state.answered(step, session);
            (step, path) = match &here.above {
                Some((_, above, next)) => (*above, Some(&**next)),
                None => (step, None),
            };
        }
    }

    /// A connection of it is taken: nested combos that go by turns have had theirs. The turn is used up only here, so
    /// that a combo which is merely passed by, or reached as a fallback, still gives each of its steps its turn.
    pub(super) fn taken(&self) {
        let mut path = self.path.as_deref();
        while let Some(here) = path {
            if here.combo.strategy.takes_turns() && !here.took_turn.swap(true, Ordering::Relaxed) {
                here.combo.state.take_turn();
            }
            path = here.above.as_ref().map(|(_, _, above)| &**above);
        }
    }
}

/// A target that fell out.
#[derive(Debug, Clone)]
pub struct Excluded {
    /// The target.
    pub target: Arc<Target>,
    /// Why.
    pub why: Misfit,
}

/// The legs of a request.
#[derive(Debug)]
pub struct Itinerary {
    /// What the model string means, and how that was found.
    pub resolution: Arc<Resolution>,
    /// The combo, if it is one.
    pub combo: Option<Arc<Combo>>,
    /// In order.
    pub legs: Vec<Leg>,
    /// What fell out before.
    pub excluded: Vec<Excluded>,
    /// The request.
    pub features: Arc<RequestFeatures>,
    /// Nothing met every wish, so that wishes were dropped.
    pub relaxed: bool,
    /// What is left of a quota below which a session leaves a connection.
    pub(super) floor: Option<f32>,
    pub(super) screen: Screen,
    pub(super) seed: u64,
}

impl Itinerary {
    /// The combo's strategy.
    pub fn strategy(&self) -> Option<Strategy> {
        self.combo.as_ref().map(|combo| combo.strategy)
    }

    /// The itinerary in parts, one for each step of the combo in its order: the legs of a part stand in for each other.
    /// What a fallback chain adds is no step.
    pub fn parts(&self) -> Vec<Arc<Self>> {
        let mut parts: Vec<(u64, Vec<Leg>)> = Vec::new();
        for leg in &self.legs {
            let Some(root) = leg.root() else { continue };
            match parts.iter_mut().find(|(known, _)| *known == root) {
                Some((_, legs)) => legs.push(leg.clone()),
                None => parts.push((root, vec![leg.clone()])),
            }
        }
        parts.into_iter().map(|(_, legs)| Arc::new(self.with(legs))).collect()
    }

    /// What a fallback chain adds, for when no part of it has an answer.
    pub fn chain(&self) -> Option<Arc<Self>> {
        let legs: Vec<Leg> = self.legs.iter().filter(|leg| leg.root().is_none()).cloned().collect();
        (!legs.is_empty()).then(|| Arc::new(self.with(legs)))
    }

    fn with(&self, legs: Vec<Leg>) -> Self {
        Self {
            resolution: Arc::clone(&self.resolution),
            combo: self.combo.clone(),
            legs,
            excluded: Vec::new(),
            features: Arc::clone(&self.features),
            relaxed: self.relaxed,
            floor: self.floor,
            screen: self.screen.clone(),
            seed: self.seed,
        }
    }

    /// What the request is expected to cost on a leg, in nano-USD.
    pub fn cost(&self, leg: &Leg) -> Option<u64> {
        leg.target.facts.cost(&self.features, false)
    }
}
