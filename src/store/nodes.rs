//! Nodes: provider endpoints that an operator added to the catalogue.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::schema::nodes;
use super::{Store, StoreError, one_row};

/// One custom endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = nodes, treat_none_as_null = true)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// Identity.
    pub id: String,
    /// The wire family it speaks.
    #[serde(rename = "type")]
    pub kind: String,
    /// The operator's name for it.
    pub name: String,
    /// What model names of this node start with; unique.
    pub prefix: String,
    /// Which of the family's interfaces.
    pub api_type: Option<String>,
    /// Where it is.
    pub base_url: String,
    /// Path of its chat endpoint, when unusual.
    pub chat_path: Option<String>,
    /// Path of its model list, when unusual.
    pub models_path: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// Operations on nodes.
pub struct Nodes<'a>(pub(super) &'a Store);

impl Nodes<'_> {
    /// Every node, by name.
    pub async fn list(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.0.read(|db| Ok(nodes::table.order((nodes::name, nodes::id)).load(db)?)).await
    }

    /// One node.
    pub async fn get(&self, id: &str) -> Result<NodeRow, StoreError> {
        let id = id.to_owned();
        self.0.read(move |db| Ok(nodes::table.find(id).first(db)?)).await
    }

    /// Store a new node; a taken prefix is a conflict.
    pub async fn insert(&self, row: &NodeRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| Ok(diesel::insert_into(nodes::table).values(row).execute(db).map(drop)?)).await
    }

    /// Replace a node.
    pub async fn update(&self, row: &NodeRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| one_row(diesel::update(nodes::table.find(row.id.clone())).set(row).execute(db)?)).await
    }

    /// Remove a node.
    pub async fn delete(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.0.write(move |db| one_row(diesel::delete(nodes::table.find(id)).execute(db)?)).await
    }
}
