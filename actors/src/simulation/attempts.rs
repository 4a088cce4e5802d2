//! Attempts of clients: the budgets that pay for them, the one beside a slow one, and where a failed one leads. What is
//! decided is decided by the engine; here is only the order of the steps.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::Sabotage;
use super::audit::{Verdict, holds};
use super::provider::Reply;
use super::scenario::MODELS;
use super::world::{Event, World};
use crate::connection::lease::Settlement;
use crate::resilience::learned::{Kind, Reported};
use crate::resilience::outcome::{Next, Outcome};
use crate::resilience::retry_budget::Terms;
use crate::router::fallback::{Ended, RetryClass, Way};
use crate::router::{Lease, Only, Route};

/// The time of one attempt for its first content.
const FIRST_CONTENT: Duration = Duration::from_secs(8);
/// A budget that allows everything.
const NO_BUDGET: Terms = Terms { percent: 1_000_000, floor_per_s: 1_000_000 };

/// An attempt under way.
pub(super) struct Running {
    step: u32,
    /// The number of the run in the books.
    run: usize,
    member: usize,
    lease: Lease,
    reply: Reply,
}

/// A failed attempt and the question that follows from it.
pub(super) struct Lost {
    ended: Ended,
    again: bool,
    question: Route,
}

impl Lost {
    fn of(lease: &Lease, outcome: Outcome, class: RetryClass) -> Self {
        let ended = Ended { outcome, class, probe: lease.permit.is_terminal_probe() };
        let again = (ended.way() == Way::Again).then(|| lease.again(Only::default())).flatten();
        let onward = || match ended.way() {
            Way::NextLeg => lease.next_leg(Only::default()),
            Way::Again | Way::Next => lease.next(Only::default()),
        };
        Self { ended, again: again.is_some(), question: again.unwrap_or_else(onward) }
    }
}

impl Running {
    pub fn settle_as_gone(&mut self) {
        self.lease.permit.settle(Outcome::ClientGone);
    }
}

impl World {
    pub(super) fn next_run(&mut self) -> usize {
        self.runs += 1;
        self.runs
    }

    fn member_of(&self, lease: &Lease) -> usize {
        let handle = lease.permit.handle();
        self.members.iter().position(|member| Arc::ptr_eq(&member.handle, handle)).expect("one of this world")
    }

    pub(super) fn leased(&mut self, number: usize, lease: Lease, from_queue: bool) -> Verdict {
        let (run, member) = self.granted(&lease, from_queue)?;
        if !self.allowed(number, &lease, member)? {
            self.summary.out_of_budget += 1;
            let question = lease.next(Only::default());
            self.unused(run, member, lease);
            return self.ask(number, question);
        }
        let step = self.begins(number, run, member, lease)?;
        if let Some(after) = self.requests[number].wish.hedge {
            self.after(after, Event::Hedge(number, step));
        }
        Ok(())
    }

    fn granted(&mut self, lease: &Lease, from_queue: bool) -> Result<(usize, usize), super::Broken> {
        let (now, member, run) = (self.now(), self.member_of(lease), self.next_run());
        self.members[member].books.granted(&lease.permit, run, from_queue, now)?;
        Ok((run, member))
    }

    fn unused(&mut self, run: usize, member: usize, lease: Lease) {
        self.members[member].books.ended(run);
        drop(lease);
        self.stirred.push(member);
    }

