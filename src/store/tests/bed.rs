//! Databases to test on.

use std::path::PathBuf;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tempfile::TempDir;

use crate::infra::crypto::{MasterKey, Vault};
use crate::store::db::{Access, Db, Target};
use crate::store::{Engine, Store, StoreError, StoreOptions, Timing, location};

/// A database of one test's own, and how to reach it behind the store's back.
pub struct Bed {
    pub store: Store,
    pub options: StoreOptions,
    pub dir: TempDir,
    schema: Option<(String, String)>,
}

/// One bed on each engine there is.
pub fn beds() -> Vec<Bed> {
    [Some(sqlite()), postgres()].into_iter().flatten().collect()
}

pub fn vault() -> Arc<Vault> {
    Arc::new(Vault::new(&MasterKey::from_bytes([7; 32])))
}

pub fn options(dir: &TempDir, url: &str) -> StoreOptions {
    StoreOptions { url: url.to_owned(), data_dir: dir.path().to_owned(), readers: 2, vault: vault() }
}

pub fn sqlite() -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir, "sqlite:test.db");
    Bed { store: Store::open(&options).unwrap(), options, dir, schema: None }
}

pub use omniroute_testkit::services::variable as service;

pub fn postgres() -> Option<Bed> {
    Some(postgres_at(service("OMNIROUTE_TEST_POSTGRES")?, ""))
}

/// A bed on this server; `parameters` are added to the store's url only.
pub fn postgres_at(base: String, parameters: &str) -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let schema = format!("t{}", uuid::Uuid::new_v4().simple());
    admin(&base, &format!("CREATE SCHEMA {schema}"));
    let options = options(&dir, &format!("{}{parameters}", in_schema(&base, &schema)));
    Bed { store: Store::open(&options).unwrap(), options, dir, schema: Some((base, schema)) }
}

fn in_schema(base: &str, schema: &str) -> String {
    let mut url = url::Url::parse(base).unwrap();
    let path = format!("options=-csearch_path%3D{schema}&application_name={schema}");
    let query = url.query().map_or(path.clone(), |query| format!("{query}&{path}"));
    url.set_query(Some(&query));
    url.into()
}

fn admin(base: &str, sql: &str) {
    PgConnection::establish(base).unwrap().batch_execute(sql).unwrap();
}

impl Bed {
    pub fn engine(&self) -> Engine {
        self.store.engine()
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("test.db")
    }

    /// Another handle on the same database, as a second process would have one.
    pub fn reopen(&self) -> Result<Store, StoreError> {
        Store::open(&self.options)
    }

    pub fn target(&self) -> Target {
        location::resolve(&self.options.url, self.dir.path(), Timing::default().busy_timeout).unwrap()
    }

    /// A connection behind the store's back.
    pub fn raw(&self) -> Db {
        self.target().connect(Access::Write).unwrap()
    }

    pub fn execute(&self, sql: &str) -> QueryResult<()> {
        self.raw().batch_execute(sql)
    }

    /// End every server process of this bed, as a restarted server would.
    pub fn cut_server_connections(&self) {
        let (base, schema) = self.schema.as_ref().unwrap();
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity";
        admin(base, &format!("{sql} WHERE application_name = '{schema}'"));
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some((base, schema)) = &self.schema {
            self.cut_server_connections();
            admin(base, &format!("DROP SCHEMA {schema} CASCADE"));
        }
    }
}
