//! One answer of several calls: combos that ask all of their steps.
//!
//! ```text
//! fusion     ┌─ step 1 ─┐
//!   request ─┼─ step 2 ─┼─ answers ─► judge ─► the client's answer
//!            └─ step 3 ─┘             (fails: the best of the answers)
//! pipeline   request ─► step 1 ─ answer ─► step 2 ─ answer ─► step 3 ─► the client's answer
//! ```
//! Each call is a dispatch of its own: with the fallbacks of its step, under the budgets, within the deadlines of the
//! request. All write into one ledger, so that each is billed and shown; the client reads the sum of what was used.
//! Only the last call may use tools and only it is streamed: what leads to it is read whole, by the gateway alone.
//! When the client leaves, everything that runs is dropped with the one future that holds it.

mod panel;
mod prompt;
mod steps;

use std::sync::Arc;

use omniroute_actors::connection::lease::Settlement;
use omniroute_actors::resilience::outcome::{Next, Outcome};
use omniroute_actors::router::features::RequestFeatures;
use omniroute_actors::router::itinerary::Itinerary;
use omniroute_actors::router::plan::Strategy;
use omniroute_actors::router::{Lease, NoRoute, Route};
use tokio::time::Instant;

use super::ask::Made;
use super::attempt::Answer;
use super::dispatch::{Dispatched, Failed, Waiting, dispatch, retries};
use super::fault::Fault;
use super::inbound::Inbound;
use super::ledger::Place;
use super::race::Step;
use super::surroundings::Surroundings;
use super::tally::{Ended, Tally, tokens};
use crate::infra::lateness;
use crate::wire::chat::{self, Request};
use crate::wire::usage::Usage;
use omniroute_actors::router::fallback::RetryClass;

/// A request that goes to an ensemble.
pub struct Ensemble<'a> {
    /// The process.
    pub around: &'a Surroundings,
    /// The client's request.
    pub inbound: &'a Inbound,
    /// Where everything is noted.
    pub tally: &'a mut Tally,
    /// All steps.
    pub itinerary: Arc<Itinerary>,
    /// How a call waits when every candidate rests.
    pub waiting: Waiting,
}

/// What the client gets.
pub enum Ending {
    /// The answer to this request, which was made for it.
    Answered(Box<Inbound>, Box<Dispatched>),
    /// An answer that was read already, because nobody made a better one of it.
    Settled(Box<Read>, Usage),
}

/// A call that was answered and read.
pub struct Read {
    /// What was said.
    pub answer: chat::Answer,
    /// What it used.
    pub usage: Usage,
    /// Its place in the ledger.
    pub place: Place,
    /// Who said it: provider, connection, model and why it was asked.
    pub by: Speaker,
}

/// Who gave an answer.
pub struct Speaker {
    /// The provider.
    pub provider: String,
    /// The connection.
    pub connection: String,
    /// The model.
    pub model: String,
    /// Why it was asked.
    pub decision: String,
}

impl Speaker {
    fn of(lease: &Lease) -> Self {
        Self {
            provider: lease.config.provider.to_string(),
            connection: lease.config.id.to_string(),
            model: lease.model().to_string(),
            decision: lease.decision().to_string(),
        }
    }
}

impl Read {
    /// Its text.
    pub fn text(&self) -> String {
        let parts = self.answer.choices.first().map(|choice| choice.parts.as_slice()).unwrap_or_default();
        parts.iter().filter_map(chat::Part::as_text).collect()
    }
}

