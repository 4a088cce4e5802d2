//! The router: one replica per worker. It turns "this model, please" into a [`Lease`] on a connection, or
//! into the reasons why there is none.
//!
//! A replica owns nothing but its random numbers and what it worked out lately: the plan is published, the connections are reached through
//! their handles. So a message to it costs half a microsecond and replicas never disagree.
//!
//! The way of a request: [`resolve`] (what the model string means), [`filter`] (what can serve it, and may),
//! [`strategy`] (in which order), an [`Itinerary`] of legs; then, leg by leg and lazily, a connection.

mod affinity;
pub mod config;
mod draw;
pub mod explain;
pub mod facts;
pub mod fallback;
pub mod features;
pub mod filter;
pub mod glob;
mod hash;
pub mod itinerary;
mod lately;
pub mod lease;
mod members;
mod pick;
pub mod plan;
pub mod policy;
pub mod resolve;
mod sample;
mod scan;
pub mod skip;
pub mod strategy;
#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests;
mod waited;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, MessageResult, Supervised};
use arc_swap::ArcSwap;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::draw::{Question, draw};
pub use self::explain::{Explanation, explain};
use self::features::RequestFeatures;
use self::itinerary::{Itinerary, Leg};
use self::lately::Lately;
pub use self::lease::{Attempted, Decision, Lease, Only, Tried};
use self::pick::{Picked, Walk};
use self::plan::{ReadyPlan, Strategy};
use self::resolve::Unresolved;
pub use self::skip::{Skip, SkipReason, Skips};
use crate::clock::Clock;
use crate::connection::report;
use crate::guard::{Rebuild, guarded};

/// The plan, published for all replicas.
pub type PublishedPlan = Arc<ArcSwap<ReadyPlan>>;

/// The router replica of one worker.
pub struct Router {
    plan: PublishedPlan,
    clock: Arc<dyn Clock>,
    rng: SmallRng,
    lately: Lately,
}

impl Router {
    /// A replica.
    pub fn new(plan: PublishedPlan, clock: Arc<dyn Clock>) -> Self {
        Self { plan, clock, rng: SmallRng::from_rng(&mut rand::rng()), lately: Lately::default() }
    }

    /// A replica whose choices repeat.
    pub fn seeded(plan: PublishedPlan, clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { plan, clock, rng: SmallRng::seed_from_u64(seed), lately: Lately::default() }
    }

    /// Answer a question without a message: for whoever drives the router in one thread with everything else.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn route(&mut self, ask: Route) -> Result<Lease, NoRoute> {
        let itinerary = match &ask.itinerary {
            Some(itinerary) => Arc::clone(itinerary),
            None => self.draw(&ask)?,
        };
        if ask.itinerary.is_none() && itinerary.strategy().is_some_and(Strategy::runs_all) {
            return Err(NoRoute::Ensemble { itinerary });
        }
        self.walk(itinerary, ask)
    }

    fn draw(&mut self, ask: &Route) -> Result<Arc<Itinerary>, NoRoute> {
        let plan = self.plan.load();
        let meaning = self.lately.meaning(&plan, &ask.model).map_err(NoRoute::Unresolved)?;
        let (features, now) = (&ask.features, self.clock.now());
        let question = Question { plan: &plan, asked: &ask.model, features, now, dry: false };
        let itinerary = Arc::new(draw(&question, meaning, &mut self.rng));
        if itinerary.legs.is_empty() && !itinerary.excluded.is_empty() {
            return Err(NoRoute::NothingFits { itinerary });
        }
        Ok(itinerary)
    }

    /// Leg by leg from where the attempt before was; then those before it, which may serve again.
    fn walk(&self, itinerary: Arc<Itinerary>, ask: Route) -> Result<Lease, NoRoute> {
        let (mut skips, now) = (Skips::default(), self.clock.now());
        let mut walk = Walk {
            itinerary: &itinerary,
            tried: &ask.tried,
            only: &ask.only,
            clock: &self.clock,
            now,
            skips: &mut skips,
        };
        let from = ask.from.min(itinerary.legs.len());
        let again = ask.again.and_then(|place| walk.again(place));
        let found = again.or_else(|| {
            let legs = itinerary.legs.iter().enumerate();
            let mut legs = legs.clone().skip(from).chain(legs.take(from));
            legs.find_map(|(index, leg)| Some((index, walk.leg(index, leg)?)))
        });
        match found {
            Some((index, picked)) => Ok(lease(itinerary, ask.tried, skips, (index, picked))),
            None => {
                let retry_after = skips.earliest().map(|at| at.until(now));
                Err(NoRoute::Exhausted { itinerary, tried: ask.tried, skipped: skips, retry_after })
            }
        }
    }
}

