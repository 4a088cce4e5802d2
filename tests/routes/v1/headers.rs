//! What the headers of an answer tell.

use serde_json::json;

use crate::common::{Site, calm, chat, error_of, touchy};

#[tokio::test]
async fn the_request_id_of_the_client_is_echoed_under_both_names() {
    let site = Site::open(calm()).await;

    let answer = site.gateway.ask(&chat("a/m", false).header("x-request-id", "order-66.b:7")).await;
    let refused = site.gateway.ask(&chat("none", false).header("x-request-id", "order-67")).await;

    for name in ["x-request-id", "request-id"] {
        assert_eq!(answer.header(name), Some("order-66.b:7"));
        assert_eq!(refused.header(name), Some("order-67"));
    }
}

#[tokio::test]
async fn a_request_id_that_could_do_harm_is_replaced() {
    let site = Site::open(calm()).await;

    for id in ["a b", "<script>", &"x".repeat(500)] {
        let answer = site.gateway.ask(&chat("a/m", false).header("x-request-id", id)).await;

        let own = answer.header("x-request-id").unwrap();
        assert!(own != id && own.len() >= 16 && answer.header("request-id") == Some(own));
    }
}

#[tokio::test]
async fn an_answer_names_who_gave_it() {
    let site = Site::open(calm()).await;

    for stream in [false, true] {
        let answer = site.ask(stream).await;

        assert_eq!(answer.header("x-omniroute-attempts"), Some("1"));
        assert_eq!(answer.header("x-omniroute-provider"), Some(site.at_a.node.as_str()));
        assert_eq!(answer.header("x-omniroute-connection"), Some(site.at_a.connections[0].as_str()));
        assert_eq!(answer.header("x-omniroute-model"), Some("m"));
        assert_eq!(answer.header("x-omniroute-fallback-reason"), None);
    }
}

#[tokio::test]
async fn a_failover_shows_its_attempts_and_its_reason() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=503");

    for stream in [false, true] {
        let answer = site.ask_team(stream).await;

        assert_eq!((answer.status(), answer.header("x-omniroute-attempts")), (200, Some("2")));
        assert_eq!(answer.header("x-omniroute-provider"), Some(site.at_b.node.as_str()));
        let reason = answer.header("x-omniroute-fallback-reason").unwrap();
        assert!(reason.contains(&format!("{}:overloaded", site.at_a.connections[0])), "{reason}");
        let record = site.record(answer.header("x-request-id").unwrap()).await;
        let attempts: serde_json::Value = serde_json::from_str(&record.attempts).unwrap();
        assert_eq!(attempts.as_array().map(Vec::len), Some(2), "{attempts}");
    }
}

#[tokio::test]
async fn a_rate_limit_of_the_only_account_reaches_the_client_with_its_time() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=429 retry_after=7");

    let first = site.ask(false).await;
    let second = site.ask(false).await;

    assert_eq!((first.status(), first.header("retry-after")), (429, Some("7")));
    assert_eq!(first.header("x-should-retry"), Some("true"));
    assert_eq!((second.status(), &error_of(&second)["code"]), (429, &json!("model_cooldown")));
    let wait: u64 = second.header("retry-after").unwrap().parse().unwrap();
    let wait_ms: u64 = second.header("retry-after-ms").unwrap().parse().unwrap();
    assert!((5..=8).contains(&wait) && wait_ms <= 7_700 && wait_ms > 4_000, "{wait} {wait_ms}");
    assert_eq!(site.a.control.settled().await.total.started, 1);
}

#[tokio::test]
async fn a_long_rest_tells_the_client_not_to_retry() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=429 retry_after=900");

    let answer = site.ask(false).await;

    assert_eq!((answer.status(), answer.header("x-should-retry")), (429, Some("false")));
    assert_eq!(answer.header("retry-after"), Some("900"));
}

#[tokio::test]
async fn when_every_fallback_is_used_up_the_client_is_told_not_to_multiply_them() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=500");
    site.b.control.always("status code=500");

    let answer = site.ask_team(false).await;

    assert_eq!((answer.status(), answer.header("x-should-retry")), (502, Some("false")));
    assert_eq!(answer.header("x-omniroute-attempts"), Some("2"));
    assert_eq!(error_of(&answer)["type"], "server_error");
}

#[tokio::test]
async fn an_open_breaker_says_when_to_come_back() {
    let site = Site::open(touchy(5_000)).await;
    site.open_breaker_of_a().await;

    let answer = site.ask(false).await;

    assert_eq!((answer.status(), &error_of(&answer)["code"]), (503, &json!("provider_circuit_open")));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((4..=6).contains(&wait), "{wait}");
}

#[tokio::test]
async fn the_verdict_of_the_upstream_on_the_request_is_passed_on_in_its_own_words() {
    let site = Site::open(calm()).await;

    for code in [400, 413, 422] {
        site.a.control.script([format!("status code={code}").as_str()]);
        let answer = site.ask_team(false).await;

        assert_eq!(answer.status(), code, "{}", answer.text());
        assert_eq!(error_of(&answer)["message"], format!("the mock answers with status {code}"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    assert_eq!(site.b.control.stats().total.started, 0, "another account would not answer better");
}
