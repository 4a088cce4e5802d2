//! Bringing the schema up to date at start, and refusing one from the future.

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::StoreError;
use super::db::Db;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Wait for an instance that is migrating, and allow a migration the time it takes: the limits of everyday statements
/// do not fit here. The lock's number only has to be the same in every instance.
const LOCK: &str = "SET LOCAL lock_timeout = '5min'; SET LOCAL statement_timeout = 0; \
                    SELECT pg_advisory_xact_lock(7236018453)";

/// Run what is pending, all of it or nothing; two instances starting at once take turns. Answers with what was run.
pub(crate) fn run(db: &mut Db) -> Result<Vec<String>, StoreError> {
    let names = |run: Vec<MigrationVersion<'_>>| run.iter().map(ToString::to_string).collect();
    match db {
        Db::Sqlite(connection) => connection.immediate_transaction(|connection| {
            refuse_newer::<Sqlite, _>(connection, SQLITE)?;
            connection.run_pending_migrations(SQLITE).map(names).map_err(StoreError::Other)
        }),
        Db::Postgres(connection) => connection.transaction(|connection| {
            connection.batch_execute(LOCK)?;
            refuse_newer::<Pg, _>(connection, POSTGRES)?;
            connection.run_pending_migrations(POSTGRES).map(names).map_err(StoreError::Other)
        }),
    }
}

fn refuse_newer<DB, C>(connection: &mut C, source: EmbeddedMigrations) -> Result<(), StoreError>
where
    DB: diesel::backend::Backend,
    C: MigrationHarness<DB>,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let known: Vec<Box<dyn Migration<DB>>> = source.migrations().map_err(StoreError::Other)?;
    let applied = connection.applied_migrations().map_err(StoreError::Other)?;
    let foreign = applied.iter().find(|version| !known.iter().any(|migration| migration.name().version() == **version));
    foreign.map_or(Ok(()), |version| {
        Err(StoreError::Invalid(format!(
            "the database has schema version {version}, which this release does not know; \
             run the newer release, or restore a backup from before the upgrade"
        )))
    })
}

#[cfg(test)]
pub(crate) fn revert_all(db: &mut Db) {
    match db {
        Db::Sqlite(connection) => drop(connection.revert_all_migrations(SQLITE).unwrap()),
        Db::Postgres(connection) => drop(connection.revert_all_migrations(POSTGRES).unwrap()),
    }
}