    /// The call goes out; the step that its events name.
    fn begins(&mut self, number: usize, run: usize, member: usize, mut lease: Lease) -> Result<u32, super::Broken> {
        let now = self.now();
        lease.permit.begin(Duration::ZERO);
        self.summary.attempts += 1;
        self.summary.probes += u64::from(lease.permit.is_probe());
        self.summary.terminal_probes += u64::from(lease.permit.is_terminal_probe());
        let reply = self.played(member, &lease);
        let called = &mut self.members[member];
        called.books.called(&called.handle, now)?;
        self.providers[called.provider].in_flight += 1;
        let request = &mut self.requests[number];
        let place = (member, lease.model().clone());
        let again = std::mem::take(&mut request.once_more);
        holds(again || !request.tried.contains(&place), || {
            format!("request {number} is at {place:?} for the second time")
        })?;
        request.tried.push(place);
        request.step += 1;
        let (step, gives_up) = (request.step, request.deadline.min(now.after(FIRST_CONTENT)));
        request.running.push(Running { step, run, member, lease, reply });
        holds(request.running.len() <= 2, || format!("request {number} has three attempts at a time"))?;
        if let Some(after) = reply.after {
            self.after(after, Event::Answer(number, step));
        }
        self.at(gives_up.max(now), Event::GiveUp(number, step));
        Ok(step)
    }

    /// What the provider does with a call that begins now.
    fn played(&mut self, member: usize, lease: &Lease) -> Reply {
        let (now, provider) = (self.now(), self.members[member].provider);
        let model = MODELS.iter().position(|model| *model == lease.model().as_str()).unwrap_or_default();
        let reply = self.providers[provider].reply(model, now, &mut self.rng);
        match self.providers[provider].bucket {
            Some((most, window)) if self.members[member].count(window, now) > most => reply.over_the_limit(),
            _ => reply,
        }
    }

    /// What its headers say when it answers.
    fn headers(&self, member: usize) -> Vec<Reported> {
        let Some((limit, window)) = self.providers[self.members[member].provider].bucket else { return Vec::new() };
        let account = &self.members[member];
        let reset = account.window_began.after(window).until(self.now());
        let remaining = if reset.is_zero() { limit } else { limit.saturating_sub(account.window_calls) };
        let (limit, remaining, reset) = (Some(limit), Some(remaining), Some(reset));
        vec![Reported { kind: Kind::Requests, limit, remaining, reset, per_minute: false }]
    }

    /// Whether the budgets of the key and of the provider allow this attempt.
    fn allowed(&mut self, number: usize, lease: &Lease, member: usize) -> Result<bool, super::Broken> {
        let (now, provider) = (self.now(), self.members[member].provider);
        let terms = if self.sabotage == Some(Sabotage::IgnoreTheRetryBudget) { NO_BUDGET } else { Terms::default() };
        let request = &mut self.requests[number];
        let own = &self.keys[request.wish.key];
        let known = request.came_to.contains(&provider);
        let extra = known && !std::mem::take(&mut request.free);
        if !request.attempts.allow(own, terms, lease.permit.handle(), now) {
            return Ok(false);
        }
        request.free = false;
        if !known {
            request.came_to.push(provider);
            self.extras[provider].first(now);
        } else if extra {
            self.extras[provider].another(now)?;
        }
        let (tries, most) = (request.attempts.tries(), request.wish.max_attempts);
        holds(tries <= most, || format!("request {number} makes attempt {tries} of {most}"))?;
        Ok(true)
    }

    /// The attempt is slow: another one beside it, if somebody is free and the budgets are plenty.
    pub(super) fn hedge(&mut self, number: usize, step: u32) -> Verdict {
        let request = &self.requests[number];
        let [only] = request.running.as_slice() else { return Ok(()) };
        if only.step != step || request.attempts.tries() >= request.wish.max_attempts {
            return Ok(());
        }
        let Ok(lease) = self.router.route(only.lease.next(Only::default())) else { return Ok(()) };
        let (run, member) = self.granted(&lease, false)?;
        let own = &self.keys[self.requests[number].wish.key];
        let (now, terms) = (self.now(), Terms::default());
        let plenty = lease.permit.handle().retry_budget().is_plenty(terms, now) && own.is_plenty(terms, now);
        let good = plenty && !lease.permit.is_probe() && !lease.permit.is_terminal_probe();
        if !good || !self.allowed(number, &lease, member)? {
            self.unused(run, member, lease);
            return Ok(());
        }
        self.summary.hedges += 1;
        self.begins(number, run, member, lease).map(drop)
    }

