//! The fallback loop: lease, attempt, and on to the next candidate until one answers, the attempts are used up
//! or the time is.

use std::time::Duration;

use actix::Addr;
use omniroute_actors::resilience::outcome::{Next, Outcome};
use omniroute_actors::router::{Lease, NoRoute, Route, Router, Skips};
use tokio::time::Instant;

use super::attempt::{Answer, Answered, Means, attempt};
use super::fault::Fault;
use super::inbound::Inbound;
use super::tally::Tally;
use crate::wire::chat::Dropped;

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
    loop {
        let lease = match ask(router, question).await {
            Ok(lease) => lease,
            Err(none) => match pause(&none, inbound, waits, waiting.longest) {
                Some(pause) if worst.is_none() => {
                    tokio::time::sleep(pause).await;
                    waits -= 1;
                    question = Route::first(&inbound.ask.model, inbound.only.clone());
                    continue;
                }
                _ => return Err(give_up(none, worst, tally)),
            },
        };
        let (tried, started) = try_one(means, inbound, tally, lease).await;
        let (lease, fault) = match tried {
            Ok((Answered { answer, dropped }, lease)) => {
                lease.answered();
                return Ok(Dispatched { answer, dropped, lease, attempt_started: started });
            }
            Err(failed) => failed,
        };
        let stop = fault.outcome.verdict().next == Next::Stop || inbound.deadlines.is_over(Instant::now());
        question = lease.next(inbound.only.clone());
        drop(lease);
        if stop || tally.attempts() >= inbound.max_attempts {
            return Err(Failed::Attempts {
                fault: more_telling(worst, fault),
                skipped: Skips::default(),
                retry_after: None,
            });
        }
        worst = Some(more_telling(worst, fault));
    }
}

type Tried = Result<(Answered, Lease), (Lease, Fault)>;

async fn try_one(means: &Means<'_>, inbound: &Inbound, tally: &mut Tally, mut lease: Lease) -> (Tried, Instant) {
    let started = Instant::now();
    tally.attempt(&lease, started);
    let answered = attempt(means, inbound, &lease).await;
    let now = Instant::now();
    let tried = match answered {
        Ok(answer) => {
            tally.first_content(now);
            if matches!(answer.answer, Answer::Whole { .. }) {
                tally.upstream_took(now.duration_since(started));
            }
            Ok((answer, lease))
        }
        Err(fault) => {
            tally.upstream_took(now.duration_since(started));
            tally.attempt_ended(fault.outcome, fault.status, now);
            lease.permit.settle(fault.settlement(None));
            log_failure(inbound, &lease, &fault);
            Err((lease, fault))
        }
    };
    (tried, started)
}

async fn ask(router: &Addr<Router>, question: Route) -> Result<Lease, NoRoute> {
    router.send(question).await.unwrap_or(Err(NoRoute::Crashed))
}

/// How long to wait for the first candidate to come back: only when all of them rest and none failed, never
/// beyond the deadline.
fn pause(none: &NoRoute, inbound: &Inbound, waits: u32, longest: Duration) -> Option<Duration> {
    let NoRoute::Exhausted { retry_after: Some(wait), skipped, .. } = none else { return None };
    let resting = skipped.reasons().any(|reason| reason.as_str() == "cooling_down");
    let in_time = Instant::now() + *wait < inbound.deadlines.total;
    (waits > 0 && resting && in_time && *wait <= longest).then_some(*wait + Duration::from_millis(1))
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
        status = fault.status,
        "an attempt failed"
    );
}
