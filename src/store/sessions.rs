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
    /// What the provider of the account said that decides the role, as a JSON list; nothing for the administrator.
    pub role_values: Option<String>,
    /// The sealed token with which the provider is asked again.
    pub refresh_token: Option<String>,
    /// When the provider's own word ends.
    pub token_until: Option<i64>,
    /// When the provider last said so.
    pub confirmed_at: Option<i64>,
    /// When it was last asked.
    pub checked_at: Option<i64>,
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

    /// Those whose provider was not asked since `before`, the longest ago first.
    pub async fn unchecked(&self, before: i64, now: i64, most: i64) -> Result<Vec<SessionRow>, StoreError> {
        self.0
            .read(move |db| {
                let asked = sessions::table.filter(sessions::refresh_token.is_not_null());
                let old = asked.filter(sessions::checked_at.le(before)).filter(sessions::expires_at.gt(now));
                Ok(old.order(sessions::checked_at).limit(most).load(db)?)
            })
            .await
    }

    /// Note that the provider is being asked; false if somebody else asked it meanwhile.
    pub async fn check(&self, row: &SessionRow, at: i64) -> Result<bool, StoreError> {
        let (id, before) = (row.id_hash.clone(), row.checked_at);
        self.0
            .write(move |db| {
                let same = sessions::table.filter(sessions::id_hash.eq(id)).filter(sessions::checked_at.eq(before));
                Ok(diesel::update(same).set(sessions::checked_at.eq(Some(at))).execute(db)? == 1)
            })
            .await
    }

    /// Keep what the provider said about a session that lives. One that ended meanwhile stays ended.
    pub async fn confirm(&self, row: &SessionRow) -> Result<(), StoreError> {
        let row = row.clone();
        let changes = (
            sessions::role.eq(row.role),
            sessions::role_values.eq(row.role_values),
            sessions::refresh_token.eq(row.refresh_token),
            sessions::token_until.eq(row.token_until),
            sessions::confirmed_at.eq(row.confirmed_at),
        );
        let id = row.id_hash;
        self.0.write(move |db| Ok(diesel::update(sessions::table.find(id)).set(changes).execute(db).map(drop)?)).await
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
