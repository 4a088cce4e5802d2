//! What would happen to a request: the way from its model string to each connection, with the reasons, without taking
//! anything, using up a turn or exploring.

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::affinity::Order;
use super::config::Ensemble;
use super::draw::{Question, draw};
use super::features::RequestFeatures;
use super::filter::Misfit;
use super::itinerary::{Itinerary, Leg};
use super::lately::Meaning;
use super::lease::Only;
use super::members::{Members, comparison, score, usable, within};
use super::plan::pool::Group;
use super::plan::{AccountStrategy, ReadyPlan, Strategy, Target};
use super::resolve::Unresolved;
use super::scan::Scan;
use super::skip::SkipReason;
use super::strategy::Factors;
use crate::clock::Moment;
use crate::connection::handle::ConnectionHandle;
use crate::ids::{ComboName, ModelName, ProviderId};
use std::sync::Arc;

/// Connections of a leg that are shown; the others are counted.
pub const MOST_SHOWN: usize = 50;

/// One connection of a leg.
#[derive(Debug, Clone)]
pub struct ExplainedConnection {
    /// The connection.
    pub connection: Arc<ConnectionHandle>,
    /// Why it would be passed over; `None` = it would serve.
    pub skipped: Option<SkipReason>,
    /// When that may be different.
    pub retry_at: Option<Moment>,
    /// What another request would cost there: latency times queue, in milliseconds.
    pub load: f64,
}

/// One leg.
#[derive(Debug, Clone)]
pub struct ExplainedLeg {
    /// The ids of the steps that lead to it, joined.
    pub key: String,
    /// The provider.
    pub provider: ProviderId,
    /// The model as the provider calls it.
    pub model: ModelName,
    /// The word for its place.
    pub why: &'static str,
    /// How its connections are chosen.
    pub pick: &'static str,
    /// What the request is expected to cost there, in nano-USD.
    pub cost: Option<u64>,
    /// Tokens that prompt and answer may have together there, if that is known.
    pub window: Option<u32>,
    /// The factors of its score, under `auto`.
    pub factors: Option<Factors>,
    /// Its connections, the first choice first.
    pub connections: Vec<ExplainedConnection>,
    /// How many more there are.
    pub more: usize,
}

/// A target that fell out.
#[derive(Debug, Clone)]
pub struct ExplainedExclusion {
    /// The step's id.
    pub step: Arc<str>,
    /// The provider.
    pub provider: ProviderId,
    /// The model.
    pub model: ModelName,
    /// Why.
    pub why: Misfit,
}

/// The explanation.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// How the model string was resolved.
    pub path: Vec<String>,
    /// The combo, if it is one.
    pub combo: Option<ComboName>,
    /// Its strategy.
    pub strategy: Option<Strategy>,
    /// How the calls are put together, where one request asks all steps.
    pub ensemble: Option<Ensemble>,
    /// Wishes were dropped, because nothing met all of them.
    pub relaxed: bool,
    /// In order.
    pub legs: Vec<ExplainedLeg>,
    /// What fell out before.
    pub excluded: Vec<ExplainedExclusion>,
}

impl Explanation {
    /// The connection that would serve, and its leg.
    pub fn would_serve(&self) -> Option<(&ExplainedLeg, &ExplainedConnection)> {
        self.legs.iter().find_map(|leg| Some((leg, leg.connections.iter().find(|one| one.skipped.is_none())?)))
    }
}

/// Explain a request. Chance has a seed of its own, so that two explanations of the same state are the same.
///
/// # Errors
/// Why the model string means nothing.
pub fn explain(
    plan: &ReadyPlan,
    model: &str,
    features: &Arc<RequestFeatures>,
    only: &Only,
    now: Moment,
) -> Result<Explanation, Unresolved> {
    let meaning = Meaning::of(plan, model)?;
    let question = Question { plan, asked: model, features, now, dry: true };
    let itinerary = draw(&question, meaning, &mut SmallRng::seed_from_u64(0));
    let look = Look { itinerary: &itinerary, only, now };
    Ok(Explanation {
        path: itinerary.resolution.steps(),
        combo: itinerary.combo.as_ref().map(|combo| combo.name.clone()),
        strategy: itinerary.strategy(),
        ensemble: itinerary.combo.as_ref().filter(|combo| combo.strategy.runs_all()).map(|c| c.config.ensemble.clone()),
        relaxed: itinerary.relaxed,
        legs: itinerary.legs.iter().map(|leg| look.leg(leg)).collect(),
        excluded: itinerary.excluded.iter().map(|out| excluded(&out.target, &out.why)).collect(),
    })
}

