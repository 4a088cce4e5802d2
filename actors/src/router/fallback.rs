//! What a request does after a failed attempt: end, ask the same place again, or go on; and whether its budgets pay for
//! the next attempt. Pure: outcome, time and rules are arguments. The dispatch and the simulation ask the same lines.
//!
//! An extra is an attempt at a provider that this request has come to before, on whichever account: only that multiplies
//! what a provider in trouble gets. The first one at each provider is none, however often the request failed elsewhere:
//! the death of one upstream must not fail requests that another could serve. Neither is one after an attempt that
//! reached nobody (no connection, nothing to send), or after a probe of a dead connection, which was our own idea.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::clock::Moment;
use crate::connection::handle::ConnectionHandle;
use crate::resilience::outcome::{Next, Outcome};
use crate::resilience::retry_budget::{RetryBudget, Terms};

/// What a provider may know of an attempt that failed: it decides whether trying elsewhere can cost twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryClass {
    /// Nothing of the request was written: another attempt is free.
    NotSent,
    /// It was written, wholly or in part, and no complete answer came: the provider may have done the work, and billed it.
    MaybeAccepted,
    /// The provider answered, if only with an error.
    Answered,
    /// Content of its answer has reached the client: nothing is tried again.
    Started,
}

impl RetryClass {
    /// The word for the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::MaybeAccepted => "maybe_accepted",
            Self::Answered => "answered",
            Self::Started => "started",
        }
    }

    /// Whether the provider may have worked for it.
    pub const fn may_be_billed(self) -> bool {
        matches!(self, Self::MaybeAccepted | Self::Started)
    }
}

/// A failed attempt, as far as it decides what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// What the provider may know of it.
    pub class: RetryClass,
    /// It tried a connection that is out of service: our own idea.
    pub probe: bool,
}

/// Where the walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The same place once more, where its combo allows that, else the next candidate.
    Again,
    /// The next candidate.
    Next,
    /// Past all accounts of this model: each of them would say the same.
    NextLeg,
}

impl Ended {
    /// Whether nobody else is asked, however many attempts are left. `may_cost_twice`: the operator allows an attempt after
    /// one that may have been accepted; `over`: the request has no time left.
    pub fn is_final(self, may_cost_twice: bool, over: bool) -> bool {
        let costs_twice = self.class == RetryClass::MaybeAccepted && !may_cost_twice;
        self.class == RetryClass::Started || costs_twice || over || self.outcome.verdict().next == Next::Stop
    }

    /// Where it goes on. What was sent and never answered is not sent to the same place twice.
    pub const fn way(self) -> Way {
        let passes = matches!(
            self.outcome,
            Outcome::Overloaded | Outcome::ServerFault | Outcome::ConnectFailed | Outcome::BrokenAnswer
        );
        match self.outcome {
            Outcome::ContextTooLong | Outcome::Untranslatable => Way::NextLeg,
            _ if passes && !self.class.may_be_billed() => Way::Again,
            _ => Way::Next,
        }
    }
}

/// The attempts of one request, and the budgets that pay for them.
#[derive(Debug)]
pub struct Retries<'a> {
    own: &'a RetryBudget,
    terms: Terms,
    count: Attempts,
}

/// What is remembered of the attempts, without the budget of the caller.
#[derive(Debug, Clone)]
pub struct Attempts {
    tries: usize,
    /// The providers that it came to.
    visited: SmallVec<[Arc<RetryBudget>; 2]>,
    /// The next attempt is no extra.
    free: bool,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { tries: 0, visited: SmallVec::new(), free: true }
    }
}

impl<'a> Retries<'a> {
    /// Of the owner of this budget.
    pub fn of(own: &'a RetryBudget, terms: Terms) -> Self {
        Self { own, terms, count: Attempts::default() }
    }

    /// The same after `tries` attempts, of which this connection had the last: whatever comes now is an extra where it has
    /// been before.
    #[must_use]
    pub fn after(mut self, tries: usize, connection: &ConnectionHandle) -> Self {
        (self.count.tries, self.count.free) = (tries, false);
        self.count.visited.push(connection.retry_budget());
        self
    }

    /// Whether an attempt may be made here now.
    pub fn allow(&mut self, connection: &ConnectionHandle, now: Moment) -> bool {
        self.count.allow(self.own, self.terms, connection, now)
    }

    /// Whether there is enough for an attempt beside another one, which only makes the answer quicker.
    pub fn are_plenty(&self, connection: &ConnectionHandle, now: Moment) -> bool {
        connection.retry_budget().is_plenty(self.terms, now) && self.own.is_plenty(self.terms, now)
    }