    fn take(&mut self, number: usize, step: u32) -> Option<Running> {
        let running = &mut self.requests[number].running;
        let place = running.iter().position(|one| one.step == step)?;
        Some(running.remove(place))
    }

    pub(super) fn answer(&mut self, number: usize, step: u32) -> Verdict {
        let Some(mut running) = self.take(number, step) else { return Ok(()) };
        let reply = running.reply;
        running.lease.permit.hear_limits(self.headers(running.member));
        let settlement = Settlement {
            outcome: reply.outcome,
            retry_after: reply.retry_after,
            error: None,
            first_content: reply.after.filter(|_| reply.started),
        };
        self.settle(number, running, settlement, reply.class)
    }

    pub(super) fn give_up(&mut self, number: usize, step: u32) -> Verdict {
        let Some(running) = self.take(number, step) else { return Ok(()) };
        let over = self.now() >= self.requests[number].deadline;
        let outcome = if over { Outcome::DeadlineExceeded } else { Outcome::FirstContentTimeout };
        self.settle(number, running, outcome.into(), RetryClass::MaybeAccepted)
    }

    fn settle(&mut self, number: usize, mut running: Running, settlement: Settlement, class: RetryClass) -> Verdict {
        let outcome = settlement.outcome;
        if outcome == Outcome::Success {
            running.lease.permit.true_up(running.reply.tokens);
            running.lease.answered();
        }
        running.lease.permit.settle(settlement);
        self.settled += 1;
        let (step, lost) = (running.step, Lost::of(&running.lease, outcome, class));
        self.returned(number, running);
        if outcome == Outcome::Success {
            self.give_up_the_other(number);
            return self.end(number, true);
        }
        self.requests[number].failed = true;
        if outcome.verdict().next == Next::Stop {
            self.give_up_the_other(number);
        }
        let request = &mut self.requests[number];
        if let Some(other) = request.running.first() {
            // The other one may still answer. If it does not, it goes on from the later one, which knows of both places.
            request.lost_beside = Some(lost).filter(|_| step > other.step);
            return Ok(());
        }
        let lost = request.lost_beside.take().unwrap_or(lost);
        self.goes_on(number, lost)
    }

    /// After the last failure of a step: the end, or where the fallback says.
    fn goes_on(&mut self, number: usize, Lost { ended, again, question }: Lost) -> Verdict {
        let (over, may_cost_twice) = (self.now() >= self.requests[number].deadline, self.may_cost_twice);
        let request = &mut self.requests[number];
        request.attempts.failed(ended);
        request.free = ended.probe || ended.class == RetryClass::NotSent;
        if ended.is_final(may_cost_twice, over) || request.attempts.tries() >= request.wish.max_attempts {
            return self.end(number, false);
        }
        if !again {
            return self.ask(number, question);
        }
        self.summary.again += 1;
        let pause = Duration::from_millis(self.rng.random_range(0..500));
        self.after(pause, Event::Again(number, Box::new(question)));
        Ok(())
    }

    /// The slower of two: neither good nor bad.
    fn give_up_the_other(&mut self, number: usize) {
        for mut running in std::mem::take(&mut self.requests[number].running) {
            if self.sabotage == Some(Sabotage::BlameTheSlowerOfTwo) {
                running.lease.permit.settle(Outcome::FirstContentTimeout);
            }
            self.settled += u64::from(self.loses_leases_of(number));
            self.returned(number, running);
        }
    }

    pub(super) fn loses_leases_of(&self, number: usize) -> bool {
        self.sabotage == Some(Sabotage::LoseALease) && number.is_multiple_of(7)
    }

    pub(super) fn returned(&mut self, number: usize, running: Running) {
        let Running { run, member, lease, .. } = running;
        let provider = self.members[member].provider;
        self.providers[provider].in_flight -= 1;
        self.members[member].books.ended(run);
        if self.loses_leases_of(number) {
            self.settled -= 1;
            return std::mem::forget(lease);
        }
        drop(lease);
        self.stirred.push(member);
    }
}
