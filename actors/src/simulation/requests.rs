//! Clients, with the rules of the fallback loop: attempt after attempt within the budgets, turns in queues, pauses for
//! cooldowns, one end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::Sabotage;
use super::audit::{Verdict, holds};
use super::provider::Reply;
use super::scenario::{MODELS, Wish};
use super::world::{Event, World};
use crate::clock::{Clock, Moment};
use crate::connection::handle::{Refusal, Refused};
use crate::connection::lease::{Permit, Settlement};
use crate::connection::traffic::Ask;
use crate::connection::waiting::Turned;
use crate::ids::ModelName;
use crate::resilience::outcome::{Next, Outcome};
use crate::resilience::queue::Key;
use crate::resilience::retry_budget::Terms;
use crate::router::{Lease, NoRoute, Only, Route, SkipReason};

/// The time of one attempt for its first content.
const FIRST_CONTENT: Duration = Duration::from_secs(8);
/// Queues that one request asks before it gives up.
const MOST_QUEUES: usize = 3;
/// The longest pause for a cooldown.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One request.
pub(super) struct Request {
    pub wish: Wish,
    /// How often it ended: once, at the end of the world.
    pub ended: u32,
    deadline: Moment,
    /// Counts attempts and waits, so that an event for an older one says nothing.
    step: u32,
    tries: usize,
    waits: u32,
    failed: bool,
    running: Option<(Lease, Reply, usize)>,
    queued: Option<Queued>,
    /// Where it was: nothing is tried twice.
    tried: Vec<(usize, ModelName)>,
}

/// A place in a queue, and what the router said before.
struct Queued {
    turned: oneshot::Receiver<Turned>,
    none: NoRoute,
    others: Vec<usize>,
    member: usize,
}

impl Request {
    pub fn new(wish: Wish) -> Self {
        Self {
            deadline: wish.at.after(wish.deadline),
            waits: wish.waits,
            wish,
            ended: 0,
            step: 0,
            tries: 0,
            failed: false,
            running: None,
            queued: None,
            tried: Vec::new(),
        }
    }
}

impl World {
    pub(super) fn arrive(&mut self, number: usize) -> Verdict {
        self.summary.requests += 1;
        if let Some(patience) = self.requests[number].wish.patience {
            self.after(patience, Event::Leave(number));
        }
        self.first(number)
    }

    fn first(&mut self, number: usize) -> Verdict {
        let wish = &self.requests[number].wish;
        let question = Route::of(&wish.model, Arc::clone(&wish.features), Only::default());
        self.ask(number, question)
    }

    fn ask(&mut self, number: usize, question: Route) -> Verdict {
        match self.router.route(question) {
            Ok(lease) => self.leased(number, lease, false),
            Err(none) => self.nobody(number, none),
        }
    }

    fn member_of(&self, lease: &Lease) -> usize {
        let handle = lease.permit.handle();
        self.members.iter().position(|member| Arc::ptr_eq(&member.handle, handle)).expect("one of this world")
    }

    fn leased(&mut self, number: usize, mut lease: Lease, from_queue: bool) -> Verdict {
        let (now, member) = (self.now(), self.member_of(&lease));
        self.members[member].books.granted(&lease.permit, number, from_queue, now)?;
        if !self.allowed(number, &lease, member)? {
            self.summary.out_of_budget += 1;
            let question = lease.next(Only::default());
            self.members[member].books.ended(number);
            drop(lease);
            self.stirred.push(member);
            return self.ask(number, question);
        }
        lease.permit.begin();
        self.summary.attempts += 1;
        self.summary.probes += u64::from(lease.permit.is_probe());
        self.summary.terminal_probes += u64::from(lease.permit.is_terminal_probe());
        let model = MODELS.iter().position(|model| *model == lease.model().as_str()).unwrap_or_default();
        let member_ = &mut self.members[member];
        member_.books.called(&member_.handle, now)?;
        let provider = member_.provider;
        let reply = self.providers[provider].reply(model, now, &mut self.rng);
        self.providers[provider].in_flight += 1;
        let request = &mut self.requests[number];
        let place = (member, lease.model().clone());
        holds(!request.tried.contains(&place), || format!("request {number} is at {place:?} for the second time"))?;
        request.tried.push(place);
        request.step += 1;
        request.running = Some((lease, reply, member));
        let (step, gives_up) = (request.step, request.deadline.min(now.after(FIRST_CONTENT)));
        if let Some(after) = reply.after {
            self.after(after, Event::Answer(number, step));
        }
        self.at(gives_up.max(now), Event::GiveUp(number, step));
        Ok(())
    }

