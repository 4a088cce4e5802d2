//! One connection to either engine, opened and set up the same way for the writer and for readers.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::StoreError;
use super::pg_tls::Tunnel;

/// A connection to whichever engine is configured. Queries go through the enum; what differs matches on it.
#[derive(diesel::MultiConnection)]
pub enum Db {
    /// The embedded engine.
    Sqlite(diesel::SqliteConnection),
    /// The shared engine.
    Postgres(diesel::PgConnection),
}

/// Run the same expression on the engine's own connection, for what the enum cannot say (`ON CONFLICT`).
macro_rules! on_each_engine {
    ($db:expr, $connection:ident => $body:expr) => {
        match $db {
            $crate::store::db::Db::Sqlite($connection) => $body,
            $crate::store::db::Db::Postgres($connection) => $body,
        }
    };
}
pub(crate) use on_each_engine;

/// Which database engine the store runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite in this process.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

impl Engine {
    /// Its name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Where the database is, ready to be connected to any number of times.
#[derive(Clone)]
pub(crate) enum Target {
    Sqlite {
        path: PathBuf,
        busy_timeout: Duration,
        max_pages: Option<u32>,
    },
    Postgres {
        url: Arc<str>,
        #[expect(dead_code, reason = "kept alive for as long as anything may connect")]
        tunnel: Option<Arc<Tunnel>>,
    },
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    Read,
}

impl Target {
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite { .. } => Engine::Sqlite,
            Self::Postgres { .. } => Engine::Postgres,
        }
    }

    pub(crate) fn connect(&self, access: Access) -> Result<Db, StoreError> {
        match self {
            Self::Sqlite { path, busy_timeout, max_pages } => {
                let mut connection = open_sqlite(&path.to_string_lossy())?;
                connection.batch_execute(&sqlite_setup(*busy_timeout, *max_pages, access))?;
                Ok(Db::Sqlite(connection))
            }
            Self::Postgres { url, .. } => {
                let mut connection = diesel::PgConnection::establish(url)?;
                connection.batch_execute(postgres_setup(access))?;
                Ok(Db::Postgres(connection))
            }
        }
    }
}

pub(super) fn open_sqlite(location: &str) -> Result<diesel::SqliteConnection, StoreError> {
    Ok(diesel::SqliteConnection::establish(location)?)
}

/// The timeout comes first so that the statements after it already wait their turn.
fn sqlite_setup(busy_timeout: Duration, max_pages: Option<u32>, access: Access) -> String {
    let busy = busy_timeout.as_millis();
    let limit = max_pages.map(|pages| format!("PRAGMA max_page_count = {pages};")).unwrap_or_default();
    let role = if access == Access::Read { "PRAGMA query_only = ON;" } else { "" };
    format!(
        "PRAGMA busy_timeout = {busy}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; {limit} {role}"
    )
}

/// Server-side limits, so that a stuck statement ends even when nobody here waits for it any more.
fn postgres_setup(access: Access) -> &'static str {
    match access {
        Access::Write => {
            "SET lock_timeout = '5s'; SET statement_timeout = '30s'; \
             SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning"
        }
        Access::Read => {
            "SET default_transaction_read_only = on; SET lock_timeout = '5s'; SET statement_timeout = '30s'; \
             SET client_min_messages = warning"
        }
    }
}

/// Let one transaction at a time read and then write `table`. SQLite's write lock already does that for the whole
/// file; on PostgreSQL another instance could write between our read and our write.
pub(crate) fn take_turns(db: &mut Db, table: &str) -> Result<(), StoreError> {
    if let Db::Postgres(connection) = db {
        connection.batch_execute(&format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct CheckLine {
    #[diesel(sql_type = Text)]
    quick_check: String,
}

/// Look through an existing file read-only, so that a damaged one is left exactly as it was found.
pub(crate) fn check_sqlite_file(path: &Path) -> Result<(), StoreError> {
    if std::fs::metadata(path).map_or(true, |file| file.len() == 0) {
        return Ok(());
    }
    match quick_check(path) {
        Ok(findings) if findings == ["ok"] => Ok(()),
        Ok(findings) => Err(damaged(path, &findings.join("; "))),
        Err(StoreError::Corrupt(finding)) => Err(damaged(path, &finding)),
        Err(other) => Err(other),
    }
}

fn quick_check(path: &Path) -> Result<Vec<String>, StoreError> {
    let mut connection = open_read_only(path)?;
    let lines = diesel::sql_query("PRAGMA quick_check(5)").load::<CheckLine>(&mut connection)?;
    Ok(lines.into_iter().map(|line| line.quick_check).collect())
}

/// A connection that cannot change the file, whatever is asked of it.
pub(crate) fn open_read_only(path: &Path) -> Result<diesel::SqliteConnection, StoreError> {
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let mut connection = open_sqlite(&format!("file:{escaped}?mode=ro"))?;
    connection.batch_execute("PRAGMA busy_timeout = 5000")?;
    Ok(connection)
}

fn damaged(path: &Path, finding: &str) -> StoreError {
    StoreError::Corrupt(format!(
        "{} is damaged ({finding}); it was left untouched: move it away and restore a backup in its place",
        path.display()
    ))
}

/// Make the file and its directory private before SQLite sees them; its journal files take over the file's mode.
pub(crate) fn prepare_sqlite_file(path: &Path, data_dir: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::unavailable(format!("{}: {error}", path.display()));
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        prepare_directory(dir, data_dir).map_err(failed)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    narrow(path, 0o600).map_err(failed)
}

/// Only a directory of our own is narrowed: a database placed in a shared one must not lock everybody else out.
fn prepare_directory(dir: &Path, data_dir: &Path) -> std::io::Result<()> {
    if !dir.exists() {
        return DirBuilder::new().recursive(true).mode(0o700).create(dir);
    }
    let ours = dir.canonicalize()? == data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
    let sticky = std::fs::metadata(dir)?.permissions().mode() & 0o1000 != 0;
    if ours && !sticky {
        return narrow(dir, 0o700);
    }
    tracing::warn!(directory = %dir.display(), "the database is in a directory that is not the gateway's own");
    Ok(())
}

pub(super) fn narrow(path: &Path, mode: u32) -> std::io::Result<()> {
    let current = std::fs::metadata(path)?.permissions().mode() & 0o777;
    if current & !mode == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(current & mode))
}
