//! What one worker touches per request: two or three atomic steps on handles that it registered before.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram, Label};
use omniroute_actors::resilience::outcome::Outcome;
use smallvec::SmallVec;

use super::Metrics;

/// Statuses come from upstreams, too: beyond this many per outcome they are counted together, as status 0.
const STATUSES: usize = 24;

type ByStatus = SmallVec<[(u16, Counter); 2]>;

thread_local! {
    static HANDLES: RefCell<Option<Handles>> = const { RefCell::new(None) };
}

/// A data-plane request ended on this thread. Counted where the thread is a worker ([`Handles::install`]).
pub fn request(outcome: Outcome, status: u16, total: Duration, first_content: Option<Duration>, overhead: Duration) {
    HANDLES.with_borrow(|handles| {
        if let Some(handles) = handles {
            handles.request(outcome, status, total, first_content, overhead);
        }
    });
}

/// A URL of a client was fetched on this thread, or was not; the label says which.
pub fn fetch(result: &'static str) {
    HANDLES.with_borrow(|handles| {
        if let Some(handles) = handles {
            handles.metrics.counter("omniroute_media_fetches_total", vec![Label::new("result", result)]).increment(1);
        }
    });
}

/// The handles of one worker; they are not shared between threads.
pub struct Handles {
    metrics: Arc<Metrics>,
    requests: RefCell<[ByStatus; Outcome::ALL.len()]>,
    total: Histogram,
    first_content: Histogram,
    overhead: Histogram,
}

impl Handles {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            total: metrics.histogram("omniroute_request_duration_seconds"),
            first_content: metrics.histogram("omniroute_first_content_seconds"),
            overhead: metrics.histogram("omniroute_gateway_overhead_seconds"),
            requests: RefCell::default(),
            metrics,
        }
    }

    /// Make them those of this thread, for [`request`].
    pub fn install(self) {
        HANDLES.set(Some(self));
    }

    /// A data-plane request ended. `overhead` is the part of `total` that was spent in the gateway itself.
    pub fn request(
        &self,
        outcome: Outcome,
        status: u16,
        total: Duration,
        first_content: Option<Duration>,
        overhead: Duration,
    ) {
        self.count(outcome, status);
        self.total.record(total);
        self.overhead.record(overhead);
        if let Some(first_content) = first_content {
            self.first_content.record(first_content);
        }
    }

    fn count(&self, outcome: Outcome, status: u16) {
        let mut requests = self.requests.borrow_mut();
        let Some(known) = requests.get_mut(outcome as usize) else { return };
        let status = if known.len() < STATUSES || known.iter().any(|(known, _)| *known == status) { status } else { 0 };
        match known.iter().find(|(known, _)| *known == status) {
            Some((_, counter)) => counter.increment(1),
            None => {
                let counter = self.register(outcome, status);
                counter.increment(1);
                known.push((status, counter));
            }
        }
    }

    fn register(&self, outcome: Outcome, status: u16) -> Counter {
        let labels = vec![Label::new("outcome", outcome.as_str()), Label::new("status", status.to_string())];
        self.metrics.counter("omniroute_requests_total", labels)
    }
}
