//! Answers that a client may go on from, sealed, under their owner, until they expire; also those that are still being
//! made in the background.
//!
//! Who makes one in the background says again and again that it still does ([`Responses::keep_running`]). A run of which
//! nobody says so is abandoned: its process is gone. All changes of a run ask for its status in the same statement, so
//! that of an end and a cancellation one wins.

mod items;
mod status;

pub use status::RunStatus;

use diesel::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use self::status::RUNNING;
use super::schema::{response_items, responses};
use super::{Store, StoreError};

/// One kept answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseRow {
    /// The answer's id.
    pub id: String,
    /// Who may see it.
    pub owner: String,
    /// When it was made.
    pub created_at: i64,
    /// When it goes.
    pub expires_at: i64,
    /// What was asked and answered, as JSON.
    pub body: String,
    /// How far it is and until when somebody surely works on it, when it is made in the background.
    pub run: Option<(RunStatus, i64)>,
}

/// An answer to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptResponse {
    /// The answer.
    pub row: ResponseRow,
    /// The ids of its items, those that were asked and those that were answered.
    pub items: Vec<String>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = responses)]
struct Record {
    id: String,
    owner: String,
    created_at: i64,
    expires_at: i64,
    body: String,
    run_status: Option<String>,
    run_until: Option<i64>,
}

/// Operations on kept answers.
pub struct Responses<'a>(pub(super) &'a Store);

