//! The fallback loop: lease, attempt, and on to the next candidate until one answers, the attempts are used up
//! or the time is.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::resilience::retry_budget::{RetryBudget, Terms};
use omniroute_actors::router::fallback::{Ended, Retries};
use omniroute_actors::router::{Lease, NoRoute, Route, Router, SkipReason, Skips};
use tokio::time::Instant;

use super::attempt::Answer;
use super::fault::Fault;
use super::handoff::hand_over;
use super::inbound::Inbound;
use super::ledger::Place;
use super::prefix;
use super::queueing::{Turned, wait_for_turn};
use super::race::{Lost, Onward, Step, step};
use super::tally::Tally;
use crate::config::Config;
use crate::wire::chat::Dropped;

/// Requests that wait for the same candidate come back over this time at most.
const LONGEST_SPREAD: Duration = Duration::from_millis(250);

/// A refusal waits at most this long for the connections to learn of the failures behind it.
const NOTED_WITHIN: Duration = Duration::from_millis(50);

/// One candidate answered.
pub struct Dispatched {
    /// The answer.
    pub answer: Answer,
    /// What of the request did not reach the provider.
    pub dropped: Vec<Dropped>,
    /// The right to the connection, still held.
    pub lease: Lease,
    /// When the answering attempt began.
    pub attempt_started: Instant,
    /// Its place in the ledger.
    pub place: Place,
}

/// Nobody answered.
#[derive(Debug)]
pub enum Failed {
    /// There was no connection to try.
    NoRoute(NoRoute),
    /// The last attempt failed; what its predecessors met is in the tally.
    Attempts {
        /// The failure to show.
        fault: Fault,
        /// Candidates that refused, for the time to come back.
        skipped: Skips,
        /// When the first of them comes back.
        retry_after: Option<Duration>,
    },
}

/// How a request waits when every candidate rests.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// How often.
    pub times: u32,
    /// How long at most each time.
    pub longest: Duration,
}

impl Waiting {
    /// It does not wait.
    pub const NONE: Self = Self { times: 0, longest: Duration::ZERO };
}

/// Find somebody who answers, beginning with this question.
///
/// # Errors
/// Why nobody did.
pub async fn dispatch(mut to: Step<'_, '_>, start: Route, waiting: Waiting) -> Result<Dispatched, Failed> {
    let inbound = to.inbound;
    let mut onward = Onward::Ask(start.clone());
    let mut waits = waiting.times;
    let mut worst: Option<Fault> = None;
    let mut last: Option<Arc<ConnectionHandle>> = None;
    loop {
        let lease = match to.lease(onward).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(next)) => {
                onward = next;
                continue;
            }
            Err(none) => match pause(&none, inbound, waits, waiting.longest) {
                Some(pause) if worst.is_none() => {
                    tokio::time::sleep(pause).await;
                    to.tally.waited(pause);
                    waits -= 1;
                    onward = Onward::Ask(start.clone());
                    continue;
                }
                _ => {
                    note(last).await;
                    return Err(give_up(none, worst, to.tally));
                }
            },
        };
        let combo = lease.itinerary.combo.clone();
        inbound.narrow(combo.as_deref());
        let most = combo.and_then(|combo| combo.config.max_attempts).map_or(inbound.max_attempts, |most| most as usize);
        last = Some(Arc::clone(lease.permit.handle()));
        hand_over(&mut to, &lease).await;
        let Lost { fault, probe, onward: next } = match step(&mut to, lease).await {
            Ok(dispatched) => {
                dispatched.lease.answered();
                return Ok(dispatched);
            }
            Err(lost) => *lost,
        };
        let held = matches!(next, Onward::Go(_));
        let ended = Ended { outcome: fault.outcome, class: fault.class, probe };
        let over = inbound.deadlines().is_over(Instant::now());
        let ends_here = ended.is_final(to.means.config.routing.retry_maybe_accepted, over);
        if ends_here || (!held && to.retries.tries() >= most) {
            let fault = more_telling(worst, fault);
            note(last).await;
            return Err(Failed::Attempts { fault, skipped: Skips::default(), retry_after: None });
        }
        worst = Some(more_telling(worst, fault));
        onward = next;
    }
}

