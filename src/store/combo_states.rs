//! What a combo's strategy must not forget over a restart: its turn, its last good target.

use diesel::prelude::*;
use diesel::upsert::excluded;
use serde::{Deserialize, Serialize};

use super::db::{Db, on_each_engine};
use super::schema::combo_states::{self as states, dsl};
use super::{Store, StoreError};

/// The state of one combo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Insertable)]
#[diesel(table_name = states)]
#[serde(rename_all = "camelCase")]
pub struct ComboStateRow {
    /// The combo's name: combos of the demo have no id of a row.
    pub combo: String,
    /// As the strategy writes it, JSON.
    pub data: String,
    /// When it was written.
    pub updated_at: i64,
}

/// Operations on combo states.
pub struct ComboStates<'a>(pub(super) &'a Store);

impl ComboStates<'_> {
    /// Every state.
    pub async fn load_all(&self) -> Result<Vec<ComboStateRow>, StoreError> {
        self.0.read(|db| Ok(states::table.order(dsl::combo).load(db)?)).await
    }

    /// Keep these states in the place of what was kept, all or none.
    pub async fn save_many(&self, rows: &[ComboStateRow]) -> Result<(), StoreError> {
        let mut rows = rows.to_vec();
        // One order for all: two instances that save the same rows must not wait for each other in a ring.
        rows.sort_by(|a, b| a.combo.cmp(&b.combo));
        self.0.write(move |db| rows.iter().try_for_each(|row| save(db, row))).await
    }
}

fn save(db: &mut Db, row: &ComboStateRow) -> Result<(), StoreError> {
    let replaced = (dsl::data.eq(excluded(dsl::data)), dsl::updated_at.eq(excluded(dsl::updated_at)));
    on_each_engine!(db, connection => {
        diesel::insert_into(states::table)
            .values(row)
            .on_conflict(dsl::combo)
            .do_update()
            .set(replaced)
            .execute(connection)?
    });
    Ok(())
}
