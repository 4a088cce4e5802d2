//! Combos: named lists of targets with a strategy.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::JsonText;
use super::schema::combos;
use super::{Store, StoreError, one_row};

/// One combo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = combos, treat_none_as_null = true)]
#[serde(rename_all = "camelCase")]
pub struct ComboRow {
    /// Identity.
    pub id: String,
    /// What clients call it; unique.
    pub name: String,
    /// How candidates are ordered.
    pub strategy: String,
    /// Whether it may be used.
    pub is_active: bool,
    /// Its place in the list.
    pub sort_order: i32,
    /// Targets and settings.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub data: Value,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// Operations on combos.
pub struct Combos<'a>(pub(super) &'a Store);

impl Combos<'_> {
    /// Every combo, in the operator's order, then by name.
    pub async fn list(&self) -> Result<Vec<ComboRow>, StoreError> {
        self.0.read(|db| Ok(combos::table.order((combos::sort_order, combos::name)).load(db)?)).await
    }

    /// One combo.
    pub async fn get(&self, id: &str) -> Result<ComboRow, StoreError> {
        let id = id.to_owned();
        self.0.read(move |db| Ok(combos::table.find(id).first(db)?)).await
    }

    /// Store a new combo; a taken name is a conflict.
    pub async fn insert(&self, row: &ComboRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| Ok(diesel::insert_into(combos::table).values(row).execute(db).map(drop)?)).await
    }

    /// Replace a combo.
    pub async fn update(&self, row: &ComboRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| one_row(diesel::update(combos::table.find(row.id.clone())).set(row).execute(db)?)).await
    }

    /// Give combos their places in the list, all or none.
    pub async fn reorder(&self, places: Vec<(String, i32)>, at: i64) -> Result<(), StoreError> {
        self.0
            .write(move |db| {
                places.into_iter().try_for_each(|(id, place)| {
                    let changed = (combos::sort_order.eq(place), combos::updated_at.eq(at));
                    one_row(diesel::update(combos::table.find(id)).set(changed).execute(db)?)
                })
            })
            .await
    }

    /// Remove a combo, and with it the mappings that lead to it and what it remembered; how many mappings these were.
    pub async fn delete(&self, id: &str) -> Result<usize, StoreError> {
        use super::schema::{combo_states, model_combo_mappings as mappings};
        let id = id.to_owned();
        self.0
            .write(move |db| {
                let name: String = combos::table.find(id.clone()).select(combos::name).first(db)?;
                diesel::delete(combo_states::table.find(name)).execute(db)?;
                let led_here = mappings::table.filter(mappings::combo_id.eq(id.clone()));
                let gone = diesel::delete(led_here).execute(db)?;
                one_row(diesel::delete(combos::table.find(id)).execute(db)?)?;
                Ok(gone)
            })
            .await
    }
}
