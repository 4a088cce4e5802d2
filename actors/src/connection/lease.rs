//! A permit to use a connection once. It lives in the handler's future, then in the response body, and comes
//! back on every exit: a drop is enough. Giving back is one atomic step, so it works when the actor is dead
//! or flooded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::handle::{ConnectionHandle, Pass};
use super::report::{self, Aside, Report};
use crate::clock::{Clock, Moment};
use crate::ids::ModelName;
use crate::resilience::health::{ErrorNote, Heard};
use crate::resilience::learned::Reported;
use crate::resilience::limiter::Ticket;
use crate::resilience::outcome::Outcome;

/// How an attempt ended, as its holder tells it.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The outcome.
    pub outcome: Outcome,
    /// The provider's word on when to come back.
    pub retry_after: Option<Duration>,
    /// The error, for operators.
    pub error: Option<ErrorNote>,
    /// Time from admission to the first content.
    pub first_content: Option<Duration>,
}

impl From<Outcome> for Settlement {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, retry_after: None, error: None, first_content: None }
    }
}

/// The permit.
#[derive(Debug)]
pub struct Permit {
    handle: Arc<ConnectionHandle>,
    pass: Pass,
    model: ModelName,
    admitted_at: Moment,
    clock: Arc<dyn Clock>,
    settlement: Option<Settlement>,
    ticket: Ticket,
    used: Option<u64>,
    begun: bool,
    /// What the holder's thread had lost when it began, and of what it lost since, all that is not the provider's time.
    lost_before: Duration,
    held_up: Duration,
    limits: Vec<Reported>,
    /// Counts the permits of the connection.
    #[cfg(test)]
    #[cfg(not(feature = "loom"))]
    number: u64,
}

impl std::fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Permit {
    pub(crate) fn new(handle: Arc<ConnectionHandle>, pass: Pass, model: ModelName, clock: Arc<dyn Clock>) -> Self {
        let admitted_at = clock.now();
        #[cfg(test)]
        #[cfg(not(feature = "loom"))]
        let number = handle.totals().admitted.load(Ordering::Relaxed);
        Self {
            handle,
            pass,
            model,
            admitted_at,
            clock,
            settlement: None,
            ticket: Ticket::default(),
            used: None,
            begun: false,
            lost_before: Duration::ZERO,
            held_up: Duration::ZERO,
            limits: Vec::new(),
            #[cfg(test)]
            #[cfg(not(feature = "loom"))]
            number,
        }
    }

    /// Which of the connection's permits it is.
    #[cfg(test)]
    #[cfg(not(feature = "loom"))]
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// What it was charged.
    pub(crate) const fn with(mut self, ticket: Ticket) -> Self {
        self.ticket = ticket;
        self
    }

    /// The connection.
    pub const fn handle(&self) -> &Arc<ConnectionHandle> {
        &self.handle
    }

    /// The model it was taken for.
    pub const fn model(&self) -> &ModelName {
        &self.model
    }

    /// The gate's generation that it belongs to.
    #[cfg(test)]
    #[cfg(not(feature = "loom"))]
    pub(crate) const fn generation(&self) -> crate::resilience::gate::Generation {
        self.pass.admission.generation
    }

    /// Whether it is the probe of a half-open breaker.
    pub const fn is_probe(&self) -> bool {
        self.pass.admission.probe
    }

    /// Whether it tries a connection that is out of service.
    pub const fn is_terminal_probe(&self) -> bool {
        self.pass.terminal_probe
    }

    /// When it was taken.
    pub const fn admitted_at(&self) -> Moment {
        self.admitted_at
    }

    /// Something is sent from here on: what it was charged is not given back any more. `lost` is the time in which the
    /// holder's thread stood still, as a meter that only grows reads it.
    pub const fn begin(&mut self, lost: Duration) {
        self.begun = true;
        self.lost_before = lost;
    }

    /// A time that ends now and began with the attempt, without that in which the thread stood still: the provider cannot
    /// be blamed for it. `lost` is the same meter, read now.
    pub const fn provider_time(&self, took: Duration, lost: Duration) -> Duration {
        took.saturating_sub(lost.saturating_sub(self.lost_before))
    }

