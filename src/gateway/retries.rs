//! May this request cause another attempt? Its client key and the next provider must both have one left.
//!
//! An extra is an attempt at a provider that this request has come to before, on whichever account: only that multiplies
//! what a provider in trouble gets. The first one at each provider is none, however often the request failed elsewhere:
//! the death of one upstream must not fail requests that another could serve. Neither is one after an attempt that
//! reached nobody (no connection, nothing to send), or after a probe of a dead connection, which was our own idea.

use std::sync::Arc;

use omniroute_actors::clock::Moment;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::resilience::retry_budget::{RetryBudget, Terms};
use smallvec::SmallVec;

use crate::config::Config;

/// The budgets of one request.
pub struct Retries<'a> {
    own: &'a RetryBudget,
    terms: Terms,
    tries: usize,
    /// The providers that it came to.
    visited: SmallVec<[Arc<RetryBudget>; 2]>,
    /// The next attempt is no extra.
    free: bool,
}

impl<'a> Retries<'a> {
    /// Of the owner of this budget.
    pub fn of(own: &'a RetryBudget, config: &Config) -> Self {
        let routing = &config.routing;
        let terms = Terms { percent: routing.retry_budget_percent, floor_per_s: routing.retry_budget_floor_per_s };
        Self { own, terms, tries: 0, visited: SmallVec::new(), free: true }
    }

    /// The same after `tries` attempts, of which this connection had the last: whatever comes now is an extra where it has
    /// been before.
    #[must_use]
    pub fn after(mut self, tries: usize, connection: &ConnectionHandle) -> Self {
        (self.tries, self.free) = (tries, false);
        self.visited.push(connection.retry_budget());
        self
    }

    /// Whether an attempt may be made here now.
    pub fn allow(&mut self, connection: &ConnectionHandle, now: Moment) -> bool {
        let theirs = connection.retry_budget();
        let free = std::mem::take(&mut self.free);
        if self.tries == 0 {
            self.own.deposit(now);
        }
        if !self.visited.iter().any(|visited| Arc::ptr_eq(visited, &theirs)) {
            // It is one of the requests of each provider that it comes to, whether as the first or as a fallback.
            theirs.deposit(now);
            self.visited.push(theirs);
        } else if !free && !self.withdraw(&theirs, now) {
            return false;
        }
        self.tries += 1;
        true
    }

    fn withdraw(&self, theirs: &RetryBudget, now: Moment) -> bool {
        if !theirs.withdraw(self.terms, now) {
            return false;
        }
        let both = self.own.withdraw(self.terms, now);
        if !both {
            theirs.give_back(now);
        }
        both
    }

    /// Whether there is enough for an attempt beside another one, which only makes the answer quicker.
    pub fn are_plenty(&self, connection: &ConnectionHandle, now: Moment) -> bool {
        connection.retry_budget().is_plenty(self.terms, now) && self.own.is_plenty(self.terms, now)
    }

    /// The last attempt failed; `unsent`: it reached nobody; `probe`: it was a probe of ours.
    pub const fn failed(&mut self, unsent: bool, probe: bool) {
        self.free = probe || unsent;
        if probe {
            self.tries = self.tries.saturating_sub(1);
        }
    }

    /// Attempts that count.
    pub const fn tries(&self) -> usize {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use omniroute_actors::connection::config::{ConnectionConfig, Source, UpstreamTarget};
    use omniroute_actors::resilience::gate::GateView;
    use omniroute_actors::resilience::health::Remembered;

    use super::*;

    #[test]
    fn only_an_attempt_after_one_that_reached_somebody_is_an_extra() {
        let (own, handle, now) = (RetryBudget::default(), handle(), Moment::from_millis(1));
        let mut config = Config::default();
        config.routing.retry_budget_floor_per_s = 0;
        let mut retries = Retries::of(&own, &config);
        assert!(retries.allow(&handle, now), "the first");

        retries.failed(true, false);
        assert!(retries.allow(&handle, now) && retries.tries() == 2);
        retries.failed(false, true);
        assert!(retries.allow(&handle, now) && retries.tries() == 2);

        retries.failed(false, false);
        assert!(!retries.allow(&handle, now), "a fifth of one request is none");
    }

    #[test]
    fn what_goes_on_with_a_broken_stream_is_an_extra_only_where_that_broke_off() {
        let (own, broken, now) = (RetryBudget::default(), handle(), Moment::from_millis(1));
        let mut config = Config::default();
        config.routing.retry_budget_floor_per_s = 0;
        let mut retries = Retries::of(&own, &config).after(1, &broken);

        assert!(!retries.allow(&broken, now), "the budget is empty");
        assert!(retries.allow(&handle(), now), "another provider");
        assert_eq!(retries.tries(), 2);
    }

    fn handle() -> ConnectionHandle {
        let target = UpstreamTarget {
            chat_url: String::new(),
            stream_url: None,
            models_url: None,
            auth_header: None,
            headers: Vec::new(),
            quirks: 0,
            wire: 0,
            by_model: Vec::new(),
        };
        let config = ConnectionConfig {
            id: "a".into(),
            provider: "p".into(),
            name: "a".into(),
            source: Source::Database,
            priority: 1,
            is_active: true,
            max_concurrent: 0,
            requests_per_minute: 0,
            limits: Default::default(),
            health: Default::default(),
            target: Arc::new(target),
            exchange: None,
            credential_version: 1,
            tags: Default::default(),
            region: None,
        };
        ConnectionHandle::new(config, GateView::CLOSED, Remembered::default(), None)
    }
}
