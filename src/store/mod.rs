//! The store: everything durable, and the only place that knows SQL.
//!
//! ```text
//!   Store (cheap to clone)
//!     ├── write ──► bounded queue ──► one thread, one connection, one transaction per job
//!     └── read ───► permit ──► blocking pool ──► small pool of read-only connections
//! ```
//!
//! Two engines behind one set of queries: SQLite in this process, or PostgreSQL. What they do not share (`ON CONFLICT`,
//! locks) matches on the engine in the noun's own file. No call blocks an async worker, and every wait has an end.

mod api_keys;
mod assessments;
mod audit;
mod backup;
mod bundle;
mod combo_states;
mod combos;
mod connection_state;
mod connections;
mod damage;
mod db;
mod error;
mod eval_runs;
mod eval_suites;
mod fallback_chains;
mod json;
mod location;
mod meta;
mod migrate;
mod model_aliases;
mod model_combo_mappings;
mod model_facts;
mod nodes;
mod oauth_logins;
mod oauth_tokens;
mod pg_tls;
mod policies;
mod provider_models;
mod reader;
mod responses;
mod revisions;
mod schema;
mod sessions;
mod settings;
mod sync_tokens;
#[cfg(test)]
mod tests;
mod usage;
mod writer;

pub use api_keys::{ApiKeyRow, ApiKeys, KeyPage};
pub use assessments::{AssessmentRow, Assessments};
pub use audit::{Audit, AuditEntry, AuditFilter, AuditRow, AuditVerdict};
pub use backup::{Backups, Contents, Take};
pub use bundle::{Applied, Bundles, CarriedConnection, Change, Changes, Configuration, Held};
pub use combo_states::{ComboStateRow, ComboStates};
pub use combos::{ComboRow, Combos};
pub use connection_state::{ConnectionStateRow, ConnectionStates};
pub use connections::{ConnectionRow, Connections, TestNote};
pub use db::Engine;
pub use error::{Cause, StoreError};
pub use eval_runs::{EvalRunRow, EvalRuns, EvalStatus, EvalTally};
pub use eval_suites::{EvalSuiteRow, EvalSuites};
pub use fallback_chains::{FallbackChainRow, FallbackChains};
pub use location::{engine_of, sqlite_path};
pub use meta::holds_sealed_rows;
pub use model_aliases::{ModelAliasRow, ModelAliases};
pub use model_combo_mappings::{MappingRow, Mappings};
pub use model_facts::{ModelFactsRow, ModelFactsTable};
pub use nodes::{NodeRow, Nodes};
pub use oauth_logins::{LoginKey, OauthLoginRow, OauthLogins, Turn};
pub use oauth_tokens::{LeaseWish, Leased, OauthSummary, OauthTokenRow, OauthTokens};
pub use policies::{Policies, PolicyRow};
pub use provider_models::{ProviderModelRow, ProviderModels, SyncedModelsRow};
pub use responses::{KeptResponse, ResponseRow, Responses, RunStatus};
pub use revisions::{Noun, Revisions};
pub use sessions::{SessionRow, Sessions};
pub use settings::{SettingRow, Settings};
pub use sync_tokens::{SyncTokenRow, SyncTokens};
pub use usage::{Usage, UsageRow};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diesel::prelude::*;

use crate::infra::crypto::Vault;
use damage::Damage;
use db::{Access, Db, Target};
use reader::Readers;
use writer::Writer;

/// How the version of the migration ends from which on the audit log is chained under a key.
const KEYED_AUDIT: &str = "000008";

/// What the store needs to know at start.
#[derive(Clone)]
pub struct StoreOptions {
    /// `sqlite:<path>`, a bare path (relative ones start at `data_dir`), or `postgres://...`.
    pub url: String,
    /// The gateway's own directory.
    pub data_dir: PathBuf,
    /// How many reads run at once.
    pub readers: u32,
    /// Seals and opens credentials.
    pub vault: Arc<Vault>,
}

// By hand: the url may hold a password.
impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let engine = engine_of(&self.url);
        f.debug_struct("StoreOptions")
            .field("engine", &engine)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// How long the store waits before it gives an answer anyway.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For another process that holds the SQLite file.
    pub busy_timeout: Duration,
    /// For a free reader.
    pub pool_wait: Duration,
    /// For the answer to one call, queueing included.
    pub call_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            pool_wait: Duration::from_secs(2),
            call_timeout: Duration::from_secs(15),
        }
    }
}

