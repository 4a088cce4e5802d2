//! Usage: one row per finished request, written in batches from the journal.
//!
//! A batch may arrive twice (the process died between the commit and forgetting the journal), so a request that is
//! already there is passed over.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use serde::{Deserialize, Serialize};

use super::db::Db;
use super::schema::usage_records;
use super::{Store, StoreError};

/// PostgreSQL takes at most 65,535 parameters a statement; beyond some hundred rows nothing is gained.
const ROWS_PER_STATEMENT: usize = 500;
/// SQLite: a statement of so many rows and one of a single row, whose texts never change. Each is written and parsed once
/// per connection and then only bound; a statement for whatever number there is costs more to parse than to run.
const ROWS_OF_ONE_TEXT: usize = 50;

/// What one request used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Insertable)]
// Without defaults a batch is one statement on both engines; with them SQLite takes one per row.
#[diesel(table_name = usage_records, treat_none_as_default_value = false)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// The request; a second row for it changes nothing.
    pub request_id: String,
    /// When it ended.
    pub at: i64,
    /// The client key.
    pub key_id: Option<String>,
    /// The connection that answered.
    pub connection_id: Option<String>,
    /// Its provider.
    pub provider: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// The model that was asked for.
    pub requested_model: String,
    /// The combo, if one was used.
    pub combo: Option<String>,
    /// The HTTP status the client saw.
    pub status: i32,
    /// How it ended.
    pub outcome: String,
    /// Whether it was streamed.
    pub streamed: bool,
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Tokens written.
    pub completion_tokens: i64,
    /// Tokens read from the provider's cache.
    pub cached_tokens: i64,
    /// Tokens thought.
    pub reasoning_tokens: i64,
    /// Whether the counts are our own estimate.
    pub estimated: bool,
    /// Until the first content.
    pub ttft_ms: Option<i64>,
    /// Until the end.
    pub total_ms: i64,
    /// The attempts, as a JSON list.
    pub attempts: String,
}

/// Operations on usage.
pub struct Usage<'a>(pub(super) &'a Store);

impl Usage<'_> {
    /// Store a batch in one transaction; says how many rows were new.
    pub async fn insert_batch(&self, rows: Vec<UsageRow>) -> Result<usize, StoreError> {
        self.0.write(move |db| Ok(insert_batch(db, &rows)?)).await
    }

    /// One request's row.
    pub async fn get(&self, request_id: &str) -> Result<UsageRow, StoreError> {
        let id = request_id.to_owned();
        self.0.read(move |db| Ok(usage_records::table.find(id).first(db)?)).await
    }

    /// How many rows there are.
    pub async fn count(&self) -> Result<i64, StoreError> {
        self.0.read(|db| Ok(usage_records::table.count().get_result(db)?)).await
    }

    /// The newest rows, newest first.
    pub async fn list(&self, limit: i64) -> Result<Vec<UsageRow>, StoreError> {
        let order = (usage_records::at.desc(), usage_records::request_id.desc());
        self.0.read(move |db| Ok(usage_records::table.order(order).limit(limit.max(0)).load(db)?)).await
    }
}

fn insert_batch(db: &mut Db, rows: &[UsageRow]) -> QueryResult<usize> {
    match db {
        Db::Sqlite(connection) => insert_sqlite(connection, rows),
        Db::Postgres(connection) => rows.chunks(ROWS_PER_STATEMENT).map(|rows| insert_postgres(connection, rows)).sum(),
    }
}

/// `OR IGNORE` and not `ON CONFLICT`, because Diesel knows no fixed text for the latter. It would pass over a missing value,
/// too, but a row has none.
fn insert_sqlite(connection: &mut SqliteConnection, rows: &[UsageRow]) -> QueryResult<usize> {
    let into = diesel::insert_or_ignore_into(usage_records::table);
    let (many, rest) = rows.as_chunks::<ROWS_OF_ONE_TEXT>();
    let many = many.iter().map(|rows| into.values(rows).execute(connection)).sum::<QueryResult<usize>>()?;
    let rest = rest.iter().map(|row| into.values(row).execute(connection)).sum::<QueryResult<usize>>()?;
    Ok(many + rest)
}

fn insert_postgres(connection: &mut PgConnection, rows: &[UsageRow]) -> QueryResult<usize> {
    diesel::insert_into(usage_records::table).values(rows).on_conflict_do_nothing().execute(connection)
}
