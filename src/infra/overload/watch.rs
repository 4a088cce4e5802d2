//! The eye on each worker's event loop: how late its timers are, and how long it had work.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Overload;
use super::valve::{Sample, Valve};
use crate::config::ConfigHandle;
use crate::infra::lateness;

/// How often a loop is looked at while calls are in flight.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);
/// How often a worker without calls looks whether there are some elsewhere. A call of its own wakes it at once.
const IDLE_EVERY: Duration = Duration::from_millis(250);

thread_local! {
    static VALVE: RefCell<Valve> = RefCell::default();
    static CALLED: Rc<Notify> = Rc::default();
}

/// Whether this worker takes a call of this key.
pub(super) fn takes(key: usize) -> bool {
    VALVE.with_borrow_mut(|valve| {
        if valve.is_unused() {
            CALLED.with(|called| called.notify_one());
        }
        valve.takes(key, Instant::now())
    })
}

/// A call that this worker took is over.
pub(super) fn ends() {
    // While the thread ends there is nothing left to learn.
    _ = VALVE.try_with(|valve| valve.borrow_mut().end());
}

/// Whether this worker takes fewer calls than are asked of it.
pub(super) fn limits() -> bool {
    VALVE.with_borrow(Valve::limits)
}

/// Watch the event loop of this worker for as long as it lives. Without calls it hardly wakes up.
pub fn watch(overload: Arc<Overload>, config: ConfigHandle) {
    actix_rt::spawn(async move {
        loop {
            let most = Duration::from_millis(config.load().overload.max_lag_ms);
            if most.is_zero() {
                VALVE.take();
            }
            if most.is_zero() || is_idle(&overload) {
                rest().await;
                see(Duration::ZERO, most);
            }
            see(lateness::nap(Instant::now() + SAMPLE_EVERY).await, most);
        }
    });
}

fn see(late: Duration, most: Duration) {
    let busy = Handle::current().metrics().worker_total_busy_duration(0);
    let sample = Sample { now: Instant::now(), late, busy };
    VALVE.with_borrow_mut(|valve| valve.see(sample, most));
}

fn is_idle(overload: &Overload) -> bool {
    overload.in_flight.load(Ordering::Relaxed) == 0 && VALVE.with_borrow(Valve::is_unused)
}

/// Until there may be something to see.
async fn rest() {
    VALVE.with_borrow_mut(Valve::rest);
    let called = CALLED.with(Rc::clone);
    tokio::select! {
        _ = lateness::nap(Instant::now() + IDLE_EVERY) => {}
        () = called.notified() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::config::Config;

    /// Ask all the time for five seconds at most, until something is refused.
    async fn is_refused(while_working: Duration) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(5) {
            thread::sleep(while_working);
            if !(0..20).all(|_| takes(1)) {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    #[actix_rt::test]
    async fn a_worker_whose_own_work_makes_it_late_refuses_and_recovers() {
        watch(Arc::default(), ConfigHandle::new(Config::default()));

        let refused = is_refused(Duration::from_millis(40)).await;
        let limited = limits();
        for _ in 0..500 {
            if !limits() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        assert_eq!((refused, limited, limits()), (true, true, false));
    }

    #[actix_rt::test]
    async fn a_worker_that_is_told_not_to_look_refuses_nobody() {
        let mut config = Config::default();
        config.overload.max_lag_ms = 0;
        watch(Arc::default(), ConfigHandle::new(config));
        tokio::task::yield_now().await;

        for _ in 0..10 {
            thread::sleep(Duration::from_millis(30));
            tokio::task::yield_now().await;
        }

        assert!(!limits());
    }
}
