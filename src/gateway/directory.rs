//! The directory: from what is stored, found in the environment and built in, to connections and a plan.
//!
//! [`Directory::refresh`] reads everything, hands the connections to the registry and publishes the plan. It is
//! awaited after each management write, before the answer: whoever reads the answer can use the change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::Addr;
use arc_swap::ArcSwap;
use omniroute_actors::connection::config::{ConnectionConfig, Source};
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::ids::ComboName;
use omniroute_actors::router::PublishedPlan;
use omniroute_actors::router::plan::{ProviderEntry, ReadyPlan, RoutingPlan};
use omniroute_actors::supervisor::{ApplyConnections, Registry};

use super::assemble::{Assembler, combo};
use crate::config::ConfigHandle;
use crate::demo;
use crate::providers::{Catalog, EnvironmentConnection};
use crate::routes::api::{RESILIENCE_SETTING, effective_resilience};
use crate::store::{ComboRow, ConnectionRow, NodeRow, Store, StoreError};

/// A connection with where it comes from.
#[derive(Debug, Clone)]
pub struct Listed {
    /// As stored, or as it would be stored.
    pub row: ConnectionRow,
    /// Where it comes from.
    pub source: Source,
    /// Why it cannot be used, if it cannot.
    pub problem: Option<String>,
}

/// Why the directory could not be rebuilt; the old one stays in force.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The store did not answer.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
    /// The actor system did not answer.
    #[error("the actor system did not answer")]
    Actors,
}

/// What the directory was built from last.
#[derive(Debug, Default)]
struct Contents {
    listed: Arc<Vec<Listed>>,
    nodes: Arc<Vec<NodeRow>>,
    combos: Arc<Vec<ComboRow>>,
    resilience: crate::config::Resilience,
}

/// Builds and publishes.
pub struct Directory {
    config: ConfigHandle,
    store: Store,
    registry: Addr<Registry>,
    plan: PublishedPlan,
    environment: Vec<EnvironmentConnection>,
    demo_url: Option<String>,
    contents: ArcSwap<Contents>,
    generation: AtomicU64,
    /// One rebuild at a time: the last write wins, and it is the last that was read.
    turn: tokio::sync::Mutex<()>,
}

/// What a directory is built with.
pub struct DirectoryParts {
    /// The configuration in force.
    pub config: ConfigHandle,
    /// Everything durable.
    pub store: Store,
    /// The connection actors.
    pub registry: Addr<Registry>,
    /// Where the plan is published.
    pub plan: PublishedPlan,
    /// Connections found in the environment.
    pub environment: Vec<EnvironmentConnection>,
    /// Base URL of the running demo provider.
    pub demo_url: Option<String>,
}

