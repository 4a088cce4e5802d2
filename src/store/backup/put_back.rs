//! Rows from a copy into the database, in one transaction.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::super::StoreError;
use super::super::db::Db;
use super::Take;
use crate::settings::travel::ADMIN_PASSWORD;

/// What is not taken: the past, what belongs to running processes, and what the database knows of itself.
const NEVER: [&str; 8] = [
    "__diesel_schema_migrations",
    "meta",
    "audit",
    "audit_anchors",
    "sessions",
    "connection_state",
    "oauth_logins",
    "revisions",
];
/// What is taken in beside what is there: no row of it is ever false later, or, of tokens that were renewed since, the one
/// that is there is the one that still works.
const ADDED: [&str; 4] = ["usage_records", "responses", "oauth_tokens", "eval_runs"];
/// Who may come in with which key.
const KEYS: [&str; 2] = ["api_keys", "sync_tokens"];

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
}

pub(super) fn put_back(db: &mut Db, path: &Path, take: Take) -> Result<(), StoreError> {
    let Db::Sqlite(connection) = db else { return Err(StoreError::Invalid("it is no embedded database".into())) };
    let attach = diesel::sql_query("ATTACH DATABASE ? AS copy").bind::<Text, _>(path.to_string_lossy().into_owned());
    attach.execute(connection)?;
    let done = connection.immediate_transaction(|connection| rows(connection, take));
    // An attached file that stays would keep the next one out.
    let detached = connection.batch_execute("DETACH DATABASE copy");
    done.and_then(|()| Ok(detached?))
}

fn rows(connection: &mut SqliteConnection, take: Take) -> Result<(), StoreError> {
    connection.batch_execute("PRAGMA defer_foreign_keys = ON")?;
    let query = "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    for Table { name } in diesel::sql_query(query).load::<Table>(connection)? {
        if let Some(statements) = statements(&name, take) {
            connection.batch_execute(&statements)?;
        }
    }
    Ok(())
}

/// How one table is taken; its name comes from our own schema.
fn statements(table: &str, take: Take) -> Option<String> {
    let columns = format!("main.{table} SELECT * FROM copy.{table}");
    match table {
        _ if NEVER.contains(&table) => None,
        _ if KEYS.contains(&table) && take == Take::ButAccess => None,
        "settings" if take == Take::ButAccess => Some(format!(
            "DELETE FROM main.settings WHERE key <> '{ADMIN_PASSWORD}'; INSERT INTO {columns} WHERE key <> '{ADMIN_PASSWORD}'"
        )),
        _ if ADDED.contains(&table) => Some(format!("INSERT OR IGNORE INTO {columns}")),
        _ => Some(format!("DELETE FROM main.{table}; INSERT INTO {columns}")),
    }
}
