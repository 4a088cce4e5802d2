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
use omniroute_actors::router::PublishedPlan;
use omniroute_actors::router::plan::{ReadyPlan, SavedCombo};
use omniroute_actors::supervisor::{ApplyConnections, Registry};

use super::assemble::Assembler;
use super::combo_settings::ComboSettings;
use super::plan_build::{self, Materials};
use super::routing_rows::RoutingRows;
use crate::config::ConfigHandle;
use crate::demo;
use crate::infra::crypto::Vault;
use crate::providers::EnvironmentConnection;
use crate::routes::api::effective_resilience;
use crate::settings::{General, RunTimeSettings};
use crate::store::{ComboRow, ComboStateRow, ConnectionRow, NodeRow, Store, StoreError};
use crate::upstream::ClientFactory;

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
    settings: Arc<RunTimeSettings>,
    routing: Arc<RoutingRows>,
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
    egress: Option<Egress>,
    contents: ArcSwap<Contents>,
    generation: AtomicU64,
    /// What combos remembered before the restart; taken by the first plan.
    restored: ArcSwap<HashMap<String, SavedCombo>>,
    /// What of it is in the store.
    saved: ArcSwap<HashMap<String, SavedCombo>>,
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
    /// The ways out, where anything goes out.
    pub egress: Option<Egress>,
}

/// The ways out, which follow the settings.
#[derive(Clone)]
pub struct Egress {
    /// To providers.
    pub clients: ClientFactory,
    /// To what clients name by URL.
    pub web: ClientFactory,
    /// Opens the passwords of proxies.
    pub vault: Arc<Vault>,
}

impl Egress {
    /// Send calls through the proxies that are set now.
    fn follow(&self, settings: &RunTimeSettings, listed: &[Listed]) {
        let homes = listed.iter().map(|entry| (entry.row.id.clone(), entry.row.provider.clone()));
        let ways = settings.proxies.ways(&self.vault, homes.collect());
        self.web.set_ways(ways.clone());
        self.clients.set_ways(ways);
    }
}

impl Directory {
    /// An empty directory; the first [`Self::refresh`] fills it.
    pub fn new(parts: DirectoryParts) -> Self {
        let DirectoryParts { config, store, registry, plan, environment, demo_url, egress } = parts;
        Self {
            config,
            store,
            registry,
            plan,
            environment,
            demo_url,
            egress,
            contents: ArcSwap::default(),
            generation: AtomicU64::new(0),
            restored: ArcSwap::default(),
            saved: ArcSwap::default(),
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
        let settings = RunTimeSettings::read(&self.store.settings().all().await?);
        self.config.lay_over(settings.general.overlay());
        let resilience = effective_resilience(&self.config.load().resilience, settings.resilience.as_ref());
        let routing = RoutingRows::load(&self.store).await?;
        let rows = self.rows().await?;
        let assembler = Assembler::new(&nodes, &resilience, self.demo_url.as_deref());
        let (listed, configs) = assemble(&assembler, &settings.general, rows);
        // Before a connection is there that has to go through one of them.
        if let Some(egress) = &self.egress {
            egress.follow(&settings, &listed);
        }
        let handles = self.apply(configs).await?;
        let contents = Contents {
            listed: Arc::new(listed),
            nodes: Arc::new(nodes),
            combos: Arc::new(combos),
            settings: Arc::new(settings),
            routing: Arc::new(routing),
            resilience,
        };
        let plan = self.draw_plan(&contents, handles);
        self.contents.store(Arc::new(contents));
        self.plan.store(Arc::clone(&plan));
        Ok(plan)
    }

    /// Read what combos remembered before the restart, for the first plan. What does not fit begins afresh.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn recall(&self) -> Result<(), StoreError> {
        let rows = self.store.combo_states().load_all().await?;
        let read = |row: ComboStateRow| Some((row.combo, serde_json::from_str::<SavedCombo>(&row.data).ok()?));
        let saved: Arc<HashMap<_, _>> = Arc::new(rows.into_iter().filter_map(read).collect());
        self.saved.store(Arc::clone(&saved));
        self.restored.store(saved);
        Ok(())
    }

    /// Store what combos remember now, as far as it changed; how many did.
    ///
    /// # Errors
    /// When the store does not take it; the next call tries again.
    pub async fn keep(&self, at: i64) -> Result<usize, StoreError> {
        let (plan, saved) = (self.plan.load_full(), self.saved.load_full());
        let now: HashMap<String, SavedCombo> =
            plan.combos.iter().map(|(name, combo)| (name.to_string(), combo.state.save())).collect();
        let fresh = |(name, state): &(&String, &SavedCombo)| saved.get(*name).copied().unwrap_or_default() != **state;
        let row = |(name, state): (&String, &SavedCombo)| {
            let data = serde_json::to_string(state).unwrap_or_default();
            ComboStateRow { combo: name.clone(), data, updated_at: at }
        };
        let rows: Vec<_> = now.iter().filter(fresh).map(row).collect();
        if !rows.is_empty() {
            self.store.combo_states().save_many(&rows).await?;
            self.saved.store(Arc::new(now));
        }
        Ok(rows.len())
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

    /// Aliases, mappings, chains, policies and facts.
    pub fn routing(&self) -> Arc<RoutingRows> {
        Arc::clone(&self.contents.load().routing)
    }

    /// What operators set at run time.
    pub fn settings(&self) -> Arc<RunTimeSettings> {
        Arc::clone(&self.contents.load().settings)
    }

    /// What the operator set for all combos.
    pub fn combo_settings(&self) -> ComboSettings {
        self.contents.load().settings.combos.clone()
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

    fn draw_plan(&self, contents: &Contents, handles: Vec<Arc<ConnectionHandle>>) -> Arc<ReadyPlan> {
        let materials = Materials {
            listed: &contents.listed,
            nodes: &contents.nodes,
            combos: &contents.combos,
            combo_settings: &contents.settings.combos,
            routing: &contents.routing,
            max_combo_depth: self.config.load().routing.max_combo_depth as usize,
            with_demo: self.demo_url.is_some(),
        };
        let mut plan = plan_build::draw(&materials, handles);
        plan.generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let restored = self.restored.swap(Arc::default());
        for (name, combo) in &plan.combos {
            if let Some(saved) = restored.get(name.as_str()) {
                combo.state.restore(*saved);
            }
        }
        plan.remember(&self.plan.load());
        Arc::new(plan.ready())
    }
}

fn assemble(
    assembler: &Assembler<'_>,
    general: &General,
    rows: Vec<(ConnectionRow, Source)>,
) -> (Vec<Listed>, Vec<ConnectionConfig>) {
    let mut configs = Vec::new();
    let listed = rows.into_iter().map(|(row, source)| {
        let blocked = general.blocks(&row.provider).then(|| "its provider is blocked in the settings".to_owned());
        let made = blocked.map_or_else(|| assembler.connection(&row, source), Err);
        let problem = made.map(|config| configs.push(config)).err();
        if let Some(problem) = &problem {
            tracing::warn!(connection.id = row.id, provider = row.provider, problem, "a connection cannot be used");
        }
        Listed { row, source, problem }
    });
    let listed = listed.collect();
    (listed, configs)
}
