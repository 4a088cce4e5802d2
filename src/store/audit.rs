//! The audit log: append-only, each row chained to the one before it.
//!
//! Triggers refuse changes; the chain shows the ones made around them (see [`chain`]). Old rows may be cut away: an anchor
//! under the gateway's key takes their place, and the triggers let nothing go that it does not cover.

mod chain;

use diesel::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use self::chain::{Anchors, Kind, Point, Record, Walk};
use super::db::{Db, take_turns};
use super::schema::audit;
use super::{Store, StoreError};
use crate::infra::crypto::{KeyHasher, Vault};

const VERIFY_PAGE: i64 = 1_000;
/// Rows that are cut away in one transaction: writers wait for it.
const CUT_AT_ONCE: i64 = 5_000;

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

impl AuditEntry {
    /// Something that the gateway did by itself.
    pub fn by_system(at: i64, action: &str, target: &str, particulars: Value) -> Self {
        let resource = action.rsplit_once('.').map_or(action, |(noun, _)| noun);
        let detail = json!({"status": "success", "resourceType": resource, "metadata": particulars});
        Self { at, actor: "system".to_owned(), action: action.to_owned(), target: target.to_owned(), detail }
    }
}

/// One row of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    pub detail: Value,
    /// The hash of the row before.
    pub prev_hash: String,
    /// This row's hash.
    pub hash: String,
}

impl From<Record> for AuditRow {
    fn from(record: Record) -> Self {
        let Record { id, at, actor, action, target, detail, prev_hash, hash, .. } = record;
        Self {
            id,
            at,
            actor,
            action,
            target,
            detail: serde_json::from_str(&detail).unwrap_or_default(),
            prev_hash,
            hash,
        }
    }
}

/// Which rows are asked for; what is absent lets everything pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What was done.
    pub action: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// To what.
    pub target: Option<String>,
    /// To what kind of thing.
    pub resource_type: Option<String>,
    /// How it ended.
    pub status: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// Not before this time.
    pub from: Option<i64>,
    /// Not after this time.
    pub to: Option<i64>,
    /// Only rows older than the one with this number.
    pub before: Option<i64>,
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
        let key = self.key();
        self.0.write(move |db| append(db, &key, entry)).await
    }

    /// The newest rows, newest first.
    pub async fn list(&self, limit: i64) -> Result<Vec<AuditRow>, StoreError> {
        self.page(AuditFilter::default(), 0, limit).await
    }

    /// Some of the rows that fit, newest first.
    pub async fn page(&self, filter: AuditFilter, skip: i64, limit: i64) -> Result<Vec<AuditRow>, StoreError> {
        let query = move |db: &mut Db| {
            let rows = fitting(&filter).offset(skip.max(0)).limit(limit.max(0));
            if filter.from.is_none() && filter.to.is_none() {
                return Ok(rows.order(audit::id.desc()).load::<Record>(db)?);
            }
            // Along the index of times; the other order would gather the whole span to sort it.
            let rows = match filter.before {
                None => rows,
                Some(id) => match audit::table.find(id).select(audit::at).first::<i64>(db).optional()? {
                    Some(at) => rows.filter(audit::at.le(at)),
                    None => rows,
                },
            };
            Ok(rows.order((audit::at.desc(), audit::id.desc())).load::<Record>(db)?)
        };
        Ok(self.0.read(query).await?.into_iter().map(AuditRow::from).collect())
    }

    /// How many rows fit; nobody counts further than `most`.
    pub async fn count(&self, filter: AuditFilter, most: i64) -> Result<usize, StoreError> {
        let query = move |db: &mut Db| {
            let ids = fitting(&filter).select(audit::id).limit(most.max(0));
            // A span of time is counted along the index of times, everything else along the newest.
            let timed = filter.from.is_some() || filter.to.is_some();
            let found = if timed { ids.load::<i64>(db) } else { ids.order(audit::id.desc()).load::<i64>(db) };
            Ok(found?.len())
        };
        self.0.read(query).await
    }

    /// Recompute the whole chain, and look for a head that was noted earlier if one is given.
    pub async fn verify(&self, noted_head: Option<&str>) -> Result<AuditVerdict, StoreError> {
        loop {
            let anchors = self.anchors().await?;
            let began = anchors.start();
            let verdict = self.walk(anchors, noted_head).await?;
            // Rows that were cut away meanwhile are missing to a walk that did not know it.
            let cut_meanwhile =
                matches!(verdict, AuditVerdict::Broken { .. }) && self.anchors().await?.start() != began;
            if !cut_meanwhile {
                return Ok(verdict);
            }
        }
    }

    /// Cut away rows from before this time, some at a time; says how many. The newest row stays.
    pub async fn cut(&self, before: i64, now: i64) -> Result<i64, StoreError> {
        let key = self.key();
        self.0.write(move |db| cut(db, &key, before, now)).await
    }

    async fn walk(&self, anchors: Anchors, noted_head: Option<&str>) -> Result<AuditVerdict, StoreError> {
        let key = self.key();
        let mut walk = Walk::new(&key, anchors, noted_head);
        if let Some(forged) = walk.forged() {
            return Ok(forged);
        }
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

    async fn anchors(&self) -> Result<Anchors, StoreError> {
        let key = self.key();
        self.0.read(move |db| Anchors::load(db, &key)).await
    }

    fn key(&self) -> KeyHasher {
        self.0.vault.audit().clone()
    }
}