impl Step<'_, '_> {
    /// The lease that comes next, paid for: whoever is free, or whose turn came. `Ok(Err(..))` when the candidate may not
    /// be tried and the next one is to be asked for.
    async fn lease(&mut self, onward: Onward) -> Result<Result<Lease, Onward>, NoRoute> {
        let question = match onward {
            Onward::Go(lease) => return Ok(Ok(*lease)),
            Onward::Ask(question) => question,
            Onward::Later(delay, question) => {
                tokio::time::sleep_until((Instant::now() + delay).min(self.inbound.deadlines().total)).await;
                self.tally.waited(delay);
                question
            }
        };
        let lease = match ask(self.router, question).await {
            Ok(lease) => lease,
            Err(none) => {
                let Turned { lease, waited } = wait_for_turn(none, self.means, self.inbound).await?;
                self.tally.waited(waited);
                lease
            }
        };
        let made = self.inbound.ask.made;
        let fits = !made.is_some_and(|made| made.continues) || prefix::of(lease.target()).is_some();
        if fits && self.retries.allow(lease.permit.handle(), self.means.clock.now()) {
            return Ok(Ok(lease));
        }
        let why = if fits { SkipReason::RetryBudget } else { SkipReason::CannotContinue };
        self.tally.skip(&lease.passed_over(why));
        Ok(Err(Onward::Ask(lease.next(self.inbound.only.clone()))))
    }
}

/// Who reads of a failure and asks again at once meets what it changed.
async fn note(last: Option<Arc<ConnectionHandle>>) {
    if let Some(last) = last {
        last.caught_up(NOTED_WITHIN).await;
    }
}

/// The attempts of a request whose owner has this budget, by what the operator allows of extra ones.
pub fn retries<'a>(own: &'a RetryBudget, config: &Config) -> Retries<'a> {
    let terms =
        Terms { percent: config.routing.retry_budget_percent, floor_per_s: config.routing.retry_budget_floor_per_s };
    Retries::of(own, terms)
}

/// Ask the router.
///
/// # Errors
/// Why there is no connection.
pub async fn ask(router: &Addr<Router>, question: Route) -> Result<Lease, NoRoute> {
    router.send(question).await.unwrap_or(Err(NoRoute::Crashed))
}

/// How long to wait for the first candidate to come back: only when all of them rest and none failed, never
/// beyond the deadline. Those who wait for the same candidate do not come back in the same moment.
fn pause(none: &NoRoute, inbound: &Inbound, waits: u32, longest: Duration) -> Option<Duration> {
    let NoRoute::Exhausted { retry_after: Some(wait), skipped, .. } = none else { return None };
    let resting = skipped.reasons().any(|reason| reason.as_str() == "cooling_down");
    if waits == 0 || !resting || *wait > longest {
        return None;
    }
    let spread = rand::random_range(Duration::ZERO..=(*wait).min(LONGEST_SPREAD));
    let pause = *wait + Duration::from_millis(1) + spread;
    (Instant::now() + pause < inbound.deadlines().total).then_some(pause)
}

fn give_up(none: NoRoute, worst: Option<Fault>, tally: &mut Tally) -> Failed {
    match (none, worst) {
        (NoRoute::Exhausted { skipped, retry_after, .. }, Some(fault)) => {
            tally.skip(&skipped);
            Failed::Attempts { fault, skipped, retry_after }
        }
        (none, _) => {
            if let NoRoute::Exhausted { skipped, .. } = &none {
                tally.skip(skipped);
            }
            Failed::NoRoute(none)
        }
    }
}

/// Of two failures the one that tells a client more: about its request before about a limit, about a limit
/// before about a broken upstream; of equals the later one.
pub fn more_telling(earlier: Option<Fault>, later: Fault) -> Fault {
    let rank = |outcome: Outcome| match outcome {
        Outcome::ClientFault => 4,
        Outcome::ContextTooLong | Outcome::Untranslatable => 3,
        Outcome::ModelFault => 2,
        Outcome::RateLimited | Outcome::QuotaExhausted => 1,
        _ => 0,
    };
    match earlier {
        Some(earlier) if rank(earlier.outcome) > rank(later.outcome) => earlier,
        _ => later,
    }
}
