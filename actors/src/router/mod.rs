//! The router: one replica per worker. It turns "this model, please" into a [`Lease`] on a connection, or
//! into the reasons why there is none.
//!
//! A replica owns nothing but its random numbers: the plan is published, the connections are reached through
//! their handles. So a message to it costs half a microsecond and replicas never disagree.

pub mod config;
pub mod facts;
pub mod features;
pub mod glob;
mod hash;
pub mod itinerary;
pub mod plan;
pub mod policy;
pub mod resolve;
pub mod strategy;
#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests;
mod waited;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, MessageResult, Supervised};
use arc_swap::ArcSwap;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use smallvec::SmallVec;

use self::itinerary::{Candidate, Itinerary};
use self::plan::ReadyPlan;
use self::resolve::Unresolved;
use crate::clock::{Clock, Moment};
use crate::connection::config::ConnectionConfig;
use crate::connection::handle::{Refusal, Refused};
use crate::connection::lease::Permit;
use crate::connection::report;
use crate::guard::{Rebuild, guarded};
use crate::ids::{ConnectionId, ModelName};

/// The plan, published for all replicas.
pub type PublishedPlan = Arc<ArcSwap<ReadyPlan>>;

/// The router replica of one worker.
pub struct Router {
    plan: PublishedPlan,
    clock: Arc<dyn Clock>,
    rng: SmallRng,
}

impl Router {
    /// A replica.
    pub fn new(plan: PublishedPlan, clock: Arc<dyn Clock>) -> Self {
        Self { plan, clock, rng: SmallRng::from_rng(&mut rand::rng()) }
    }

    /// A replica whose choices repeat.
    pub fn seeded(plan: PublishedPlan, clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { plan, clock, rng: SmallRng::seed_from_u64(seed) }
    }

    fn route(&mut self, ask: Route) -> Result<Lease, NoRoute> {
        let itinerary = match ask.itinerary {
            Some(itinerary) => itinerary,
            None => self.draw(&ask.model)?,
        };
        self.walk(itinerary, ask.tried, &ask.only)
    }

    fn draw(&mut self, model: &str) -> Result<Arc<Itinerary>, NoRoute> {
        let plan = self.plan.load();
        let resolved = plan.resolve(model).map_err(NoRoute::Unresolved)?;
        Ok(Arc::new(Itinerary::draw(&plan, &resolved.resolved, &mut self.rng)))
    }

    fn walk(&self, itinerary: Arc<Itinerary>, tried: Tried, only: &Only) -> Result<Lease, NoRoute> {
        let mut skipped = Vec::new();
        for (index, candidate) in itinerary.candidates.iter().enumerate() {
            if tried.contains(&index) {
                continue;
            }
            match self.take(candidate, only) {
                Ok(permit) => {
                    let config = candidate.connection.config();
                    return Ok(Lease { permit, config, index, tried, itinerary: Arc::clone(&itinerary), skipped });
                }
                Err(why) => skipped.push(Skip::new(candidate, why)),
            }
        }
        let now = self.clock.now();
        let retry_after = skipped.iter().filter_map(|skip| skip.retry_at).min().map(|at| at.until(now));
        Err(NoRoute::Exhausted { itinerary, tried, skipped, retry_after })
    }

    fn take(&self, candidate: &Candidate, only: &Only) -> Result<Permit, Result<Refused, SkipReason>> {
        if !only.allows(candidate.connection.id()) {
            return Err(Err(SkipReason::NotAllowed));
        }
        candidate.connection.acquire(&candidate.model, &self.clock).map_err(Ok)
    }
}

/// The candidates, by index, that this request has tried.
pub type Tried = SmallVec<[usize; 6]>;

/// Restricts a request to some connections.
#[derive(Debug, Clone, Default)]
pub struct Only {
    /// The caller's key allows these; `None` = all.
    pub allowed: Option<Arc<HashSet<ConnectionId>>>,
    /// The caller asks for this one.
    pub forced: Option<ConnectionId>,
}

impl Only {
    fn allows(&self, id: &ConnectionId) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(id))
            && self.forced.as_ref().is_none_or(|forced| forced == id)
    }
}

/// Why a candidate was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// The connection refused.
    Refused(Refusal),
    /// The caller may not use it.
    NotAllowed,
    /// No extra attempt is left for its provider or the caller.
    RetryBudget,
}

impl SkipReason {
    /// The word for headers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.as_str(),
            Self::NotAllowed => "not_allowed",
            Self::RetryBudget => "retry_budget",
        }
    }
}

/// A candidate that was passed over.
#[derive(Debug, Clone)]
pub struct Skip {
    /// Which.
    pub candidate: Candidate,
    /// Why.
    pub reason: SkipReason,
    /// When it may be different.
    pub retry_at: Option<Moment>,
}

