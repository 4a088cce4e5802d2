//! The directory: from what is stored, found in the environment and built in, to connections and a plan.
//!
//! [`Directory::refresh`] reads what changed, hands the connections to the registry and publishes the plan. It is
//! awaited after each management write, before the answer: whoever reads the answer can use the change.
//!
//! The database counts the changes of each noun ([`Revisions`]). What it has not counted since is not read again, and of
//! connections, which may be ten thousand, [`Directory::refresh_one`] reads the one that the caller changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::Addr;
use arc_swap::ArcSwap;
use omniroute_actors::connection::config::{ConnectionConfig, Source};
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::guard::Crashed;
use omniroute_actors::ids::ConnectionId;
use omniroute_actors::router::PublishedPlan;
use omniroute_actors::router::plan::{ReadyPlan, SavedCombo};
use omniroute_actors::supervisor::{ApplyConnections, ChangeConnections, Registry};

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
use crate::store::{ComboRow, ComboStateRow, ConnectionRow, NodeRow, Noun, Revisions, Store, StoreError};
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

impl Listed {
    /// What the list is ordered by: stored ones first, then by provider, priority, name and id.
    pub fn place(&self) -> (u8, &str, i32, &str, &str) {
        let source = match self.source {
            Source::Database => 0,
            Source::Environment => 1,
            Source::Demo => 2,
        };
        (source, &self.row.provider, self.row.priority, &self.row.name, &self.row.id)
    }
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
#[derive(Debug, Default, Clone)]
struct Contents {
    /// What the store had counted when this was read.
    read_at: Revisions,
    listed: Arc<Vec<Arc<Listed>>>,
    handles: Vec<Arc<ConnectionHandle>>,
    nodes: Arc<Vec<NodeRow>>,
    combos: Arc<Vec<ComboRow>>,
    settings: Arc<RunTimeSettings>,
    routing: Arc<RoutingRows>,
    resilience: crate::config::Resilience,
}

impl Contents {
    /// Whether a connection's row becomes the same connection under both.
    fn is_ground_of(&self, next: &Self) -> bool {
        let blocked = |contents: &Self| contents.settings.general.blocked_providers.clone();
        self.nodes == next.nodes && self.resilience == next.resilience && blocked(self) == blocked(next)
    }
}

/// What is to be done about the connections.
enum Connections<'a> {
    /// Nothing.
    Same,
    /// This one is new, other or gone.
    Other(&'a str, Option<Box<ConnectionRow>>),
    /// These are they.
    All(Vec<(ConnectionRow, Source)>),
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
    fn follow(&self, settings: &RunTimeSettings, listed: &[Arc<Listed>]) {
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

    /// Read what changed and publish it.
    ///
    /// # Errors
    /// When store or actors do not answer; nothing has changed then.
    pub async fn refresh(&self) -> Result<Arc<ReadyPlan>, DirectoryError> {
        self.renew(None).await
    }

    /// Whether something was changed that is not in force here: by another instance.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_behind(&self) -> Result<bool, StoreError> {
        Ok(self.store.revisions().await?.is_ahead_of(&self.contents.load().read_at))
    }

    /// The same after a change of one connection, which is then the only one to be read.
    ///
    /// # Errors
    /// When store or actors do not answer; nothing has changed then.
    pub async fn refresh_one(&self, connection: &str) -> Result<Arc<ReadyPlan>, DirectoryError> {
        self.renew(Some(connection)).await
    }

    async fn renew(&self, changed: Option<&str>) -> Result<Arc<ReadyPlan>, DirectoryError> {
        let _turn = self.turn.lock().await;
        let before = self.contents.load_full();
        let mut next = self.ground(&before).await?;
        match self.connections(&before, &next, changed).await? {
            // The ways out may have changed.
            Connections::Same => self.egress.iter().for_each(|egress| egress.follow(&next.settings, &next.listed)),
            Connections::Other(id, row) => self.put_one(&mut next, id, row.map(|row| *row)).await?,
            Connections::All(rows) => self.put_all(&mut next, rows).await?,
        }
        let plan = self.draw_plan(&next);
        self.contents.store(Arc::new(next));
        self.plan.store(Arc::clone(&plan));
        Ok(plan)
    }

    /// Everything but the connections, as it is now.
    async fn ground(&self, before: &Contents) -> Result<Contents, DirectoryError> {
        let (store, mut next) = (&self.store, before.clone());
        next.read_at = store.revisions().await?;
        let moved = |noun| next.read_at.moved(&before.read_at, noun);
        if moved(Noun::Nodes) {
            next.nodes = Arc::new(store.nodes().list().await?);
        }
        if moved(Noun::Combos) {
            next.combos = Arc::new(store.combos().list().await?);
        }
        if moved(Noun::Settings) {
            next.settings = Arc::new(RunTimeSettings::read(&store.settings().all().await?));
        }
        // What was learned of models is a setting.
        if moved(Noun::Routing) || moved(Noun::Settings) {
            next.routing = Arc::new(RoutingRows::load(store).await?);
        }
        self.config.lay_over(next.settings.general.overlay());
        next.resilience = effective_resilience(&self.config.load().resilience, next.settings.resilience.as_ref());
        Ok(next)
    }

    /// Which connections are to be made anew.
    async fn connections<'a>(
        &self,
        before: &Contents,
        next: &Contents,
        changed: Option<&'a str>,
    ) -> Result<Connections<'a>, StoreError> {
        let stands = before.read_at.of(Noun::Connections).is_some() && before.is_ground_of(next);
        if stands && !next.read_at.moved(&before.read_at, Noun::Connections) {
            return Ok(Connections::Same);
        }
        match changed.filter(|_| stands && next.read_at.is_next(&before.read_at, Noun::Connections)) {
            Some(id) => Ok(Connections::Other(id, self.store.connections().find(id).await?.map(Box::new))),
            None => self.rows().await.map(Connections::All),
        }
    }

    async fn put_all(&self, next: &mut Contents, rows: Vec<(ConnectionRow, Source)>) -> Result<(), DirectoryError> {
        let assembler = Assembler::new(&next.nodes, &next.resilience, self.demo_url.as_deref());
        let (listed, configs) = assemble(&assembler, &next.settings.general, rows);
        // Before a connection is there that has to go through one of them.
        if let Some(egress) = &self.egress {
            egress.follow(&next.settings, &listed);
        }
        next.listed = Arc::new(listed);
        next.handles = self.apply(ApplyConnections(configs)).await?;
        Ok(())
    }

    async fn put_one(&self, next: &mut Contents, id: &str, row: Option<ConnectionRow>) -> Result<(), DirectoryError> {
        let assembler = Assembler::new(&next.nodes, &next.resilience, self.demo_url.as_deref());
        let row = row.map(|row| (row, Source::Database));
        let (one, put) = assemble(&assembler, &next.settings.general, row.into_iter().collect());
        let is_it = |entry: &Arc<Listed>| entry.row.id == id && entry.source == Source::Database;
        let mut listed: Vec<_> = next.listed.iter().filter(|entry| !is_it(entry)).cloned().chain(one).collect();
        listed.sort_by(|a, b| a.place().cmp(&b.place()));
        if let Some(egress) = &self.egress {
            egress.follow(&next.settings, &listed);
        }
        next.listed = Arc::new(listed);
        let gone = if put.is_empty() { vec![ConnectionId::from(id)] } else { Vec::new() };
        next.handles = self.apply(ChangeConnections { put, gone }).await?;
        Ok(())
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

    /// Every connection, those from the environment and the demo included, in the order of [`Listed::place`].
    pub fn listed(&self) -> Arc<Vec<Arc<Listed>>> {
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

    async fn apply<M>(&self, message: M) -> Result<Vec<Arc<ConnectionHandle>>, DirectoryError>
    where
        M: actix::Message<Result = Result<Vec<Arc<ConnectionHandle>>, Crashed>> + Send + 'static,
        Registry: actix::Handler<M>,
        <Registry as actix::Actor>::Context: actix::dev::ToEnvelope<Registry, M>,
    {
        let answer = self.registry.send(message).await;
        answer.ok().and_then(Result::ok).ok_or(DirectoryError::Actors)
    }

    fn draw_plan(&self, contents: &Contents) -> Arc<ReadyPlan> {
        let materials = Materials {
            listed: &contents.listed,
            nodes: &contents.nodes,
            combos: &contents.combos,
            combo_settings: &contents.settings.combos,
            routing: &contents.routing,
            max_combo_depth: self.config.load().routing.max_combo_depth as usize,
            with_demo: self.demo_url.is_some(),
        };
        let mut plan = plan_build::draw(&materials, contents.handles.clone());
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
) -> (Vec<Arc<Listed>>, Vec<ConnectionConfig>) {
    let mut configs = Vec::new();
    let listed = rows.into_iter().map(|(row, source)| {
        let blocked = general.blocks(&row.provider).then(|| "its provider is blocked in the settings".to_owned());
        let made = blocked.map_or_else(|| assembler.connection(&row, source), Err);
        let problem = made.map(|config| configs.push(config)).err();
        if let Some(problem) = &problem {
            tracing::warn!(connection.id = row.id, provider = row.provider, problem, "a connection cannot be used");
        }
        Arc::new(Listed { row, source, problem })
    });
    let mut listed: Vec<_> = listed.collect();
    listed.sort_by(|a, b| a.place().cmp(&b.place()));
    (listed, configs)
}
