//! Addresses that the policy refused at the moment of use, written into the audit log.
//!
//! A URL is checked when it is saved. One that is refused later means that a name began to point inside, which somebody
//! may have done on purpose. The connectors only put the refusal into a queue; each one is written once an hour and at
//! most one a second, so that a busy model, or a client that names address after address, does not fill the log.

use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::clock::Clock;
use serde_json::json;
use tokio::sync::mpsc;

use crate::store::{AuditEntry, Store};
use crate::upstream::{OnRefusal, Refusal};

/// The same refusal is news again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// Refusals that are remembered as told.
const REMEMBERED: u64 = 1_000;
/// Refusals that wait to be written; more of them at a time say nothing new.
const WAITING: usize = 64;
/// The pause between two rows.
const PAUSE: Duration = Duration::from_secs(1);

/// What the connectors tell, and the task that must run for it.
pub fn watch(store: Store, clock: Arc<dyn Clock>) -> (OnRefusal, Writing) {
    let (sender, refusals) = mpsc::channel(WAITING);
    let told = moka::sync::Cache::builder().max_capacity(REMEMBERED).time_to_live(AGAIN_AFTER).build();
    let tell = move |refusal: &Refusal| {
        let line = refusal.to_string();
        if told.contains_key(&line) {
            return;
        }
        tracing::warn!(refusal = line, "an address was refused at connect");
        // A full queue forgets this one; it is told at its next attempt.
        if sender.try_send(refusal.clone()).is_ok() {
            told.insert(line, ());
        }
    };
    (Arc::new(tell), Writing { refusals, store, clock })
}

/// The task behind the connectors' word.
pub struct Writing {
    refusals: mpsc::Receiver<Refusal>,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Writing {
    /// Work until nobody can be refused any more.
    pub async fn run(mut self) {
        while let Some(refusal) = self.refusals.recv().await {
            self.write(&refusal).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn write(&self, refusal: &Refusal) {
        let entry = AuditEntry {
            at: self.clock.wall().0,
            actor: "system".to_owned(),
            action: "upstream.address_refused".to_owned(),
            target: refusal.host().unwrap_or_default().to_owned(),
            detail: json!({
                "status": "refused", "resourceType": "upstream", "metadata": {"reason": refusal.to_string()},
            }),
        };
        if let Err(error) = self.store.audit().append(entry).await {
            tracing::warn!(%error, %refusal, "a refused address is missing in the audit log");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use actix_http::header::HeaderMap;
    use awc::http::Method;
    use bytes::Bytes;
    use omniroute_actors::clock::SystemClock;
    use tokio::time::Instant;

    use super::*;
    use crate::infra::crypto::{MasterKey, Vault};
    use crate::store::StoreOptions;
    use crate::upstream::{ClientFactory, Outside, UpstreamRequest, UpstreamSettings, send};

    fn store(dir: &tempfile::TempDir) -> Store {
        let vault = Arc::new(Vault::new(&MasterKey::from_bytes([7; 32])));
        let options =
            StoreOptions { url: "sqlite:test.sqlite".into(), data_dir: dir.path().to_owned(), readers: 1, vault };
        Store::open(&options).unwrap()
    }

    async fn ask(clients: &ClientFactory, url: &str) {
        let url = url.parse().unwrap();
        let request = UpstreamRequest { method: Method::POST, url, headers: HeaderMap::new(), body: Bytes::from("{}") };
        let deadline = Instant::now() + Duration::from_secs(10);
        send(&clients.client(), request, deadline).await.unwrap_err();
    }

    #[actix_rt::test]
    async fn a_name_that_points_inside_is_in_the_audit_log_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let (refused, writing) = watch(store.clone(), Arc::new(SystemClock::default()));
        let task = actix_rt::spawn(writing.run());
        let lookup: crate::upstream::Lookup = Arc::new(|_| Ok(vec![IpAddr::from([10, 0, 0, 1])]));
        let clients = ClientFactory::with_outside(UpstreamSettings::default(), Outside { lookup, refused }).unwrap();

        for _ in 0..3 {
            ask(&clients, "https://api.example.com/v1").await;
        }
        drop(clients);
        task.await.unwrap();

        let rows = store.audit().list(10).await.unwrap();
        let row = rows.first().unwrap();
        assert_eq!((rows.len(), row.action.as_str()), (1, "upstream.address_refused"));
        assert_eq!((row.actor.as_str(), row.target.as_str()), ("system", "api.example.com"));
        let reason = row.detail.pointer("/metadata/reason").and_then(|reason| reason.as_str()).unwrap();
        assert!(reason.contains("10.0.0.1"), "{reason}");
    }
}
