//! From a configuration to a running gateway, in the order in which the parts need each other:
//!
//! ```text
//! data directory > master key > store > demo > way out > control arbiter > registry > directory > keys > recorder
//! ```
//! [`build`] makes everything but the listener, [`Booted::finish`] takes it down again without losing a record.

mod access;
pub mod banner;
mod booted;
mod error;
pub mod foundation;
mod heirloom;
mod providers;
mod reload;
mod upkeep;
mod ways_out;

pub use error::BootError;
pub use foundation::{Foundation, FoundationError};
pub use heirloom::Heirloom;
pub use providers::{environment, wants_demo};

use std::sync::Arc;

use actix::{Addr, Arbiter, ArbiterHandle, Supervisor};
use actix_rt::task::JoinHandle;
use omniroute_actors::background::BackgroundRuns;
use omniroute_actors::clock::{Clock, SystemClock};
use omniroute_actors::ports::{Minter, Ports, StateRecord};
use omniroute_actors::router::PublishedPlan;
use omniroute_actors::supervisor::Registry;
use secrecy::SecretString;

use self::access::{first_key, sign_in};
use self::banner::SignIn;
use self::heirloom::recorder_options;
use self::providers::start_demo;
use self::reload::LiveReload;
use self::upkeep::Upkeep;
use self::ways_out::{upstream_settings, web_settings};
use crate::app::App;
use crate::auth::{Admin, KeyRing, LoginThrottle, Sessions};
use crate::config::{Config, ConfigHandle, Loaded, Loader};
use crate::demo::DemoServer;
use crate::evals::{self, Evals};
use crate::gateway::background;
use crate::gateway::directory::{Directory, DirectoryParts, Egress};
use crate::gateway::handoff::Handoffs;
use crate::gateway::seals::Seals;
use crate::infra::backups::Shelf;
use crate::infra::lifecycle::Lifecycle;
use crate::infra::metrics::Metrics;
use crate::infra::orders::{OrderBook, orders};
use crate::infra::refused_addresses;
use crate::infra::state_saver::{self, StateSaver};
use crate::infra::stats::{Ears, Stats};
use crate::infra::telemetry::LogControl;
use crate::providers::TokenMinter;
use crate::providers::oauth::{Oauth, OauthBook};
use crate::routes::Management;
use crate::store::{Store, StoreError};
use crate::upstream::{ClientFactory, Outside};

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
        None => Heirloom::first_of_its_kind(journal)?,
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

/// Opening migrates, and waits for locks: not on the thread that listens to signals.
async fn open(config: Config, loader: &Loader) -> Result<(Config, Foundation), BootError> {
    let environment = loader.environment().clone();
    let opened = tokio::task::spawn_blocking(move || {
        let foundation = Foundation::open(&config, &environment)?;
        Ok::<_, FoundationError>((config, foundation))
    });
    Ok(opened.await??)
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
