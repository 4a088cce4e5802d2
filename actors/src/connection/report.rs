//! Reports travel to the connection actors in batches.
//!
//! Waking another thread costs more than everything else a report does (measured: 5-6 us against 0.3 us), so
//! successes wait in a buffer of the worker until 64 are there or 20 ms have passed. What may change a state,
//! a failure or the verdict on a probe, leaves at once and takes the waiting ones along.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::handle::ConnectionHandle;
use crate::resilience::health::Heard;
use crate::resilience::learned::Reported;
use crate::resilience::outcome::Outcome;

/// Successes wait at most this long.
pub const FLUSH_AFTER: Duration = Duration::from_millis(20);
const FLUSH_AT: usize = 64;

/// One finished attempt on its way to the actor.
#[derive(Debug)]
pub struct Report {
    /// Whose.
    pub handle: Arc<ConnectionHandle>,
    /// What is reported.
    pub heard: Heard,
    /// What it says about limits.
    pub aside: Aside,
}

/// What an attempt says beside its outcome.
#[derive(Debug, Default)]
pub struct Aside {
    /// How many ran when it ended, itself included.
    pub running: u32,
    /// What the provider said about its limits.
    pub limits: Vec<Reported>,
}

thread_local! {
    static WAITING: RefCell<Vec<Report>> = const { RefCell::new(Vec::new()) };
    static FLUSHER: RefCell<Option<Rc<Notify>>> = const { RefCell::new(None) };
}

/// Put a report into the worker's buffer, or send it.
pub(crate) fn file(report: Report) {
    let urgent = report.heard.outcome != Outcome::Success || report.heard.admission.probe;
    let waiting = WAITING.with_borrow_mut(|waiting| {
        waiting.push(report);
        waiting.len()
    });
    let flusher = FLUSHER.with_borrow(Clone::clone);
    match flusher {
        Some(flusher) if !urgent && waiting < FLUSH_AT => {
            if waiting == 1 {
                flusher.notify_one();
            }
        }
        _ => flush(),
    }
}

/// Send everything that waits on this thread.
pub fn flush() {
    let mut waiting = WAITING.take();
    while let Some(first) = waiting.first() {
        let handle = Arc::clone(&first.handle);
        let (own, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|report| Arc::ptr_eq(&report.handle, &handle));
        handle.deliver(own);
        waiting = others;
    }
}

/// Start the timer of this thread. Must run inside a worker's local set; without it reports leave at once.
pub fn start_flusher() {
    let wanted = Rc::new(Notify::new());
    FLUSHER.set(Some(Rc::clone(&wanted)));
    actix_rt::spawn(async move {
        loop {
            wanted.notified().await;
            tokio::time::sleep(FLUSH_AFTER).await;
            flush();
        }
    });
}

/// Nobody hears these: their connection has neither an actor nor a registry. Only tests have such connections.
#[cfg(not(test))]
pub(crate) fn lost(_: Vec<Report>) {}

#[cfg(test)]
pub(crate) use by_hand::{lost, take_lost};

/// Whoever drives connections without actors hands the reports over itself.
#[cfg(test)]
mod by_hand {
    use super::*;

    thread_local! {
        static LOST: RefCell<Vec<Report>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn lost(reports: Vec<Report>) {
        LOST.with_borrow_mut(|lost| lost.extend(reports));
    }

    /// The reports of this thread that nobody heard.
    pub(crate) fn take_lost() -> Vec<Report> {
        LOST.take()
    }
}
