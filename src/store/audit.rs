//! The audit log: append-only, each row chained to the one before it by SHA-256.
//!
//! Triggers refuse changes; the chain shows the ones made around them. Cutting off the newest rows leaves a valid
//! chain, so `verify` also takes a head that was written down elsewhere.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::db::{Db, take_turns};
use super::json::JsonText;
use super::schema::audit;
use super::{Store, StoreError};

/// What the first row is chained to.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const VERIFY_PAGE: i64 = 1_000;

/// Something that was done, to be logged.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// When.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// The particulars; never a secret.
    pub detail: Value,
}

/// One row of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Queryable)]
#[serde(rename_all = "camelCase")]
pub struct AuditRow {
    /// Its number; they have no gaps.
    pub id: i64,
    /// When.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// The particulars.
    #[diesel(deserialize_as = JsonText)]
    pub detail: Value,
    /// The hash of the row before.
    pub prev_hash: String,
    /// This row's hash.
    pub hash: String,
}

/// What a check of the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every row is as it was written.
    Intact {
        /// How many.
        rows: i64,
        /// The newest row's hash: write it down elsewhere.
        head: String,
    },
    /// The chain does not hold at this row.
    Broken {
        /// The first row that is wrong or missing.
        id: i64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Operations on the audit log.
pub struct Audit<'a>(pub(super) &'a Store);

impl Audit<'_> {
    /// Add an entry; answers with its row.
    pub async fn append(&self, entry: AuditEntry) -> Result<AuditRow, StoreError> {
        self.0.write(move |db| append(db, entry)).await
    }

    /// The newest rows, newest first.
    pub async fn list(&self, limit: i64) -> Result<Vec<AuditRow>, StoreError> {
        self.0.read(move |db| Ok(audit::table.order(audit::id.desc()).limit(limit.max(0)).load(db)?)).await
    }

    /// Recompute the whole chain, and look for a head that was noted earlier if one is given.
    pub async fn verify(&self, noted_head: Option<&str>) -> Result<AuditVerdict, StoreError> {
        let mut walk = Walk { next: 1, head: GENESIS.to_owned(), noted: noted_head.map(ToOwned::to_owned) };
        loop {
            let from = walk.next;
            let page = self.0.read(move |db| load_page(db, from)).await?;
            let last = page.len() < usize::try_from(VERIFY_PAGE).unwrap_or(usize::MAX);
            if let Some(broken) = page.into_iter().find_map(|record| walk.step(record)) {
                return Ok(broken);
            }
            if last {
                return Ok(walk.finish());
            }
        }
    }
}

/// A row with its particulars as the text that was hashed.
#[derive(Queryable, Insertable)]
#[diesel(table_name = audit)]
struct Record {
    id: i64,
    at: i64,
    actor: String,
    action: String,
    target: String,
    detail: String,
    prev_hash: String,
    hash: String,
}

impl Record {
    /// A JSON list keeps the fields apart whatever they contain.
    fn digest(&self) -> String {
        let fields = (self.id, self.at, &self.actor, &self.action, &self.target, &self.detail, &self.prev_hash);
        let canonical = serde_json::json!(fields).to_string();
        hex::encode(Sha256::digest(canonical.as_bytes()))
    }
}

fn append(db: &mut Db, entry: AuditEntry) -> Result<AuditRow, StoreError> {
    take_turns(db, "audit")?;
    let newest: Option<(i64, String)> =
        audit::table.order(audit::id.desc()).select((audit::id, audit::hash)).first(db).optional()?;
    let (id, prev_hash) = newest.map_or((1, GENESIS.to_owned()), |(id, hash)| (id + 1, hash));
    let AuditEntry { at, actor, action, target, detail } = entry;

    let mut record =
        Record { id, at, actor, action, target, detail: detail.to_string(), prev_hash, hash: String::new() };
    record.hash = record.digest();
    diesel::insert_into(audit::table).values(&record).execute(db)?;
    let Record { at, actor, action, target, prev_hash, hash, .. } = record;
    Ok(AuditRow { id, at, actor, action, target, detail, prev_hash, hash })
}

fn load_page(db: &mut Db, from: i64) -> Result<Vec<Record>, StoreError> {
    Ok(audit::table.filter(audit::id.ge(from)).order(audit::id).limit(VERIFY_PAGE).load(db)?)
}

struct Walk {
    next: i64,
    head: String,
    noted: Option<String>,
}

impl Walk {
    fn step(&mut self, record: Record) -> Option<AuditVerdict> {
        let broken = |id, reason: &str| Some(AuditVerdict::Broken { id, reason: reason.to_owned() });
        if record.id != self.next {
            return broken(self.next, "the row is missing");
        }
        if record.prev_hash != self.head {
            return broken(record.id, "the row is not chained to the one before it");
        }
        if record.digest() != record.hash {
            return broken(record.id, "the row was changed");
        }
        if self.noted.as_ref() == Some(&record.hash) {
            self.noted = None;
        }
        self.next += 1;
        self.head = record.hash;
        None
    }

    fn finish(self) -> AuditVerdict {
        match self.noted {
            Some(noted) if noted != GENESIS => AuditVerdict::Broken {
                id: self.next,
                reason: "the row with the noted hash is gone: the end of the log was cut off".to_owned(),
            },
            _ => AuditVerdict::Intact { rows: self.next - 1, head: self.head },
        }
    }
}
