//! The chain itself: what a row is hashed from, the points that are known under the gateway's key, and the walk that
//! proves it all.
//!
//! Rows are chained by HMAC under a key that the database does not hold: somebody who can write every table still cannot
//! write a row, or a whole log, that holds. Three anchors are written under the same key: where the keyed rows begin
//! (older releases chained by a plain hash), up to where rows were cut away, and which row is the newest.

use diesel::prelude::*;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::AuditVerdict;
use crate::infra::crypto::KeyHasher;
use crate::store::StoreError;
use crate::store::db::Db;
use crate::store::schema::{audit, audit_anchors};

/// What the first row is chained to.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A row with its particulars as the text that was hashed.
#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = audit)]
pub(super) struct Record {
    pub(super) id: i64,
    pub(super) at: i64,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) detail: String,
    pub(super) prev_hash: String,
    pub(super) hash: String,
    pub(super) status: String,
    pub(super) resource_type: String,
    pub(super) request_id: String,
}

impl Record {
    pub(super) fn digest(&self, key: &KeyHasher) -> String {
        key.hash(&self.canonical())
    }

    /// A JSON list keeps the fields apart whatever they contain.
    fn canonical(&self) -> String {
        let fields = (self.id, self.at, &self.actor, &self.action, &self.target, &self.detail, &self.prev_hash);
        serde_json::json!(fields).to_string()
    }

    fn plain_digest(&self) -> String {
        hex::encode(Sha256::digest(self.canonical().as_bytes()))
    }

    /// What the log is asked for by is told by the particulars, which are hashed.
    pub(super) fn index(&mut self) {
        let detail: serde_json::Value = serde_json::from_str(&self.detail).unwrap_or_default();
        let text =
            |name: &str| detail.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().replace('\0', "");
        self.status = Some(text("status")).filter(|status| !status.is_empty()).unwrap_or_else(|| "success".to_owned());
        self.resource_type = text("resourceType");
        self.request_id = text("requestId");
    }

    fn is_indexed(&self) -> bool {
        let mut again = self.clone();
        again.index();
        (&again.status, &again.resource_type, &again.request_id)
            == (&self.status, &self.resource_type, &self.request_id)
    }
}

/// Which point of the chain an anchor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The last row that an older release wrote, without a key.
    Legacy,
    /// The last row that was cut away.
    Cut,
    /// The newest row.
    Head,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Cut => "cut",
            Self::Head => "head",
        }
    }
}

#[derive(Debug, Clone, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = audit_anchors, primary_key(kind))]
struct AnchorRow {
    kind: String,
    id: i64,
    hash: String,
    at: i64,
    mac: String,
}

impl AnchorRow {
    /// Rows are lists that begin with a number, so that no row's hash is an anchor's.
    fn digest(&self, key: &KeyHasher) -> String {
        key.hash(&serde_json::json!(["anchor", self.kind, self.id, self.hash, self.at]).to_string())
    }

    fn holds(&self, key: &KeyHasher) -> bool {
        self.digest(key).as_bytes().ct_eq(self.mac.as_bytes()).into()
    }
}

/// A point of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) id: i64,
    pub(super) hash: String,
}

impl Point {
    fn genesis() -> Self {
        Self { id: 0, hash: GENESIS.to_owned() }
    }
}

/// The anchors of a log.
#[derive(Debug, Clone, Default)]
pub(super) struct Anchors {
    legacy: Option<Point>,
    cut: Option<Point>,
    head: Option<Point>,
    /// One that was not written under the key.
    forged: Option<(i64, String)>,
}

impl Anchors {
    pub(super) fn load(db: &mut Db, key: &KeyHasher) -> Result<Self, StoreError> {
        let mut anchors = Self::default();
        for row in audit_anchors::table.load::<AnchorRow>(db)? {
            let holds = row.holds(key);
            let AnchorRow { kind, id, hash, .. } = row;
            let point = Some(Point { id, hash });
            match kind.as_str() {
                _ if !holds => anchors.forged = Some((id, kind)),
                "legacy" => anchors.legacy = point,
                "cut" => anchors.cut = point,
                "head" => anchors.head = point,
                _ => anchors.forged = Some((id, kind)),
            }
        }
        Ok(anchors)
    }

