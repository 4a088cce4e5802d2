//! Tokens of accounts that are signed in by OAuth, sealed, and who may renew them.
//!
//! A server that rotates refresh tokens takes each of them once. Whoever renews takes the row's lease first: of several
//! instances one asks, the others find its answer. The lease ends by itself, so that a holder that died keeps nobody out.
//! A row changes only over the version that was read, so that no older answer is ever laid over a newer one.

use diesel::prelude::*;
use secrecy::SecretString;
use serde_json::Value;

use super::connections::replace_credential;
use super::db::{Db, take_turns};
use super::json::JsonText;
use super::schema::oauth_tokens as tokens;
use super::{ConnectionRow, Store, StoreError, one_row};
use crate::infra::crypto::KEY_VERSION;

/// The tokens of one connection.
#[derive(Debug, Clone)]
pub struct OauthTokenRow {
    /// Whose.
    pub connection_id: String,
    /// The sign-in that they descend from.
    pub grant_id: String,
    /// The tokens themselves, as the one who wrote them put them.
    pub secrets: SecretString,
    /// What the server said about the account; nothing secret.
    pub about: Value,
    /// Rises with each renewal.
    pub version: i64,
    /// When they were given.
    pub obtained_at: i64,
    /// When the access token ends; unknown where the server does not say.
    pub expires_at: Option<i64>,
    /// Whether the server gives new ones without a person.
    pub renewable: bool,
    /// Why the last renewal failed, if it did.
    pub failure: Option<String>,
    /// When that was.
    pub failed_at: Option<i64>,
}

/// What is known about tokens without opening them.
#[derive(Debug, Clone, Queryable)]
pub struct OauthSummary {
    /// Whose.
    pub connection_id: String,
    /// What the server said about the account.
    #[diesel(deserialize_as = JsonText)]
    pub about: Value,
    /// When the tokens were given.
    pub obtained_at: i64,
    /// When the access token ends.
    pub expires_at: Option<i64>,
    /// Whether the server gives new ones without a person.
    pub renewable: bool,
    /// Why the last renewal failed.
    pub failure: Option<String>,
    /// When that was.
    pub failed_at: Option<i64>,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Leased {
    /// It is the asker's, with the row as it is now.
    Taken(Box<OauthTokenRow>),
    /// Somebody else renews.
    Busy,
    /// There are no tokens.
    Gone,
}

/// For whom and for how long a lease is asked.
#[derive(Debug, Clone)]
pub struct LeaseWish {
    /// Who asks.
    pub owner: String,
    /// The time.
    pub now: i64,
    /// When it ends by itself.
    pub until: i64,
}

/// Operations on tokens.
pub struct OauthTokens<'a>(pub(super) &'a Store);