impl Directory {
    /// An empty directory; the first [`Self::refresh`] fills it.
    pub fn new(parts: DirectoryParts) -> Self {
        let DirectoryParts { config, store, registry, plan, environment, demo_url } = parts;
        Self {
            config,
            store,
            registry,
            plan,
            environment,
            demo_url,
            contents: ArcSwap::default(),
            generation: AtomicU64::new(0),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// Read everything anew and publish it.
    ///
    /// # Errors
    /// When store or actors do not answer; nothing has changed then.
    pub async fn refresh(&self) -> Result<Arc<ReadyPlan>, DirectoryError> {
        let _turn = self.turn.lock().await;
        let (nodes, combos) = (self.store.nodes().list().await?, self.store.combos().list().await?);
        let stored = self.store.settings().get(RESILIENCE_SETTING).await?;
        let resilience = effective_resilience(&self.config.load().resilience, stored.as_ref().map(|row| &row.value));
        let rows = self.rows().await?;
        let assembler = Assembler::new(&nodes, &resilience, self.demo_url.as_deref());
        let (listed, configs) = assemble(&assembler, rows);
        let handles = self.apply(configs).await?;
        let plan = self.draw_plan(&listed, &nodes, &combos, handles);
        self.contents.store(Arc::new(Contents {
            listed: Arc::new(listed),
            nodes: Arc::new(nodes),
            combos: Arc::new(combos),
            resilience,
        }));
        self.plan.store(Arc::clone(&plan));
        Ok(plan)
    }

    /// Every connection, those from the environment and the demo included.
    pub fn listed(&self) -> Arc<Vec<Listed>> {
        Arc::clone(&self.contents.load().listed)
    }

    /// The provider nodes.
    pub fn nodes(&self) -> Arc<Vec<NodeRow>> {
        Arc::clone(&self.contents.load().nodes)
    }

    /// The stored combos.
    pub fn combos(&self) -> Arc<Vec<ComboRow>> {
        Arc::clone(&self.contents.load().combos)
    }

    /// The resilience numbers in force.
    pub fn resilience(&self) -> crate::config::Resilience {
        self.contents.load().resilience.clone()
    }

    /// What a row would become.
    ///
    /// # Errors
    /// Why it cannot become a connection; safe to show.
    pub fn prepare(&self, row: &ConnectionRow) -> Result<ConnectionConfig, String> {
        let contents = self.contents.load();
        Assembler::new(&contents.nodes, &contents.resilience, self.demo_url.as_deref())
            .connection(row, Source::Database)
    }

    /// The same at an endpoint that is not stored (yet).
    ///
    /// # Errors
    /// Why it cannot become a connection; safe to show.
    pub fn prepare_at(&self, node: &NodeRow, row: &ConnectionRow) -> Result<ConnectionConfig, String> {
        let nodes = std::slice::from_ref(node);
        Assembler::new(nodes, &self.contents.load().resilience, None).connection(row, Source::Database)
    }

    async fn rows(&self) -> Result<Vec<(ConnectionRow, Source)>, StoreError> {
        let stored = self.store.connections().list().await?.into_iter().map(|row| (row, Source::Database));
        let found = self.environment.iter().map(|found| (super::assemble::environment_row(found), Source::Environment));
        let built_in = self.demo_url.iter().flat_map(|_| demo::connections());
        let demo = built_in.map(|connection| (super::assemble::demo_row(connection), Source::Demo));
        Ok(stored.chain(found).chain(demo).collect())
    }

    async fn apply(&self, configs: Vec<ConnectionConfig>) -> Result<Vec<Arc<ConnectionHandle>>, DirectoryError> {
        let answer = self.registry.send(ApplyConnections(configs)).await;
        answer.ok().and_then(Result::ok).ok_or(DirectoryError::Actors)
    }

    fn draw_plan(
        &self,
        listed: &[Listed],
        nodes: &[NodeRow],
        combos: &[ComboRow],
        handles: Vec<Arc<ConnectionHandle>>,
    ) -> Arc<ReadyPlan> {
        let mut plan = RoutingPlan {
            generation: self.generation.fetch_add(1, Ordering::Relaxed) + 1,
            max_combo_depth: self.config.load().routing.max_combo_depth as usize,
            ..RoutingPlan::default()
        };
        add_catalogue(&mut plan);
        add_nodes(&mut plan, nodes);
        for handle in handles {
            plan.providers.entry(handle.provider().clone()).or_default().connections.push(handle);
        }
        add_own_models(&mut plan, listed);
        self.add_combos(&mut plan, combos);
        plan.remember(&self.plan.load());
        Arc::new(plan.ready())
    }

    fn add_combos(&self, plan: &mut RoutingPlan, combos: &[ComboRow]) {
        let demo = self.demo_url.as_ref().map(|_| super::assemble::demo_combo());
        let all = demo.into_iter().chain(combos.iter().filter(|row| row.is_active).map(|row| combo(row, plan, combos)));
        let named: HashMap<ComboName, _> = all.map(|combo| (combo.name.clone(), Arc::new(combo))).collect();
        plan.combos = named;
    }
}

fn assemble(assembler: &Assembler<'_>, rows: Vec<(ConnectionRow, Source)>) -> (Vec<Listed>, Vec<ConnectionConfig>) {
    let mut configs = Vec::new();
    let listed = rows.into_iter().map(|(row, source)| {
        let problem = assembler.connection(&row, source).map(|config| configs.push(config)).err();
        if let Some(problem) = &problem {
            tracing::warn!(connection.id = row.id, provider = row.provider, problem, "a connection cannot be used");
        }
        Listed { row, source, problem }
    });
    let listed = listed.collect();
    (listed, configs)
}

fn add_catalogue(plan: &mut RoutingPlan) {
    for spec in Catalog::builtin().iter() {
        let id = omniroute_actors::ids::ProviderId::from(spec.id.as_str());
        plan.prefixes.insert(spec.id.clone(), id.clone());
        plan.prefixes.insert(spec.alias.clone(), id.clone());
        plan.providers.insert(id, ProviderEntry::of_models(spec.models.iter().map(String::as_str)));
    }
}

fn add_nodes(plan: &mut RoutingPlan, nodes: &[NodeRow]) {
    for node in nodes {
        let id = omniroute_actors::ids::ProviderId::from(node.id.as_str());
        plan.prefixes.insert(node.id.clone(), id.clone());
        plan.prefixes.insert(node.prefix.clone(), id.clone());
        plan.providers.entry(id).or_default();
    }
}

/// The models that connections name themselves, and those of the demo.
fn add_own_models(plan: &mut RoutingPlan, listed: &[Listed]) {
    for Listed { row, source, .. } in listed {
        let provider = omniroute_actors::ids::ProviderId::from(row.provider.as_str());
        let own = row.default_model.iter().map(String::as_str);
        let demo = demo::MODELS.into_iter().filter(|_| *source == Source::Demo);
        let entry = plan.providers.entry(provider.clone()).or_default();
        for model in own.chain(demo) {
            entry.models.entry(model.into()).or_default();
        }
        plan.prefixes.entry(row.provider.clone()).or_insert(provider);
    }
}