fn lease(itinerary: Arc<Itinerary>, tried: Tried, skipped: Skips, (index, picked): (usize, Picked)) -> Lease {
    let Picked { permit, place, why } = picked;
    itinerary.legs.get(index).into_iter().for_each(Leg::taken);
    let config = permit.handle().config();
    Lease { permit, config, at: Attempted { leg: index, place }, tried, itinerary, skipped, pick: why }
}

/// There is no connection for this request now.
#[derive(Debug)]
pub enum NoRoute {
    /// The model string means nothing.
    Unresolved(Unresolved),
    /// No candidate can serve this request, or may.
    NothingFits {
        /// What fell out, and why.
        itinerary: Arc<Itinerary>,
    },
    /// Every candidate was tried or refused.
    Exhausted {
        /// What there was.
        itinerary: Arc<Itinerary>,
        /// What was tried.
        tried: Tried,
        /// What refused, and why.
        skipped: Skips,
        /// When the first one comes back.
        retry_after: Option<Duration>,
    },
    /// The combo asks more than one of its steps: whoever asks walks the [parts](Itinerary::parts) of the itinerary.
    Ensemble {
        /// All of its steps.
        itinerary: Arc<Itinerary>,
    },
    /// The router failed on this request.
    Crashed,
}

/// Find a connection for this model.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Lease, NoRoute>")]
pub struct Route {
    /// As the client wrote it.
    pub model: Arc<str>,
    /// What is known about the request.
    pub features: Arc<RequestFeatures>,
    /// From the attempt before; then `model` and `features` are not looked at.
    pub itinerary: Option<Arc<Itinerary>>,
    /// What was tried.
    pub tried: Tried,
    /// Which connections may be used.
    pub only: Only,
    /// The leg to begin with.
    pub from: usize,
    /// The place to try once more before anything else.
    pub again: Option<Attempted>,
}

impl Route {
    /// The first question of a request of which nothing is known but its model.
    pub fn first(model: &str, only: Only) -> Self {
        Self::of(model, Arc::default(), only)
    }

    /// The first question of a request.
    pub fn of(model: &str, features: Arc<RequestFeatures>, only: Only) -> Self {
        let model = Arc::from(model);
        Self { model, features, itinerary: None, tried: Tried::new(), only, from: 0, again: None }
    }

    /// The first question of a call along an itinerary that is drawn already.
    pub fn along(itinerary: Arc<Itinerary>, only: Only) -> Self {
        let features = Arc::clone(&itinerary.features);
        Self { itinerary: Some(itinerary), ..Self::of("", features, only) }
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
        self.lately = Lately::default();
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

/// What would happen to a request, without taking anything.
#[derive(Debug, Message)]
#[rtype(result = "Result<Explanation, Unresolved>")]
pub struct Explain {
    /// As the client would write it.
    pub model: Arc<str>,
    /// What is known about the request.
    pub features: Arc<RequestFeatures>,
    /// Which connections may be used.
    pub only: Only,
}

impl Handler<Explain> for Router {
    type Result = MessageResult<Explain>;

    fn handle(&mut self, ask: Explain, ctx: &mut Self::Context) -> Self::Result {
        let explained = guarded(self, ctx, "Explain", |router| {
            explain(&router.plan.load(), &ask.model, &ask.features, &ask.only, router.clock.now())
        });
        MessageResult(explained.unwrap_or(Err(Unresolved::Unknown)))
    }
}
