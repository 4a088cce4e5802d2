//! Sessions of the management interface, stored under the hash of their id.

use diesel::prelude::*;

use super::schema::sessions;
use super::{Store, StoreError, one_row};

/// One signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = sessions)]
pub struct SessionRow {
    /// HMAC-SHA-256 of the session id, in hex.
    pub id_hash: String,
    /// When it began.
    pub created_at: i64,
    /// When it was last used.
    pub last_seen: i64,
    /// When it ends.
    pub expires_at: i64,
    /// Where it was opened from.
    pub client_ip: Option<String>,
    /// What opened it.
    pub user_agent: Option<String>,
    /// Who signed in.
    pub subject: String,
    /// What they may do, as a word.
    pub role: String,
}

/// Operations on sessions.
pub struct Sessions<'a>(pub(super) &'a Store);

impl Sessions<'_> {
    /// Open a session.
    pub async fn insert(&self, row: &SessionRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| Ok(diesel::insert_into(sessions::table).values(row).execute(db).map(drop)?)).await
    }

    /// The session of this id hash, ended or not.
    pub async fn find(&self, id_hash: &str) -> Result<Option<SessionRow>, StoreError> {
        let id = id_hash.to_owned();
        self.0.read(move |db| Ok(sessions::table.find(id).first(db).optional()?)).await
    }

    /// Note a use and the new end.
    pub async fn touch(&self, id_hash: &str, last_seen: i64, expires_at: i64) -> Result<(), StoreError> {
        let id = id_hash.to_owned();
        let changes = (sessions::last_seen.eq(last_seen), sessions::expires_at.eq(expires_at));
        self.0.write(move |db| one_row(diesel::update(sessions::table.find(id)).set(changes).execute(db)?)).await
    }

    /// End one session; ending one that is gone is no error.
    pub async fn delete(&self, id_hash: &str) -> Result<(), StoreError> {
        let id = id_hash.to_owned();
        self.0.write(move |db| Ok(diesel::delete(sessions::table.find(id)).execute(db).map(drop)?)).await
    }

    /// End all sessions; says how many there were.
    pub async fn delete_all(&self) -> Result<usize, StoreError> {
        self.0.write(|db| Ok(diesel::delete(sessions::table).execute(db)?)).await
    }

    /// Clear away the sessions that ended at or before `now`; says how many.
    pub async fn delete_expired(&self, now: i64) -> Result<usize, StoreError> {
        self.0
            .write(move |db| Ok(diesel::delete(sessions::table.filter(sessions::expires_at.le(now))).execute(db)?))
            .await
    }
}
