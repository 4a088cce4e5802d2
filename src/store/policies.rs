//! Routing policies: who may be answered by what, and what is preferred.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::JsonText;
use super::schema::policies;
use super::{Store, StoreError, one_row};

/// One policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = policies)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRow {
    /// Identity.
    pub id: String,
    /// The operator's name for it; unique.
    pub name: String,
    /// Whether it is looked at.
    pub enabled: bool,
    /// Lower comes first.
    pub priority: i32,
    /// `allow`, `deny`, `prefer` or `require`.
    pub effect: String,
    /// When it applies and what it is about.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub data: Value,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// Operations on policies.
pub struct Policies<'a>(pub(super) &'a Store);

impl Policies<'_> {
    /// Every policy in the order in which they are looked at.
    pub async fn list(&self) -> Result<Vec<PolicyRow>, StoreError> {
        let order = (policies::priority, policies::created_at, policies::id);
        self.0.read(move |db| Ok(policies::table.order(order).load(db)?)).await
    }

    /// One policy.
    pub async fn get(&self, id: &str) -> Result<PolicyRow, StoreError> {
        let id = id.to_owned();
        self.0.read(move |db| Ok(policies::table.find(id).first(db)?)).await
    }

    /// Store a new policy; a taken name is a conflict.
    pub async fn insert(&self, row: &PolicyRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| Ok(diesel::insert_into(policies::table).values(row).execute(db).map(drop)?)).await
    }

    /// Replace a policy.
    pub async fn update(&self, row: &PolicyRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0
            .write(move |db| one_row(diesel::update(policies::table.find(row.id.clone())).set(row).execute(db)?))
            .await
    }

    /// Remove a policy.
    pub async fn delete(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.0.write(move |db| one_row(diesel::delete(policies::table.find(id)).execute(db)?)).await
    }
}
