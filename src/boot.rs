//! From a configuration to a running gateway, in the order in which the parts need each other:
//!
//! ```text
//! data directory > master key > store > demo > way out > control arbiter > registry > directory > keys > recorder
//! ```
//! [`build`] makes everything but the listener, [`Booted::finish`] takes it down again without losing a record.

pub mod banner;
pub mod foundation;
mod reload;
mod upkeep;

pub use foundation::{Foundation, FoundationError};

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Arbiter, ArbiterHandle, Supervisor};
use actix_rt::task::JoinHandle;
use omniroute_actors::background::BackgroundRuns;
use omniroute_actors::clock::{Clock, SystemClock};
use omniroute_actors::ports::{Minter, Ports, StateRecord};
use omniroute_actors::router::PublishedPlan;
use omniroute_actors::supervisor::Registry;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use self::banner::{SignIn, Welcome};
use self::reload::LiveReload;
use self::upkeep::Upkeep;
use crate::app::App;
use crate::auth::{Admin, AdminError, KeyRing, LoginThrottle, Sessions, SetUp, client_keys};
use crate::config::{Config, ConfigHandle, ConfigProblems, LedgerUnavailable, Loaded, Loader, Source, Upstream, When};
use crate::demo::{self, Demo, DemoOptions, DemoServer};
use crate::evals::{self, Evals};
use crate::gateway::background;
use crate::gateway::directory::{Directory, DirectoryError, DirectoryParts, Egress};
use crate::gateway::handoff::Handoffs;
use crate::gateway::seals::Seals;
use crate::infra::backups::Shelf;
use crate::infra::lifecycle::Lifecycle;
use crate::infra::metrics::{Metrics, MetricsError};
use crate::infra::orders::{OrderBook, orders};
use crate::infra::recorder::{Recorder, RecorderOptions, Replay};
use crate::infra::refused_addresses;
use crate::infra::state_saver::{self, StateSaver};
use crate::infra::stats::{Ears, Stats};
use crate::infra::telemetry::LogControl;
use crate::providers::exchange::odd_hosts;
use crate::providers::oauth::{BookError, Oauth, OauthBook};
use crate::providers::{Catalog, EnvironmentConnection, TokenMinter, discover};
use crate::routes::Management;
use crate::store::{AuditEntry, Store, StoreError};
use crate::upstream::{ClientFactory, FactoryError, Outside, UpstreamSettings};

