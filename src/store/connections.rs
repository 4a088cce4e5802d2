//! Connections: one account or key at one provider each. The credential is sealed on disk, bound to its row.

use diesel::prelude::*;
use secrecy::SecretString;
use serde_json::Value;

use super::json::JsonText;
use super::schema::connections;
use super::{Store, StoreError, oauth_tokens, one_row, provider_models};
use crate::infra::crypto::{KEY_VERSION, Vault};

/// One connection as the rest of the gateway knows it.
#[derive(Debug, Clone)]
pub struct ConnectionRow {
    /// Identity; also part of what the credential is sealed with.
    pub id: String,
    /// The provider's catalogue name.
    pub provider: String,
    /// The operator's name for it.
    pub name: String,
    /// How it authenticates: `apikey`, `oauth`, `none`.
    pub auth_type: String,
    /// The key or token document.
    pub credential: Option<SecretString>,
    /// True when a credential is stored but does not open here. An update then leaves the stored text alone unless
    /// it brings a new credential.
    pub credential_unreadable: bool,
    /// Order among the provider's connections; lower comes first.
    pub priority: i32,
    /// Order among all connections.
    pub global_priority: Option<i32>,
    /// Whether it takes part in routing.
    pub is_active: bool,
    /// The model used when none is named.
    pub default_model: Option<String>,
    /// Requests at once.
    pub max_concurrent: Option<i32>,
    /// Whether the rate-limit guard is on.
    pub rate_limit_protection: bool,
    /// A label to show connections together.
    pub group_name: Option<String>,
    /// What only this provider needs.
    pub provider_specific_data: Value,
    /// Result of the last test.
    pub test_status: String,
    /// When it was last tested.
    pub last_tested: Option<i64>,
    /// The last error's text.
    pub last_error: Option<String>,
    /// The last error's class.
    pub last_error_type: Option<String>,
    /// Where the last error came from.
    pub last_error_source: Option<String>,
    /// When the last error happened.
    pub last_error_at: Option<i64>,
    /// The last error's code.
    pub error_code: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// What a try of a connection found.
#[derive(Debug, Clone)]
pub struct TestNote {
    /// When.
    pub at: i64,
    /// In one word.
    pub status: String,
    /// What is wrong.
    pub error: Option<String>,
    /// Its class.
    pub kind: Option<String>,
    /// Who found it.
    pub source: Option<String>,
    /// The status of the answer.
    pub code: Option<String>,
}

impl ConnectionRow {
    /// A connection that nothing is known of yet.
    pub fn blank(id: String, at: i64) -> Self {
        Self {
            id,
            provider: String::new(),
            name: String::new(),
            auth_type: "apikey".to_owned(),
            credential: None,
            credential_unreadable: false,
            priority: 0,
            global_priority: None,
            is_active: true,
            default_model: None,
            max_concurrent: None,
            rate_limit_protection: false,
            group_name: None,
            provider_specific_data: Value::Object(serde_json::Map::new()),
            test_status: "unknown".to_owned(),
            last_tested: None,
            last_error: None,
            last_error_type: None,
            last_error_source: None,
            last_error_at: None,
            error_code: None,
            created_at: at,
            updated_at: at,
        }
    }
}

/// Operations on connections.
pub struct Connections<'a>(pub(super) &'a Store);

