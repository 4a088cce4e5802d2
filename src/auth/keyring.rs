//! The client keys in memory: one published map from hash to caller, read without a lock, an await or the database.
//!
//! A well-formed key that is not in the map may have been made on another instance: it is looked up in the store once
//! every few seconds at most, and only some look-ups a second are made for all unknown keys together, so that made-up
//! keys cannot load the database.
//!
//! The database counts the changes of keys: an unchanged count costs no reading, and one more than before, after a change
//! that was made here, costs one row. A hundred thousand keys are read anew only when somebody else changed one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;
use omniroute_actors::clock::Clock;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use self::shards::Shards;
use super::credential::{AuthFailure, credential, in_query};
use super::principal::{Kind, Principal, Scopes};
use crate::config::ConfigHandle;
use crate::infra::crypto::{KeyHasher, Vault, looks_like_key};
use crate::store::{ApiKeyRow, Noun, Revisions, Store, StoreError};

mod shards;

/// How long a key that the store does not know is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);
const UNKNOWN_REMEMBERED: u64 = 10_000;
/// A use may be noted so much later than it says.
const NOTED_LATE_MS: i64 = 1_000;
/// Look-ups for unknown keys, all together.
const LOOK_UPS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// The keys; clones share them.
#[derive(Clone)]
pub struct KeyRing(Arc<Inner>);

struct Inner {
    hasher: KeyHasher,
    config: ConfigHandle,
    clock: Arc<dyn Clock>,
    anonymous: Arc<Principal>,
    service: Arc<Principal>,
    published: ArcSwap<Snapshot>,
    /// One reading of the store at a time: an older one never replaces a newer one.
    turn: tokio::sync::Mutex<()>,
    /// Uses up to then are in the store.
    flushed_to: AtomicI64,
    unknown: Cache<String, ()>,
    look_ups: DefaultDirectRateLimiter,
}

