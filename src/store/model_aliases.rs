//! Model aliases: other names for models and combos, exact or with wildcards.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::db::{Db, take_turns};
use super::schema::model_aliases as aliases;
use super::{Store, StoreError, one_row};

/// One alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Insertable)]
#[diesel(table_name = aliases)]
#[serde(rename_all = "camelCase")]
pub struct ModelAliasRow {
    /// What clients write; `*` and `?` stand for any characters.
    pub alias: String,
    /// What it means.
    pub target: String,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// Operations on aliases.
pub struct ModelAliases<'a>(pub(super) &'a Store);

impl ModelAliases<'_> {
    /// Every alias, by name.
    pub async fn list(&self) -> Result<Vec<ModelAliasRow>, StoreError> {
        self.0.read(|db| Ok(aliases::table.order(aliases::alias).load(db)?)).await
    }

    /// Store an alias, or give one that is there another meaning.
    pub async fn put(&self, row: &ModelAliasRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| put(db, &row)).await
    }

    /// Remove an alias.
    pub async fn delete(&self, alias: &str) -> Result<(), StoreError> {
        let alias = alias.to_owned();
        self.0.write(move |db| one_row(diesel::delete(aliases::table.find(alias)).execute(db)?)).await
    }
}

fn put(db: &mut Db, row: &ModelAliasRow) -> Result<(), StoreError> {
    take_turns(db, "model_aliases")?;
    let changed = (aliases::target.eq(row.target.clone()), aliases::updated_at.eq(row.updated_at));
    if diesel::update(aliases::table.find(row.alias.clone())).set(changed).execute(db)? == 0 {
        diesel::insert_into(aliases::table).values(row.clone()).execute(db)?;
    }
    Ok(())
}
