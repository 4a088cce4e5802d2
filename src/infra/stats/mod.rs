//! What happened lately: combos, phases per provider, sessions, transitions of connections. In memory and bounded.
//!
//! ```text
//! request: Tally ──try_send──► bounded lock-free queue ─┐
//! actors:  Observer ──────────► queue ──────────────────┤ every 250 ms, and before each question
//! management: Stats::ask ─────► queue of questions ─────┴► Keeper: the only owner of everything here
//! ```
//! A request puts one pointer into a queue and wakes nobody; when the queue is full its numbers are lost and counted,
//! never its answer delayed.

pub mod combos;
pub mod events;
mod finished;
mod keeper;
mod quantiles;
pub mod sessions;
pub mod telemetry;
#[cfg(test)]
mod tests;

pub use finished::{Finished, SessionName};
pub use keeper::{Keeper, Kept};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use omniroute_actors::clock::Clock;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::ports::Observer;
use omniroute_actors::resilience::health::Transition;
use tokio::sync::{mpsc, oneshot};

use crate::store::Store;

/// Finished requests that wait between two looks.
const QUEUE: usize = 8_192;
/// Transitions that wait; there are few of them.
const EVENTS: usize = 4_096;

/// What is asked of the keeper: work on everything it has.
pub(super) type Errand = Box<dyn FnOnce(&mut Kept) + Send>;

/// A handle; clones share the keeper.
#[derive(Clone)]
pub struct Stats {
    // Boxed: the queues hold room for all that they may hold, from the start.
    finished: SyncSender<Box<Finished>>,
    events: SyncSender<Box<events::Event>>,
    errands: mpsc::UnboundedSender<Errand>,
    lost: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stats").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl Stats {
    /// A handle, and the keeper that somebody must run. With a store it writes transitions into the audit log.
    pub fn new(clock: Arc<dyn Clock>, audit: Option<Store>) -> (Self, Keeper) {
        let (finished, of_requests) = sync_channel(QUEUE);
        let (events, of_connections) = sync_channel(EVENTS);
        let (errands, questions) = mpsc::unbounded_channel();
        let stats = Self { finished, events, errands, lost: Arc::default(), clock: Arc::clone(&clock) };
        (stats, Keeper::new(of_requests, of_connections, questions, clock, audit))
    }

    /// A request is over.
    pub fn finished(&self, finished: Finished) {
        self.count_lost(self.finished.try_send(Box::new(finished)).is_err());
    }

    /// How many were not counted because the keeper was too slow.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Ask the keeper; `None` when it is gone.
    pub async fn ask<T, F>(&self, question: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Kept) -> T + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let errand: Errand = Box::new(move |kept| {
            // Whoever asked may have gone.
            let _ = answer.send(question(kept));
        });
        self.errands.send(errand).ok()?;
        wait.await.ok()
    }

    fn count_lost(&self, lost: bool) {
        if lost {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Observer for Stats {
    fn changed(&self, connection: &ConnectionHandle, transition: &Transition) {
        let event = events::Event::of(connection, transition, self.clock.both());
        self.count_lost(self.events.try_send(Box::new(event)).is_err());
    }
}

/// Several ears for the same transitions.
pub struct Ears(pub Vec<Arc<dyn Observer>>);

impl Observer for Ears {
    fn changed(&self, connection: &ConnectionHandle, transition: &Transition) {
        self.0.iter().for_each(|ear| ear.changed(connection, transition));
    }
}

/// A point in time as the API writes it.
fn iso(ms: i64) -> serde_json::Value {
    jiff::Timestamp::from_millisecond(ms).map_or(serde_json::Value::Null, |at| at.to_string().into())
}