    fn none(&self) -> bool {
        self.legacy.is_none() && self.cut.is_none() && self.head.is_none() && self.forged.is_none()
    }

    /// The row before the first one that is left.
    pub(super) fn start(&self) -> Point {
        self.cut.clone().unwrap_or_else(Point::genesis)
    }

    /// What the next row is chained to, and whether the gateway may vouch for the end: a log whose end was cut off
    /// must not look whole again because somebody writes another row.
    pub(super) fn tail(&self, newest: Option<Point>) -> (Point, bool) {
        match (&self.head, newest) {
            (Some(head), newest) if newest.as_ref().is_none_or(|newest| newest.id <= head.id) => (head.clone(), true),
            (_, Some(newest)) => (newest, false),
            (_, None) => (self.start(), self.none()),
        }
    }
}

/// Write an anchor over the earlier one of its kind.
pub(super) fn anchor(db: &mut Db, key: &KeyHasher, kind: Kind, point: Point, at: i64) -> Result<(), StoreError> {
    let mut row = AnchorRow { kind: kind.as_str().to_owned(), id: point.id, hash: point.hash, at, mac: String::new() };
    row.mac = row.digest(key);
    let updated = diesel::update(audit_anchors::table.find(row.kind.clone())).set(row.clone()).execute(db)?;
    if updated == 0 {
        diesel::insert_into(audit_anchors::table).values(row).execute(db)?;
    }
    Ok(())
}

/// The walk from the first row that is left to the newest.
pub(super) struct Walk<'a> {
    key: &'a KeyHasher,
    anchors: Anchors,
    noted: Option<String>,
    first: i64,
    pub(super) next: i64,
    head: String,
}

impl<'a> Walk<'a> {
    pub(super) fn new(key: &'a KeyHasher, anchors: Anchors, noted: Option<&str>) -> Self {
        let Point { id, hash } = anchors.start();
        let noted = noted.filter(|noted| *noted != GENESIS && *noted != hash).map(ToOwned::to_owned);
        Self { key, anchors, noted, first: id + 1, next: id + 1, head: hash }
    }

    /// An anchor that somebody else wrote makes everything after it worthless.
    pub(super) fn forged(&self) -> Option<AuditVerdict> {
        let (id, kind) = self.anchors.forged.as_ref()?;
        broken(*id, &format!("the anchor `{kind}` was not written by this gateway"))
    }

    pub(super) fn step(&mut self, record: Record) -> Option<AuditVerdict> {
        let wrong = self.wrong(&record);
        if let Some(reason) = wrong {
            return broken(if record.id > self.next { self.next } else { record.id }, reason);
        }
        self.noted = self.noted.take().filter(|noted| *noted != record.hash);
        self.next += 1;
        self.head = record.hash;
        None
    }

    fn wrong(&self, record: &Record) -> Option<&'static str> {
        if record.id != self.next {
            return Some("the row is missing");
        }
        if record.prev_hash != self.head {
            return Some("the row is not chained to the one before it");
        }
        let legacy = self.anchors.legacy.as_ref().filter(|legacy| record.id <= legacy.id);
        let digest = if legacy.is_some() { record.plain_digest() } else { record.digest(self.key) };
        let anchored = [legacy, self.anchors.head.as_ref()].into_iter().flatten();
        let fits = anchored.filter(|point| point.id == record.id).all(|point| point.hash == record.hash);
        if digest != record.hash || !fits || !record.is_indexed() {
            return Some("the row was changed");
        }
        None
    }

    pub(super) fn finish(self) -> AuditVerdict {
        let cut_off = |reason: &str| AuditVerdict::Broken { id: self.next, reason: reason.to_owned() };
        if self.noted.is_some() {
            return cut_off("the row with the noted hash is gone: the end of the log was cut off");
        }
        match &self.anchors.head {
            Some(head) if head.id >= self.next => cut_off("the row is missing: the end of the log was cut off"),
            None if !self.anchors.none() || self.next > self.first => {
                cut_off("nothing vouches for the end of the log: its newest rows may be missing")
            }
            _ => AuditVerdict::Intact { rows: self.next - self.first, head: self.head },
        }
    }
}

fn broken(id: i64, reason: &str) -> Option<AuditVerdict> {
    Some(AuditVerdict::Broken { id, reason: reason.to_owned() })
}
