//! Nothing is changed, and nobody is refused, without a trace.

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::routes::testing::{PASSWORD, Site, bare, bed, signed_in, site};
use crate::routes::{RouteSpec, Scope, table};
use crate::store::AuditFilter;

/// What makes a write succeed where an empty body does not; everything else is tried with an empty one.
fn bodies() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("POST", "/api/keys", json!({"name": "k"})),
        ("POST", "/api/providers", json!({"provider": "openai", "name": "main", "apiKey": "sk-1"})),
        (
            "POST",
            "/api/provider-nodes",
            json!({"type": "openai-compatible", "name": "n", "prefix": "n", "baseUrl": "https://n.example/v1"}),
        ),
        ("POST", "/api/combos", json!({"name": "team", "models": ["openai/gpt-5.5"]})),
        ("PUT", "/api/models", json!({"model": "openai/gpt-5.5", "alias": "fast"})),
        ("POST", "/api/models/alias", json!({"model": "openai/gpt-5.5", "alias": "quick"})),
        ("PUT", "/api/cloud/models/alias", json!({"model": "openai/gpt-5.5", "alias": "swift"})),
        ("PATCH", "/api/resilience", json!({"requestQueue": {"concurrentRequests": 3}})),
        ("POST", "/api/resilience/reset", json!({})),
        ("POST", "/api/shutdown", Value::Null),
    ]
}

async fn rows_of<S>(site: &Site<S>, request_id: &str) -> Vec<String> {
    let filter = AuditFilter { request_id: Some(request_id.to_owned()), ..AuditFilter::default() };
    let rows = site.bed.app.store.audit().page(filter, 0, 10).await.unwrap();
    rows.into_iter().map(|row| row.action).collect()
}

#[actix_web::test]
async fn every_write_of_the_document_that_succeeds_leaves_a_row() {
    let site = signed_in().await;
    let mut succeeded = 0;

    for row in table().iter().filter(|row| row.scope == Scope::Management && row.method != "GET") {
        let path = row.path.replace("{id}", "none").replace("{toolId}", "none");
        let given = bodies().into_iter().find(|(method, at, _)| *method == row.method && *at == row.path);
        let body = given.as_ref().map_or_else(|| json!({}), |(_, _, body)| body.clone());
        let id = format!("walk-{}", uuid::Uuid::new_v4().simple());
        let own = [("sec-fetch-site", "same-origin"), ("x-request-id", id.as_str())];
        let answer = site.send(&row.method, &path, Some(body), &own).await;
        // An order that waits keeps the next one out.
        let _ = site.bed.orders.borrow_mut().next().now_or_never();
        site.bed.orders.borrow().over();
        let done = (200..300).contains(&answer.status);
        assert!(done || given.is_none(), "{} {path}: {} {}", row.method, answer.status, answer.text);
        if done {
            succeeded += 1;
            assert!(!rows_of(&site, &id).await.is_empty(), "{} {path} left no trace", row.method);
        }
    }
    assert!(succeeded >= bodies().len() + 3, "{succeeded}");
}

#[actix_web::test]
async fn a_write_whose_handler_forgets_it_is_written_down_nevertheless() {
    let forgetful = RouteSpec::post("/api/forgetful", Scope::Management, "A probe", || async { "done" });
    let reading = RouteSpec::get("/api/reading", Scope::Management, "A probe", || async { "read" });
    let site = crate::routes::testing::site_of(bed().await, vec![forgetful, reading]).await;
    site.sign_in().await;

    site.ask("POST", "/api/forgetful", None).await;
    site.ask("GET", "/api/reading", None).await;

    let log = site.bed.app.store.audit().list(10).await.unwrap();
    let told: Vec<_> = log.iter().map(|row| (row.action.as_str(), row.actor.as_str(), row.target.as_str())).collect();
    assert_eq!(told[0], ("management.post", "admin", "/api/forgetful"));
    assert!(told.iter().all(|(_, _, target)| *target != "/api/reading"));
}

#[actix_web::test]
async fn signing_in_failing_and_being_locked_out_are_written_down() {
    let site = site(bed().await).await;
    let login = |password: &str| site.send("POST", "/api/auth/login", Some(json!({"password": password})), &[]);

    for _ in 0..5 {
        login("wrong").await;
    }
    let locked = [login(PASSWORD).await.status, login(PASSWORD).await.status];
    site.bed.clock.advance(std::time::Duration::from_secs(901));
    login(PASSWORD).await;

    let log = site.bed.app.store.audit().list(20).await.unwrap();
    let count = |action: &str| log.iter().filter(|row| row.action == action).count();
    assert_eq!(locked, [429, 429]);
    assert_eq!(["auth.login.failed", "auth.login.locked", "auth.login.success"].map(count), [5, 1, 1]);
}

#[actix_web::test]
async fn the_log_is_paged_filtered_and_verified_over_http() {
    let site = signed_in().await;
    for name in ["a", "b", "c"] {
        site.ok("POST", "/api/keys", Some(json!({"name": name}))).await;
    }

    let first = site.ask("GET", "/api/compliance/audit-log?action=apikey.created&limit=2", None).await;
    let cursor = first.header("x-next-cursor").unwrap().to_owned();
    let rest = format!("/api/compliance/audit-log?action=apikey.created&limit=2&cursor={cursor}");
    let rest = site.ok("GET", &rest, None).await;
    let none = site.ok("GET", "/api/compliance/audit-log?since=2999-01-01T00:00:00Z", None).await;
    let wrong = site.ask("GET", "/api/compliance/audit-log?from=yesterday", None).await;
    let verdict = site.ok("GET", "/api/compliance/audit-log/verify", None).await;

    assert_eq!(first.header("x-total-count"), Some("3"));
    assert_eq!((first.json().as_array().unwrap().len(), rest.as_array().unwrap().len()), (2, 1));
    assert_eq!((none, wrong.status, wrong.fields()), (json!([]), 400, vec!["from".to_owned()]));
    assert!(verdict["ok"] == true && verdict["rows"].as_i64().unwrap() >= 4, "{verdict}");
}

#[actix_web::test]
async fn a_key_that_wants_more_than_it_may_is_written_down_once() {
    let site = site(bare(|_| ()).await).await;
    site.bed.management.admin.setup_token(Some(&PASSWORD.into())).await.unwrap();
    site.sign_in().await;
    let key = site.ok("POST", "/api/keys", Some(json!({"name": "ci"}))).await["key"].as_str().unwrap().to_owned();
    site.carry(&[("x-api-key", &key)]);

    for _ in 0..3 {
        assert_eq!(site.send("GET", "/api/keys", None, &[]).await.status, 403);
    }

    let log = site.bed.app.store.audit().list(20).await.unwrap();
    let refused: Vec<_> = log.iter().filter(|row| row.action == "access.refused").collect();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].actor.starts_with("key:ci"), "{}", refused[0].actor);
}
