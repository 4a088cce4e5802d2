//! Models beside those of the catalogue: what operators added or changed, and what providers told about themselves.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::db::{Db, take_turns};
use super::json::JsonText;
use super::schema::{provider_models as models, synced_models as synced};
use super::{Store, StoreError};

/// One model as an operator wants it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Queryable, Insertable)]
#[diesel(table_name = models)]
#[serde(rename_all = "camelCase")]
pub struct ProviderModelRow {
    /// Whose: an id of the catalogue or of a node.
    pub provider: String,
    /// The model's name there.
    pub model: String,
    /// What is said about it.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub data: Value,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// What the provider of a connection told last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Queryable, Insertable)]
#[diesel(table_name = synced)]
#[serde(rename_all = "camelCase")]
pub struct SyncedModelsRow {
    /// The connection that it was asked with.
    pub connection_id: String,
    /// The names, as a list of texts.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub models: Value,
    /// When that was.
    pub synced_at: i64,
}

impl SyncedModelsRow {
    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.as_array().into_iter().flatten().filter_map(Value::as_str)
    }
}

/// Operations on models.
pub struct ProviderModels<'a>(pub(super) &'a Store);

impl ProviderModels<'_> {
    /// Every model of operators.
    pub async fn list(&self) -> Result<Vec<ProviderModelRow>, StoreError> {
        self.0.read(|db| Ok(models::table.order((models::provider, models::model)).load(db)?)).await
    }

    /// Everything that providers told.
    pub async fn synced(&self) -> Result<Vec<SyncedModelsRow>, StoreError> {
        self.0.read(|db| Ok(synced::table.order(synced::connection_id).load(db)?)).await
    }

    /// Store models, or give those that are there other data.
    pub async fn put(&self, rows: Vec<ProviderModelRow>) -> Result<(), StoreError> {
        self.0
            .write(move |db| {
                take_turns(db, "provider_models")?;
                rows.into_iter().try_for_each(|row| put(db, row))
            })
            .await
    }

    /// Remove one model; says whether it was there.
    pub async fn delete(&self, provider: &str, model: &str) -> Result<bool, StoreError> {
        let key = (provider.to_owned(), model.to_owned());
        self.0.write(move |db| Ok(diesel::delete(models::table.find(key)).execute(db)? > 0)).await
    }

    /// Remove all models of a provider; says how many there were.
    pub async fn delete_all(&self, provider: &str) -> Result<usize, StoreError> {
        let provider = provider.to_owned();
        self.0
            .write(move |db| Ok(diesel::delete(models::table.filter(models::provider.eq(provider))).execute(db)?))
            .await
    }

    /// Store what a provider told in the place of what it told before.
    pub async fn sync(&self, row: SyncedModelsRow) -> Result<(), StoreError> {
        self.0
            .write(move |db| {
                take_turns(db, "synced_models")?;
                forget(db, &row.connection_id)?;
                diesel::insert_into(synced::table).values(row).execute(db).map(drop)?;
                Ok(())
            })
            .await
    }
}

fn put(db: &mut Db, row: ProviderModelRow) -> Result<(), StoreError> {
    let key = (row.provider.clone(), row.model.clone());
    let changed = (models::data.eq(row.data.to_string()), models::updated_at.eq(row.updated_at));
    if diesel::update(models::table.find(key)).set(changed).execute(db)? == 0 {
        diesel::insert_into(models::table).values(row).execute(db)?;
    }
    Ok(())
}

/// What was told goes with the connection.
pub(super) fn forget(db: &mut Db, connection: &str) -> QueryResult<usize> {
    diesel::delete(synced::table.find(connection.to_owned())).execute(db)
}
