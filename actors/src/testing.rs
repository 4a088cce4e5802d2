//! What the tests of this crate share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Addr, Arbiter, Supervisor};

use crate::clock::{Clock, ManualClock, Moment};
use crate::connection::config::{ConnectionConfig, Limits, Source, UpstreamTarget};
use crate::connection::handle::ConnectionHandle;
use crate::ids::ConnectionId;
use crate::ports::{Nowhere, Ports, StateRecord, StateStore};
use crate::resilience::gate::GateView;
use crate::resilience::health::Remembered;
use crate::resilience::settings::HealthSettings;
use crate::supervisor::{ApplyConnections, Registry};

/// A configuration of provider `p`.
pub(crate) fn config(id: &str) -> ConnectionConfig {
    ConnectionConfig {
        id: id.into(),
        provider: "p".into(),
        name: id.into(),
        source: Source::Database,
        priority: 1,
        is_active: true,
        max_concurrent: 0,
        requests_per_minute: 0,
        limits: Limits::default(),
        health: HealthSettings::default(),
        target: Arc::new(UpstreamTarget {
            chat_url: "http://127.0.0.1:1/v1/chat/completions".into(),
            stream_url: None,
            models_url: None,
            auth_header: None,
            headers: Vec::new(),
            quirks: 0,
            wire: 0,
        }),
        tags: Arc::from([]),
        region: None,
        credential_version: 1,
    }
}

/// A handle without an actor.
pub(crate) fn handle(config: ConnectionConfig) -> Arc<ConnectionHandle> {
    Arc::new(ConnectionHandle::new(config, GateView::CLOSED, Remembered::default(), None))
}

/// Remembers the last record of each save.
#[derive(Default)]
pub(crate) struct Saved {
    pub(crate) count: AtomicUsize,
    pub(crate) last: arc_swap::ArcSwapOption<StateRecord>,
}

impl StateStore for Saved {
    fn save(&self, record: StateRecord) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.last.store(Some(Arc::new(record)));
    }
}

/// A registry with connections on this arbiter and a clock that stands still.
pub(crate) struct Rig {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) saved: Arc<Saved>,
    pub(crate) registry: Addr<Registry>,
    pub(crate) handles: Vec<Arc<ConnectionHandle>>,
}

impl Rig {
    pub(crate) async fn start(configs: Vec<ConnectionConfig>) -> Self {
        Self::resume(configs, Vec::new()).await
    }

    pub(crate) async fn resume(configs: Vec<ConnectionConfig>, stored: Vec<StateRecord>) -> Self {
        let clock = Arc::new(ManualClock::at(Moment::from_millis(10_000)));
        let saved = Arc::new(Saved::default());
        let ports = Ports { clock: clock.clone(), store: saved.clone(), observer: Arc::new(Nowhere) };
        // As it runs: a registry without a supervisor would not outlive a panic.
        let registry = Supervisor::start(move |_| Registry::new(Arbiter::current(), ports, stored));
        let handles = registry.send(ApplyConnections(configs)).await.unwrap().unwrap();
        tokio::task::yield_now().await;
        Self { clock, saved, registry, handles }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    pub(crate) fn connection(&self, id: &str) -> Arc<ConnectionHandle> {
        let id = ConnectionId::from(id);
        self.handles.iter().find(|handle| *handle.id() == id).unwrap().clone()
    }
}

/// Let the actors of this arbiter work off what they have.
pub(crate) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}