    /// The tokens it used, both ways: takes the place of the estimate. The last word counts.
    pub const fn true_up(&mut self, actual_tokens: u64) {
        self.used = Some(actual_tokens);
    }

    /// What the answer's headers said about the provider's limits, whatever the answer is.
    pub fn hear_limits(&mut self, limits: Vec<Reported>) {
        self.limits = limits;
    }

    /// [`Permit::settle`], where the meter of lost time now reads this.
    pub fn settle_after(&mut self, settlement: impl Into<Settlement>, lost: Duration) {
        if self.settlement.is_none() {
            self.held_up = lost.saturating_sub(self.lost_before);
        }
        self.settle(settlement);
    }

    /// Say how it ended. The first word counts; the report leaves with the drop.
    pub fn settle(&mut self, settlement: impl Into<Settlement>) {
        self.settlement.get_or_insert(settlement.into());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let settlement = self.settlement.take().unwrap_or_else(|| {
            let outcome = if std::thread::panicking() { Outcome::GatewayFault } else { Outcome::Abandoned };
            outcome.into()
        });
        let (now, running) = (self.clock.now(), self.handle.in_flight());
        self.pay(&settlement, now);
        let took = now.since(self.admitted_at).saturating_sub(self.held_up);
        count(&self.handle, &self.model, &settlement, took, now);
        // After the limiter: whoever waits for the slot finds what came back.
        self.handle.give_back();
        if matches!(settlement.outcome, Outcome::Abandoned | Outcome::GatewayFault | Outcome::ClientGone) {
            // Says nothing about the upstream: the probe's place returns here and now, without the actor.
            self.handle.gate().release(self.pass.admission);
            if self.pass.terminal_probe {
                self.handle.traffic.set_terminal_probe(Some(now));
            }
            return;
        }
        let heard = Heard {
            outcome: settlement.outcome,
            admission: self.pass.admission,
            model: self.model.clone(),
            admitted_at: self.admitted_at,
            retry_after: settlement.retry_after,
            error: settlement.error,
            took: Some(settlement.first_content.unwrap_or(took)),
            terminal_probe: self.pass.terminal_probe,
        };
        let aside = Aside { running, limits: std::mem::take(&mut self.limits) };
        report::file(Report { handle: Arc::clone(&self.handle), heard, aside });
    }
}

impl Permit {
    /// Settle the account with the limiter. What was never sent costs nothing; what was refused cost a call.
    fn pay(&self, settlement: &Settlement, now: Moment) {
        if self.ticket.is_free() {
            return;
        }
        let traffic = &self.handle.traffic;
        match (self.used, settlement.outcome) {
            (Some(used), _) => traffic.true_up(&self.ticket, used, now),
            (None, Outcome::Untranslatable) => traffic.give_back(&self.ticket, now),
            (None, Outcome::Abandoned) if !self.begun => traffic.give_back(&self.ticket, now),
            (None, outcome) if was_refused(outcome) => traffic.true_up(&self.ticket, 0, now),
            (None, _) => {}
        }
    }
}

/// Answers before any work was done.
const fn was_refused(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::ClientFault
            | Outcome::ModelFault
            | Outcome::ContextTooLong
            | Outcome::RateLimited
            | Outcome::QuotaExhausted
            | Outcome::CreditsExhausted
            | Outcome::AuthRefused
            | Outcome::Forbidden
            | Outcome::Banned
            | Outcome::Overloaded
            | Outcome::ConnectFailed
            | Outcome::LocalNetwork
            | Outcome::ProxyFailed
    )
}

fn count(handle: &ConnectionHandle, model: &ModelName, settlement: &Settlement, took: Duration, now: Moment) {
    let (totals, stats) = (handle.totals(), handle.traffic.stats());
    match settlement.outcome {
        Outcome::Success => totals.succeeded.fetch_add(1, Ordering::Relaxed),
        Outcome::Abandoned => 0,
        _ => totals.failed.fetch_add(1, Ordering::Relaxed),
    };
    if settlement.outcome != Outcome::Abandoned {
        stats.ended(settlement.outcome, took, now);
    }
    if let Some(first_content) = settlement.first_content {
        handle.latency().observe(first_content, now);
        stats.first_content(model, first_content, now);
    }
}
