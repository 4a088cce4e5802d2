//! Who is let in with which headers, and what the ring asks the store.

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
        self.ring.authenticate(&headers(lines), "").map(|principal| principal.kind.clone())
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

    let principal = bed.ring.authenticate(&headers(&[("x-api-key", "the operators own text")]), "").unwrap();

    assert_eq!(principal.kind, Kind::Service);
    assert_eq!(principal.scopes, Scopes { inference: true, management: None });
    assert_eq!(bed.ask(&[("x-api-key", "another text")]), Err(AuthFailure::Malformed));
    assert!(bed.config.load().auth.require_api_key);
}

#[actix_web::test]
async fn when_a_key_was_used_is_stored_by_the_flush() {
    let bed = bed();
    let key = bed.add("k1", |_| ()).await;
    bed.ring.reload(&bed.store).await.unwrap();
    let principal = bed.ring.authenticate(&headers(&[("x-api-key", &key)]), "").unwrap();
    principal.check_rate().unwrap();

    bed.ring.flush_uses(&bed.store).await.unwrap();

    assert_eq!(bed.store.api_keys().get("k1").await.unwrap().last_used_at, Some(bed.clock.wall().0));
}

#[actix_web::test]
async fn one_key_is_taken_up_new_changed_and_gone_and_what_others_changed_meanwhile_comes_along() {
    let bed = bed();
    let first = bed.add("first", |_| ()).await;
    bed.ring.reload(&bed.store).await.unwrap();
    let hash = |key: &str| bed.vault.client_keys().hash(key);

    let own = bed.add("own", |_| ()).await;
    bed.ring.take_up(&hash(&own), &bed.store).await.unwrap();
    assert_eq!(bed.ask(&[("x-api-key", &own)]), Ok(kind("own")));

    let (foreign, second) = (bed.add("foreign", |_| ()).await, bed.add("second", |_| ()).await);
    bed.ring.take_up(&hash(&second), &bed.store).await.unwrap();
    assert_eq!(
        bed.ask(&[("x-api-key", &foreign)]),
        Ok(kind("foreign")),
        "two changes are more than the one it knows of"
    );

    let mut off = bed.store.api_keys().get("own").await.unwrap();
    off.is_active = false;
    bed.store.api_keys().update(&off).await.unwrap();
    bed.ring.take_up(&hash(&own), &bed.store).await.unwrap();
    bed.store.api_keys().delete("first").await.unwrap();
    bed.ring.take_up(&hash(&first), &bed.store).await.unwrap();

    assert_eq!(bed.ask(&[("x-api-key", &own)]), Err(AuthFailure::Disabled));
    assert!(matches!(bed.ask(&[("x-api-key", &first)]), Err(AuthFailure::Unknown(_))));
    assert_eq!(bed.ask(&[("x-api-key", &second)]), Ok(kind("second")));
}

#[actix_web::test]
async fn a_use_is_stored_once_and_the_next_one_again() {
    let bed = bed();
    let key = bed.add("k1", |_| ()).await;
    bed.ring.reload(&bed.store).await.unwrap();
    let used = async || bed.store.api_keys().get("k1").await.unwrap().last_used_at;
    let ask = || bed.ring.authenticate(&headers(&[("x-api-key", &key)]), "").unwrap().check_rate().unwrap();
    ask();
    bed.ring.flush_uses(&bed.store).await.unwrap();
    let first = used().await;

    bed.clock.advance(Duration::from_secs(60));
    bed.ring.flush_uses(&bed.store).await.unwrap();
    assert_eq!(used().await, first, "nothing was used meanwhile");
    ask();
    bed.ring.flush_uses(&bed.store).await.unwrap();

    assert_eq!(used().await, Some(bed.clock.wall().0));
    assert!(used().await > first);
}