impl Connections<'_> {
    /// Every connection, by provider, priority and name.
    pub async fn list(&self) -> Result<Vec<ConnectionRow>, StoreError> {
        let order = (connections::provider, connections::priority, connections::name, connections::id);
        let records = self.0.read(move |db| Ok(connections::table.order(order).load::<Record>(db)?)).await?;
        Ok(records.into_iter().map(|record| record.open(&self.0.vault)).collect())
    }

    /// One connection.
    pub async fn get(&self, id: &str) -> Result<ConnectionRow, StoreError> {
        let id = id.to_owned();
        let record = self.0.read(move |db| Ok(connections::table.find(id).first::<Record>(db)?)).await?;
        Ok(record.open(&self.0.vault))
    }

    /// One connection, if it is there.
    pub async fn find(&self, id: &str) -> Result<Option<ConnectionRow>, StoreError> {
        match self.get(id).await {
            Ok(row) => Ok(Some(row)),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is none.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        self.0.read(|db| Ok(connections::table.select(connections::id).first::<String>(db).optional()?.is_none())).await
    }

    /// Store a new connection.
    pub async fn insert(&self, row: &ConnectionRow) -> Result<(), StoreError> {
        let record = self.record(row)?;
        self.0.write(move |db| Ok(record.insert(db).map(drop)?)).await
    }

    /// Replace a connection.
    pub async fn update(&self, row: &ConnectionRow) -> Result<(), StoreError> {
        let record = self.record(row)?;
        let keep_credential = row.credential_unreadable && row.credential.is_none();
        self.0.write(move |db| one_row(replace(db, record, keep_credential)?)).await
    }

    /// Note what a try found, and change nothing else.
    pub async fn note(&self, id: &str, note: TestNote) -> Result<(), StoreError> {
        let id = id.to_owned();
        let noted = (
            connections::last_tested.eq(Some(note.at)),
            connections::test_status.eq(note.status),
            connections::last_error_at.eq(note.error.as_ref().map(|_| note.at)),
            connections::last_error.eq(note.error),
            connections::last_error_type.eq(note.kind),
            connections::last_error_source.eq(note.source),
            connections::error_code.eq(note.code),
        );
        self.0.write(move |db| one_row(diesel::update(connections::table.find(id)).set(noted).execute(db)?)).await
    }

    /// Store several new connections, all or none.
    pub async fn insert_many(&self, rows: &[ConnectionRow]) -> Result<(), StoreError> {
        let records = rows.iter().map(|row| self.record(row)).collect::<Result<Vec<_>, _>>()?;
        self.0.write(move |db| Ok(records.into_iter().try_for_each(|record| record.insert(db).map(drop))?)).await
    }

    /// The row as it is written.
    pub(super) fn record(&self, row: &ConnectionRow) -> Result<Record, StoreError> {
        Record::seal(row, &self.0.vault)
    }

    /// Remove a connection and what resilience remembered about it.
    pub async fn delete(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.0.write(move |db| remove(db, &id)).await
    }
}

/// Every connection, for those who read more than connections.
pub(super) fn load_all(db: &mut super::db::Db, vault: &Vault) -> Result<Vec<ConnectionRow>, StoreError> {
    let records = connections::table.order(connections::id).load::<Record>(db)?;
    Ok(records.into_iter().map(|record| record.open(vault)).collect())
}

/// Store a connection as part of a larger transaction.
pub(super) fn write(
    db: &mut super::db::Db,
    row: &ConnectionRow,
    vault: &Vault,
    is_new: bool,
) -> Result<(), StoreError> {
    let record = Record::seal(row, vault)?;
    if is_new {
        return Ok(diesel::insert_into(connections::table).values(record).execute(db).map(drop)?);
    }
    one_row(replace(db, record, row.credential_unreadable && row.credential.is_none())?)
}

/// Remove a connection and what resilience remembered about it, as part of a larger transaction.
pub(super) fn remove(db: &mut super::db::Db, id: &str) -> Result<(), StoreError> {
    use super::schema::connection_state;
    diesel::delete(connection_state::table.find(id.to_owned())).execute(db)?;
    oauth_tokens::forget(db, id)?;
    provider_models::forget(db, id)?;
    one_row(diesel::delete(connections::table.find(id.to_owned())).execute(db)?)
}

