//! Waiting for a connection: who cannot be served at once for our own reasons may wait for its turn.
//!
//! ```text
//! dispatch --Wait{ask, key, deadline, answer}--> queue --slot and cell are there--> answer: Permit
//!                                                  ^ '--full, too long, health changed--> answer: Refused
//!  Permit::drop --Turn (only while somebody waits)-'-- timer: the pace lets the next one pass, a deadline ends
//! ```
//! Every waiter is answered exactly once: with a permit, with a refusal, or by the end of its channel when the actor
//! dies. One that went away is passed over; the permit that met a closed channel goes back.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message, SpawnHandle};
use tokio::sync::oneshot;

use super::Connection;
use super::handle::ConnectionHandle;
use super::lease::Permit;
use super::refusal::{Refusal, Refused};
use super::traffic::{Ask, slot_wait};
use crate::clock::Moment;
use crate::guard::guarded;
use crate::ids::ModelName;
use crate::resilience::queue::{FairQueue, Key, Pushed, Waiter};

/// What a waiter gets.
pub type Turned = Result<Permit, Refused>;

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Place {
    model: ModelName,
    tokens: u64,
    answer: oneshot::Sender<Turned>,
}

impl Place {
    pub(super) fn new(ask: Ask<'_>, answer: oneshot::Sender<Turned>) -> Self {
        Self { model: ask.model.clone(), tokens: ask.tokens, answer }
    }

    fn refuse(self, refused: Refused) {
        // One that went away needs no answer.
        let _ = self.answer.send(Err(refused));
    }
}

/// The queue of a connection and its timer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: FairQueue<Place>,
    /// When the first in line may go, where that is a matter of time.
    next_at: Option<Moment>,
    timer: Option<(Moment, SpawnHandle)>,
}

impl Waiting {
    /// The place of everybody is lost: the actor begins anew.
    pub(super) fn dismiss(&mut self, handle: &ConnectionHandle) {
        for waiter in self.queue.drain() {
            waiter.item.refuse(Refused { why: Refusal::Queued, retry_at: None });
        }
        self.timer = None;
        handle.slots.set_waiting(0);
    }
}

impl ConnectionHandle {
    /// Wait for a turn. Whoever stops awaiting gives its place up. Nothing is awaited past the deadline.
    ///
    /// # Errors
    /// Why there was none: the queue is full, it would take too long, or the connection's health changed.
    pub async fn wait(&self, ask: Ask<'_>, key: Key, deadline: Moment) -> Turned {
        let lost = Refused { why: Refusal::Queued, retry_at: None };
        let address = self.address().ok_or(lost)?;
        let (answer, turned) = oneshot::channel();
        address.do_send(Wait(Waiter { key, deadline, item: Place::new(ask, answer) }));
        turned.await.unwrap_or(Err(lost))
    }

    /// How long a newcomer with that many tokens would wait for its turn; `None` where nobody may wait.
    pub fn expected_wait(&self, tokens: u64, now: Moment) -> Option<Duration> {
        let (queued, depth) = (self.slots.waiting(), self.config().limits.queue_depth);
        (queued < depth).then(|| self.wait_behind(u64::from(queued), tokens, now))
    }

    /// How many wait.
    pub fn queued(&self) -> u32 {
        self.slots.waiting()
    }

    fn wait_behind(&self, ahead: u64, tokens: u64, now: Moment) -> Duration {
        let most = self.traffic.most_at_once(&self.config());
        let slot = slot_wait(ahead, self.slots.taken(), most, self.traffic.stats().service_time());
        let spaced = self.traffic.spacing().saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
        slot.max(self.traffic.free_at(tokens, now).until(now).saturating_add(spaced))
    }

    /// Tell the actor that somebody may go, once per turn.
    pub(super) fn ask_for_turn(&self) {
        if self.traffic.ask_for_turn()
            && let Some(address) = self.address()
        {
            address.do_send(Turn);
        }
    }
}

/// Wait for a turn.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Wait(pub(super) Waiter<Place>);

impl Handler<Wait> for Connection {
    type Result = ();

    fn handle(&mut self, Wait(waiter): Wait, ctx: &mut Self::Context) {
        let _ = guarded(self, ctx, "Wait", |connection| connection.queue_up(waiter));
        self.set_timer(ctx);
    }
}

