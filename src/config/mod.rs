//! Configuration: defaults < `config.toml` < `OMNIROUTE__SECTION__KEY`, checked as a whole before anything starts.
//!
//! Each section is declared once with the `section!` macro, which also makes the text of `config.toml`.
//! Nothing here is global: the loader is given its file and its environment, and hands out one value.

pub mod admin;
pub mod backups;
pub mod environment;
pub mod evals;
mod hint;
pub mod layers;
pub mod loader;
pub mod network;
pub mod oauth;
pub mod outline;
pub mod overlay;
pub mod overload;
pub mod problems;
pub mod reload;
pub mod resilience;
pub mod secret;
pub mod section;
pub mod server;
pub mod setting;
pub mod upstream;
mod validate;

pub use admin::{Audit, Oidc, Sync};
pub use backups::Backups;
pub use environment::Environment;
pub use evals::Evals;
pub use loader::{Loaded, Loader};
pub use network::{HostException, Network};
pub use oauth::Oauth;
pub use overlay::Overlay;
pub use overload::Overload;
pub use problems::{ConfigProblems, Problem, Source};
pub use reload::{ConfigHandle, ReloadReport};
pub use resilience::{
    Breaker, ConnectionCooldown, Cooldown, ProviderBreaker, RequestQueue, Resilience, WaitForCooldown,
};
pub use secret::{Secret, SecretError};
pub use server::{Auth, Demo, Logging, Server, Storage, Usage};
pub use setting::{LedgerUnavailable, LogFormat, SyncDirection, SyncMode, When};
pub use upstream::{Deadlines, Providers, Routing, Upstream};

use section::section;

section! {
    /// Everything an operator can set.
    pub struct Config {
        /// Where the gateway listens and how it treats its clients' connections.
        server: Server = Server::default();
        /// Who may call, and how the management session behaves.
        auth: Auth = Auth::default();
        /// The audit log: every management write and security event, chained so that a change of it shows.
        audit: Audit = Audit::default();
        /// Signing in with an account of an OpenID Connect provider, beside the password.
        oidc: Oidc = Oidc::default();
        /// Keeping the configuration of two instances alike, by signed bundles.
        sync: Sync = Sync::default();
        /// Where everything durable lives.
        storage: Storage = Storage::default();
        /// Copies of the embedded database. A PostgreSQL server has its own ways (`pg_dump`).
        backups: Backups = Backups::default();
        /// Connections to providers and what may be reached.
        upstream: Upstream = Upstream::default();
        /// How long a call may take, phase by phase.
        deadlines: Deadlines = Deadlines::default();
        /// How a call finds its connection.
        routing: Routing = Routing::default();
        /// What keeps a failing account or provider from spoiling calls.
        resilience: Resilience = Resilience::default();
        /// What the process takes on before it refuses new calls, quickly and fairly between keys.
        overload: Overload = Overload::default();
        /// Trying models with the cases of a suite (`/api/evals`). It waits while clients need the gateway.
        evals: Evals = Evals::default();
        /// Where providers come from beside the store.
        providers: Providers = Providers::default();
        /// Accounts that are signed in by OAuth, with clients of the operator's own.
        oauth: Oauth = Oauth::default();
        /// What is written to standard error.
        logging: Logging = Logging::default();
        /// The built-in provider that lets a fresh installation answer.
        demo: Demo = Demo::default();
        /// The append-only journal in which usage is safe before it reaches the store.
        usage: Usage = Usage::default();
    }
}
