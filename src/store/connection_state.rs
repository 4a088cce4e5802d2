//! What resilience remembers about a connection over a restart: breaker, cooldown, lockouts.

use diesel::prelude::*;
use diesel::upsert::excluded;
use serde::{Deserialize, Serialize};

use super::db::{Db, on_each_engine};
use super::schema::connection_state::{self as state, dsl};
use super::{Store, StoreError};

/// The remembered state of one connection. It need not have a row among the connections: those that come from the
/// environment live in memory only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Insertable)]
#[diesel(table_name = state)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStateRow {
    /// Whose state it is.
    pub connection_id: String,
    /// `closed`, `degraded`, `open` or `half_open`.
    pub breaker: String,
    /// Until when the breaker stays open.
    pub open_until: Option<i64>,
    /// How often it opened in a row.
    pub open_cycles: i32,
    /// Until when the connection cools down.
    pub cooldown_until: Option<i64>,
    /// Why it cools down.
    pub cooldown_reason: Option<String>,
    /// The step of the growing back-off.
    pub backoff_level: i32,
    /// Why it cannot be used until somebody acts.
    pub terminal: Option<String>,
    /// Since when it is in this state.
    pub since: i64,
    /// Why it is in this state.
    pub reason: Option<String>,
    /// The last error, as JSON.
    pub last_error: Option<String>,
    /// Models locked out on this connection, as JSON.
    pub lockouts: String,
    /// Grows with each reset: reports of an older generation are void.
    pub generation: i64,
    /// When this was written.
    pub updated_at: i64,
    /// What the provider said about its limits, as JSON.
    pub learned: Option<String>,
}

/// Operations on remembered states.
pub struct ConnectionStates<'a>(pub(super) &'a Store);

impl ConnectionStates<'_> {
    /// Every remembered state.
    pub async fn load_all(&self) -> Result<Vec<ConnectionStateRow>, StoreError> {
        self.0.read(|db| Ok(state::table.order(dsl::connection_id).load(db)?)).await
    }

    /// Remember these states, replacing what was remembered, all or none.
    pub async fn save_many(&self, rows: &[ConnectionStateRow]) -> Result<(), StoreError> {
        let mut rows = rows.to_vec();
        // One order for all: two instances that save the same rows must not wait for each other in a ring.
        rows.sort_by(|a, b| a.connection_id.cmp(&b.connection_id));
        self.0.write(move |db| rows.iter().try_for_each(|row| save(db, row))).await
    }

    /// Forget one connection's state; forgetting what is not there is no error.
    pub async fn delete(&self, connection_id: &str) -> Result<(), StoreError> {
        let id = connection_id.to_owned();
        self.0.write(move |db| Ok(diesel::delete(state::table.find(id)).execute(db).map(drop)?)).await
    }
}

fn save(db: &mut Db, row: &ConnectionStateRow) -> Result<(), StoreError> {
    let replaced = (
        dsl::breaker.eq(excluded(dsl::breaker)),
        dsl::open_until.eq(excluded(dsl::open_until)),
        dsl::open_cycles.eq(excluded(dsl::open_cycles)),
        dsl::cooldown_until.eq(excluded(dsl::cooldown_until)),
        dsl::cooldown_reason.eq(excluded(dsl::cooldown_reason)),
        dsl::backoff_level.eq(excluded(dsl::backoff_level)),
        dsl::terminal.eq(excluded(dsl::terminal)),
        dsl::since.eq(excluded(dsl::since)),
        dsl::reason.eq(excluded(dsl::reason)),
        dsl::last_error.eq(excluded(dsl::last_error)),
        dsl::lockouts.eq(excluded(dsl::lockouts)),
        dsl::generation.eq(excluded(dsl::generation)),
        dsl::updated_at.eq(excluded(dsl::updated_at)),
        dsl::learned.eq(excluded(dsl::learned)),
    );
    on_each_engine!(db, connection => {
        diesel::insert_into(state::table)
            .values(row)
            .on_conflict(dsl::connection_id)
            .do_update()
            .set(replaced)
            .execute(connection)?
    });
    Ok(())
}
