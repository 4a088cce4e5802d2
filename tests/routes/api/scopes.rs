//! Every management route is closed to strangers and to keys that may only call models.

use omniroute_testkit::http::Request;
use rstest::rstest;
use serde_json::json;

use crate::common::engine::Engine;
use crate::common::{KEY, Site, calm, chat};

/// The routes that anybody may ask, by method and path.
const PUBLIC: &[(&str, &str)] = &[
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/logout"),
    ("GET", "/api/auth/status"),
    ("GET", "/api/init"),
    ("POST", "/api/init"),
    ("GET", "/api/settings/require-login"),
    ("GET", "/health"),
    ("GET", "/api/health/ping"),
    ("GET", "/api/monitoring/health"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/"),
    // Where a browser comes back to from another site, without its session: a page and a script that change nothing.
    ("GET", "/api/oauth/x/callback"),
    ("GET", "/api/oauth/callback.js"),
    ("GET", "/api/auth/oidc/login"),
    ("GET", "/api/auth/oidc/callback"),
    // These two ask for a token of another instance.
    ("GET", "/api/sync/bundle"),
    ("POST", "/api/sync/bundle"),
];

/// The routes outside of `/v1` that a client key may ask.
const CLIENTS: &[(&str, &str)] =
    &[("POST", "/api/cloud/auth"), ("POST", "/api/cloud/model/resolve"), ("GET", "/api/cloud/models/alias")];

/// Every route of the OpenAPI document, with ids filled in.
async fn routes(site: &Site) -> Vec<(String, String)> {
    let document = site.admin.get("/api/openapi.json").await;
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let filled: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
        for method in operations.as_object().expect("operations").keys() {
            routes.push((method.to_uppercase(), filled.join("/")));
        }
    }
    routes
}

fn is_public(route: &(String, String)) -> bool {
    PUBLIC.iter().chain(CLIENTS).any(|(method, path)| *method == route.0 && *path == route.1)
}

fn ask(route: &(String, String)) -> Request {
    Request::new(&route.0, &route.1).json(&json!({}))
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn no_management_route_answers_a_stranger_or_an_inference_key(#[case] engine: Engine) {
    let Some((gateway, _schema)) = engine.fresh(calm()) else { return };
    let site = Site::open(gateway).await;
    let key = site.admin.create_key("inference").await.key;
    let routes = routes(&site).await;
    let management: Vec<_> = routes.iter().filter(|route| !is_public(route) && !route.1.starts_with("/v1")).collect();

    for route in &management {
        let stranger = site.gateway.ask(&ask(route)).await;
        let wrong = site.gateway.ask(&ask(route).key("sk-wrong")).await;
        let client = site.gateway.ask(&ask(route).key(&key)).await;

        assert_eq!(stranger.status(), 401, "{route:?}: {}", stranger.text());
        assert!([401, 403].contains(&wrong.status()), "{route:?}: {}", wrong.text());
        assert_eq!(client.status(), 403, "{route:?}: {}", client.text());
        assert!(stranger.json()["error"]["message"].is_string() && stranger.json()["error"]["code"] == "AUTH_001");
    }
    assert!(management.len() >= 30, "{}", management.len());
}

#[tokio::test]
async fn what_is_not_there_is_closed_as_well() {
    let site = Site::open(calm()).await;

    for path in ["/api/no-such-thing", "/v1/no-such-thing", "/api/v1/no-such-thing"] {
        assert_eq!(site.gateway.ask(&Request::get(path)).await.status(), 401, "{path}");
    }
    assert_eq!(site.admin.send(Request::get("/api/no-such-thing")).await.status(), 404);
    assert_eq!(site.gateway.ask(&Request::get("/v1/no-such-thing").key(KEY)).await.status(), 404);
}

#[tokio::test]
async fn a_key_with_the_scope_manage_manages_and_calls_no_model_unless_it_may() {
    let site = Site::open(calm()).await;
    let key = site.admin.create_key_with(&json!({"name": "robot", "scopes": ["manage"]})).await.key;

    let managed = site.gateway.ask(&Request::get("/api/providers").key(&key)).await;
    let called = site.gateway.ask(&Request::chat("a/m", "hello", false).key(&key)).await;

    assert_eq!((managed.status(), called.status()), (200, 403), "{}", called.text());
}

#[tokio::test]
async fn a_wrong_method_says_which_would_do() {
    let site = Site::open(calm()).await;

    let answer = site.gateway.ask(&Request::get("/v1/chat/completions").key(KEY)).await;

    assert_eq!((answer.status(), answer.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn without_a_required_key_loopback_clients_are_served() {
    let site = Site::open(calm().env("REQUIRE_API_KEY", "false")).await;

    let anonymous = site.gateway.ask(&Request::chat("a/m", "hello", false)).await;
    let with_key = site.gateway.ask(&chat("a/m", false)).await;
    let management = site.gateway.ask(&Request::get("/api/providers")).await;

    assert_eq!((anonymous.status(), with_key.status(), management.status()), (200, 200, 401));
}