    /// The last attempt failed.
    pub fn failed(&mut self, ended: Ended) {
        self.count.failed(ended);
    }

    /// Attempts that count.
    pub const fn tries(&self) -> usize {
        self.count.tries
    }
}

impl Attempts {
    /// As [`Retries::allow`], with the caller's budget given.
    pub fn allow(&mut self, own: &RetryBudget, terms: Terms, connection: &ConnectionHandle, now: Moment) -> bool {
        let theirs = connection.retry_budget();
        let free = std::mem::take(&mut self.free);
        if self.tries == 0 {
            own.deposit(now);
        }
        if !self.came_to(&theirs) {
            // It is one of the requests of each provider that it comes to, whether as the first or as a fallback.
            theirs.deposit(now);
            self.visited.push(theirs);
        } else if !free && !withdraw(own, &theirs, terms, now) {
            return false;
        }
        self.tries += 1;
        true
    }

    fn came_to(&self, provider: &Arc<RetryBudget>) -> bool {
        self.visited.iter().any(|visited| Arc::ptr_eq(visited, provider))
    }

    /// The last attempt failed.
    pub fn failed(&mut self, ended: Ended) {
        self.free = ended.probe || ended.class == RetryClass::NotSent;
        if ended.probe {
            self.tries = self.tries.saturating_sub(1);
        }
    }

    /// Attempts that count.
    pub const fn tries(&self) -> usize {
        self.tries
    }
}

fn withdraw(own: &RetryBudget, theirs: &RetryBudget, terms: Terms, now: Moment) -> bool {
    if !theirs.withdraw(terms, now) {
        return false;
    }
    let both = own.withdraw(terms, now);
    if !both {
        theirs.give_back(now);
    }
    both
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests {
    use super::*;
    use crate::testing::{config, handle};

    const ENDED: Ended = Ended { outcome: Outcome::ServerFault, class: RetryClass::Answered, probe: false };

    #[test]
    fn what_goes_on_with_a_broken_stream_is_an_extra_only_where_that_broke_off() {
        let (own, broken, now) = (RetryBudget::default(), handle(config("a")), Moment::from_millis(1));
        let mut retries = Retries::of(&own, Terms { percent: 20, floor_per_s: 0 }).after(1, &broken);

        assert!(!retries.allow(&broken, now), "the budget is empty");
        assert!(retries.allow(&handle(config("b")), now), "another provider");
        assert_eq!(retries.tries(), 2);
    }

    #[test]
    fn only_an_attempt_after_one_that_reached_somebody_is_an_extra() {
        let (own, handle, now) = (RetryBudget::default(), handle(config("a")), Moment::from_millis(1));
        let mut retries = Retries::of(&own, Terms { percent: 20, floor_per_s: 0 });
        assert!(retries.allow(&handle, now), "the first");

        retries.failed(Ended { class: RetryClass::NotSent, ..ENDED });
        assert!(retries.allow(&handle, now) && retries.tries() == 2);
        retries.failed(Ended { probe: true, ..ENDED });
        assert!(retries.allow(&handle, now) && retries.tries() == 2);

        retries.failed(ENDED);
        assert!(!retries.allow(&handle, now), "a fifth of one request is none");
    }

    #[test]
    fn what_may_have_been_accepted_is_tried_elsewhere_only_where_that_may_cost_twice() {
        let maybe = Ended { class: RetryClass::MaybeAccepted, ..ENDED };

        assert!(maybe.is_final(false, false) && !maybe.is_final(true, false));
        assert!(!ENDED.is_final(false, false));
    }

    #[test]
    fn nothing_is_tried_after_content_after_the_time_or_after_what_all_would_say() {
        let started = Ended { class: RetryClass::Started, ..ENDED };
        let clients = Ended { outcome: Outcome::ClientFault, ..ENDED };

        assert!(started.is_final(true, false) && clients.is_final(true, false) && ENDED.is_final(true, true));
    }

    #[test]
    fn the_same_place_is_asked_again_only_for_what_passes_and_was_not_sent_for_nothing() {
        let way = |outcome, class| Ended { outcome, class, probe: false }.way();

        assert_eq!(way(Outcome::Overloaded, RetryClass::Answered), Way::Again);
        assert_eq!(way(Outcome::BrokenAnswer, RetryClass::MaybeAccepted), Way::Next);
        assert_eq!(way(Outcome::RateLimited, RetryClass::Answered), Way::Next);
        assert_eq!(way(Outcome::ContextTooLong, RetryClass::Answered), Way::NextLeg);
    }
}