fn excluded(target: &Target, why: &Misfit) -> ExplainedExclusion {
    ExplainedExclusion {
        step: Arc::clone(&target.step),
        provider: target.provider().clone(),
        model: target.model.clone(),
        why: why.clone(),
    }
}

struct Look<'a> {
    itinerary: &'a Itinerary,
    only: &'a Only,
    now: Moment,
}

impl Look<'_> {
    fn leg(&self, leg: &Leg) -> ExplainedLeg {
        let pool = &leg.target.pool;
        let usable = usable(leg, self.only);
        let total = usable.as_ref().map_or(pool.members.len(), |places| places.len());
        let mut connections = Vec::new();
        for group in &pool.groups {
            let members = match &usable {
                None => Members::All(group.range()),
                Some(places) => Members::Some(within(places, group.range())),
            };
            let places = self.places(leg, group, &members, MOST_SHOWN.saturating_sub(connections.len()));
            connections.extend(places.into_iter().filter_map(|place| self.connection(leg, place)));
        }
        let affine = self.session(leg).is_some() && total > 1;
        ExplainedLeg {
            key: leg.key(),
            provider: leg.target.provider().clone(),
            model: leg.target.model.clone(),
            why: leg.why,
            pick: if affine { "affinity" } else { comparison(pool.accounts).1 },
            cost: self.itinerary.cost(leg),
            window: leg.target.facts.context,
            factors: leg.factors,
            more: total.saturating_sub(connections.len()),
            connections,
        }
    }

    fn session(&self, leg: &Leg) -> Option<u64> {
        self.itinerary.features.affinity.filter(|_| leg.target.pool.accounts.allows_affinity())
    }

    /// In the order in which they would be looked at; where the best of several is chosen, the best first.
    fn places(&self, leg: &Leg, group: &Group, members: &Members<'_>, most: usize) -> Vec<usize> {
        let pool = &leg.target.pool;
        let n = members.len();
        let scan = match pool.accounts {
            AccountStrategy::RoundRobin => Scan::from(pool.state.turn() / u64::from(pool.sticky_limit), n),
            AccountStrategy::StrictRandom => Scan::deck(pool.state.turn(), n),
            AccountStrategy::Random => Scan::shuffled(0, n),
            _ => Scan::from(0, n),
        };
        let mut places: Vec<usize> = scan.take(most).filter_map(|index| members.at(index)).collect();
        if comparison(pool.accounts).0 > 1 {
            let value =
                |place: &usize| pool.member(*place).map_or(f64::MAX, |member| score(pool.accounts, member, self.now));
            places.sort_by(|a, b| value(a).total_cmp(&value(b)));
        }
        if let Some(session) = self.session(leg) {
            let mut own: Vec<usize> = Order::new(session, pool, group, members).take(most).collect();
            places.retain(|place| !own.contains(place));
            own.append(&mut places);
            places = own;
        }
        places.truncate(most);
        places
    }

    fn connection(&self, leg: &Leg, place: usize) -> Option<ExplainedConnection> {
        let member = leg.target.pool.member(place)?;
        let handle = &member.handle;
        let (skipped, retry_at) = match self.itinerary.screen.admits(&leg.target, member) {
            Err(misfit) => (Some(SkipReason::from(&misfit)), None),
            Ok(()) => match handle.look(leg.target.model.as_str(), self.now) {
                Ok(()) => (None, None),
                Err(refused) => (Some(SkipReason::Refused(refused.why)), refused.retry_at),
            },
        };
        let load = handle.latency().cost(handle.in_flight(), self.now);
        Some(ExplainedConnection { connection: Arc::clone(handle), skipped, retry_at, load })
    }
}
