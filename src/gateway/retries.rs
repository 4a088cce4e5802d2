//! May this request cause another attempt? Its client key and the next provider must both have one left.
//!
//! The first attempt of a request is nobody's extra, and neither is one after a probe of a dead connection: that one was
//! our own idea.

use std::sync::Arc;

use omniroute_actors::clock::Moment;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::resilience::retry_budget::{RetryBudget, Terms};

use crate::config::Config;

/// The budgets of one request.
pub struct Retries<'a> {
    own: &'a RetryBudget,
    terms: Terms,
    tries: usize,
    last: Option<Arc<RetryBudget>>,
}

impl<'a> Retries<'a> {
    /// Of the owner of this budget.
    pub fn of(own: &'a RetryBudget, config: &Config) -> Self {
        let routing = &config.routing;
        let terms = Terms { percent: routing.retry_budget_percent, floor_per_s: routing.retry_budget_floor_per_s };
        Self { own, terms, tries: 0, last: None }
    }

    /// Whether an attempt may be made here now.
    pub fn allow(&mut self, connection: &ConnectionHandle, now: Moment) -> bool {
        let theirs = connection.retry_budget();
        // It is one of the requests of each provider that it comes to, whether as the first or as a fallback.
        if !self.last.replace(Arc::clone(&theirs)).is_some_and(|last| Arc::ptr_eq(&last, &theirs)) {
            theirs.deposit(now);
        }
        if self.tries == 0 {
            self.own.deposit(now);
        } else if !theirs.withdraw(self.terms, now) {
            return false;
        } else if !self.own.withdraw(self.terms, now) {
            theirs.give_back(now);
            return false;
        }
        self.tries += 1;
        true
    }

    /// Whether there is enough for an attempt beside another one, which only makes the answer quicker.
    pub fn are_plenty(&self, connection: &ConnectionHandle, now: Moment) -> bool {
        connection.retry_budget().is_plenty(self.terms, now) && self.own.is_plenty(self.terms, now)
    }

    /// The last attempt was a probe of ours.
    pub const fn forgive(&mut self) {
        self.tries = self.tries.saturating_sub(1);
    }

    /// Attempts that count.
    pub const fn tries(&self) -> usize {
        self.tries
    }
}