impl Responses<'_> {
    /// Keep an answer; one that is kept already stays as it is.
    pub async fn insert(&self, kept: KeptResponse) -> Result<(), StoreError> {
        let KeptResponse { row, items } = kept;
        let record = Record {
            body: self.seal(&row.id, row.body)?,
            id: row.id,
            owner: row.owner,
            created_at: row.created_at,
            expires_at: row.expires_at,
            run_status: row.run.map(|(status, _)| status.as_str().to_owned()),
            run_until: row.run.map(|(_, until)| until),
        };
        self.0
            .write(move |db| {
                if insert(db, &record)? > 0 {
                    items::insert(db, &record.owner, &record.id, items)?;
                }
                Ok(())
            })
            .await
    }

    /// The answer of this id, if this owner may see it and it has not expired.
    pub async fn find(&self, id: &str, owner: &str, now: i64) -> Result<Option<ResponseRow>, StoreError> {
        let (id, owner) = (id.to_owned(), owner.to_owned());
        let found: Option<Record> = self
            .0
            .read(move |db| {
                let own = responses::table.find(id).filter(responses::owner.eq(owner));
                Ok(own.filter(responses::expires_at.gt(now)).first(db).optional()?)
            })
            .await?;
        found.map(|record| self.open(record)).transpose()
    }

    /// The newest answer of this owner in which an item of that id stands.
    pub async fn holding(&self, item: &str, owner: &str, now: i64) -> Result<Option<ResponseRow>, StoreError> {
        let (item, owner) = (item.to_owned(), owner.to_owned());
        let found: Option<Record> = self
            .0
            .read(move |db| {
                let theirs = response_items::table.filter(response_items::owner.eq(&owner));
                let found = theirs
                    .filter(response_items::item_id.eq(item))
                    .inner_join(responses::table.on(responses::id.eq(response_items::response_id)))
                    .filter(responses::owner.eq(&owner))
                    .filter(responses::expires_at.gt(now))
                    .order(responses::created_at.desc())
                    .select(Record::as_select());
                Ok(found.first(db).optional()?)
            })
            .await?;
        found.map(|record| self.open(record)).transpose()
    }

    /// Forget one; says whether it was there.
    pub async fn delete(&self, id: &str, owner: &str) -> Result<bool, StoreError> {
        let (id, owner) = (id.to_owned(), owner.to_owned());
        self.0
            .write(move |db| {
                let own = responses::table.find(id).filter(responses::owner.eq(owner));
                Ok(diesel::delete(own).execute(db)? > 0)
            })
            .await
    }

    /// Clear away what expired; says how many.
    pub async fn delete_expired(&self, now: i64) -> Result<usize, StoreError> {
        let old = responses::table.filter(responses::expires_at.le(now));
        self.0.write(move |db| Ok(diesel::delete(old).execute(db)?)).await
    }

    /// Somebody works on this answer until then, at least. False when nobody waits for it any more.
    pub async fn keep_running(&self, id: &str, until: i64) -> Result<bool, StoreError> {
        let changes = (responses::run_status.eq(RunStatus::InProgress.as_str()), responses::run_until.eq(until));
        let id = id.to_owned();
        self.0
            .write(move |db| {
                let running = responses::table.find(id).filter(responses::run_status.eq_any(RUNNING));
                Ok(diesel::update(running).set(changes).execute(db)? > 0)
            })
            .await
    }

    /// The end of a run: what became of it. False when it was cancelled or forgotten before.
    pub async fn finish(&self, status: RunStatus, kept: KeptResponse) -> Result<bool, StoreError> {
        let KeptResponse { row: ResponseRow { id, owner, body, .. }, items } = kept;
        let changes = (responses::run_status.eq(status.as_str()), responses::body.eq(self.seal(&id, body)?));
        self.0
            .write(move |db| {
                let running = responses::table.find(&id).filter(responses::run_status.eq_any(RUNNING));
                if diesel::update(running).set(changes).execute(db)? == 0 {
                    return Ok(false);
                }
                items::insert(db, &owner, &id, items)?;
                Ok(true)
            })
            .await
    }

    /// Nobody shall work on this answer any more. False when nobody does.
    pub async fn cancel(&self, id: &str, owner: &str) -> Result<bool, StoreError> {
        let (id, owner) = (id.to_owned(), owner.to_owned());
        let cancelled = responses::run_status.eq(RunStatus::Cancelled.as_str());
        self.0
            .write(move |db| {
                let own = responses::table.find(id).filter(responses::owner.eq(owner));
                let running = own.filter(responses::run_status.eq_any(RUNNING));
                Ok(diesel::update(running).set(cancelled).execute(db)? > 0)
            })
            .await
    }

    /// Runs of which nobody has said for a while that they go on have failed; says how many.
    pub async fn fail_abandoned(&self, before: i64) -> Result<usize, StoreError> {
        let failed = responses::run_status.eq(RunStatus::Failed.as_str());
        self.0
            .write(move |db| {
                let running = responses::table.filter(responses::run_status.eq_any(RUNNING));
                Ok(diesel::update(running.filter(responses::run_until.lt(before))).set(failed).execute(db)?)
            })
            .await
    }

    fn seal(&self, id: &str, body: String) -> Result<String, StoreError> {
        Ok(self.0.vault.seal(&aad(id), &SecretString::from(body))?)
    }

    fn open(&self, record: Record) -> Result<ResponseRow, StoreError> {
        let body = self.0.vault.open(&aad(&record.id), &record.body)?;
        let status = record.run_status.as_deref().and_then(RunStatus::parse);
        Ok(ResponseRow {
            id: record.id,
            owner: record.owner,
            created_at: record.created_at,
            expires_at: record.expires_at,
            body: body.expose_secret().to_owned(),
            run: status.map(|status| (status, record.run_until.unwrap_or_default())),
        })
    }
}

fn insert(db: &mut super::db::Db, record: &Record) -> Result<usize, StoreError> {
    use super::db::Db;
    let statement = diesel::insert_into(responses::table).values(record);
    Ok(match db {
        Db::Sqlite(connection) => statement.on_conflict_do_nothing().execute(connection)?,
        Db::Postgres(connection) => statement.on_conflict_do_nothing().execute(connection)?,
    })
}

/// A body cannot be moved to another row.
fn aad(id: &str) -> String {
    format!("responses|{id}|body|v1")
}
