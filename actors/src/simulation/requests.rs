//! Clients: they ask, wait, perhaps hang up, and end once.

use std::sync::Arc;

use super::Sabotage;
use super::attempts::{Lost, Running};
use super::audit::{Verdict, holds};
use super::scenario::Wish;
use super::waiting::Queued;
use super::world::{Event, World};
use crate::clock::Moment;
use crate::ids::ModelName;
use crate::router::fallback::Attempts;
use crate::router::{Only, Route};

/// One request.
pub(super) struct Request {
    pub wish: Wish,
    /// How often it ended: once, at the end of the world.
    pub ended: u32,
    pub arrived: bool,
    pub deadline: Moment,
    /// Counts attempts and waits, so that an event for an older one says nothing.
    pub step: u32,
    /// What the engine remembers of its attempts.
    pub attempts: Attempts,
    pub waits: u32,
    pub failed: bool,
    /// One attempt, or two side by side.
    pub running: Vec<Running>,
    /// The attempt beside another one failed before it.
    pub lost_beside: Option<Lost>,
    pub queued: Option<Queued>,
    /// Where it was: nothing is tried twice, but for what its combo wants tried again.
    pub tried: Vec<(usize, ModelName)>,
    pub once_more: bool,
    /// Our own books of what its next attempt is: the providers that it came to, and whether it is free.
    pub came_to: Vec<usize>,
    pub free: bool,
}

impl Request {
    pub fn new(wish: Wish) -> Self {
        Self {
            deadline: wish.at.after(wish.deadline),
            waits: wish.waits,
            wish,
            ended: 0,
            arrived: false,
            step: 0,
            attempts: Attempts::default(),
            failed: false,
            running: Vec::new(),
            lost_beside: None,
            queued: None,
            tried: Vec::new(),
            once_more: false,
            came_to: Vec::new(),
            free: true,
        }
    }
}

impl World {
    pub(super) fn arrive(&mut self, number: usize) -> Verdict {
        self.summary.requests += 1;
        self.requests[number].arrived = true;
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

    pub(super) fn ask(&mut self, number: usize, question: Route) -> Verdict {
        match self.router.route(question) {
            Ok(lease) => self.leased(number, lease, false),
            Err(none) => self.nobody(number, none),
        }
    }

    pub(super) fn resume(&mut self, number: usize) -> Verdict {
        if self.requests[number].ended > 0 { Ok(()) } else { self.first(number) }
    }

    /// The pause is over after which the same place is asked again.
    pub(super) fn once_more(&mut self, number: usize, question: Route) -> Verdict {
        if self.requests[number].ended > 0 {
            return Ok(());
        }
        self.requests[number].once_more = true;
        self.ask(number, question)
    }

    pub(super) fn leave(&mut self, number: usize) -> Verdict {
        if self.requests[number].ended > 0 {
            return Ok(());
        }
        self.summary.hang_ups += 1;
        self.gone(number)
    }

    /// Its process ends, and it with it.
    pub(super) fn dies(&mut self, number: usize) -> Verdict {
        let request = &self.requests[number];
        if request.arrived && request.ended == 0 { self.gone(number) } else { Ok(()) }
    }

    /// Whatever it has goes back, and nobody is blamed.
    fn gone(&mut self, number: usize) -> Verdict {
        for mut running in std::mem::take(&mut self.requests[number].running) {
            running.settle_as_gone();
            self.settled += u64::from(self.loses_leases_of(number));
            self.returned(number, running);
        }
        if let Some(queued) = self.requests[number].queued.take() {
            self.members[queued.member].waiting.retain(|waiting| *waiting != number);
            let still = self.waiting_keys(queued.member);
            self.members[queued.member].books.stopped_waiting(&still);
        }
        self.end(number, false)
    }

    pub(super) fn end(&mut self, number: usize, answered: bool) -> Verdict {
        let request = &mut self.requests[number];
        request.ended += 1 + u32::from(self.sabotage == Some(Sabotage::EndARequestTwice) && answered);
        self.summary.answered += u64::from(answered);
        let ended = request.ended;
        holds(ended == 1, || format!("request {number} ended {ended} times"))
    }
}
