//! The directory: from what is stored, found in the environment and built in, to connections and a plan.

use std::collections::HashMap;
use std::sync::Arc;

use actix::Addr;
use arc_swap::ArcSwap;
use omniroute_actors::connection::config::{ConnectionConfig, Source, UpstreamTarget};
use omniroute_actors::resilience::settings::HealthSettings;
use omniroute_actors::router::PublishedPlan;
use omniroute_actors::router::plan::{ProviderEntry, RoutingPlan};
use omniroute_actors::supervisor::{ApplyConnections, Registry};
use secrecy::{ExposeSecret, SecretString};

use crate::providers::Catalog;
use crate::store::{ComboRow, ConnectionRow, NodeRow, Store, StoreError};

/// Why the directory could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry does not answer.
    #[error("the registry of connections does not answer")]
    Registry,
}

/// One connection, wherever it comes from.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its row, or what a row of it would be.
    pub row: ConnectionRow,
    /// Where it comes from.
    pub source: Source,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

/// Builds and publishes.
pub struct Directory {
    store: Store,
    registry: Addr<Registry>,
    plan: PublishedPlan,
    extra: Vec<Listed>,
    listed: ArcSwap<Vec<Listed>>,
    nodes: ArcSwap<Vec<NodeRow>>,
    combos: ArcSwap<Vec<ComboRow>>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Directory(..)")
    }
}

impl Directory {
    /// A directory over a store, with connections that are not in it.
    pub fn new(store: Store, registry: Addr<Registry>, plan: PublishedPlan, extra: Vec<Listed>) -> Self {
        let (listed, nodes, combos) = Default::default();
        Self { store, registry, plan, extra, listed, nodes, combos }
    }

    /// Read everything again and put it into force.
    ///
    /// # Errors
    /// When the store or the registry does not answer.
    pub async fn refresh(&self) -> Result<Arc<RoutingPlan>, DirectoryError> {
        self.nodes.store(Arc::new(self.store.nodes().list().await?));
        self.combos.store(Arc::new(self.store.combos().list().await?));
        let stored = self.store.connections().list().await?;
        let listed = stored.into_iter().map(|row| Listed { row, source: Source::Database, problem: None });
        let listed: Vec<_> = listed.chain(self.extra.iter().cloned()).collect();
        let configs = listed.iter().filter_map(|entry| self.prepare(&entry.row).ok()).collect();
        self.listed.store(Arc::new(listed));

        let handles = self.registry.send(ApplyConnections(configs)).await.map_err(|_| DirectoryError::Registry)?;
        let mut providers: HashMap<_, ProviderEntry> = HashMap::new();
        for handle in handles.map_err(|_| DirectoryError::Registry)? {
            providers.entry(handle.provider().clone()).or_default().connections.push(handle);
        }
        let plan = Arc::new(RoutingPlan { providers, max_combo_depth: 5, ..RoutingPlan::default() });
        self.plan.store(Arc::clone(&plan));
        Ok(plan)
    }

    /// Every connection.
    pub fn listed(&self) -> Arc<Vec<Listed>> {
        self.listed.load_full()
    }

    /// Every node.
    pub fn nodes(&self) -> Arc<Vec<NodeRow>> {
        self.nodes.load_full()
    }

    /// Every combo.
    pub fn combos(&self) -> Arc<Vec<ComboRow>> {
        self.combos.load_full()
    }

    /// What a row would become.
    ///
    /// # Errors
    /// Why it cannot be used, in words that may be shown.
    pub fn prepare(&self, row: &ConnectionRow) -> Result<ConnectionConfig, String> {
        let own = row.provider_specific_data.get("baseUrl").and_then(serde_json::Value::as_str).map(str::to_owned);
        let node = self.nodes().iter().find(|node| node.id == row.provider).map(|node| node.base_url.clone());
        let built_in = Catalog::builtin().get(&row.provider).map(|spec| spec.base_url.clone());
        let base = own.or(node).or(built_in).ok_or_else(|| format!("unknown provider {}", row.provider))?;
        let base = base.trim_end_matches('/');
        let bearer = |key: &SecretString| SecretString::from(format!("Bearer {}", key.expose_secret()));
        Ok(ConnectionConfig {
            id: row.id.as_str().into(),
            provider: row.provider.as_str().into(),
            name: row.name.clone(),
            source: Source::Database,
            priority: row.priority,
            is_active: row.is_active,
            max_concurrent: 0,
            requests_per_minute: 0,
            health: HealthSettings::default(),
            target: Arc::new(UpstreamTarget {
                chat_url: format!("{base}/chat/completions"),
                models_url: Some(format!("{base}/models")),
                auth_header: row.credential.as_ref().map(|key| ("authorization".to_owned(), bearer(key))),
                headers: Vec::new(),
                quirks: 0,
            }),
            credential_version: 1,
        })
    }
}
