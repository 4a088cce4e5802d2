//! The fallback loop: lease, attempt, and on to the next candidate until one answers, the attempts are used up
//! or the time is.

use std::time::Duration;

use actix::Addr;
use omniroute_actors::resilience::outcome::{Next, Outcome};
use omniroute_actors::router::{Lease, NoRoute, Route, Router, Skip, SkipReason};
use tokio::time::Instant;

use super::attempt::{Answer, Answered, Means, attempt};
use super::fault::Fault;
use super::inbound::Inbound;
use super::ledger::Place;
use super::retry_class::RetryClass;
use super::tally::{Ended, Tally};
use crate::wire::chat::Dropped;

/// Requests that wait for the same candidate come back over this time at most.
const LONGEST_SPREAD: Duration = Duration::from_millis(250);

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
        skipped: Vec<Skip>,
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

/// Find somebody who answers.
///
/// # Errors
/// Why nobody did.
pub async fn dispatch(
    router: &Addr<Router>,
    means: &Means<'_>,
    inbound: &Inbound,
    tally: &mut Tally,
    waiting: Waiting,
) -> Result<Dispatched, Failed> {
    let mut question = Route::first(&inbound.ask.model, inbound.only.clone());
    let mut waits = waiting.times;
    let mut worst: Option<Fault> = None;
    let mut retries = Retries::of(&inbound.caller.retries, means.config);
    loop {
        let lease = match lease_or_wait(router, question, means, inbound, tally).await {
            Ok(lease) => lease,
            Err(none) => match pause(&none, inbound, waits, waiting.longest) {
                Some(pause) if worst.is_none() => {
                    tokio::time::sleep(pause).await;
                    tally.ledger_mut().waited(pause);
                    waits -= 1;
                    question = Route::first(&inbound.ask.model, inbound.only.clone());
                    continue;
                }
                _ => return Err(give_up(none, worst, tally)),
            },
        };
        let (lease, fault) = match try_one(means, inbound, tally, lease).await {
            Ok(dispatched) => return Ok(dispatched),
            Err(failed) => *failed,
        };
        let stop = ends_here(&fault, means, inbound);
        question = lease.next(inbound.only.clone());
        if lease.permit.is_terminal_probe() {
            retries.forgive();
        }
        drop(lease);
        if stop || retries.tries() >= inbound.max_attempts {
            return Err(Failed::Attempts { fault: more_telling(worst, fault), skipped: Vec::new(), retry_after: None });
        }
        worst = Some(more_telling(worst, fault));
    }
}

/// Whether nobody else is asked after this failure.
fn ends_here(fault: &Fault, means: &Means<'_>, inbound: &Inbound) -> bool {
    let may_cost_twice = fault.class == RetryClass::MaybeAccepted && !means.config.routing.retry_maybe_accepted;
    may_cost_twice || fault.outcome.verdict().next == Next::Stop || inbound.deadlines.is_over(Instant::now())
}

async fn try_one(
    means: &Means<'_>,
    inbound: &Inbound,
    tally: &mut Tally,
    mut lease: Lease,
) -> Result<Dispatched, Box<(Lease, Fault)>> {
    let started = Instant::now();
    let place = tally.attempt(&lease, started);
    let answered = attempt(means, inbound, &lease).await;
    let now = Instant::now();
    match answered {
        Ok(Answered { answer, dropped, sent_after }) => {
            tally.answered(place, now);
            if let Some(after) = sent_after {
                tally.ledger_mut().sent(place, after);
            }
            if matches!(answer, Answer::Whole { .. }) {
                tally.upstream_took(now.duration_since(started));
            }
            Ok(Dispatched { answer, dropped, lease, attempt_started: started, place })
        }
        Err(fault) => {
            tally.upstream_took(now.duration_since(started));
            let Fault { outcome, status, class, .. } = fault;
            tally.attempt_ended(place, Ended { outcome, status, class, at: now });
            lease.permit.settle(fault.settlement(None));
            log_failure(inbound, &lease, &fault);
            Err(Box::new((lease, fault)))
        }
    }
}

async fn ask(router: &Addr<Router>, question: Route) -> Result<Lease, NoRoute> {
    router.send(question).await.unwrap_or(Err(NoRoute::Crashed))
}

/// How long to wait for the first candidate to come back: only when all of them rest and none failed, never
/// beyond the deadline. Those who wait for the same candidate do not come back in the same moment.
fn pause(none: &NoRoute, inbound: &Inbound, waits: u32, longest: Duration) -> Option<Duration> {
    let NoRoute::Exhausted { retry_after: Some(wait), skipped, .. } = none else { return None };
    let resting = skipped.iter().any(|skip| skip.reason.as_str() == "cooling_down");
    let spread = rand::random_range(Duration::ZERO..=(*wait).min(LONGEST_SPREAD));
    let pause = *wait + Duration::from_millis(1) + spread;
    let in_time = Instant::now() + pause < inbound.deadlines.total;
    (waits > 0 && resting && in_time && *wait <= longest).then_some(pause)
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
fn more_telling(earlier: Option<Fault>, later: Fault) -> Fault {
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

fn log_failure(inbound: &Inbound, lease: &Lease, fault: &Fault) {
    tracing::warn!(
        request.id = inbound.id,
        connection.id = %lease.config.id,
        provider = %lease.config.provider,
        model = %lease.model(),
        outcome = fault.outcome.as_str(),
        class = fault.class.as_str(),
        status = fault.status,
        "an attempt failed"
    );
}
