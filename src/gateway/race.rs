//! One step of the fallback loop: an attempt and, where it is slow, another one in its place or beside it.
//!
//! Beside it ([`Then::Beside`]): the first content wins, the other attempt is dropped, which cancels its upstream; its
//! permit comes back without a verdict, because being slower is no failure. In its place ([`Then::Instead`]): the slow
//! attempt counts as one that ran out of time. In both cases nothing is given up before somebody else is there to try.

use std::pin::Pin;
use std::time::Duration;

use actix::Addr;
use futures_util::future::{Either, select};
use omniroute_actors::resilience::outcome::{Next, Outcome};
use omniroute_actors::router::fallback::{self, Retries, RetryClass, Way};
use omniroute_actors::router::{Lease, Route, Router};
use tokio::time::Instant;

use super::attempt::{Answer, Answered, Means, attempt};
use super::dispatch::{Dispatched, ask, more_telling};
use super::fault::Fault;
use super::inbound::Inbound;
use super::ledger::{HEDGE_LOST, Place};
use super::patience::{Patience, Then};
use super::tally::{Ended, Tally};
use crate::infra::lateness::{self, Deadline, Late};

/// What the steps of one request share.
pub struct Step<'a, 't> {
    /// The router.
    pub router: &'a Addr<Router>,
    /// What attempts share.
    pub means: &'a Means<'a>,
    /// The request.
    pub inbound: &'a Inbound,
    /// Its tally.
    pub tally: &'t mut Tally,
    /// The extra attempts that it may cause.
    pub retries: Retries<'a>,
}

/// Where it goes on after a failure.
pub enum Onward {
    /// Ask for the next candidate.
    Ask(Route),
    /// Ask for the same one, a little later.
    Later(Duration, Route),
    /// This one, which is paid for.
    Go(Box<Lease>),
}

/// A step that failed.
pub struct Lost {
    /// The failure that tells most.
    pub fault: Fault,
    /// The attempt tried a connection that is out of service.
    pub probe: bool,
    /// Where it goes on.
    pub onward: Onward,
}

type Outcomes = Result<Dispatched, Box<Lost>>;
type Running<'r> = Pin<Box<dyn Future<Output = Result<Answered, Fault>> + 'r>>;

/// An attempt as the ledger knows it.
#[derive(Clone, Copy)]
struct Entry {
    place: Place,
    started: Instant,
}

/// Try this candidate. No `async fn`, which would hold the lease twice.
///
/// # Errors
/// How it failed, and where to go on.
pub fn step(to: &mut Step<'_, '_>, mut lease: Lease) -> impl Future<Output = Outcomes> {
    let entry = to.begin(&mut lease);
    let (means, inbound) = (to.means, to.inbound);
    async move {
        let Some(patience) = Patience::with(&lease, means, inbound, entry.started) else {
            let answered = attempt(means, inbound, &mut lease).await;
            return to.end(entry, lease, answered);
        };
        let onward = lease.next(inbound.only.clone());
        let mut running: Running<'_> = Box::pin(attempt(means, inbound, &mut lease));
        let patient = Deadline::new(patience.until, inbound.deadlines().total);
        let early = match patient.wait_for(&mut running).await {
            Ok(answered) => Some(answered),
            // Who is held up does not ask for more.
            Err(Late::Ours) => Some((&mut running).await),
            Err(Late::Theirs) => None,
        };
        if let Some(answered) = early {
            drop(running);
            return to.end(entry, lease, answered);
        }
        let Some(mut other) = to.another(onward, patience.then).await else {
            let answered = running.await;
            return to.end(entry, lease, answered);
        };
        if patience.then == Then::Instead {
            drop(running);
            let fault = Fault::own(Outcome::FirstContentTimeout, "the provider is much slower than it usually is");
            let fault = fault.after_sending(RetryClass::MaybeAccepted);
            to.fail(entry, &mut lease, &fault, Instant::now());
            return Err(Box::new(Lost { fault, probe: false, onward: Onward::Go(Box::new(other)) }));
        }
        let beside = to.begin(&mut other);
        [entry, beside].into_iter().for_each(|entry| to.tally.ledger_mut().hedged(entry.place));
        let (first, second) = race(running, Box::pin(attempt(means, inbound, &mut other))).await;
        to.decide(Racer { entry, lease, done: first }, Racer { entry: beside, lease: other, done: second })
    }
}

/// An attempt that ended, and when.
struct Done {
    at: Instant,
    answered: Result<Answered, Fault>,
}

/// One of two attempts; nothing is done where the other one decided.
struct Racer {
    entry: Entry,
    lease: Lease,
    done: Option<Done>,
}

/// Both run until one has content, or fails so that the other would fail, too.
async fn race(first: Running<'_>, second: Running<'_>) -> (Option<Done>, Option<Done>) {
    let decides = |answered: &Result<Answered, Fault>| match answered {
        Ok(_) => true,
        Err(fault) => fault.outcome.verdict().next == Next::Stop,
    };
    let done = |answered| Some(Done { at: Instant::now(), answered });
    match select(first, second).await {
        Either::Left((answered, _)) if decides(&answered) => (done(answered), None),
        Either::Right((answered, _)) if decides(&answered) => (None, done(answered)),
        Either::Left((answered, second)) => {
            let first = done(answered);
            (first, done(second.await))
        }
        Either::Right((answered, first)) => {
            let second = done(answered);
            (done(first.await), second)
        }
    }
}

