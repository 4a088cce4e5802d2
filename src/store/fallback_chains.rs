//! Fallback chains: where a model's requests go when its own candidates are used up.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::db::{Db, take_turns};
use super::json::JsonText;
use super::schema::fallback_chains as chains;
use super::{Store, StoreError, one_row};

/// One model's chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Queryable, Insertable)]
#[diesel(table_name = chains)]
#[serde(rename_all = "camelCase")]
pub struct FallbackChainRow {
    /// The model string whose requests fall back.
    pub model: String,
    /// The links of the chain.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub chain: Value,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// Operations on chains.
pub struct FallbackChains<'a>(pub(super) &'a Store);

impl FallbackChains<'_> {
    /// Every chain, by model.
    pub async fn list(&self) -> Result<Vec<FallbackChainRow>, StoreError> {
        self.0.read(|db| Ok(chains::table.order(chains::model).load(db)?)).await
    }

    /// Store a chain, in the place of the one that is there.
    pub async fn put(&self, row: &FallbackChainRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| put(db, row)).await
    }

    /// Remove a chain.
    pub async fn delete(&self, model: &str) -> Result<(), StoreError> {
        let model = model.to_owned();
        self.0.write(move |db| one_row(diesel::delete(chains::table.find(model)).execute(db)?)).await
    }
}

fn put(db: &mut Db, row: FallbackChainRow) -> Result<(), StoreError> {
    take_turns(db, "fallback_chains")?;
    let changed = (chains::chain.eq(row.chain.to_string()), chains::updated_at.eq(row.updated_at));
    if diesel::update(chains::table.find(row.model.clone())).set(changed).execute(db)? == 0 {
        diesel::insert_into(chains::table).values(row).execute(db)?;
    }
    Ok(())
}
