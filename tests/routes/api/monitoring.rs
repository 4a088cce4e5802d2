//! `/livez`, `/readyz`, `/metrics`, `/api/monitoring/health`.

use omniroute_testkit::http::Request;
use serde_json::json;

use crate::common::{KEY, Site, calm, touchy};

#[tokio::test]
async fn a_running_gateway_is_alive_and_ready() {
    let site = Site::open(calm()).await;

    for path in ["/livez", "/readyz"] {
        assert_eq!(site.gateway.ask(&Request::get(path)).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_stranger_learns_less_of_the_health_than_the_administrator() {
    let site = Site::open(touchy(60_000)).await;
    site.open_breaker_of_a().await;

    let public = site.gateway.ask(&Request::get("/api/monitoring/health")).await;
    let full = site.admin.get("/api/monitoring/health").await;

    assert_eq!(public.status(), 200);
    assert!(public.json()["status"].is_string() && public.json()["version"].is_string(), "{}", public.text());
    for secret in [site.at_a.node.as_str(), site.at_a.connections[0].as_str()] {
        assert!(!public.text().contains(secret), "{}", public.text());
    }
    assert_eq!(full["circuitBreakers"]["open"], 1, "{full}");
    let breakers = full["providerBreakers"].as_array().unwrap();
    assert!(
        breakers.iter().any(|breaker| breaker["provider"] == site.at_a.node.as_str() && breaker["state"] == "OPEN")
    );
}

#[tokio::test]
async fn deleting_the_health_resets_breakers() {
    let site = Site::open(touchy(60_000)).await;
    site.open_breaker_of_a().await;

    let answer = site.admin.delete("/api/monitoring/health").await;

    assert_eq!((&answer["success"], site.ask(false).await.status()), (&json!(true), 200));
}

#[tokio::test]
async fn the_metrics_count_requests_and_show_no_secret() {
    let site = Site::open(calm()).await;
    site.admin.create_connection(&site.at_a.node, "another", "sk-of-an-account").await;
    for stream in [false, true] {
        site.ask(stream).await;
    }

    let answer = site.admin.send(Request::get("/metrics")).await;

    let text = answer.text();
    assert_eq!(answer.status(), 200, "{text}");
    assert!(text.lines().any(|line| line.starts_with("omniroute_") && line.contains("requests")), "{text}");
    assert!(text.contains("# TYPE") && !text.contains("sk-of-an-account") && !text.contains(KEY));
}