impl Skip {
    fn new(candidate: &Candidate, why: Result<Refused, SkipReason>) -> Self {
        let (reason, retry_at) = match why {
            Ok(refused) => (SkipReason::Refused(refused.why), refused.retry_at),
            Err(reason) => (reason, None),
        };
        Self { candidate: candidate.clone(), reason, retry_at }
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
    pub index: usize,
    /// What was tried before.
    pub tried: Tried,
    /// For the next attempt.
    pub itinerary: Arc<Itinerary>,
    /// What was passed over on the way here.
    pub skipped: Vec<Skip>,
}

impl Lease {
    /// The model to ask for.
    pub const fn model(&self) -> &ModelName {
        self.permit.model()
    }

    /// This candidate, passed over although it was leased.
    pub fn passed_over(&self, reason: SkipReason) -> Skip {
        let candidate = Candidate { connection: Arc::clone(self.permit.handle()), model: self.model().clone() };
        Skip { candidate, reason, retry_at: None }
    }

    /// The question for the next attempt after this one failed.
    pub fn next(&self, only: Only) -> Route {
        let mut tried = self.tried.clone();
        tried.push(self.index);
        Route { model: Arc::from(""), itinerary: Some(Arc::clone(&self.itinerary)), tried, only }
    }
}

/// There is no connection for this request now.
#[derive(Debug)]
pub enum NoRoute {
    /// The model string means nothing.
    Unresolved(Unresolved),
    /// Every candidate was tried or refused.
    Exhausted {
        /// What there was.
        itinerary: Arc<Itinerary>,
        /// What was tried.
        tried: Tried,
        /// What refused, and why.
        skipped: Vec<Skip>,
        /// When the first one comes back.
        retry_after: Option<Duration>,
    },
    /// The router failed on this request.
    Crashed,
}

/// Find a connection for this model.
#[derive(Debug, Message)]
#[rtype(result = "Result<Lease, NoRoute>")]
pub struct Route {
    /// As the client wrote it.
    pub model: Arc<str>,
    /// From the attempt before; then `model` is not looked at.
    pub itinerary: Option<Arc<Itinerary>>,
    /// What was tried.
    pub tried: Tried,
    /// Which connections may be used.
    pub only: Only,
}

impl Route {
    /// The first question of a request.
    pub fn first(model: &str, only: Only) -> Self {
        Self { model: Arc::from(model), itinerary: None, tried: Tried::new(), only }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(0);
        report::start_flusher();
    }
}

impl Supervised for Router {}

impl Rebuild for Router {
    fn rebuild(&mut self) {
        self.rng = SmallRng::from_rng(&mut rand::rng());
    }

    fn label(&self) -> String {
        "router".into()
    }
}

impl Handler<Route> for Router {
    type Result = MessageResult<Route>;

    fn handle(&mut self, ask: Route, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(guarded(self, ctx, "Route", |router| router.route(ask)).unwrap_or(Err(NoRoute::Crashed)))
    }
}

/// What would happen to a request for this model: the order, and who refuses, without taking anything.
#[derive(Debug, Message)]
#[rtype(result = "Result<Explanation, Unresolved>")]
pub struct Explain {
    /// As the client would write it.
    pub model: Arc<str>,
}

/// The candidates in order; `None` = would be taken.
#[derive(Debug)]
pub struct Explanation {
    /// The order.
    pub itinerary: Arc<Itinerary>,
    /// For each candidate, what keeps it.
    pub refusals: Vec<Option<Refused>>,
}

impl Handler<Explain> for Router {
    type Result = MessageResult<Explain>;

    fn handle(&mut self, ask: Explain, ctx: &mut Self::Context) -> Self::Result {
        let explained = guarded(self, ctx, "Explain", |router| {
            let plan = router.plan.load();
            let resolved = plan.resolve(&ask.model)?;
            Ok(explain(&plan, &resolved.resolved, router.clock.now()))
        });
        MessageResult(explained.unwrap_or(Err(Unresolved::Unknown)))
    }
}

/// Explain a resolved model. The order is drawn as for a request, with a seed of its own: round-robin turns
/// are not used up.
pub fn explain(plan: &ReadyPlan, resolved: &resolve::Resolved, now: Moment) -> Explanation {
    let itinerary = Arc::new(Itinerary::draw(plan, resolved, &mut SmallRng::seed_from_u64(0)));
    let look = |candidate: &Candidate| candidate.connection.look(candidate.model.as_str(), now).err();
    Explanation { refusals: itinerary.candidates.iter().map(look).collect(), itinerary }
}