/// How long the last records may take on their way into the store; the journal has them anyway.
const LAST_PASS: Duration = Duration::from_secs(5);
/// Reports of the last answers wait in the workers' buffers at most this long.
const LAST_REPORTS: Duration = Duration::from_millis(100);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The configuration.
    #[error(transparent)]
    Configuration(ConfigProblems),
    /// The ground it stands on.
    #[error(transparent)]
    Foundation(#[from] FoundationError),
    /// The store stopped answering.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The demo provider.
    #[error("the demo provider does not start: {0}")]
    Demo(#[source] io::Error),
    /// The way to providers.
    #[error("upstream: {0}")]
    Upstream(#[from] FactoryError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Connections and plan.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The journal.
    #[error("the journal cannot be written: {0}")]
    Journal(#[source] io::Error),
    /// The administrator's account.
    #[error("auth: {0}")]
    Admin(#[from] AdminError),
    /// The first password is configured and cannot be read.
    #[error("auth.initial_password: {0}")]
    InitialPassword(#[from] crate::config::SecretError),
    /// The first client key.
    #[error("the first client key: {0}")]
    FirstKey(#[from] crate::infra::crypto::CryptoError),
    /// The servers that accounts are signed in with.
    #[error(transparent)]
    Oauth(#[from] BookError),
    /// A part of the start died.
    #[error("a part of the start died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// What goes over from one start to the next in the same process, because there can only be one of it: the journal's
/// directory is locked, and runs in the background must stay within reach of who cancels them.
#[derive(Clone)]
pub struct Heirloom {
    recorder: Arc<Recorder>,
    journal: PathBuf,
    runs: Addr<BackgroundRuns>,
}

/// Everything that runs, without the listener.
pub struct Booted {
    /// What handlers share.
    pub app: App,
    /// What the management API needs beside it.
    pub management: Management,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    sign_in: SignIn,
    first_key: Option<SecretString>,
    /// Names of the variables that hold provider keys.
    provider_keys: Vec<String>,
    demo: Option<DemoServer>,
    saver: StateSaver,
    /// Carries the journal into the store, once [`Booted::carry_usage`] has been called.
    replay: Option<JoinHandle<()>>,
    upkeep: Upkeep,
    /// What is asked of the whole process.
    pub orders: OrderBook,
    heirloom: Heirloom,
    /// Whether the next start has taken over.
    succeeded: bool,
    /// Carries the actors of this start.
    control: ArbiterHandle,
    log: LogControl,
}

/// Build everything. Must run inside an actix system, whose thread then carries the tasks beside the requests.
///
/// # Errors
/// Why it does not start.
pub async fn build(
    loader: Loader,
    loaded: Loaded,
    log: LogControl,
    heirloom: Option<Heirloom>,
) -> Result<Booted, BootError> {
    let password_source = loaded.source("auth.initial_password");
    let (config, opened) = open(loaded.config, &loader).await?;
    let Foundation { store, vault, .. } = opened;
    let environment = environment(&config, &loader);
    let provider_keys = environment.iter().map(|connection| connection.name.clone()).collect();
    let demo = start_demo(&config, &store, &environment).await?;
    let demo_address = demo.as_ref().map(|demo| demo.addr);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (refused, writing) = refused_addresses::watch(store.clone(), Arc::clone(&clock));
    actix_rt::spawn(writing.run());
    let outside = Outside { refused, ..Outside::default() };
    let clients = ClientFactory::with_outside(upstream_settings(&config.upstream, demo_address), outside.clone())?;
    let web = ClientFactory::with_outside(web_settings(&config), outside)?;
    let journal = recorder_options(&config);
    let heirloom = heirloom.filter(|heirloom| heirloom.journal == journal.dir);
    let inherits = heirloom.is_some();
    let heirloom = match heirloom {
        Some(heirloom) => heirloom,
        None => first_of_its_kind(journal)?,
    };
    let Heirloom { recorder, runs, .. } = heirloom.clone();
    let initial_password = config.auth.initial_password.resolve_in(loader.environment())?;

    let metrics = Arc::new(Metrics::new()?);
    let (saver, saving) = StateSaver::new(store.clone(), Arc::clone(&clock));
    actix_rt::spawn(saving.run());
    let (stats, keeper) = Stats::new(Arc::clone(&clock), Some(store.clone()));
    actix_rt::spawn(keeper.run());
    let book = OauthBook::read(&config.oauth.file, loader.environment())?;
    let oauth = Arc::new(Oauth::new(clients.clone(), store.clone(), Arc::clone(&clock), book));
    let minter: Arc<dyn Minter> = Arc::new(TokenMinter::new(clients.clone(), Arc::clone(&oauth)));
    let ports = Ports {
        clock: Arc::clone(&clock),
        store: Arc::new(saver.clone()),
        observer: Arc::new(Ears(vec![metrics.clone(), Arc::new(stats.clone())])),
        minter: Arc::clone(&minter),
    };
    let control = Arbiter::new().handle();
    let registry = start_registry(&control, ports, remembered(&store).await?);

    let trying = Supervisor::start_in_arbiter(&control, |_| BackgroundRuns::default());
    let evals = Evals::new(trying, config.evals.max_running);

    let config = ConfigHandle::new(config);
    let plan = PublishedPlan::default();
    let directory = Arc::new(Directory::new(DirectoryParts {
        config: config.clone(),
        store: store.clone(),
        registry: registry.clone(),
        plan: Arc::clone(&plan),
        environment,
        demo_url: demo.as_ref().map(DemoServer::base_url),
        egress: Some(Egress { clients: clients.clone(), web: web.clone(), vault: Arc::clone(&vault) }),
    }));
    let admin = Arc::new(Admin::new(store.clone(), &vault, Arc::clone(&clock)));
    let (orders, book) = orders();
    let management = Management {
        orders,
        backups: Arc::new(Shelf::new(config.clone(), store.clone(), Arc::clone(&clock))),
        sessions: Sessions::new(store.clone(), &vault, config.clone(), Arc::clone(&clock)),
        admin: Arc::clone(&admin),
        reloader: Arc::new(
            LiveReload::new(config.clone(), loader, [&clients, &web].map(Clone::clone), demo_address, log.clone())
                .with_sign_ins(Arc::clone(&oauth)),
        ),
    };
    let app = App {
        keys: KeyRing::new(&vault, config.clone(), Arc::clone(&clock)),
        logins: Arc::new(LoginThrottle::new(config.clone(), Arc::clone(&clock))),
        alarms: Arc::default(),
        exchanges: Arc::default(),
        seals: Seals::default(),
        handoffs: Handoffs::default(),
        lifecycle: Arc::new(Lifecycle::new(clock.now())),
        overload: Arc::default(),
        config,
        store,
        vault,
        clock,
        plan,
        registry,
        directory,
        clients,
        minter,
        oauth,
        web,
        recorder,
        runs,
        evals,
        stats,
    };

    if !inherits {
        background::give_up_abandoned(&app).await?;
        evals::give_up_abandoned(&app).await?;
    }
    app.directory.recall().await?;
    app.directory.refresh().await?;
    let sign_in = sign_in(&admin, initial_password.as_ref(), password_source).await?;
    let first_key = first_key(&app).await?;
    app.keys.reload(&app.store).await?;
    let upkeep = upkeep::start(&app, &metrics, &management.backups, &management.sessions);
    Ok(Booted {
        app,
        management,
        metrics,
        sign_in,
        first_key,
        provider_keys,
        demo,
        saver,
        replay: None,
        upkeep,
        orders: book,
        heirloom,
        succeeded: false,
        control,
        log,
    })
}

fn first_of_its_kind(journal: RecorderOptions) -> Result<Heirloom, BootError> {
    let dir = journal.dir.clone();
    let recorder = Recorder::new(journal).map_err(BootError::Journal)?;
    // A thread of its own: the control arbiter goes with its start, runs outlive it.
    let runs = Supervisor::start_in_arbiter(&Arbiter::new().handle(), |_| BackgroundRuns::default());
    Ok(Heirloom { recorder, journal: dir, runs })
}

/// Opening migrates, and waits for locks: not on the thread that listens to signals.
async fn open(config: Config, loader: &Loader) -> Result<(Config, Foundation), BootError> {
    let environment = loader.environment().clone();
    let opened = tokio::task::spawn_blocking(move || {
        let foundation = Foundation::open(&config, &environment)?;
        Ok::<_, FoundationError>((config, foundation))
    });
    Ok(opened.await??)
}

/// Connections that the environment describes, if the configuration wants them.
pub fn environment(config: &Config, loader: &Loader) -> Vec<EnvironmentConnection> {
    if config.providers.from_environment { discover(loader.environment(), Catalog::builtin()) } else { Vec::new() }
}

/// Whether the demo provider is part of this gateway.
///
/// # Errors
/// When the store does not answer.
pub async fn wants_demo(
    config: &Config,
    store: &Store,
    environment: &[EnvironmentConnection],
) -> Result<bool, StoreError> {
    Ok(match config.demo.enabled {
        When::Always => true,
        When::Never => false,
        When::Auto => environment.is_empty() && store.connections().list().await?.is_empty(),
    })
}

async fn start_demo(
    config: &Config,
    store: &Store,
    environment: &[EnvironmentConnection],
) -> Result<Option<DemoServer>, BootError> {
    if !wants_demo(config, store, environment).await? {
        return Ok(None);
    }
    let failure_percent = u8::try_from(config.demo.failure_percent).unwrap_or(100);
    Demo::start(DemoOptions { seed: config.demo.seed, failure_percent }).map(Some).map_err(BootError::Demo)
}

/// The settings of the one way out. The demo's address is an exception of its own, and so are the places of the catalogue
/// on odd ports: nobody has to list them.
fn upstream_settings(upstream: &Upstream, demo: Option<SocketAddr>) -> UpstreamSettings {
    let listed = upstream.allow_private_hosts.iter().map(ToString::to_string);
    let connect_timeout = Duration::from_millis(upstream.connect_timeout_ms);
    UpstreamSettings {
        connect_timeout,
        handshake_timeout: connect_timeout,
        keep_alive: Duration::from_secs(upstream.keep_alive_s),
        connection_lifetime: Duration::from_secs(upstream.lifetime_s),
        dns_cache: Duration::from_secs(upstream.dns_cache_s),
        dns_stale: Duration::from_secs(upstream.dns_stale_s),
        allow_private_hosts: listed.chain(demo.map(|address| address.to_string())).chain(odd_hosts()).collect(),
        allow_http: upstream.allow_http,
        extra_roots: upstream.extra_roots.clone(),
        user_agent: upstream.user_agent.clone(),
        checked_addresses: false,
    }
}

/// The settings of the way to what clients name by URL. Who may call the gateway does not for that reason reach what an
/// operator let it reach as a provider.
fn web_settings(config: &Config) -> UpstreamSettings {
    let listed = config.routing.fetch_private_hosts.iter().map(ToString::to_string).collect();
    UpstreamSettings {
        allow_private_hosts: listed,
        checked_addresses: true,
        ..upstream_settings(&config.upstream, None)
    }
}

fn recorder_options(config: &Config) -> RecorderOptions {
    let (usage, storage) = (&config.usage, &config.storage);
    let named = Some(&usage.journal_dir).filter(|dir| !dir.as_os_str().is_empty());
    let dir: PathBuf = named.cloned().unwrap_or_else(|| storage.data_dir.join("journal"));
    RecorderOptions {
        dir,
        segment_bytes: usage.segment_bytes,
        spool_max_bytes: storage.spool_max_bytes,
        refuse: storage.ledger_unavailable == LedgerUnavailable::Refuse,
        fsync: Duration::from_millis(usage.fsync_ms),
    }
}

/// The health of connections when the process before this one ended.
///
/// # Errors
/// When the store does not answer.
pub async fn remembered(store: &Store) -> Result<Vec<StateRecord>, StoreError> {
    Ok(store.connection_states().load_all().await?.iter().filter_map(state_saver::record).collect())
}

/// All actors that no worker owns share one thread: a flood of reports delays no request.
fn start_registry(control: &ArbiterHandle, ports: Ports, stored: Vec<StateRecord>) -> Addr<Registry> {
    let own = control.clone();
    Supervisor::start_in_arbiter(control, move |_| Registry::new(own, ports, stored))
}

async fn sign_in(admin: &Admin, initial: Option<&SecretString>, source: Source) -> Result<SignIn, BootError> {
    let before = admin.set_up().await?;
    let configured = initial.is_some_and(|password| !password.expose_secret().is_empty());
    Ok(match (admin.setup_token(initial).await?, before) {
        (Some(token), _) => SignIn::Token(token),
        (None, SetUp::AwaitsToken) => SignIn::InitialPassword(source),
        (None, SetUp::Done) => SignIn::Password { unused: configured.then_some(source) },
    })
}

/// The key for the first call, while there is none at all.
async fn first_key(app: &App) -> Result<Option<SecretString>, BootError> {
    if !app.store.api_keys().list().await?.is_empty() {
        return Ok(None);
    }
    let (row, secret) = client_keys::fresh(&app.vault, client_keys::FIRST_KEY, app.clock.wall().0)?;
    app.store.api_keys().insert(&row).await?;
    note(app, "apikey.created", &row.id, json!({"name": row.name, "prefix": row.prefix})).await?;
    Ok(Some(secret))
}

/// What the gateway does by itself is written down like everything else.
async fn note(app: &App, action: &str, target: &str, particulars: Value) -> Result<(), StoreError> {
    app.store.audit().append(AuditEntry::by_system(app.clock.wall().0, action, target, particulars)).await.map(drop)
}

impl Booted {
    /// What to print for the person who started it. Secrets are handed out once.
    pub fn welcome(&mut self, address: SocketAddr) -> Welcome {
        let sign_in = std::mem::replace(&mut self.sign_in, SignIn::Password { unused: None });
        let demo = self.demo.is_some();
        let model = if demo { Some(demo::COMBO_NAME.to_owned()) } else { self.some_model() };
        let provider_keys = std::mem::take(&mut self.provider_keys);
        Welcome { address, sign_in, first_key: self.first_key.take(), provider_keys, model, demo }
    }

    /// The first model of the first connection that can be used.
    fn some_model(&self) -> Option<String> {
        let plan = self.app.plan.load();
        let listed = self.app.directory.listed();
        listed.iter().find_map(|listed| {
            let row = Some(&listed.row).filter(|row| row.is_active && listed.problem.is_none())?;
            let entry = plan.providers.iter().find(|(id, _)| id.as_str() == row.provider)?.1;
            let named = row.default_model.as_deref();
            // The catalogue lists the model that stands for a provider first.
            let listed = || Catalog::builtin().get(&row.provider)?.models.first().map(String::as_str);
            let any = || entry.models.keys().map(|model| model.as_str()).min();
            let model = named.or_else(listed).or_else(any)?;
            Some(format!("{}/{model}", row.provider))
        })
    }

    /// Read the configuration again and put into force what can be.
    pub async fn reload(&self) {
        let reloader = Arc::clone(&self.management.reloader);
        match tokio::task::spawn_blocking(move || reloader.reload()).await {
            Ok(Ok(_)) => {}
            Ok(Err(problems)) => {
                return tracing::error!(%problems, "the new configuration is refused, the old one stays");
            }
            Err(error) => return tracing::error!(%error, "the configuration could not be read"),
        }
        if let Err(error) = self.app.directory.refresh().await {
            tracing::error!(%error, "the directory could not be rebuilt, the old one stays");
        }
        if let Err(error) = self.app.keys.reload(&self.app.store).await {
            tracing::error!(%error, "the client keys could not be read, the old ones stay");
        }
    }

    /// Build the next start while this one still serves.
    ///
    /// # Errors
    /// Why the next one does not start; this one goes on.
    pub async fn successor(&self, loader: &Loader) -> Result<Self, BootError> {
        let reread = loader.clone();
        let loaded = tokio::task::spawn_blocking(move || reread.load()).await?.map_err(BootError::Configuration)?;
        self.saver.flush().await;
        self.app.directory.keep(self.app.clock.wall().0).await?;
        build(loader.clone(), loaded, self.log.clone(), Some(self.heirloom.clone())).await
    }

    /// Carry usage from the journal into the store. Only one start at a time may do so with the same journal.
    pub fn carry_usage(&mut self) {
        self.replay = Some(actix_rt::spawn(Replay::new(Arc::clone(&self.app.recorder), self.app.store.clone()).run()));
    }

    /// The next start serves: from now on this one only ends what it carries. It tells nobody about itself any more, and
    /// its usage reaches the store by the next one.
    pub async fn hand_over(&mut self, next: &mut Self) {
        self.upkeep = Upkeep::default();
        self.succeeded = true;
        self.app.evals.go_over_to(&next.app.evals);
        if Arc::ptr_eq(&next.app.recorder, &self.app.recorder)
            && let Some(replay) = self.replay.take()
        {
            replay.abort();
            // It ends at its next step; an error says that it was aborted.
            let _ = replay.await;
        }
        next.carry_usage();
    }

    /// Write down what is still in memory. The listener is closed by now.
    pub async fn finish(mut self) {
        tokio::time::sleep(LAST_REPORTS).await;
        self.saver.flush().await;
        self.replay_the_rest().await;
        if let Err(error) = self.app.keys.flush_uses(&self.app.store).await {
            tracing::warn!(%error, "the times of last use are lost");
        }
        if !self.succeeded
            && let Err(error) = self.app.directory.keep(self.app.clock.wall().0).await
        {
            tracing::warn!(%error, "combos begin their turns where they last were stored");
        }
        if let Err(error) = self.app.store.flush().await {
            tracing::error!(%error, "the store did not take everything");
        }
        if let Some(demo) = self.demo {
            demo.stop().await;
        }
        self.control.stop();
        tracing::info!("everything is written, good bye");
    }

    async fn replay_the_rest(&mut self) {
        // Without one the journal is another start's by now.
        let Some(replay) = self.replay.take() else { return };
        replay.abort();
        let mut last = Replay::new(Arc::clone(&self.app.recorder), self.app.store.clone());
        match tokio::time::timeout(LAST_PASS, last.pass()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "usage stays in the journal for the next start"),
            Err(_) => tracing::warn!("usage stays in the journal for the next start: the store takes too long"),
        }
    }
}
