//! Answers that a client may go on from, sealed, under their owner, until they expire.

use diesel::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::schema::responses;
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
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = responses)]
struct Record {
    id: String,
    owner: String,
    created_at: i64,
    expires_at: i64,
    body: String,
}

/// Operations on kept answers.
pub struct Responses<'a>(pub(super) &'a Store);

impl Responses<'_> {
    /// Keep an answer; one that is kept already stays as it is.
    pub async fn insert(&self, row: &ResponseRow) -> Result<(), StoreError> {
        let body = self.0.vault.seal(&aad(&row.id), &SecretString::from(row.body.clone()))?;
        let record = Record {
            id: row.id.clone(),
            owner: row.owner.clone(),
            created_at: row.created_at,
            expires_at: row.expires_at,
            body,
        };
        self.0.write(move |db| insert(db, &record)).await
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

    fn open(&self, record: Record) -> Result<ResponseRow, StoreError> {
        let body = self.0.vault.open(&aad(&record.id), &record.body)?;
        Ok(ResponseRow {
            id: record.id,
            owner: record.owner,
            created_at: record.created_at,
            expires_at: record.expires_at,
            body: body.expose_secret().to_owned(),
        })
    }
}

fn insert(db: &mut super::db::Db, record: &Record) -> Result<(), StoreError> {
    use super::db::Db;
    let statement = diesel::insert_into(responses::table).values(record);
    match db {
        Db::Sqlite(connection) => statement.on_conflict_do_nothing().execute(connection)?,
        Db::Postgres(connection) => statement.on_conflict_do_nothing().execute(connection)?,
    };
    Ok(())
}

/// A body cannot be moved to another row.
fn aad(id: &str) -> String {
    format!("responses|{id}|body|v1")
}
