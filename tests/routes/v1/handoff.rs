//! A session that leaves a place because the quota there runs out takes a summary along.

use omniroute_testkit::http::Response;
use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};

use crate::common::{PATIENCE, Site, calm, chat_with, eventually};

/// `a` has hardly any quota left, `b` takes over, `c` summarises.
async fn relay(config: Value) -> (Site, MockUpstream) {
    let (site, writer) = (Site::open(calm()).await, MockUpstream::start().await);
    site.admin.add_upstream(&writer, "c", &["sk-c"]).await;
    let combo = json!({"name": "relay", "strategy": "context-relay", "models": ["a/m", "b/m"], "config": config});
    site.admin.create_combo_with(&combo).await;
    site.a.control.always("ok text=two header=ratelimit:limit=100,remaining=5,reset=600");
    writer.control.always("ok text=They+count. prompt_tokens=50");
    (site, writer)
}

async fn turn(site: &Site) -> Response {
    let messages = json!([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]);
    let answer = site.gateway.ask(&chat_with("relay", &json!({"messages": messages}))).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer
}

/// The turn in which the session leaves `a`, once it is known how little is left there.
async fn moved(site: &Site) -> Response {
    let moved = eventually(PATIENCE, async || {
        let answer = turn(site).await;
        let decision = answer.header("x-omniroute-decision").unwrap_or_default();
        decision.contains("leg=handoff").then_some(answer)
    });
    moved.await.expect("never handed over")
}

fn sent_to(mock: &MockUpstream) -> Vec<Value> {
    mock.control.requests().pop().expect("a request").json()["messages"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_session_is_handed_over_with_a_summary_that_stays_with_it() {
    let (site, writer) = relay(json!({"handoffModel": "c/short"})).await;

    let first = moved(&site).await;
    let told = sent_to(&site.b);
    let next = turn(&site).await;

    assert_eq!((&told[0]["content"], told.len()), (&json!("Be kind."), 5));
    assert!(told[1]["role"] == "system" && told[1]["content"].as_str().unwrap().ends_with("They count."), "{told:?}");
    let conversation = sent_to(&writer);
    let words = conversation[0]["content"].as_str().unwrap();
    assert!(words.contains("user: one") && words.contains("assistant: two"), "{words}");
    assert_eq!(next.header("x-omniroute-connection"), first.header("x-omniroute-connection"));
    assert_eq!(sent_to(&site.b), told, "the new place's prompt cache holds");
    assert_eq!(writer.control.settled().await.total.started, 1);
    let record = site.record(first.header("x-request-id").unwrap()).await;
    let attempts: Vec<Value> = serde_json::from_str(&record.attempts).unwrap();
    let summary = attempts.iter().find(|one| one["role"] == "handoff").expect("the summary's call");
    assert_eq!((&summary["outcome"], &summary["tokens"]["prompt"]), (&json!("success"), &json!(50)));
    assert!(record.prompt_tokens > 50, "{record:?}");
}

#[tokio::test]
async fn a_session_moves_without_a_summary_when_none_comes_or_none_is_asked_for() {
    for config in [json!({"handoffModel": "c/short"}), json!({})] {
        let (site, writer) = relay(config).await;
        writer.control.always("status code=500");

        moved(&site).await;

        assert_eq!(sent_to(&site.b).len(), 4);
    }
}