    /// Whether the budgets of the key and of the provider allow this attempt.
    fn allowed(&mut self, number: usize, lease: &Lease, member: usize) -> Result<bool, super::Broken> {
        let (now, terms) = (self.now(), Terms::default());
        let provider = self.members[member].provider;
        let came_here = |(tried, _): &(usize, ModelName)| self.members[*tried].provider == provider;
        let known = self.requests[number].tried.iter().any(came_here);
        let (theirs, extras) = (lease.permit.handle().retry_budget(), &mut self.extras[provider]);
        let request = &mut self.requests[number];
        let own = &self.keys[request.wish.key];
        if request.tries == 0 {
            own.deposit(now);
        }
        if !known {
            theirs.deposit(now);
            extras.first(now);
        } else {
            if self.sabotage != Some(Sabotage::IgnoreTheRetryBudget) {
                if !theirs.withdraw(terms, now) {
                    return Ok(false);
                }
                if !own.withdraw(terms, now) {
                    theirs.give_back(now);
                    return Ok(false);
                }
            }
            extras.another(now)?;
        }
        request.tries += 1;
        let (tries, most) = (request.tries, request.wish.max_attempts);
        holds(tries <= most, || format!("request {number} makes attempt {tries} of {most}"))?;
        Ok(true)
    }

    /// Nobody could be leased: wait for a turn, or for a cooldown, or end.
    fn nobody(&mut self, number: usize, none: NoRoute) -> Verdict {
        let NoRoute::Exhausted { skipped, .. } = &none else { return self.end(number, false) };
        let (now, tokens) = (self.now(), u64::from(self.requests[number].wish.features.tokens()));
        let mut waits: Vec<_> = skipped
            .named()
            .iter()
            .enumerate()
            .filter_map(|(place, skip)| {
                let local = matches!(skip.reason, SkipReason::Refused(refusal) if refusal.is_local());
                let wait = skip.connection.as_ref().filter(|_| local)?.expected_wait(tokens, now)?;
                Some((wait, place))
            })
            .collect();
        waits.sort_unstable();
        let places: Vec<_> = waits.into_iter().take(MOST_QUEUES).map(|(_, place)| place).rev().collect();
        self.queue_up(number, none, places)
    }

    /// Wait at the last of these places; the others come after it.
    fn queue_up(&mut self, number: usize, none: NoRoute, mut others: Vec<usize>) -> Verdict {
        let now = self.now();
        let NoRoute::Exhausted { skipped, .. } = &none else { return self.end(number, false) };
        let Some(skip) = others.pop().and_then(|place| skipped.named().get(place)) else {
            return self.pause(number, &none);
        };
        let (Some(handle), model) = (skip.connection.clone(), skip.model.clone()) else {
            return self.end(number, false);
        };
        let request = &mut self.requests[number];
        let (deadline, key) = (request.deadline, request.wish.key);
        if self.sabotage == Some(Sabotage::BlameTheProviderForOurRefusal) {
            self.blame(&handle, &model);
        }
        let tokens = u64::from(self.requests[number].wish.features.tokens());
        let member = self.members.iter().position(|member| Arc::ptr_eq(&member.handle, &handle));
        let member = member.expect("one of this world");
        if self.sabotage == Some(Sabotage::OvertakeTheQueue) && handle.queued() > 0 {
            let clock: Arc<dyn Clock> = self.clock.clone();
            if let Ok(permit) = handle.acquire_in_turn(Ask { model: &model, tokens }, &clock) {
                return self.members[member].books.granted(&permit, number, false, now);
            }
        }
        let ask = Ask { model: &model, tokens };
        let turned = self.members[member].actor.wait(ask, name(key), deadline);
        self.summary.waited += 1;
        self.tell(|| format!("request {number} of key {key} waits for {member}"));
        self.members[member].waiting.push(number);
        self.members[member].books.waits(key);
        let longest = handle.config().limits.max_wait;
        let request = &mut self.requests[number];
        request.step += 1;
        let step = request.step;
        request.queued = Some(Queued { turned, none, others, member });
        self.stirred.push(member);
        let overdue = deadline.min(now.after(longest)).max(now).after(Duration::from_millis(5));
        self.at(overdue, Event::Overdue(number, step));
        self.note_answers(member)
    }

