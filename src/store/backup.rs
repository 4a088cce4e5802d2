//! Whole copies of an embedded database: taken while it is used, looked through before they are trusted, and put back
//! in one transaction.
//!
//! What comes back are rows, copied by us into our own schema; a foreign file is never opened in the database's place.
//! What was audited and what was used stay as they are: they are the past, and a backup cannot undo it.

mod inspect;
mod put_back;

use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::db::{Db, open_read_only, open_sqlite};
use super::{Engine, Store, StoreError};

/// How much of the things that operators make is in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Provider accounts.
    pub connections: i64,
    /// Own endpoints.
    pub nodes: i64,
    /// Combos.
    pub combos: i64,
    /// Client keys.
    pub api_keys: i64,
}

/// What is taken from a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Everything: it is our own.
    All,
    /// Everything but who may sign in and with which keys: somebody else may have made it.
    ButAccess,
}

/// Operations on copies of the database. Only the embedded engine has them.
pub struct Backups<'a>(pub(super) &'a Store);

impl Backups<'_> {
    /// Write a consistent copy to a path where nothing is yet.
    ///
    /// # Errors
    /// Another engine, or the disk.
    pub async fn copy_to(&self, path: PathBuf) -> Result<(), StoreError> {
        let file = self.0.own_file()?;
        blocking(move || copy(&file, &path)).await
    }

    /// What a copy holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn contents(&self, path: PathBuf) -> Result<Contents, StoreError> {
        blocking(move || contents(&mut open_read_only(&path)?)).await
    }

    /// Look a file through that may come from anywhere, and bring it to the present schema in place: its rows can be
    /// taken then. The file must be one that nobody else needs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn make_ready(&self, path: PathBuf) -> Result<Contents, StoreError> {
        let vault = self.0.vault.clone();
        self.0.own_file()?;
        blocking(move || inspect::make_ready(&path, &vault).map_err(of_the_copy)).await
    }

    /// Put the rows of a file that was made ready in the place of the present ones, all or none.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn put_back(&self, path: PathBuf, take: Take) -> Result<(), StoreError> {
        self.0.own_file()?;
        self.0.damage.refuse()?;
        // Not watched for damage: what is met here may be the copy's.
        self.0.writer.run_apart(move |db| put_back::put_back(db, &path, take)).await
    }
}

impl Store {
    fn own_file(&self) -> Result<PathBuf, StoreError> {
        self.file.clone().ok_or_else(|| {
            StoreError::Invalid(
                "the database is a PostgreSQL server: use pg_dump and pg_restore for copies of it".into(),
            )
        })
    }

    /// Whether the database is a file that can be copied.
    pub fn is_file(&self) -> bool {
        self.engine == Engine::Sqlite
    }
}

/// A copy that is damaged says nothing about the database.
fn of_the_copy(error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt(finding) => StoreError::Invalid(format!("the file cannot be taken: {finding}")),
        other => other,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(StoreError::Other("a job on a copy of the database panicked".into())))
}

/// One read transaction: writers go on meanwhile.
fn copy(file: &Path, to: &Path) -> Result<(), StoreError> {
    let mut connection = open_read_only(file)?;
    let query = diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(to.to_string_lossy().into_owned());
    query.execute(&mut connection)?;
    // SQLite makes the file with the usual rights; what it holds is nobody else's business.
    super::db::narrow(to, 0o600).and_then(|()| std::fs::File::open(to)?.sync_all()).map_err(StoreError::unavailable_io)
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn contents(connection: &mut SqliteConnection) -> Result<Contents, StoreError> {
    let mut count = |table: &str| -> Result<i64, StoreError> {
        let rows = diesel::sql_query(format!("SELECT count(*) AS count FROM {table}")).load::<Count>(connection)?;
        Ok(rows.first().map_or(0, |row| row.count))
    };
    Ok(Contents {
        connections: count("connections")?,
        nodes: count("nodes")?,
        combos: count("combos")?,
        api_keys: count("api_keys")?,
    })
}

/// A file of our own that is to be written.
fn open_for_migration(path: &Path) -> Result<Db, StoreError> {
    let mut connection = open_sqlite(&path.to_string_lossy())?;
    // No journal beside the file: it is thrown away when something goes wrong.
    connection
        .batch_execute("PRAGMA journal_mode = DELETE; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")?;
    Ok(Db::Sqlite(connection))
}
