//! Mappings: model strings of a pattern that a combo answers.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::schema::model_combo_mappings as mappings;
use super::{Store, StoreError, one_row};

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = mappings)]
#[serde(rename_all = "camelCase")]
pub struct MappingRow {
    /// Identity.
    pub id: String,
    /// The pattern: `*` and `?`, the case does not matter.
    pub pattern: String,
    /// The combo that answers.
    pub combo_id: String,
    /// Higher comes first.
    pub priority: i32,
    /// Whether it is looked at.
    pub enabled: bool,
    /// The operator's words.
    pub description: String,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// Operations on mappings.
pub struct Mappings<'a>(pub(super) &'a Store);

impl Mappings<'_> {
    /// Every mapping in the order in which they are looked at: the highest priority, then the oldest.
    pub async fn list(&self) -> Result<Vec<MappingRow>, StoreError> {
        let order = (mappings::priority.desc(), mappings::created_at, mappings::id);
        self.0.read(move |db| Ok(mappings::table.order(order).load(db)?)).await
    }

    /// One mapping.
    pub async fn get(&self, id: &str) -> Result<MappingRow, StoreError> {
        let id = id.to_owned();
        self.0.read(move |db| Ok(mappings::table.find(id).first(db)?)).await
    }

    /// Store a new mapping.
    pub async fn insert(&self, row: &MappingRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| Ok(diesel::insert_into(mappings::table).values(row).execute(db).map(drop)?)).await
    }

    /// Replace a mapping.
    pub async fn update(&self, row: &MappingRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0
            .write(move |db| one_row(diesel::update(mappings::table.find(row.id.clone())).set(row).execute(db)?))
            .await
    }

    /// Remove a mapping.
    pub async fn delete(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.0.write(move |db| one_row(diesel::delete(mappings::table.find(id)).execute(db)?)).await
    }
}