#[derive(Clone, Default)]
struct Snapshot {
    /// What the store had counted when this was read.
    read_at: Revisions,
    keys: Shards,
    service_hash: Option<String>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.0.published.load().keys.len()).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// An empty ring; [`KeyRing::reload`] fills it.
    pub fn new(vault: &Vault, config: ConfigHandle, clock: Arc<dyn Clock>) -> Self {
        let free = |kind, clock: &Arc<dyn Clock>| {
            Arc::new(Principal::free(kind, Scopes { inference: true, management: None }, Arc::clone(clock)))
        };
        Self(Arc::new(Inner {
            hasher: vault.client_keys().clone(),
            config,
            anonymous: free(Kind::Anonymous, &clock),
            service: free(Kind::Service, &clock),
            clock,
            published: ArcSwap::default(),
            turn: tokio::sync::Mutex::new(()),
            flushed_to: AtomicI64::new(0),
            unknown: Cache::builder().max_capacity(UNKNOWN_REMEMBERED).time_to_live(UNKNOWN_FOR).build(),
            look_ups: RateLimiter::direct(Quota::per_second(LOOK_UPS_PER_SECOND)),
        }))
    }

    /// Take up whatever changed of keys and of the service key. After a reload of the configuration, and now and then for
    /// what other instances changed.
    ///
    /// # Errors
    /// When the store does not answer; the old keys stay.
    pub async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let _turn = self.0.turn.lock().await;
        let (counts, service_hash) = (store.revisions().await?, self.service_hash());
        let now = self.0.published.load_full();
        if counts.moved(&now.read_at, Noun::Keys) {
            return self.read_all(store, counts).await;
        }
        if now.service_hash != service_hash {
            self.0.published.store(Arc::new(Snapshot { service_hash, ..Snapshot::clone(&now) }));
        }
        Ok(())
    }

    /// Take up the change of one key that was just written by the caller: known by its hash, new, other or gone.
    ///
    /// # Errors
    /// When the store does not answer; the old keys stay.
    pub async fn take_up(&self, hash: &str, store: &Store) -> Result<(), StoreError> {
        let _turn = self.0.turn.lock().await;
        let (counts, now) = (store.revisions().await?, self.0.published.load_full());
        if !counts.moved(&now.read_at, Noun::Keys) {
            return Ok(());
        }
        if !counts.is_next(&now.read_at, Noun::Keys) {
            return self.read_all(store, counts).await;
        }
        let row = store.api_keys().find_by_hash(hash).await?;
        self.replace(hash, row.as_ref(), counts);
        Ok(())
    }

    async fn read_all(&self, store: &Store, counts: Revisions) -> Result<(), StoreError> {
        let rows = store.api_keys().list().await?;
        let now = self.0.published.load();
        let keys = Shards::of(rows.iter().map(|row| self.entry(row, &now)));
        let service_hash = self.service_hash();
        self.0.published.store(Arc::new(Snapshot { read_at: counts, keys, service_hash }));
        self.0.unknown.invalidate_all();
        Ok(())
    }

    /// Show one key as it is now.
    fn replace(&self, hash: &str, row: Option<&ApiKeyRow>, counts: Revisions) {
        let now = self.0.published.load();
        let mut next = Snapshot { read_at: counts, ..Snapshot::clone(&now) };
        match row.map(|row| self.entry(row, &now)) {
            Some((hash, owner)) => next.keys.put(hash, owner),
            None => next.keys.remove(hash),
        }
        self.0.published.store(Arc::new(next));
        self.0.unknown.invalidate(hash);
    }

    /// Who sent this request.
    ///
    /// # Errors
    /// Why nobody is let in with it.
    pub fn authenticate(&self, headers: &HeaderMap, query: &str) -> Result<Arc<Principal>, AuthFailure> {
        if let Some(key) = credential(headers)? {
            return self.owner(key);
        }
        let config = self.0.config.load();
        match in_query(query).filter(|_| config.auth.query_key) {
            Some(key) => self.owner(&key),
            None if config.auth.require_api_key => Err(AuthFailure::Missing),
            None => Ok(Arc::clone(&self.0.anonymous)),
        }
    }

    /// Ask the store about a key that is not in memory, if it was not asked lately.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look_up(&self, hash: &str, store: &Store) -> Result<Result<Arc<Principal>, AuthFailure>, StoreError> {
        let unknown = || Ok(Err(AuthFailure::Unknown(hash.to_owned())));
        if self.0.unknown.contains_key(hash) || self.0.look_ups.check().is_err() {
            return unknown();
        }
        let _turn = self.0.turn.lock().await;
        let Some(row) = store.api_keys().find_by_hash(hash).await? else {
            self.0.unknown.insert(hash.to_owned(), ());
            return unknown();
        };
        // The count stays: what else was changed is still to be read.
        let counts = self.0.published.load().read_at.clone();
        self.replace(hash, Some(&row), counts);
        let found = self.0.published.load().keys.get(hash).cloned();
        Ok(found.ok_or_else(|| AuthFailure::Unknown(hash.to_owned())).and_then(|owner| self.admit(owner)))
    }

    /// The key of this id, if it can be used now: for what is done in its name without its secret.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn by_id(&self, id: &str) -> Result<Arc<Principal>, AuthFailure> {
        let published = self.0.published.load();
        let is_it = |owner: &&Arc<Principal>| matches!(&owner.kind, Kind::Key { id: known, .. } if known == id);
        let found = published.keys.values().find(is_it).cloned();
        found.ok_or(AuthFailure::Missing).and_then(|owner| self.admit(owner))
    }

    /// Store when keys were last used. Call it every few minutes and at the end.
    ///
    /// # Errors
    /// When the store does not answer; nothing is forgotten then.
    pub async fn flush_uses(&self, store: &Store) -> Result<(), StoreError> {
        let (published, begun) = (self.0.published.load_full(), self.0.clock.wall().0);
        // One that is used at this very moment may be noted twice, and none is missed.
        let since = self.0.flushed_to.load(Ordering::Relaxed).max(1);
        let used = published.keys.values().filter_map(|owner| match &owner.kind {
            Kind::Key { id, .. } => Some((id, owner.limits.used_at.load(Ordering::Relaxed))),
            _ => None,
        });
        let uses: Vec<_> = used.filter(|(_, at)| *at >= since).map(|(id, at)| (id.clone(), at)).collect();
        if !uses.is_empty() {
            store.api_keys().touch_last_used(&uses).await?;
        }
        self.0.flushed_to.store(begun.saturating_sub(NOTED_LATE_MS), Ordering::Relaxed);
        Ok(())
    }

    /// When a key was last used by this process, if it was.
    pub fn used_at(&self, hash: &str) -> Option<i64> {
        let published = self.0.published.load();
        let at = published.keys.get(hash)?.limits.used_at.load(Ordering::Relaxed);
        (at > 0).then_some(at)
    }

    fn entry(&self, row: &ApiKeyRow, now: &Snapshot) -> (String, Arc<Principal>) {
        let before = now.keys.get(&row.secret_hash).map(AsRef::as_ref);
        (row.secret_hash.clone(), Arc::new(Principal::of_key(row, before, Arc::clone(&self.0.clock))))
    }

    fn service_hash(&self) -> Option<String> {
        match self.0.config.load().auth.service_key.resolve() {
            Ok(key) => key.map(|key| self.0.hasher.hash(key.expose_secret())),
            Err(error) => {
                tracing::error!(%error, "auth.service_key cannot be read; it is not accepted");
                None
            }
        }
    }

    /// The checksum first: a typo costs no hash. A service key is the operator's own text and has none.
    fn owner(&self, key: &str) -> Result<Arc<Principal>, AuthFailure> {
        let published = self.0.published.load();
        let well_formed = looks_like_key(key);
        if !well_formed && published.service_hash.is_none() {
            return Err(AuthFailure::Malformed);
        }
        let hash = self.0.hasher.hash(key);
        if published.service_hash.as_deref().is_some_and(|service| same(service, &hash)) {
            return Ok(Arc::clone(&self.0.service));
        }
        match published.keys.get(&hash).filter(|owner| same(&owner.hash, &hash)) {
            Some(owner) => self.admit(Arc::clone(owner)),
            None if well_formed => Err(AuthFailure::Unknown(hash)),
            None => Err(AuthFailure::Malformed),
        }
    }

    fn admit(&self, owner: Arc<Principal>) -> Result<Arc<Principal>, AuthFailure> {
        if !owner.usable {
            return Err(AuthFailure::Disabled);
        }
        if owner.expires_at.is_some_and(|end| end <= self.0.clock.wall().0) {
            return Err(AuthFailure::Expired);
        }
        Ok(owner)
    }
}

fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
pub(super) mod tests;
