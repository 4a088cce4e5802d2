//! Eval suites: cases that models are tried with, and what is expected of their answers.

use diesel::prelude::*;
use serde_json::Value;

use super::json::JsonText;
use super::schema::eval_suites as suites;
use super::{Store, StoreError, one_row};

/// One suite.
#[derive(Debug, Clone, PartialEq, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = suites)]
pub struct EvalSuiteRow {
    /// Identity.
    pub id: String,
    /// What operators call it.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// The cases, a list.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub cases: Value,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// Operations on suites.
pub struct EvalSuites<'a>(pub(super) &'a Store);

impl EvalSuites<'_> {
    /// Every suite, the oldest first.
    pub async fn list(&self) -> Result<Vec<EvalSuiteRow>, StoreError> {
        self.0.read(|db| Ok(suites::table.order((suites::created_at, suites::id)).load(db)?)).await
    }

    /// One suite.
    pub async fn get(&self, id: &str) -> Result<EvalSuiteRow, StoreError> {
        let id = id.to_owned();
        self.0.read(move |db| Ok(suites::table.find(id).first(db)?)).await
    }

    /// Store a new suite; a taken id is a conflict.
    pub async fn insert(&self, row: &EvalSuiteRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| Ok(diesel::insert_into(suites::table).values(row).execute(db).map(drop)?)).await
    }

    /// Replace a suite.
    pub async fn update(&self, row: &EvalSuiteRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| one_row(diesel::update(suites::table.find(row.id.clone())).set(row).execute(db)?)).await
    }

    /// Remove a suite; its runs stay.
    pub async fn delete(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.0.write(move |db| one_row(diesel::delete(suites::table.find(id)).execute(db)?)).await
    }
}
