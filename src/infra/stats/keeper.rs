//! The owner of all that is kept, and its loop.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use omniroute_actors::clock::Clock;
use serde_json::json;
use tokio::sync::mpsc;

use super::combos::Combos;
use super::events::{Event, Events};
use super::sessions::Sessions;
use super::telemetry::Telemetry;
use super::{Errand, Finished};
use crate::store::{AuditEntry, Store};

/// How long finished requests wait at most before they are counted.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Everything that is kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// Combos.
    pub combos: Combos,
    /// Phases per provider.
    pub telemetry: Telemetry,
    /// Sessions.
    pub sessions: Sessions,
    /// Transitions of connections.
    pub events: Events,
    /// The wall time of the last look, Unix milliseconds.
    pub now: i64,
}

impl Kept {
    /// Count a finished request.
    pub fn hear(&mut self, finished: &Finished, now: i64) {
        self.combos.hear(finished, now);
        self.telemetry.hear(finished, now);
        self.sessions.hear(finished, now);
    }
}

/// Keeps, until every handle is gone.
pub struct Keeper {
    finished: Receiver<Box<Finished>>,
    events: Receiver<Box<Event>>,
    errands: mpsc::UnboundedReceiver<Errand>,
    clock: Arc<dyn Clock>,
    audit: Option<Store>,
    kept: Kept,
}

impl Keeper {
    pub(super) fn new(
        finished: Receiver<Box<Finished>>,
        events: Receiver<Box<Event>>,
        errands: mpsc::UnboundedReceiver<Errand>,
        clock: Arc<dyn Clock>,
        audit: Option<Store>,
    ) -> Self {
        Self { finished, events, errands, clock, audit, kept: Kept::default() }
    }

    /// Work until every handle is gone.
    pub async fn run(mut self) {
        loop {
            match tokio::time::timeout(LOOK_EVERY, self.errands.recv()).await {
                Ok(None) => return self.look().await,
                Ok(Some(errand)) => {
                    // A question is answered with everything that happened before it.
                    let news = self.take_in();
                    errand(&mut self.kept);
                    self.write_down(news).await;
                }
                Err(_) => self.look().await,
            }
        }
    }

    async fn look(&mut self) {
        let news = self.take_in();
        self.write_down(news).await;
    }

    fn take_in(&mut self) -> Vec<Event> {
        let now = self.clock.wall().0;
        self.kept.now = now;
        for finished in self.finished.try_iter() {
            self.kept.hear(&finished, now);
        }
        self.kept.sessions.forget_idle(now);
        let news: Vec<_> = self.events.try_iter().map(|event| *event).collect();
        news.iter().for_each(|event| self.kept.events.hear(event.clone()));
        news
    }

    /// The audit log tells an operator months later why a connection was out.
    async fn write_down(&mut self, news: Vec<Event>) {
        let Some(store) = self.audit.clone() else { return };
        for event in news {
            let detail = json!({
                "status": "success", "resourceType": "connection",
                "metadata": {
                    "change": event.change, "cause": event.cause, "provider": event.provider, "name": event.name,
                },
            });
            let entry = AuditEntry {
                at: event.at,
                actor: "system".to_owned(),
                action: format!("connection.{}", event.kind),
                target: event.connection.clone(),
                detail,
            };
            if let Err(error) = store.audit().append(entry).await {
                tracing::warn!(%error, connection.id = event.connection, "a transition is missing in the audit log");
            }
        }
    }
}
