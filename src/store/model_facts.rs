//! What an operator knows better about models than the table that is compiled in.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::db::{Db, take_turns};
use super::json::JsonText;
use super::schema::model_facts as facts;
use super::{Store, StoreError, one_row};

/// Facts about the models of one pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Queryable, Insertable)]
#[diesel(table_name = facts)]
#[serde(rename_all = "camelCase")]
pub struct ModelFactsRow {
    /// Which models: a pattern on the model's own name, or on `provider/model`.
    pub pattern: String,
    /// What is known.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub data: Value,
    /// When it was written.
    pub updated_at: i64,
}

/// Operations on facts.
pub struct ModelFactsTable<'a>(pub(super) &'a Store);

impl ModelFactsTable<'_> {
    /// Every row, by pattern.
    pub async fn list(&self) -> Result<Vec<ModelFactsRow>, StoreError> {
        self.0.read(|db| Ok(facts::table.order(facts::pattern).load(db)?)).await
    }

    /// Store facts in the place of what is there for the same pattern.
    pub async fn put(&self, row: &ModelFactsRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| put(db, row)).await
    }

    /// Remove the facts of a pattern.
    pub async fn delete(&self, pattern: &str) -> Result<(), StoreError> {
        let pattern = pattern.to_owned();
        self.0.write(move |db| one_row(diesel::delete(facts::table.find(pattern)).execute(db)?)).await
    }
}

fn put(db: &mut Db, row: ModelFactsRow) -> Result<(), StoreError> {
    take_turns(db, "model_facts")?;
    let changed = (facts::data.eq(row.data.to_string()), facts::updated_at.eq(row.updated_at));
    if diesel::update(facts::table.find(row.pattern.clone())).set(changed).execute(db)? == 0 {
        diesel::insert_into(facts::table).values(row).execute(db)?;
    }
    Ok(())
}
