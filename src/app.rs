//! The running gateway: everything that handlers share, built once at start and cheap to clone.

use std::sync::Arc;

use actix::Addr;
use omniroute_actors::background::BackgroundRuns;
use omniroute_actors::clock::Clock;
use omniroute_actors::ports::Minter;
use omniroute_actors::router::PublishedPlan;
use omniroute_actors::supervisor::Registry;

use crate::auth::{KeyRing, LoginThrottle};
use crate::config::ConfigHandle;
use crate::evals::Evals;
use crate::gateway::directory::Directory;
use crate::gateway::handoff::Handoffs;
use crate::gateway::seals::Seals;
use crate::infra::alarms::Alarms;
use crate::infra::crypto::Vault;
use crate::infra::lifecycle::Lifecycle;
use crate::infra::overload::Overload;
use crate::infra::recorder::Recorder;
use crate::infra::stats::Stats;
use crate::infra::sync::Exchanges;
use crate::providers::oauth::Oauth;
use crate::store::Store;
use crate::upstream::ClientFactory;

/// What handlers share.
#[derive(Clone)]
pub struct App {
    /// The configuration in force.
    pub config: ConfigHandle,
    /// Everything durable.
    pub store: Store,
    /// Seals credentials, hashes keys.
    pub vault: Arc<Vault>,
    /// The client keys, in memory.
    pub keys: KeyRing,
    /// Counts failed logins.
    pub logins: Arc<LoginThrottle>,
    /// Which security events are news for the audit log.
    pub alarms: Arc<Alarms>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The routing plan.
    pub plan: PublishedPlan,
    /// The connection actors.
    pub registry: Addr<Registry>,
    /// Rebuilds plan and connections after a change.
    pub directory: Arc<Directory>,
    /// The way to providers.
    pub clients: ClientFactory,
    /// Exchanges credentials that are not sent themselves.
    pub minter: Arc<dyn Minter>,
    /// Accounts that are signed in.
    pub oauth: Arc<Oauth>,
    /// The way to what clients name by URL: without the exceptions that providers have.
    pub web: ClientFactory,
    /// Keeps usage.
    pub recorder: Arc<Recorder>,
    /// What happened lately.
    pub stats: Stats,
    /// What providers sealed, for clients that do not send it back.
    pub seals: Seals,
    /// Summaries of sessions that were handed over.
    pub handoffs: Handoffs,
    /// What is made in the background.
    pub runs: Addr<BackgroundRuns>,
    /// Models that are tried.
    pub evals: Evals,
    /// Counts the exchanges of configurations.
    pub exchanges: Arc<Exchanges>,
    /// Starting, ready, draining.
    pub lifecycle: Arc<Lifecycle>,
    /// What it takes on.
    pub overload: Arc<Overload>,
}