/// Vouch for a log that an older release wrote: from here on its rows are known under the key. Once, at the migration.
pub(super) fn adopt(db: &mut Db, vault: &Vault) -> Result<(), StoreError> {
    let Some(newest) = newest(db)? else { return Ok(()) };
    tracing::info!(rows = newest.id, "the audit log of an older release is taken on");
    for kind in [Kind::Legacy, Kind::Head] {
        chain::anchor(db, vault.audit(), kind, newest.clone(), 0)?;
    }
    Ok(())
}

type Boxed<'a> = audit::BoxedQuery<'a, <Db as diesel::Connection>::Backend>;

fn fitting(filter: &AuditFilter) -> Boxed<'_> {
    let mut query = audit::table.into_boxed();
    if let Some(action) = &filter.action {
        query = query.filter(audit::action.eq(action));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(audit::actor.eq(actor));
    }
    if let Some(target) = &filter.target {
        query = query.filter(audit::target.eq(target));
    }
    if let Some(resource_type) = &filter.resource_type {
        query = query.filter(audit::resource_type.eq(resource_type));
    }
    if let Some(status) = &filter.status {
        query = query.filter(audit::status.eq(status));
    }
    if let Some(request_id) = &filter.request_id {
        query = query.filter(audit::request_id.eq(request_id));
    }
    if let Some(from) = filter.from {
        query = query.filter(audit::at.ge(from));
    }
    if let Some(to) = filter.to {
        query = query.filter(audit::at.le(to));
    }
    match filter.before {
        Some(before) => query.filter(audit::id.lt(before)),
        None => query,
    }
}

fn append(db: &mut Db, key: &KeyHasher, entry: AuditEntry) -> Result<AuditRow, StoreError> {
    take_turns(db, "audit")?;
    let newest = newest(db)?;
    let (tail, vouched) = Anchors::load(db, key)?.tail(newest);
    let AuditEntry { at, actor, action, target, detail } = entry;
    let mut record = Record {
        id: tail.id + 1,
        at,
        actor,
        action,
        target,
        detail: detail.to_string(),
        prev_hash: tail.hash,
        hash: String::new(),
        status: String::new(),
        resource_type: String::new(),
        request_id: String::new(),
    };
    record.index();
    record.hash = record.digest(key);
    diesel::insert_into(audit::table).values(&record).execute(db)?;
    if vouched {
        chain::anchor(db, key, Kind::Head, Point { id: record.id, hash: record.hash.clone() }, at)?;
    }
    Ok(record.into())
}

fn cut(db: &mut Db, key: &KeyHasher, before: i64, now: i64) -> Result<i64, StoreError> {
    take_turns(db, "audit")?;
    let Some(newest) = newest(db)? else { return Ok(0) };
    let start = Anchors::load(db, key)?.start();
    let old = audit::table.filter(audit::at.lt(before)).filter(audit::id.lt(newest.id));
    let bounded = old.filter(audit::id.le(start.id.saturating_add(CUT_AT_ONCE)));
    let last =
        bounded.select((audit::id, audit::hash)).order(audit::id.desc()).first::<(i64, String)>(db).optional()?;
    let Some((id, hash)) = last else { return Ok(0) };
    chain::anchor(db, key, Kind::Cut, Point { id, hash }, now)?;
    let gone = diesel::delete(audit::table.filter(audit::id.le(id))).execute(db)?;
    Ok(i64::try_from(gone).unwrap_or(i64::MAX))
}

fn newest(db: &mut Db) -> Result<Option<Point>, StoreError> {
    let found = audit::table.order(audit::id.desc()).select((audit::id, audit::hash)).first::<(i64, String)>(db);
    Ok(found.optional()?.map(|(id, hash)| Point { id, hash }))
}

fn load_page(db: &mut Db, from: i64) -> Result<Vec<Record>, StoreError> {
    Ok(audit::table.filter(audit::id.ge(from)).order(audit::id).limit(VERIFY_PAGE).load(db)?)
}
