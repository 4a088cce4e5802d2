//! Settings changed at run time, each with a version against lost updates.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::db::{Db, take_turns};
use super::json::JsonText;
use super::schema::settings;
use super::{Store, StoreError};
use crate::settings::travel::is_placed;

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = settings)]
#[serde(rename_all = "camelCase")]
pub struct SettingRow {
    /// Its name.
    pub key: String,
    /// Its value.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub value: Value,
    /// Grows by one with each write; the first is 1.
    pub version: i64,
    /// When it was last written.
    pub updated_at: i64,
}

/// Operations on settings.
pub struct Settings<'a>(pub(super) &'a Store);

impl Settings<'_> {
    /// One setting, if it was ever written.
    pub async fn get(&self, key: &str) -> Result<Option<SettingRow>, StoreError> {
        let key = key.to_owned();
        self.0.read(move |db| Ok(settings::table.find(key).first(db).optional()?)).await
    }

    /// Every setting, by name.
    pub async fn all(&self) -> Result<Vec<SettingRow>, StoreError> {
        self.0.read(|db| Ok(settings::table.order(settings::key).load(db)?)).await
    }

    /// Write a setting that [`travel`](crate::settings::travel) knows. With an expected version (0: not there yet) a write in between is a conflict.
    pub async fn put(&self, key: &str, value: Value, expected: Option<i64>, at: i64) -> Result<SettingRow, StoreError> {
        if !is_placed(key) {
            return Err(StoreError::Other(format!("nobody said whether the setting {key} travels in a bundle").into()));
        }
        let key = key.to_owned();
        self.0.write(move |db| put(db, key, value, expected, at)).await
    }
}

fn put(db: &mut Db, key: String, value: Value, expected: Option<i64>, at: i64) -> Result<SettingRow, StoreError> {
    take_turns(db, "settings")?;
    let stored: i64 = settings::table.find(&key).select(settings::version).first(db).optional()?.unwrap_or(0);
    if expected.is_some_and(|version| version != stored) {
        return Err(StoreError::Conflict(format!("settings.{key} is at version {stored}")));
    }
    let row = SettingRow { key, value, version: stored + 1, updated_at: at };
    if stored == 0 {
        diesel::insert_into(settings::table).values(row.clone()).execute(db)?;
    } else {
        diesel::update(settings::table.find(row.key.clone())).set(row.clone()).execute(db)?;
    }
    Ok(row)
}