/// A handle to the database; clones share the writer and the readers.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
    writer: Writer,
    readers: Readers,
    vault: Arc<Vault>,
    damage: Damage,
    /// Where an embedded database lives.
    file: Option<PathBuf>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Store {
    /// Open the database and bring its schema up to date. Blocking; for start-up.
    pub fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        Self::open_with(options, Timing::default())
    }

    /// [`Store::open`] with other waiting times.
    pub fn open_with(options: &StoreOptions, timing: Timing) -> Result<Self, StoreError> {
        let target = location::resolve(&options.url, &options.data_dir, timing.busy_timeout)?;
        Self::open_target(target, options, timing)
    }

    fn open_target(target: Target, options: &StoreOptions, timing: Timing) -> Result<Self, StoreError> {
        if let Target::Sqlite { path, .. } = &target {
            db::check_sqlite_file(path)?;
            db::prepare_sqlite_file(path, &options.data_dir)?;
        }
        let mut db = target.connect(Access::Write)?;
        let migrated = migrate::run(&mut db)?;
        meta::check_vault(&mut db, &options.vault)?;
        if migrated.iter().any(|version| version.ends_with(KEYED_AUDIT)) {
            audit::adopt(&mut db, &options.vault)?;
        }
        let file = match &target {
            Target::Sqlite { path, .. } => Some(path.clone()),
            Target::Postgres { .. } => None,
        };

        Ok(Self {
            engine: target.engine(),
            readers: Readers::new(target.clone(), options.readers, timing),
            writer: Writer::start(target, db, timing.call_timeout)?,
            vault: options.vault.clone(),
            damage: Damage::default(),
            file,
        })
    }

    /// What is broken in the database, once a call has met it. It is true until a restart.
    pub fn damage(&self) -> Option<Arc<String>> {
        self.damage.found()
    }

    /// Which engine the store runs on.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Prove that the database answers and is not known to be damaged: for readiness.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.damage.refuse()?;
        self.read(|db| Ok(diesel::sql_query("SELECT 1").execute(db).map(drop)?)).await
    }

    /// Wait until every write queued so far is done: for shutdown.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.write(|_| Ok(())).await
    }

    /// Provider accounts.
    pub fn connections(&self) -> Connections<'_> {
        Connections(self)
    }

    /// What resilience remembers about connections.
    pub fn connection_states(&self) -> ConnectionStates<'_> {
        ConnectionStates(self)
    }

    /// Tokens of accounts that are signed in by OAuth.
    pub fn oauth_tokens(&self) -> OauthTokens<'_> {
        OauthTokens(self)
    }

    /// Sign-ins on their way.
    pub fn oauth_logins(&self) -> OauthLogins<'_> {
        OauthLogins(self)
    }

    /// Models beside those of the catalogue.
    pub fn provider_models(&self) -> ProviderModels<'_> {
        ProviderModels(self)
    }

    /// Custom provider endpoints.
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes(self)
    }

    /// Named lists of targets.
    pub fn combos(&self) -> Combos<'_> {
        Combos(self)
    }

    /// What combos remember over a restart.
    pub fn combo_states(&self) -> ComboStates<'_> {
        ComboStates(self)
    }

    /// Other names for models.
    pub fn model_aliases(&self) -> ModelAliases<'_> {
        ModelAliases(self)
    }

    /// Model strings that combos answer.
    pub fn mappings(&self) -> Mappings<'_> {
        Mappings(self)
    }

    /// Where requests go when a model's own candidates are used up.
    pub fn fallback_chains(&self) -> FallbackChains<'_> {
        FallbackChains(self)
    }

    /// Routing policies.
    pub fn policies(&self) -> Policies<'_> {
        Policies(self)
    }

    /// What an operator knows better about models.
    pub fn model_facts(&self) -> ModelFactsTable<'_> {
        ModelFactsTable(self)
    }

    /// What models are tried with.
    pub fn eval_suites(&self) -> EvalSuites<'_> {
        EvalSuites(self)
    }

    /// How models did.
    pub fn eval_runs(&self) -> EvalRuns<'_> {
        EvalRuns(self)
    }

    /// Which models answered when they were last tried.
    pub fn assessments(&self) -> Assessments<'_> {
        Assessments(self)
    }

    /// Client keys.
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys(self)
    }

    /// How often what is kept in memory was changed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revisions(&self) -> Result<Revisions, StoreError> {
        self.read(revisions::load).await
    }

    /// Kept answers of the Responses API.
    pub fn responses(&self) -> Responses<'_> {
        Responses(self)
    }

    /// Sessions of the management interface.
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions(self)
    }

    /// Settings changed at run time.
    pub fn settings(&self) -> Settings<'_> {
        Settings(self)
    }

    /// The audit log.
    pub fn audit(&self) -> Audit<'_> {
        Audit(self)
    }

    /// The configuration as a whole.
    pub fn bundles(&self) -> Bundles<'_> {
        Bundles(self)
    }

    /// Tokens of other instances.
    pub fn sync_tokens(&self) -> SyncTokens<'_> {
        SyncTokens(self)
    }

    /// Copies of the whole database.
    pub fn backups(&self) -> Backups<'_> {
        Backups(self)
    }

    /// What was used, by whom, where.
    pub fn usage(&self) -> Usage<'_> {
        Usage(self)
    }

    async fn write<T, F>(&self, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        // What is written into a damaged file is lost with it, and can damage more.
        self.damage.refuse()?;
        self.damage.watch(self.writer.run(body).await)
    }

    async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        self.damage.watch(self.readers.run(query).await)
    }
}

/// An update or delete by primary key met exactly its row, or there was none.
fn one_row(affected: usize) -> Result<(), StoreError> {
    if affected == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}
