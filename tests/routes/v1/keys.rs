//! Who may call, and what their key allows.

use omniroute_testkit::http::{Request, Response};
use serde_json::json;

use crate::common::{PATIENCE, Site, calm, error_of, eventually};

async fn ask(site: &Site, key: &str, model: &str) -> Response {
    site.gateway.ask(&Request::chat(model, "hello", false).key(key)).await
}

#[tokio::test]
async fn without_a_key_or_with_a_wrong_one_nothing_is_answered() {
    let site = Site::open(calm()).await;

    let none = site.gateway.ask(&Request::chat("a/m", "hello", false)).await;
    let wrong = ask(&site, "sk-wrong", "a/m").await;
    let list = site.gateway.ask(&Request::get("/v1/models")).await;

    for answer in [none, wrong, list] {
        let error = error_of(&answer);
        assert_eq!((answer.status(), &error["type"]), (401, &json!("authentication_error")));
        assert_eq!(error["code"], "invalid_api_key");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let managing = site.gateway.ask(&Request::get("/api/keys")).await;
    assert_eq!((managing.status(), managing.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(site.a.control.stats().total.started, 0);
}

#[tokio::test]
async fn a_key_is_read_from_each_header_that_clients_use() {
    let site = Site::open(calm()).await;
    let key = site.admin.create_key("ci").await.key;

    for (name, value) in [("Authorization", format!("Bearer {key}")), ("x-api-key", key.clone())] {
        let answer = site.gateway.ask(&Request::chat("a/m", "hello", false).header(name, &value)).await;
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_header_that_is_empty_says_nothing_beside_a_key() {
    let site = Site::open(calm()).await;
    let key = site.admin.create_key("ci").await.key;
    let ask = async |headers: [(&str, &str); 2]| {
        let request = headers.iter().fold(Request::chat("a/m", "hello", false), |all, (name, it)| all.header(name, it));
        site.gateway.ask(&request).await.status()
    };

    for empty in ["", "Bearer", "Bearer "] {
        assert_eq!(ask([("Authorization", empty), ("x-api-key", &key)]).await, 200, "{empty:?}");
        assert_eq!(ask([("Authorization", empty), ("x-api-key", "")]).await, 401, "{empty:?}");
    }
    assert_eq!(ask([("x-api-key", ""), ("Authorization", &format!("Bearer {key}"))]).await, 200);
    assert_eq!(
        ask([("Authorization", "Basic YTpi"), ("x-api-key", &key)]).await,
        401,
        "another credential is not nothing"
    );
}

#[tokio::test]
async fn a_model_that_the_key_may_not_use_is_a_403() {
    let site = Site::open(calm()).await;
    let key = site.admin.create_key_with(&json!({"name": "only b", "allowedModels": ["b/*"]})).await.key;

    let refused = ask(&site, &key, "a/m").await;
    let allowed = ask(&site, &key, "b/m").await;

    assert_eq!((refused.status(), &error_of(&refused)["type"]), (403, &json!("permission_error")));
    assert_eq!(allowed.status(), 200);
    assert_eq!(site.a.control.stats().total.started, 0);
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    let site = Site::open(calm()).await;
    let in_a_moment = jiff::Timestamp::now() + jiff::Span::new().milliseconds(1500);
    let fields = json!({"name": "short", "expiresAt": in_a_moment.to_string()});
    let key = site.admin.create_key_with(&fields).await.key;

    let before = ask(&site, &key, "a/m").await.status();
    let refused =
        eventually(PATIENCE, async || Some(ask(&site, &key, "a/m").await).filter(|answer| answer.status() != 200));

    assert_eq!((before, refused.await.map(|answer| answer.status())), (200, Some(401)));
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_its_next_request_on() {
    let site = Site::open(calm()).await;
    let key = site.admin.create_key("gone soon").await;

    let before = ask(&site, &key.key, "a/m").await.status();
    site.admin.delete(&format!("/api/keys/{}", key.id)).await;
    let after = ask(&site, &key.key, "a/m").await.status();

    assert_eq!((before, after), (200, 401));
}

#[tokio::test]
async fn a_key_uses_only_the_connections_it_was_given() {
    let site = Site::open(calm()).await;
    let fields = json!({"name": "b only", "allowedConnections": site.at_b.connections});
    let key = site.admin.create_key_with(&fields).await.key;

    let by_combo = ask(&site, &key, "team").await;
    let direct = ask(&site, &key, "a/m").await;

    assert_eq!(by_combo.status(), 200, "{}", by_combo.text());
    assert_eq!(by_combo.header("x-omniroute-connection"), Some(site.at_b.connections[0].as_str()));
    assert!(direct.status() >= 400, "{}", direct.text());
    assert_eq!(site.a.control.stats().total.started, 0);
}

/// Everything the answer says.
fn all_of(answer: &Response) -> String {
    let headers = answer.head.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
    format!("{}{}", headers.collect::<String>(), answer.text())
}

#[tokio::test]
async fn a_key_learns_nothing_of_connections_that_it_may_not_use() {
    let site = Site::open(calm()).await;
    let fields = json!({"name": "b only", "allowedConnections": site.at_b.connections});
    let key = site.admin.create_key_with(&fields).await.key;
    let chat = |model: &str, stream| Request::chat(model, "hello", stream).key(&key);
    let forced = chat("team", false).header("x-omniroute-connection", &site.at_a.connections[0]);
    // A failing and a resting connection are what error messages like to name.
    site.a.control.always("status code=429 retry_after=100");
    assert_eq!(site.ask(false).await.status(), 429);

    let mut answers = vec![site.gateway.ask(&chat("team", false)).await, site.gateway.ask(&chat("team", true)).await];
    answers.extend([site.gateway.ask(&chat("a/m", false)).await, site.gateway.ask(&forced).await]);
    site.b.control.script(["status code=500", "status code=429 retry_after=100"]);
    for _ in 0..3 {
        answers.push(site.gateway.ask(&chat("team", false)).await);
    }

    let statuses: Vec<_> = answers.iter().map(Response::status).collect();
    assert_eq!(statuses, [200, 200, 403, 403, 502, 429, 429]);
    for answer in &answers {
        let said = all_of(answer);
        assert!(!said.contains("a sk-a") && !said.contains(&site.at_a.connections[0]), "{said}");
    }
    let last = all_of(&answers[6]);
    assert!(last.contains("b sk-b is cooling down"), "its own it does learn: {last}");
}

#[tokio::test]
async fn the_limit_of_requests_per_minute_is_a_429_with_its_time() {
    let site = Site::open(calm()).await;
    let key = site.admin.create_key_with(&json!({"name": "slow", "maxRequestsPerMinute": 3})).await.key;

    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(ask(&site, &key, "a/m").await.status());
    }
    let refused = ask(&site, &key, "a/m").await;

    assert_eq!(statuses, [200; 3]);
    assert_eq!((refused.status(), &error_of(&refused)["code"]), (429, &json!("rate_limit_exceeded")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(site.a.control.settled().await.total.started, 3);
}
