//! Clients that nobody takes at once: turns in queues, pauses for cooldowns.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::Sabotage;
use super::audit::{Verdict, holds};
use super::world::{Event, World};
use crate::clock::Clock;
use crate::connection::handle::ConnectionHandle;
use crate::connection::lease::Permit;
use crate::connection::refusal::{Refusal, Refused};
use crate::connection::traffic::Ask;
use crate::connection::waiting::Turned;
use crate::ids::ModelName;
use crate::resilience::outcome::Outcome;
use crate::resilience::queue::Key;
use crate::router::{Lease, NoRoute, SkipReason};

/// Queues that one request asks before it gives up.
const MOST_QUEUES: usize = 3;
/// The longest pause for a cooldown.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A place in a queue, and what the router said before.
pub(super) struct Queued {
    turned: oneshot::Receiver<Turned>,
    none: NoRoute,
    others: Vec<usize>,
    pub member: usize,
}

impl World {
    /// Nobody could be leased: wait for a turn, or for a cooldown, or end.
    pub(super) fn nobody(&mut self, number: usize, none: NoRoute) -> Verdict {
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
                let run = self.next_run();
                return self.members[member].books.granted(&permit, run, false, now);
            }
        }
        let ask = Ask { model: &model, tokens };
        let turned = self.members[member].actor.wait(ask, name(key), deadline);
        self.summary.waited += 1;
        self.tell(|| format!("request {number} of key {key} waits for {member}"));
        // Those whose time was up left before this one came: its key may have had nobody in the queue for a moment.
        self.note_answers(member)?;
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
    fn blame(&self, handle: &Arc<ConnectionHandle>, model: &ModelName) {
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
        let answered = self.answered(member);
        let had_its_turn = |turned: &Turned| turned.as_ref().is_err_and(|refused| !refused.why.is_local());
        let of_key = |number: &usize| self.requests[*number].wish.key;
        let had_theirs: Vec<usize> =
            answered.iter().filter(|(_, turned)| had_its_turn(turned)).map(|(number, _)| of_key(number)).collect();
        for (number, turned) in answered {
            self.members[member].waiting.retain(|waiting| *waiting != number);
            let (key, still) = (self.requests[number].wish.key, self.waiting_keys(member));
            let books = &mut self.members[member].books;
            // Whoever the connection did not take had its turn before, between or after those that went.
            had_theirs.iter().for_each(|key| books.had_its_turn(*key));
            if turned.is_ok() {
                books.turned(key, &still)?;
            }
            had_theirs.iter().for_each(|key| books.had_its_turn(*key));
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

    pub(super) fn waiting_keys(&self, member: usize) -> Vec<usize> {
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

    pub(super) fn overdue(&mut self, number: usize, step: u32) -> Verdict {
        let request = &self.requests[number];
        holds(request.step != step || request.queued.is_none(), || {
            let member = request.queued.as_ref().map(|queued| queued.member);
            format!("request {number} waits on at {member:?} although its time is up")
        })
    }
}

fn name(key: usize) -> Key {
    Arc::from(format!("key{key}"))
}