fn replace(db: &mut super::db::Db, mut record: Record, keep_credential: bool) -> QueryResult<usize> {
    let target = connections::table.find(record.id.clone());
    if keep_credential {
        record.credential = target.clone().select(connections::credential).first(db).optional()?.flatten();
    }
    if record.credential.is_none() {
        oauth_tokens::forget(db, &record.id)?;
    }
    diesel::update(target).set(record).execute(db)
}

/// Change how a connection authenticates and nothing else of it.
pub(super) fn replace_credential(db: &mut super::db::Db, record: Record) -> QueryResult<usize> {
    let changed = (
        connections::auth_type.eq(record.auth_type),
        connections::credential.eq(record.credential),
        connections::updated_at.eq(record.updated_at),
    );
    diesel::update(connections::table.find(record.id)).set(changed).execute(db)
}

fn aad(id: &str) -> String {
    format!("connections|{id}|credential|{KEY_VERSION}")
}

/// The row as it lies on disk.
#[derive(Queryable, Insertable, AsChangeset)]
#[diesel(table_name = connections, treat_none_as_null = true)]
pub(super) struct Record {
    id: String,
    provider: String,
    name: String,
    auth_type: String,
    credential: Option<String>,
    priority: i32,
    global_priority: Option<i32>,
    is_active: bool,
    default_model: Option<String>,
    max_concurrent: Option<i32>,
    rate_limit_protection: bool,
    group_name: Option<String>,
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    provider_specific_data: Value,
    test_status: String,
    last_tested: Option<i64>,
    last_error: Option<String>,
    last_error_type: Option<String>,
    last_error_source: Option<String>,
    last_error_at: Option<i64>,
    error_code: Option<String>,
    created_at: i64,
    updated_at: i64,
}

impl Record {
    /// Write it as a new row.
    pub(super) fn insert(self, db: &mut super::db::Db) -> QueryResult<usize> {
        diesel::insert_into(connections::table).values(self).execute(db)
    }

    fn seal(row: &ConnectionRow, vault: &Vault) -> Result<Self, StoreError> {
        let credential = row.credential.as_ref().map(|plain| vault.seal(&aad(&row.id), plain)).transpose()?;
        let row = row.clone();
        Ok(Self {
            id: row.id,
            provider: row.provider,
            name: row.name,
            auth_type: row.auth_type,
            credential,
            priority: row.priority,
            global_priority: row.global_priority,
            is_active: row.is_active,
            default_model: row.default_model,
            max_concurrent: row.max_concurrent,
            rate_limit_protection: row.rate_limit_protection,
            group_name: row.group_name,
            provider_specific_data: row.provider_specific_data,
            test_status: row.test_status,
            last_tested: row.last_tested,
            last_error: row.last_error,
            last_error_type: row.last_error_type,
            last_error_source: row.last_error_source,
            last_error_at: row.last_error_at,
            error_code: row.error_code,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }

    /// One row that does not open must not keep the others from being served: it is marked and reported.
    fn open(self, vault: &Vault) -> ConnectionRow {
        let opened = self.credential.as_deref().map(|sealed| vault.open(&aad(&self.id), sealed));
        let credential_unreadable = matches!(opened, Some(Err(_)));
        if credential_unreadable {
            tracing::error!(connection.id = %self.id, connection.name = %self.name, "the stored credential does not open");
        }
        ConnectionRow {
            id: self.id,
            provider: self.provider,
            name: self.name,
            auth_type: self.auth_type,
            credential: opened.and_then(Result::ok),
            credential_unreadable,
            priority: self.priority,
            global_priority: self.global_priority,
            is_active: self.is_active,
            default_model: self.default_model,
            max_concurrent: self.max_concurrent,
            rate_limit_protection: self.rate_limit_protection,
            group_name: self.group_name,
            provider_specific_data: self.provider_specific_data,
            test_status: self.test_status,
            last_tested: self.last_tested,
            last_error: self.last_error,
            last_error_type: self.last_error_type,
            last_error_source: self.last_error_source,
            last_error_at: self.last_error_at,
            error_code: self.error_code,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}
