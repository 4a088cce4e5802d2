//! The client keys in memory: one published map from hash to caller, read without a lock, an await or the database.
//!
//! A well-formed key that is not in the map may have been made on another instance: it is looked up in the store once
//! every few seconds at most, and only some look-ups a second are made for all unknown keys together, so that made-up
//! keys cannot load the database.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;
use omniroute_actors::clock::Clock;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use super::principal::{Kind, Principal, Scopes};
use crate::config::ConfigHandle;
use crate::infra::crypto::{KeyHasher, Vault, looks_like_key};
use crate::store::{ApiKeyRow, Store, StoreError};

/// Headers whose whole value is a key.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "x-goog-api-key"];
/// How long a key that the store does not know is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);
const UNKNOWN_REMEMBERED: u64 = 10_000;
/// Look-ups for unknown keys, all together.
const LOOK_UPS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// It brings no key.
    #[error("no key")]
    Missing,
    /// What it brings is no key of ours.
    #[error("not a key")]
    Malformed,
    /// It brings two different ones.
    #[error("two different keys in one request")]
    Conflicting,
    /// The key has the right form and nobody here knows it; its hash, for [`KeyRing::look_up`].
    #[error("unknown key")]
    Unknown(String),
    /// The key is switched off or revoked.
    #[error("the key is switched off")]
    Disabled,
    /// The key's time is over.
    #[error("the key has expired")]
    Expired,
}

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
    tickets: AtomicU64,
    unknown: Cache<String, ()>,
    look_ups: DefaultDirectRateLimiter,
}