impl Ensemble<'_> {
    /// Run it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn run(mut self) -> Result<Ending, Failed> {
        let Some(combo) = self.itinerary.combo.clone() else { return Err(self.nothing_fits()) };
        self.inbound.narrow(Some(&combo));
        self.tally.through(combo.name.as_str());
        let failed = match combo.strategy {
            Strategy::Pipeline => self.pipeline().await,
            _ => self.fusion(&combo).await,
        };
        match failed {
            Err(failed) if !ends_all(&failed) => self.chain().await.unwrap_or(Err(failed)),
            ended => ended,
        }
    }

    /// What an operator named for when the combo has no answer, asked like a single model.
    async fn chain(&mut self) -> Option<Result<Ending, Failed>> {
        let start = Route::along(self.itinerary.chain()?, self.inbound.only.clone());
        let inbound = self.making((*self.request().ok()?).clone(), Made::default());
        let mut tally = self.tally.branch(Some("fallback chain"));
        let dispatched = call(self.around, (&inbound, &mut tally), start, self.waiting).await.ok()?;
        self.tally.join(tally);
        Some(Ok(Ending::Answered(Box::new(inbound), Box::new(dispatched))))
    }

    fn nothing_fits(&self) -> Failed {
        Failed::NoRoute(NoRoute::NothingFits { itinerary: Arc::clone(&self.itinerary) })
    }

    /// The client's request, read.
    fn request(&self) -> Result<Arc<Request>, Fault> {
        let request = self.inbound.ask.neutral().cloned();
        request.map_err(|bad| Fault { status: 400, ..Fault::own(Outcome::ClientFault, bad.message) })
    }

    /// A request on the way to the answer, as it is sent and routed.
    fn making(&self, request: Request, made: Made) -> Inbound {
        let ask = self.inbound.ask.making(request, made);
        let known = &*self.inbound.features;
        let prompt_tokens = Usage::estimate(ask.prompt_chars, 0).prompt_tokens();
        let prompt_tokens = u32::try_from(prompt_tokens).unwrap_or(u32::MAX);
        self.inbound.making(ask, RequestFeatures { prompt_tokens, ..known.clone() })
    }
}

/// One call of a request: its own dispatch, in a branch of the tally.
async fn call(
    around: &Surroundings,
    (inbound, tally): (&Inbound, &mut Tally),
    start: Route,
    waiting: Waiting,
) -> Result<Dispatched, Failed> {
    let means = around.means();
    let retries = retries(&inbound.caller.retries, &around.config);
    let to = Step { router: &around.router, means: &means, inbound, tally, retries };
    dispatch(to, start, waiting).await
}

/// The same for an answer that the gateway reads: it is booked, its slot is free, and it says something.
async fn read(
    around: &Surroundings,
    (inbound, mut tally): (&Inbound, Tally),
    start: Route,
    waiting: Waiting,
) -> Result<Read, Failed> {
    let dispatched = call(around, (inbound, &mut tally), start, waiting).await?;
    conclude(&mut tally, dispatched).map_err(failed)
}

/// An answer that the gateway reads is over: it is booked, its slot is free.
///
/// # Errors
/// It says nothing.
pub fn conclude(tally: &mut Tally, dispatched: Dispatched) -> Result<Read, Fault> {
    let Dispatched { answer: Answer::Read { answer, usage }, mut lease, place, .. } = dispatched else {
        return Err(Fault::own(Outcome::GatewayFault, "an answer was not read"));
    };
    let (used, now) = (tokens(&usage), Instant::now());
    let ended = Ended { outcome: Outcome::Success, status: 200, class: RetryClass::Answered, at: now };
    tally.attempt_ended(place, ended);
    tally.ledger_mut().spent(place, used);
    lease.permit.true_up(used.prompt.saturating_add(used.completion));
    let lost = lateness::lost();
    let first_content = Some(lease.permit.provider_time(now.duration_since(dispatched.attempt_started), lost));
    lease.permit.settle_after(Settlement { first_content, ..Outcome::Success.into() }, lost);
    let read = Read { answer: *answer, usage, place, by: Speaker::of(&lease) };
    if read.text().trim().is_empty() {
        return Err(Fault::own(Outcome::BrokenAnswer, "the answer has no text"));
    }
    Ok(read)
}

/// Nobody else would do better.
fn ends_all(failure: &Failed) -> bool {
    matches!(failure, Failed::Attempts { fault, .. } if fault.outcome.verdict().next == Next::Stop)
}

/// Nothing but this fault.
fn failed(fault: Fault) -> Failed {
    Failed::Attempts { fault, skipped: Default::default(), retry_after: None }
}
