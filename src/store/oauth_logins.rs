//! Sign-ins on their way: what the gateway must remember between sending a person to a server and hearing of the result.
//! Whichever instance hears of it finds the row here.

use diesel::prelude::*;
use secrecy::SecretString;

use super::db::{Db, take_turns};
use super::schema::oauth_logins as logins;
use super::{Store, StoreError};
use crate::infra::crypto::KEY_VERSION;

/// Sign-ins that may be on their way at a time; the oldest make room.
const MOST: i64 = 1_000;

/// One sign-in.
#[derive(Debug, Clone)]
pub struct OauthLoginRow {
    /// Hash of what its caller holds.
    pub id_hash: String,
    /// With which server.
    pub provider: String,
    /// Who began it: nobody else may end it.
    pub caller: String,
    /// The way that it goes.
    pub kind: String,
    /// What must be known at its end, as the one who wrote it put it.
    pub particulars: SecretString,
    /// When it is void.
    pub expires_at: i64,
    /// The server may be asked from then on.
    pub ask_after: i64,
    /// Smallest time between two questions, in milliseconds.
    pub ask_every_ms: i64,
}

/// What came of wanting to ask the server about a sign-in.
#[derive(Debug)]
pub enum Turn {
    /// It may be asked now; the next question must wait.
    Now(Box<OauthLoginRow>),
    /// Too early.
    TooEarly,
    /// There is no such sign-in, or it is somebody else's, or void.
    Gone,
}

/// Which sign-in is meant, and by whom.
#[derive(Debug, Clone)]
pub struct LoginKey {
    /// Hash of what the caller holds.
    pub id_hash: String,
    /// With which server.
    pub provider: String,
    /// Who asks.
    pub caller: String,
    /// The way that it goes.
    pub kind: &'static str,
    /// The time.
    pub now: i64,
}

impl LoginKey {
    fn fits(&self, record: &Record) -> bool {
        record.provider == self.provider
            && record.caller == self.caller
            && record.kind == self.kind
            && record.expires_at > self.now
    }
}

/// Operations on sign-ins.
pub struct OauthLogins<'a>(pub(super) &'a Store);

impl OauthLogins<'_> {
    /// Keep a new one. What is void, and what is too much, goes.
    pub async fn insert(&self, row: &OauthLoginRow, now: i64) -> Result<(), StoreError> {
        let record = Record {
            particulars: self.0.vault.seal(&aad(&row.id_hash), &row.particulars)?,
            id_hash: row.id_hash.clone(),
            provider: row.provider.clone(),
            caller: row.caller.clone(),
            kind: row.kind.clone(),
            expires_at: row.expires_at,
            ask_after: row.ask_after,
            ask_every_ms: row.ask_every_ms,
        };
        self.0.write(move |db| insert(db, record, now)).await
    }

    /// Take one out: it can be ended once. Whoever may not end it does not end it for others either.
    pub async fn take(&self, key: LoginKey) -> Result<Option<OauthLoginRow>, StoreError> {
        let taken = self.0.write(move |db| {
            let found: Option<Record> = logins::table.find(key.id_hash.clone()).first(db).optional()?;
            let Some(record) = found.filter(|record| key.fits(record)) else { return Ok(None) };
            let gone = diesel::delete(logins::table.find(key.id_hash)).execute(db)?;
            Ok((gone > 0).then_some(record))
        });
        taken.await?.map(|record| self.open(record)).transpose()
    }

    /// Whether the server may be asked about one now. Of several who want to, one may.
    pub async fn turn(&self, key: LoginKey) -> Result<Turn, StoreError> {
        let turn = self.0.write(move |db| {
            take_turns(db, "oauth_logins")?;
            let found: Option<Record> = logins::table.find(key.id_hash.clone()).first(db).optional()?;
            let Some(record) = found.filter(|record| key.fits(record)) else { return Ok(None) };
            if record.ask_after > key.now {
                return Ok(Some(None));
            }
            let next = logins::ask_after.eq(key.now.saturating_add(record.ask_every_ms));
            diesel::update(logins::table.find(key.id_hash)).set(next).execute(db)?;
            Ok(Some(Some(record)))
        });
        Ok(match turn.await? {
            Some(Some(record)) => Turn::Now(Box::new(self.open(record)?)),
            Some(None) => Turn::TooEarly,
            None => Turn::Gone,
        })
    }

    /// The server wants to be asked less often.
    pub async fn slow_down(&self, id_hash: &str, every_ms: i64, after: i64) -> Result<(), StoreError> {
        let id = id_hash.to_owned();
        let slower = (logins::ask_every_ms.eq(every_ms), logins::ask_after.eq(after));
        self.0.write(move |db| Ok(diesel::update(logins::table.find(id)).set(slower).execute(db).map(drop)?)).await
    }

    /// Forget one; it is no error when it is gone.
    pub async fn delete(&self, id_hash: &str) -> Result<(), StoreError> {
        let id = id_hash.to_owned();
        self.0.write(move |db| Ok(diesel::delete(logins::table.find(id)).execute(db).map(drop)?)).await
    }

    fn open(&self, record: Record) -> Result<OauthLoginRow, StoreError> {
        Ok(OauthLoginRow {
            particulars: self.0.vault.open(&aad(&record.id_hash), &record.particulars)?,
            id_hash: record.id_hash,
            provider: record.provider,
            caller: record.caller,
            kind: record.kind,
            expires_at: record.expires_at,
            ask_after: record.ask_after,
            ask_every_ms: record.ask_every_ms,
        })
    }
}

fn insert(db: &mut Db, record: Record, now: i64) -> Result<(), StoreError> {
    diesel::delete(logins::table.filter(logins::expires_at.le(now))).execute(db)?;
    let there: i64 = logins::table.count().get_result(db)?;
    if there >= MOST {
        let oldest: Option<String> =
            logins::table.select(logins::id_hash).order(logins::expires_at).first(db).optional()?;
        if let Some(oldest) = oldest {
            diesel::delete(logins::table.find(oldest)).execute(db)?;
        }
    }
    diesel::insert_into(logins::table).values(record).execute(db).map(drop)?;
    Ok(())
}

fn aad(id: &str) -> String {
    format!("oauth_logins|{id}|particulars|{KEY_VERSION}")
}

/// The row as it lies on disk.
#[derive(Queryable, Insertable)]
#[diesel(table_name = logins)]
struct Record {
    id_hash: String,
    provider: String,
    caller: String,
    kind: String,
    particulars: String,
    expires_at: i64,
    ask_after: i64,
    ask_every_ms: i64,
}