#[derive(Clone, Default)]
struct Snapshot {
    /// Which reading of the store this is: an older one never replaces a newer one.
    ticket: u64,
    keys: HashMap<String, Arc<Principal>>,
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
            Arc::new(Principal::free(kind, Scopes { inference: true, management: false }, Arc::clone(clock)))
        };
        Self(Arc::new(Inner {
            hasher: vault.client_keys().clone(),
            config,
            anonymous: free(Kind::Anonymous, &clock),
            service: free(Kind::Service, &clock),
            clock,
            published: ArcSwap::default(),
            tickets: AtomicU64::new(0),
            unknown: Cache::builder().max_capacity(UNKNOWN_REMEMBERED).time_to_live(UNKNOWN_FOR).build(),
            look_ups: RateLimiter::direct(Quota::per_second(LOOK_UPS_PER_SECOND)),
        }))
    }

    /// Read every key and the service key again and publish them. After each change of a key, after a reload of the
    /// configuration, and now and then for what other instances changed.
    ///
    /// # Errors
    /// When the store does not answer; the old keys stay.
    pub async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let ticket = self.0.tickets.fetch_add(1, Ordering::AcqRel) + 1;
        let rows = store.api_keys().list().await?;
        let service_hash = self.service_hash();
        self.0.published.rcu(|now| {
            if now.ticket > ticket {
                return Arc::clone(now);
            }
            let keys = rows.iter().map(|row| self.entry(row, now)).collect();
            Arc::new(Snapshot { ticket, keys, service_hash: service_hash.clone() })
        });
        self.0.unknown.invalidate_all();
        Ok(())
    }

    /// Who sent this request.
    ///
    /// # Errors
    /// Why nobody is let in with it.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, AuthFailure> {
        match credential(headers)? {
            Some(key) => self.owner(key),
            None if self.0.config.load().auth.require_api_key => Err(AuthFailure::Missing),
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
        let Some(row) = store.api_keys().find_by_hash(hash).await? else {
            self.0.unknown.insert(hash.to_owned(), ());
            return unknown();
        };
        self.0.published.rcu(|now| {
            let mut next = Snapshot::clone(now);
            next.keys.extend([self.entry(&row, now)]);
            next
        });
        let found = self.0.published.load().keys.get(hash).cloned();
        Ok(found.ok_or_else(|| AuthFailure::Unknown(hash.to_owned())).and_then(|owner| self.admit(owner)))
    }

    /// Store when keys were last used. Call it every few minutes and at the end.
    ///
    /// # Errors
    /// When the store does not answer; nothing is forgotten then.
    pub async fn flush_uses(&self, store: &Store) -> Result<(), StoreError> {
        let published = self.0.published.load_full();
        let used = published.keys.values().filter_map(|owner| match &owner.kind {
            Kind::Key { id, .. } => Some((id.clone(), owner.limits.used_at.load(Ordering::Relaxed))),
            _ => None,
        });
        let uses: Vec<_> = used.filter(|(_, at)| *at > 0).collect();
        if uses.is_empty() { Ok(()) } else { store.api_keys().touch_last_used(&uses).await }
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

/// The one key of a request, whichever header carries it. Clients that are not configured for one of the headers send it
/// empty; it says nothing beside a key in another one.
fn credential(headers: &HeaderMap) -> Result<Option<&str>, AuthFailure> {
    let (mut found, mut empty): (Option<&str>, _) = (None, false);
    let bearers = headers.get_all(AUTHORIZATION).map(|value| value.to_str().ok().and_then(bearer));
    let plain =
        KEY_HEADERS.iter().flat_map(|name| headers.get_all(*name)).map(|value| value.to_str().ok().map(str::trim));
    for key in bearers.chain(plain) {
        let key = key.ok_or(AuthFailure::Malformed)?;
        if key.is_empty() {
            empty = true;
            continue;
        }
        if found.is_some_and(|other| other != key) {
            return Err(AuthFailure::Conflicting);
        }
        found = Some(key);
    }
    if empty && found.is_none() { Err(AuthFailure::Malformed) } else { Ok(found) }
}

fn bearer(value: &str) -> Option<&str> {
    let value = value.trim();
    let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
    (value.is_empty() || scheme.eq_ignore_ascii_case("bearer")).then(|| key.trim())
}

#[cfg(test)]
pub(super) mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use omniroute_actors::clock::{ManualClock, Moment};
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::config::{Config, Secret};
    use crate::infra::crypto::{ClientKey, MasterKey};
    use crate::store::StoreOptions;

    pub(in crate::auth) fn row(id: &str, hash: &str) -> ApiKeyRow {
        ApiKeyRow {
            id: id.into(),
            name: id.into(),
            secret_hash: hash.into(),
            prefix: "omr_abcd".into(),
            last4: "wxyz".into(),
            scopes: json!([]),
            allowed_models: json!([]),
            allowed_connections: json!([]),
            is_active: true,
            expires_at: None,
            max_requests_per_minute: None,
            max_requests_per_day: None,
            max_sessions: None,
            no_log: false,
            extra: json!({}),
            created_at: 1,
            last_used_at: None,
            revoked_at: None,
        }
    }

    struct Bed {
        ring: KeyRing,
        store: Store,
        vault: Arc<Vault>,
        config: ConfigHandle,
        clock: Arc<ManualClock>,
        _dir: tempfile::TempDir,
    }

    fn bed_with(config: Config) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::new(&MasterKey::from_bytes([7; 32])));
        let (url, data_dir) = ("sqlite:test.db".to_owned(), dir.path().to_owned());
        let store = Store::open(&StoreOptions { url, data_dir, readers: 1, vault: vault.clone() }).unwrap();
        let clock = Arc::new(ManualClock::at(Moment::START));
        let config = ConfigHandle::new(config);
        let ring = KeyRing::new(&vault, config.clone(), clock.clone());
        Bed { ring, store, vault, config, clock, _dir: dir }
    }

    fn bed() -> Bed {
        bed_with(Config::default())
    }

    impl Bed {
        async fn add(&self, id: &str, change: impl FnOnce(&mut ApiKeyRow)) -> String {
            let key = ClientKey::generate(self.vault.client_keys()).unwrap();
            let mut row = row(id, &key.hash);
            change(&mut row);
            self.store.api_keys().insert(&row).await.unwrap();
            key.secret.expose_secret().to_owned()
        }

        fn ask(&self, lines: &[(&'static str, &str)]) -> Result<Kind, AuthFailure> {
            self.ring.authenticate(&headers(lines)).map(|principal| principal.kind.clone())
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn kind(id: &str) -> Kind {
        Kind::Key { id: id.into(), name: id.into() }
    }

    #[actix_web::test]
    async fn a_key_is_accepted_from_each_of_its_headers() {
        let bed = bed();
        let key = bed.add("k1", |_| ()).await;
        bed.ring.reload(&bed.store).await.unwrap();

        for (name, value) in [
            ("authorization", format!("Bearer {key}")),
            ("authorization", format!("bearer  {key}")),
            ("x-api-key", key.clone()),
            ("x-goog-api-key", key.clone()),
        ] {
            assert_eq!(bed.ask(&[(name, &value)]), Ok(kind("k1")), "{name}");
        }
        let bearer = format!("Bearer {key}");
        assert_eq!(bed.ask(&[("authorization", &bearer), ("x-api-key", &key)]), Ok(kind("k1")));
    }

    #[rstest]
    #[case::nothing(&[], AuthFailure::Missing)]
    #[case::another_products_key(&[("x-api-key", "sk-1234")], AuthFailure::Malformed)]
    #[case::another_scheme(&[("authorization", "Basic YTpi")], AuthFailure::Malformed)]
    #[case::an_empty_key(&[("x-api-key", "")], AuthFailure::Malformed)]
    #[case::two_keys(&[("x-api-key", "a"), ("authorization", "Bearer b")], AuthFailure::Conflicting)]
    #[case::two_headers_of_one_name(&[("x-api-key", "a"), ("x-api-key", "b")], AuthFailure::Conflicting)]
    #[actix_web::test]
    async fn what_is_no_single_key_is_refused(#[case] lines: &[(&'static str, &str)], #[case] expected: AuthFailure) {
        assert_eq!(bed().ask(lines), Err(expected));
    }

    #[actix_web::test]
    async fn an_expired_a_disabled_and_a_revoked_key_are_refused() {
        let bed = bed();
        let now = bed.clock.wall().0;
        let expiring = bed.add("expiring", |row| row.expires_at = Some(now + 1_000)).await;
        let disabled = bed.add("disabled", |row| row.is_active = false).await;
        let revoked = bed.add("revoked", |row| row.revoked_at = Some(1)).await;
        bed.ring.reload(&bed.store).await.unwrap();
        assert_eq!(bed.ask(&[("x-api-key", &expiring)]), Ok(kind("expiring")));

        bed.clock.advance(Duration::from_secs(1));

        assert_eq!(bed.ask(&[("x-api-key", &expiring)]), Err(AuthFailure::Expired));
        assert_eq!(bed.ask(&[("x-api-key", &disabled)]), Err(AuthFailure::Disabled));
        assert_eq!(bed.ask(&[("x-api-key", &revoked)]), Err(AuthFailure::Disabled));
    }

    #[actix_web::test]
    async fn a_key_made_on_another_instance_works_after_one_look_up() {
        let bed = bed();
        let key = bed.add("k1", |_| ()).await;
        let Err(AuthFailure::Unknown(hash)) = bed.ask(&[("x-api-key", &key)]) else { panic!("it should be unknown") };

        bed.ring.look_up(&hash, &bed.store).await.unwrap().unwrap();

        assert_eq!(bed.ask(&[("x-api-key", &key)]), Ok(kind("k1")));
    }

    #[actix_web::test]
    async fn a_key_that_the_store_does_not_know_is_not_asked_for_again_at_once() {
        let bed = bed();
        let hash = "00".repeat(32);
        assert!(bed.ring.look_up(&hash, &bed.store).await.unwrap().is_err());
        bed.store.api_keys().insert(&row("late", &hash)).await.unwrap();

        assert!(bed.ring.look_up(&hash, &bed.store).await.unwrap().is_err());
        bed.ring.reload(&bed.store).await.unwrap();
        assert!(bed.ring.look_up(&hash, &bed.store).await.unwrap().is_ok());
    }

    #[actix_web::test]
    async fn where_no_key_is_required_a_wrong_one_is_still_refused() {
        let mut config = Config::default();
        config.auth.require_api_key = false;
        let bed = bed_with(config);

        assert_eq!(bed.ask(&[]), Ok(Kind::Anonymous));
        assert_eq!(bed.ask(&[("x-api-key", "anything")]), Err(AuthFailure::Malformed));
    }

    #[actix_web::test]
    async fn the_service_key_of_the_configuration_is_valid_and_manages_nothing() {
        let mut config = Config::default();
        config.auth.service_key = Secret::new("the operators own text");
        let bed = bed_with(config);
        bed.ring.reload(&bed.store).await.unwrap();

        let principal = bed.ring.authenticate(&headers(&[("x-api-key", "the operators own text")])).unwrap();

        assert_eq!(principal.kind, Kind::Service);
        assert_eq!(principal.scopes, Scopes { inference: true, management: false });
        assert_eq!(bed.ask(&[("x-api-key", "another text")]), Err(AuthFailure::Malformed));
        assert!(bed.config.load().auth.require_api_key);
    }

    #[actix_web::test]
    async fn when_a_key_was_used_is_stored_by_the_flush() {
        let bed = bed();
        let key = bed.add("k1", |_| ()).await;
        bed.ring.reload(&bed.store).await.unwrap();
        let principal = bed.ring.authenticate(&headers(&[("x-api-key", &key)])).unwrap();
        principal.check_rate().unwrap();

        bed.ring.flush_uses(&bed.store).await.unwrap();

        assert_eq!(bed.store.api_keys().get("k1").await.unwrap().last_used_at, Some(bed.clock.wall().0));
    }
}