/// Somebody may go: a slot is free, a cell of the limiter, or a deadline is over.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Turn;

impl Handler<Turn> for Connection {
    type Result = ();

    fn handle(&mut self, _: Turn, ctx: &mut Self::Context) {
        let _ = guarded(self, ctx, "Turn", Connection::serve);
        self.set_timer(ctx);
    }
}

impl Connection {
    pub(super) fn queue_up(&mut self, mut waiter: Waiter<Place>) {
        let now = self.ports.clock.now();
        self.dismiss_the_gone(now);
        let limits = self.handle.config().limits;
        waiter.deadline = waiter.deadline.min(now.after(limits.max_wait));
        let ahead = self.waiting.queue.ahead_of(&waiter.key) as u64;
        let expected = self.handle.wait_behind(ahead, waiter.item.tokens, now);
        let retry_at = Some(now.after(expected));
        if now.after(expected) > waiter.deadline {
            return waiter.item.refuse(Refused { why: Refusal::WaitTooLong, retry_at });
        }
        match self.waiting.queue.push(waiter, limits.queue_depth as usize) {
            Pushed::Waits => {}
            Pushed::Displaced(other) | Pushed::Full(other) => {
                other.item.refuse(Refused { why: Refusal::QueueFull, retry_at });
            }
        }
        self.serve();
    }

    /// Let everybody go who can. The count of waiters stands before the slots are looked at, so that a slot that is
    /// given back meanwhile leads to another turn.
    pub(super) fn serve(&mut self) {
        self.handle.traffic.begin_turn();
        self.waiting.next_at = None;
        if self.waiting.queue.is_empty() {
            return;
        }
        self.dismiss_the_gone(self.ports.clock.now());
        while let Some(waiter) = self.waiting.queue.pop() {
            if let Some((waiter, next_at)) = self.try_one(waiter) {
                self.waiting.queue.put_back(waiter);
                self.waiting.next_at = next_at;
                break;
            }
        }
        self.show_queue();
    }

    /// The waiter comes back when it has to go on waiting, and until when, where that is known.
    fn try_one(&self, waiter: Waiter<Place>) -> Option<(Waiter<Place>, Option<Moment>)> {
        let ask = Ask { model: &waiter.item.model, tokens: waiter.item.tokens };
        match self.handle.acquire_in_turn(ask, &self.ports.clock) {
            Err(refused) if refused.why.is_local() => return Some((waiter, refused.retry_at)),
            // A permit that nobody takes any more goes back by its drop.
            turned => drop(waiter.item.answer.send(turned)),
        }
        None
    }

    /// Those that stopped waiting, and those whose time is up.
    fn dismiss_the_gone(&mut self, now: Moment) {
        let gone = self.waiting.queue.take_where(|waiter| waiter.item.answer.is_closed() || waiter.deadline <= now);
        for waiter in gone {
            waiter.item.refuse(Refused { why: Refusal::WaitTooLong, retry_at: None });
        }
        // Whoever came may be turned away, and nobody else looks: newcomers would stand behind a queue that is empty.
        self.show_queue();
    }

    fn show_queue(&self) {
        self.handle.slots.set_waiting(u32::try_from(self.waiting.queue.len()).unwrap_or(u32::MAX));
    }

    /// When the first in line may go, or the first deadline ends; `None` while nobody waits.
    pub(super) fn next_turn(&self) -> Option<Moment> {
        let Waiting { queue, next_at, .. } = &self.waiting;
        queue.first_deadline().map(|deadline| next_at.map_or(deadline, |next| next.min(deadline)))
    }

    /// Wake up when the first in line may go or the first deadline ends; slots wake by themselves.
    pub(super) fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let (now, next) = (self.ports.clock.now(), self.next_turn());
        let timer = &mut self.waiting.timer;
        timer.take_if(|(at, _)| *at <= now);
        if timer.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        if let Some((_, old)) = timer.take() {
            ctx.cancel_future(old);
        }
        // Never at once, or it would spin.
        *timer = next.map(|at| (at, ctx.notify_later(Turn, at.until(now).max(Duration::from_millis(1)))));
    }
}

/// A key for callers without one.
pub fn nobody() -> Key {
    Arc::from("")
}
