//! Tokens with which other instances fetch and bring configurations: only their hash is stored.

use diesel::prelude::*;

use super::schema::sync_tokens;
use super::{Store, StoreError, one_row};

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = sync_tokens)]
pub struct SyncTokenRow {
    /// Identity.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// HMAC-SHA-256 of the token, in hex; unique.
    pub secret_hash: String,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
    /// When it was last used.
    pub last_used_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// Operations on tokens.
pub struct SyncTokens<'a>(pub(super) &'a Store);

impl SyncTokens<'_> {
    /// Every token, oldest first.
    pub async fn list(&self) -> Result<Vec<SyncTokenRow>, StoreError> {
        self.0.read(|db| Ok(sync_tokens::table.order((sync_tokens::created_at, sync_tokens::id)).load(db)?)).await
    }

    /// Store a new token.
    pub async fn insert(&self, row: &SyncTokenRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| Ok(diesel::insert_into(sync_tokens::table).values(row).execute(db).map(drop)?)).await
    }

    /// The token of this hash, unless it was revoked; noted as used.
    pub async fn take(&self, secret_hash: &str, at: i64) -> Result<Option<SyncTokenRow>, StoreError> {
        let hash = secret_hash.to_owned();
        let valid =
            sync_tokens::table.filter(sync_tokens::secret_hash.eq(hash)).filter(sync_tokens::revoked_at.is_null());
        let Some(row) = self.0.read(move |db| Ok(valid.first::<SyncTokenRow>(db).optional()?)).await? else {
            return Ok(None);
        };
        let used = sync_tokens::table.find(row.id.clone());
        let noted = move |db: &mut super::db::Db| {
            Ok(diesel::update(used).set(sync_tokens::last_used_at.eq(at)).execute(db).map(drop)?)
        };
        self.0.write(noted).await?;
        Ok(Some(row))
    }

    /// Make a token worthless; it stays in the list.
    pub async fn revoke(&self, id: &str, at: i64) -> Result<(), StoreError> {
        let id = id.to_owned();
        let changes = (sync_tokens::revoked_at.eq(at), sync_tokens::updated_at.eq(at));
        self.0.write(move |db| one_row(diesel::update(sync_tokens::table.find(id)).set(changes).execute(db)?)).await
    }
}
