//! The watch for clients that stop reading. Backpressure holds the upstream still for them, so nothing in the answer
//! itself ever wakes up; somebody outside has to look.
//!
//! The watch gives up what the answer holds (the upstream, its slot, its memory) and books it. The socket is the
//! kernel's to close: a little later than the watch, by [`socket_limit`], which also bounds what the watch never sees,
//! an answer that lies in buffers only.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// How often a worker looks at its answers.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An answer that a client may stop reading.
pub(super) trait Watched {
    /// The client has not read for that long although something lay ready for it.
    fn stalled_since(&self, limit: Duration) -> bool;

    /// Give the answer up. The client is treated as one that left; should it read again it finds its connection cut, not
    /// an end that looks like one.
    fn stall(&mut self);
}

/// The client did not read for too long; its connection is closed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the client stopped reading")]
pub struct ClientStalled;

thread_local! {
    static ANSWERS: RefCell<Vec<Weak<RefCell<dyn Watched>>>> = const { RefCell::new(Vec::new()) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static LIMIT: Cell<Duration> = const { Cell::new(Duration::from_secs(60)) };
}

/// How long a client of this worker may refuse to read.
pub fn set_limit(limit: Duration) {
    LIMIT.set(limit);
}

/// How long the kernel may keep a connection whose client takes nothing, when the watch waits for that long.
pub fn socket_limit(limit: Duration) -> Duration {
    limit.saturating_add(2 * LOOK_EVERY)
}

/// Put an answer under the watch of its worker. The watch runs only while there are answers to watch.
pub(super) fn watch<A: Watched + 'static>(answer: &Rc<RefCell<A>>) {
    let answer: Rc<RefCell<dyn Watched>> = Rc::clone(answer) as _;
    ANSWERS.with_borrow_mut(|answers| answers.push(Rc::downgrade(&answer)));
    if !WATCHING.replace(true) {
        actix_rt::spawn(async {
            while look() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            WATCHING.set(false);
        });
    }
}

/// One look; whether there is still something to watch.
fn look() -> bool {
    let alive: Vec<_> = ANSWERS.with_borrow_mut(|answers| {
        answers.retain(|answer| answer.strong_count() > 0);
        answers.iter().filter_map(Weak::upgrade).collect()
    });
    for answer in &alive {
        // Borrowed only while it is polled, which is never while this runs.
        if let Ok(mut answer) = answer.try_borrow_mut()
            && answer.stalled_since(LIMIT.get())
        {
            tracing::warn!("a client stopped reading its answer, which is given up");
            answer.stall();
        }
    }
    !alive.is_empty()
}