impl OauthTokens<'_> {
    /// What is known of all tokens.
    pub async fn summaries(&self, of: Option<Vec<String>>) -> Result<Vec<OauthSummary>, StoreError> {
        let columns = (
            tokens::connection_id,
            tokens::about,
            tokens::obtained_at,
            tokens::expires_at,
            tokens::renewable,
            tokens::failure,
            tokens::failed_at,
        );
        let ordered = tokens::table.select(columns).order(tokens::connection_id);
        self.0
            .read(move |db| match of {
                Some(ids) => Ok(ordered.filter(tokens::connection_id.eq_any(ids)).load(db)?),
                None => Ok(ordered.load(db)?),
            })
            .await
    }

    /// Store what a sign-in brought, with the connection that it is for: a new one, or one that is there and changes
    /// its credential. Both or nothing.
    pub async fn sign_in(
        &self,
        connection: &ConnectionRow,
        row: &OauthTokenRow,
        fresh: bool,
    ) -> Result<(), StoreError> {
        let (record, connection) = (self.seal(row)?, self.0.connections().record(connection)?);
        self.0
            .write(move |db| {
                if fresh {
                    connection.insert(db)?;
                } else {
                    one_row(replace_credential(db, connection)?)?;
                }
                diesel::delete(tokens::table.find(record.connection_id.clone())).execute(db)?;
                diesel::insert_into(tokens::table).values(record).execute(db).map(drop)?;
                Ok(())
            })
            .await
    }

    /// Take the lease, unless somebody else holds it.
    pub async fn lease(&self, connection: &str, wish: LeaseWish) -> Result<Leased, StoreError> {
        let id = connection.to_owned();
        match self.0.write(move |db| lease(db, id, wish)).await? {
            Some(Some(record)) => Ok(Leased::Taken(Box::new(self.open(record)?))),
            Some(None) => Ok(Leased::Busy),
            None => Ok(Leased::Gone),
        }
    }

    /// Put renewed tokens in the place of those that were read, and give the lease back. False: the row is another one by
    /// now, and stays.
    pub async fn renewed(&self, row: &OauthTokenRow) -> Result<bool, StoreError> {
        let record = Record { version: row.version + 1, ..self.seal(row)? };
        let read = row.version;
        self.0
            .write(move |db| {
                let target = tokens::table
                    .filter(tokens::connection_id.eq(record.connection_id.clone()))
                    .filter(tokens::grant_id.eq(record.grant_id.clone()))
                    .filter(tokens::version.eq(read));
                Ok(diesel::update(target).set(record).execute(db)? > 0)
            })
            .await
    }

    /// Give the lease back without new tokens, saying why there are none.
    pub async fn give_back(
        &self,
        connection: &str,
        owner: &str,
        failure: Option<(String, i64)>,
    ) -> Result<(), StoreError> {
        let target = (connection.to_owned(), owner.to_owned());
        self.0
            .write(move |db| {
                let row =
                    tokens::table.filter(tokens::connection_id.eq(target.0)).filter(tokens::lease_owner.eq(target.1));
                let free = (tokens::lease_owner.eq(None::<String>), tokens::lease_until.eq(None::<i64>));
                match failure {
                    Some((why, at)) => {
                        let told = (tokens::failure.eq(Some(why)), tokens::failed_at.eq(Some(at)));
                        diesel::update(row).set((free, told)).execute(db)?
                    }
                    None => diesel::update(row).set(free).execute(db)?,
                };
                Ok(())
            })
            .await
    }

    fn seal(&self, row: &OauthTokenRow) -> Result<Record, StoreError> {
        Ok(Record {
            secrets: self.0.vault.seal(&aad(&row.connection_id), &row.secrets)?,
            connection_id: row.connection_id.clone(),
            grant_id: row.grant_id.clone(),
            about: row.about.clone(),
            version: row.version,
            obtained_at: row.obtained_at,
            expires_at: row.expires_at,
            renewable: row.renewable,
            failure: row.failure.clone(),
            failed_at: row.failed_at,
            lease_owner: None,
            lease_until: None,
        })
    }

    fn open(&self, record: Record) -> Result<OauthTokenRow, StoreError> {
        Ok(OauthTokenRow {
            secrets: self.0.vault.open(&aad(&record.connection_id), &record.secrets)?,
            connection_id: record.connection_id,
            grant_id: record.grant_id,
            about: record.about,
            version: record.version,
            obtained_at: record.obtained_at,
            expires_at: record.expires_at,
            renewable: record.renewable,
            failure: record.failure,
            failed_at: record.failed_at,
        })
    }
}

/// The row, or that somebody else holds it, or nothing.
fn lease(db: &mut Db, id: String, wish: LeaseWish) -> Result<Option<Option<Record>>, StoreError> {
    take_turns(db, "oauth_tokens")?;
    let found: Option<Record> = tokens::table.find(id.clone()).first(db).optional()?;
    let Some(record) = found else { return Ok(None) };
    let held = record.lease_until.is_some_and(|until| until > wish.now);
    if held && record.lease_owner.as_deref() != Some(wish.owner.as_str()) {
        return Ok(Some(None));
    }
    let lease = (tokens::lease_owner.eq(Some(wish.owner)), tokens::lease_until.eq(Some(wish.until)));
    diesel::update(tokens::table.find(id)).set(lease).execute(db)?;
    Ok(Some(Some(record)))
}

/// Tokens go with the credential that names them.
pub(super) fn forget(db: &mut Db, connection: &str) -> QueryResult<usize> {
    diesel::delete(tokens::table.find(connection.to_owned())).execute(db)
}

fn aad(id: &str) -> String {
    format!("oauth_tokens|{id}|secrets|{KEY_VERSION}")
}

/// The row as it lies on disk.
#[derive(Queryable, Insertable, AsChangeset)]
#[diesel(table_name = tokens, treat_none_as_null = true)]
struct Record {
    connection_id: String,
    grant_id: String,
    secrets: String,
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    about: Value,
    version: i64,
    obtained_at: i64,
    expires_at: Option<i64>,
    renewable: bool,
    failure: Option<String>,
    failed_at: Option<i64>,
    lease_owner: Option<String>,
    lease_until: Option<i64>,
}
