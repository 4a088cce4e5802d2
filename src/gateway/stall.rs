//! The watch for clients that stop reading. Backpressure holds the upstream still for them, so nothing in the
//! stream itself ever wakes up; somebody outside has to look.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::relay_body::RunningStream;

/// How often a worker looks at its streams.
const LOOK_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    static STREAMS: RefCell<Vec<Weak<RefCell<RunningStream>>>> = const { RefCell::new(Vec::new()) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static LIMIT: Cell<Duration> = const { Cell::new(Duration::from_secs(60)) };
}

/// How long a client of this worker may refuse to read.
pub fn set_limit(limit: Duration) {
    LIMIT.set(limit);
}

/// Put a stream under the watch of its worker. The watch runs only while there are streams.
pub(super) fn watch(stream: &Rc<RefCell<RunningStream>>) {
    STREAMS.with_borrow_mut(|streams| streams.push(Rc::downgrade(stream)));
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
    let alive: Vec<_> = STREAMS.with_borrow_mut(|streams| {
        streams.retain(|stream| stream.strong_count() > 0);
        streams.iter().filter_map(Weak::upgrade).collect()
    });
    for stream in &alive {
        // Borrowed only while it is polled, which is never while this runs.
        if let Ok(mut stream) = stream.try_borrow_mut()
            && stream.stalled_since(LIMIT.get())
        {
            tracing::warn!("a client stopped reading its stream; the upstream is given up");
            stream.stall();
        }
    }
    !alive.is_empty()
}
