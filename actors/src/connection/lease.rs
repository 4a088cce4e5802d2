//! A permit to use a connection once. It lives in the handler's future, then in the response body, and comes
//! back on every exit: a drop is enough. Giving back is one atomic step, so it works when the actor is dead
//! or flooded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::handle::ConnectionHandle;
use super::report::{self, Report};
use crate::clock::{Clock, Moment};
use crate::ids::ModelName;
use crate::resilience::gate::Admission;
use crate::resilience::health::{ErrorNote, Heard};
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
    admission: Admission,
    model: ModelName,
    admitted_at: Moment,
    clock: Arc<dyn Clock>,
    settlement: Option<Settlement>,
}

impl std::fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Permit {
    pub(crate) fn new(
        handle: Arc<ConnectionHandle>,
        admission: Admission,
        model: ModelName,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let admitted_at = clock.now();
        Self { handle, admission, model, admitted_at, clock, settlement: None }
    }

    /// The connection.
    pub const fn handle(&self) -> &Arc<ConnectionHandle> {
        &self.handle
    }

    /// The model it was taken for.
    pub const fn model(&self) -> &ModelName {
        &self.model
    }

    /// Whether it is the probe of a half-open breaker.
    pub const fn is_probe(&self) -> bool {
        self.admission.probe
    }

    /// When it was taken.
    pub const fn admitted_at(&self) -> Moment {
        self.admitted_at
    }

    /// Say how it ended. The first word counts; the report leaves with the drop.
    pub fn settle(&mut self, settlement: impl Into<Settlement>) {
        self.settlement.get_or_insert(settlement.into());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.handle.give_back();
        let settlement = self.settlement.take().unwrap_or_else(|| {
            let outcome = if std::thread::panicking() { Outcome::GatewayFault } else { Outcome::Abandoned };
            outcome.into()
        });
        count(&self.handle, &settlement, self.clock.now());
        if matches!(settlement.outcome, Outcome::Abandoned | Outcome::GatewayFault | Outcome::ClientGone) {
            // Says nothing about the upstream: the probe's place returns here and now, without the actor.
            self.handle.gate().release(self.admission);
            return;
        }
        let heard = Heard {
            outcome: settlement.outcome,
            admission: self.admission,
            model: self.model.clone(),
            admitted_at: self.admitted_at,
            retry_after: settlement.retry_after,
            error: settlement.error,
        };
        report::file(Report { handle: Arc::clone(&self.handle), heard });
    }
}

fn count(handle: &ConnectionHandle, settlement: &Settlement, now: Moment) {
    let totals = handle.totals();
    match settlement.outcome {
        Outcome::Success => totals.succeeded.fetch_add(1, Ordering::Relaxed),
        Outcome::Abandoned => 0,
        _ => totals.failed.fetch_add(1, Ordering::Relaxed),
    };
    if let Some(first_content) = settlement.first_content {
        handle.latency().observe(first_content, now);
    }
}
