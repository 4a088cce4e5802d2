//! Where the process is in its life, and how much it carries.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use omniroute_actors::clock::Moment;
use tokio::sync::watch;

use super::overload::Pass;

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// The phases of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not yet.
    Starting,
    /// Takes requests.
    Ready,
    /// Takes no new connections, ends what it carries.
    Draining,
}

/// The shared state.
#[derive(Debug)]
pub struct Lifecycle {
    phase: AtomicU8,
    in_flight: AtomicU64,
    started_at: Moment,
    cut: watch::Sender<bool>,
}

impl Lifecycle {
    /// A process that starts now.
    pub fn new(started_at: Moment) -> Self {
        Self {
            phase: AtomicU8::new(STARTING),
            in_flight: AtomicU64::new(0),
            started_at,
            cut: watch::Sender::new(false),
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            STARTING => Phase::Starting,
            READY => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// When it started.
    pub const fn started_at(&self) -> Moment {
        self.started_at
    }

    /// It serves from now on.
    pub fn ready(&self) {
        // Draining is final.
        let _ = self.phase.compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// It is going away.
    pub fn drain(&self) {
        self.phase.store(DRAINING, Ordering::Release);
    }

    /// Every stream that still runs ends now, with its format's error event.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// For a stream: resolves when it must end.
    pub fn watch_cut(&self) -> Cut {
        let mut cut = self.cut.subscribe();
        Cut(Box::pin(async move {
            // An error means that the lifecycle itself is gone: then it is over, too.
            let _ = cut.wait_for(|cut| *cut).await;
        }))
    }

    /// Data-plane requests in flight.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Count a request until the guard is dropped.
    pub fn enter(self: &std::sync::Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { lifecycle: Some(std::sync::Arc::clone(self)), pass: None }
    }
}

/// Resolves when every stream must end.
pub struct Cut(Pin<Box<dyn Future<Output = ()>>>);

impl Cut {
    /// Whether it is time.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// One counted request.
#[derive(Debug)]
pub struct InFlight {
    lifecycle: Option<std::sync::Arc<Lifecycle>>,
    pass: Option<Pass>,
}

impl InFlight {
    /// For a part of something that is counted already.
    pub const fn counted_elsewhere() -> Self {
        Self { lifecycle: None, pass: None }
    }

    /// The same, and the pass ends with it.
    pub fn carrying(mut self, pass: Pass) -> Self {
        self.pass = Some(pass);
        self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(lifecycle) = &self.lifecycle {
            lifecycle.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