    /// A defect: what we refused ourselves is reported as the provider's failure.
    fn blame(&self, handle: &Arc<crate::connection::handle::ConnectionHandle>, model: &ModelName) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        if let Ok(mut permit) = handle.acquire_in_turn(Ask { model, tokens: 0 }, &clock) {
            permit.settle(Outcome::ServerFault);
        }
    }

    /// Those of this connection that were answered go on; some of them come back to its queue.
    pub(super) fn serve_waiters(&mut self, member: usize) -> Verdict {
        self.note_answers(member)?;
        while let Some((number, member, turned)) = self.turned.pop_front() {
            self.turned(number, member, turned)?;
        }
        Ok(())
    }

    /// Who left the queue, and in which order. To be noted before anybody else joins it.
    fn note_answers(&mut self, member: usize) -> Verdict {
        for (number, turned) in self.answered(member) {
            self.members[member].waiting.retain(|waiting| *waiting != number);
            let (key, still) = (self.requests[number].wish.key, self.waiting_keys(member));
            let books = &mut self.members[member].books;
            match &turned {
                Ok(_) => books.turned(key, &still)?,
                Err(refused) if !refused.why.is_local() => books.had_its_turn(key),
                Err(_) => {}
            }
            books.stopped_waiting(&still);
            self.turned.push_back((number, member, turned));
        }
        Ok(())
    }

    /// In the order in which they went.
    fn answered(&mut self, member: usize) -> Vec<(usize, Turned)> {
        let mut answered = Vec::new();
        for number in self.members[member].waiting.clone() {
            let request = &mut self.requests[number];
            let Some(queued) = &mut request.queued else { unreachable!("it waits") };
            let turned = match queued.turned.try_recv() {
                Ok(turned) => turned,
                Err(TryRecvError::Empty) => continue,
                // The actor crashed: everybody has to look for another place.
                Err(TryRecvError::Closed) => Err(Refused { why: Refusal::Queued, retry_at: None }),
            };
            // Those whose time was up were sent away before anybody went.
            let order = turned.as_ref().map_or(0, Permit::number);
            answered.push((order, number, turned));
        }
        answered.sort_by_key(|(order, ..)| *order);
        answered.into_iter().map(|(_, number, turned)| (number, turned)).collect()
    }

    fn waiting_keys(&self, member: usize) -> Vec<usize> {
        self.members[member].waiting.iter().map(|number| self.requests[*number].wish.key).collect()
    }

    fn turned(&mut self, number: usize, member: usize, turned: Turned) -> Verdict {
        let Some(Queued { none, others, .. }) = self.requests[number].queued.take() else { return Ok(()) };
        self.tell(|| format!("request {number} at {member}: {:?}", turned.as_ref().map(Permit::number)));
        match turned {
            Ok(permit) => match Lease::after_wait(permit, none) {
                Ok(lease) => self.leased(number, lease, true),
                Err(_) => holds(false, || format!("a permit for request {number} that it did not ask for")),
            },
            Err(refused) => {
                self.summary.turned_away += 1;
                holds(refused.why != Refusal::Disabled || !self.members[member].handle.config().is_active, || {
                    format!("request {number} is told {refused:?}")
                })?;
                self.queue_up(number, none, others)
            }
        }
    }

    /// All rest and none failed: come back when the first one does, if that is soon.
    fn pause(&mut self, number: usize, none: &NoRoute) -> Verdict {
        let NoRoute::Exhausted { retry_after, skipped, .. } = none else { return self.end(number, false) };
        let (now, request) = (self.now(), &mut self.requests[number]);
        let resting = skipped.reasons().any(|reason| reason.as_str() == "cooling_down");
        let soon = retry_after.filter(|wait| *wait <= LONGEST_PAUSE && now.after(*wait) < request.deadline);
        match soon.filter(|_| resting && request.waits > 0 && !request.failed) {
            Some(wait) => {
                request.waits -= 1;
                self.after(wait + Duration::from_millis(1), Event::Resume(number));
                Ok(())
            }
            None => self.end(number, false),
        }
    }

    pub(super) fn resume(&mut self, number: usize) -> Verdict {
        if self.requests[number].ended > 0 { Ok(()) } else { self.first(number) }
    }

    pub(super) fn overdue(&mut self, number: usize, step: u32) -> Verdict {
        let request = &self.requests[number];
        holds(request.step != step || request.queued.is_none(), || {
            let member = request.queued.as_ref().map(|queued| queued.member);
            format!("request {number} waits on at {member:?} although its time is up")
        })
    }

    pub(super) fn answer(&mut self, number: usize, step: u32) -> Verdict {
        if self.requests[number].step != step || self.requests[number].running.is_none() {
            return Ok(());
        }
        let Some((lease, reply, member)) = self.requests[number].running.take() else { return Ok(()) };
        let settlement = Settlement {
            outcome: reply.outcome,
            retry_after: reply.retry_after,
            error: None,
            first_content: reply.after.filter(|_| reply.started),
        };
        self.settle(number, lease, member, settlement, reply)
    }

    pub(super) fn give_up(&mut self, number: usize, step: u32) -> Verdict {
        if self.requests[number].step != step || self.requests[number].running.is_none() {
            return Ok(());
        }
        let Some((lease, reply, member)) = self.requests[number].running.take() else { return Ok(()) };
        let over = self.now() >= self.requests[number].deadline;
        let outcome = if over { Outcome::DeadlineExceeded } else { Outcome::FirstContentTimeout };
        self.settle(number, lease, member, outcome.into(), Reply { started: false, ..reply })
    }

    fn settle(
        &mut self,
        number: usize,
        mut lease: Lease,
        member: usize,
        settlement: Settlement,
        reply: Reply,
    ) -> Verdict {
        let outcome = settlement.outcome;
        if outcome == Outcome::Success {
            lease.permit.true_up(reply.tokens);
            lease.answered();
        }
        if lease.permit.is_terminal_probe() && outcome != Outcome::Success {
            // That attempt was our own idea.
            self.requests[number].tries -= 1;
        }
        lease.permit.settle(settlement);
        self.settled += 1;
        let question = lease.next(Only::default());
        self.returned(number, lease, member);
        let over = self.now() >= self.requests[number].deadline;
        let request = &mut self.requests[number];
        request.failed = true;
        let stop = outcome.verdict().next == Next::Stop || reply.started || over;
        if stop || request.tries >= request.wish.max_attempts {
            return self.end(number, outcome == Outcome::Success);
        }
        self.ask(number, question)
    }

    fn returned(&mut self, number: usize, lease: Lease, member: usize) {
        let provider = self.members[member].provider;
        self.providers[provider].in_flight -= 1;
        self.members[member].books.ended(number);
        if self.sabotage == Some(Sabotage::LoseALease) && number.is_multiple_of(7) {
            self.settled -= 1;
            return std::mem::forget(lease);
        }
        drop(lease);
        self.stirred.push(member);
    }

    pub(super) fn leave(&mut self, number: usize) -> Verdict {
        if self.requests[number].ended > 0 {
            return Ok(());
        }
        self.summary.hang_ups += 1;
        if let Some((mut lease, _, member)) = self.requests[number].running.take() {
            lease.permit.settle(Outcome::ClientGone);
            self.settled += u64::from(self.sabotage == Some(Sabotage::LoseALease) && number.is_multiple_of(7));
            self.returned(number, lease, member);
        }
        if let Some(queued) = self.requests[number].queued.take() {
            self.members[queued.member].waiting.retain(|waiting| *waiting != number);
            let still = self.waiting_keys(queued.member);
            self.members[queued.member].books.stopped_waiting(&still);
        }
        self.end(number, false)
    }

    fn end(&mut self, number: usize, answered: bool) -> Verdict {
        let request = &mut self.requests[number];
        request.ended += 1 + u32::from(self.sabotage == Some(Sabotage::EndARequestTwice) && answered);
        self.summary.answered += u64::from(answered);
        let ended = request.ended;
        holds(ended == 1, || format!("request {number} ended {ended} times"))
    }
}

fn name(key: usize) -> Key {
    Arc::from(format!("key{key}"))
}