impl Step<'_, '_> {
    fn begin(&mut self, lease: &mut Lease) -> Entry {
        let started = Instant::now();
        let place = self.tally.attempt(lease, started);
        lease.permit.begin(lateness::lost());
        if lease.permit.is_terminal_probe() {
            tracing::info!(
                request.id = self.inbound.id, connection.id = %lease.config.id, reason = "terminal_probe",
                "a connection that is out of service is tried"
            );
        }
        Entry { place, started }
    }

    fn end(&mut self, entry: Entry, mut lease: Lease, answered: Result<Answered, Fault>) -> Outcomes {
        let now = Instant::now();
        let fault = match answered {
            Ok(Answered { answer, dropped, sent_after }) => {
                self.tally.answered(entry.place, now);
                if let Some(after) = sent_after {
                    self.tally.ledger_mut().sent(entry.place, after);
                }
                if matches!(answer, Answer::Whole { .. }) {
                    self.tally.upstream_took(now.duration_since(entry.started));
                }
                let Entry { place, started: attempt_started } = entry;
                return Ok(Dispatched { answer, dropped, lease, attempt_started, place });
            }
            Err(fault) => fault,
        };
        self.fail(entry, &mut lease, &fault, now);
        let (probe, onward) = (lease.permit.is_terminal_probe(), self.after(&lease, &fault));
        Err(Box::new(Lost { fault, probe, onward }))
    }

    /// One of them answers, or none.
    fn decide(&mut self, first: Racer, second: Racer) -> Outcomes {
        let (lost, won) = match (&first.done, &second.done) {
            (Some(Done { answered: Ok(_), .. }), _) => (second, first),
            _ => (first, second),
        };
        let Racer { entry, mut lease, done } = lost;
        let earlier = match done {
            Some(Done { at, answered: Err(fault) }) => {
                self.fail(entry, &mut lease, &fault, at);
                Some(fault)
            }
            _ => {
                self.give_up(entry);
                None
            }
        };
        drop(lease);
        let Racer { entry, lease, done } = won;
        match (done, earlier) {
            (Some(Done { answered, .. }), earlier) => self.end(entry, lease, answered).map_err(|mut lost| {
                lost.fault = more_telling(earlier, lost.fault);
                lost
            }),
            // The one that failed said what any other would say.
            (None, earlier) => {
                self.give_up(entry);
                let fault = earlier.unwrap_or_else(|| Fault::own(Outcome::Abandoned, "nobody answered"));
                let onward = Onward::Ask(lease.next(self.inbound.only.clone()));
                Err(Box::new(Lost { fault, probe: false, onward }))
            }
        }
    }

    /// Where to go after a failure. What every account of the model would meet is not asked of all of them.
    fn after(&mut self, lease: &Lease, fault: &Fault) -> Onward {
        let only = self.inbound.only.clone();
        let probe = lease.permit.is_terminal_probe();
        let ended = fallback::Ended { outcome: fault.outcome, class: fault.class, probe };
        self.retries.failed(ended);
        let again = match ended.way() {
            Way::NextLeg => return Onward::Ask(lease.next_leg(only)),
            Way::Again => lease.again(only.clone()),
            Way::Next => None,
        };
        let delay = lease.itinerary.combo.as_ref().map_or(Duration::ZERO, |combo| combo.config.retry_delay);
        match again {
            // Those who failed together do not come back together.
            Some(again) => Onward::Later(rand::random_range(Duration::ZERO..=delay), again),
            None => Onward::Ask(lease.next(only)),
        }
    }

    /// Another one answers: this one is neither good nor bad.
    fn give_up(&mut self, entry: Entry) {
        let (outcome, class) = (Outcome::Abandoned, RetryClass::MaybeAccepted);
        let ended = Ended { outcome, status: 0, class, at: Instant::now() };
        self.tally.ledger_mut().given_up(entry.place, ended, HEDGE_LOST);
    }

    fn fail(&mut self, entry: Entry, lease: &mut Lease, fault: &Fault, at: Instant) {
        let Fault { outcome, status, class, .. } = *fault;
        self.tally.upstream_took(at.duration_since(entry.started));
        self.tally.attempt_ended(entry.place, Ended { outcome, status, class, at });
        lease.permit.settle_after(fault.settlement(None), lateness::lost());
        log_failure(self.inbound, lease, fault);
    }

    /// The next candidate, paid for, if there is one that is free now.
    async fn another(&mut self, onward: Route, then: Then) -> Option<Lease> {
        if self.retries.tries() >= self.inbound.max_attempts {
            return None;
        }
        let lease = ask(self.router, onward).await.ok()?;
        let (connection, now) = (lease.permit.handle(), self.means.clock.now());
        let spare = then == Then::Instead || self.retries.are_plenty(connection, now);
        // Nobody is tried out while somebody works for the request.
        let good = spare && !lease.permit.is_terminal_probe() && !lease.permit.is_probe();
        (good && self.retries.allow(connection, now)).then_some(lease)
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
