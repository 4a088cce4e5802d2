//! `POST /v1/messages` and `POST /v1/messages/count_tokens`: Anthropic's clients, whatever the provider.

use omniroute_testkit::http::Request;
use omniroute_testkit::mock::Behaviour;
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm};

fn message(model: &str, stream: bool) -> Value {
    json!({"model": model, "max_tokens": 50, "stream": stream, "system": "be brief",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]})
}

fn post(path: &str, body: &Value) -> Request {
    Request::post(path, body).header("x-api-key", KEY).header("anthropic-version", "2023-06-01")
}

#[tokio::test]
async fn a_message_is_answered_by_a_chat_provider() {
    let site = Site::open(calm()).await;

    let answer = site.gateway.ask(&post("/v1/messages?beta=true", &message("a/m", false))).await;

    assert_eq!(answer.status(), 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(
        (&body["type"], &body["role"], &body["stop_reason"]),
        (&json!("message"), &json!("assistant"), &json!("end_turn"))
    );
    assert!(body["content"][0]["text"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    let sent: Value = serde_json::from_str(&site.a.control.requests().pop().unwrap().body).unwrap();
    assert_eq!((&sent["messages"][0]["role"], &sent["messages"][1]["content"]), (&json!("system"), &json!("hello")));
    assert_eq!(sent["model"], json!("m"));
}

#[tokio::test]
async fn a_stream_has_anthropics_events_in_their_order() {
    let site = Site::open(calm()).await;

    let answer = site.gateway.ask(&post("/v1/messages", &message("a/m", true))).await;

    let names: Vec<_> =
        answer.text().lines().filter_map(|line| line.strip_prefix("event: ").map(str::to_owned)).collect();
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(names.first().map(String::as_str), Some("message_start"), "{names:?}");
    assert!(names.contains(&"content_block_delta".to_owned()), "{names:?}");
    assert_eq!(names[names.len() - 2..], ["message_delta", "message_stop"]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_anthropics_error_and_no_stop() {
    let site = Site::open(calm()).await;
    site.a.control.always(Behaviour::from_json(&json!({"name": "cut_chunked", "n": 3})).unwrap());

    let answer = site.gateway.ask(&post("/v1/messages", &message("a/m", true))).await;

    assert!(answer.text().contains("event: error\n"), "{}", answer.text());
    assert!(!answer.text().contains("message_stop"), "{}", answer.text());
}

#[tokio::test]
async fn every_error_has_anthropics_shape() {
    let site = Site::open(calm()).await;
    let missing = json!({"model": "a/m", "messages": []});
    let wrong_key = Request::post("/v1/messages", &message("a/m", false)).header("x-api-key", "sk-wrong");

    let bad = site.gateway.ask(&post("/v1/messages", &missing)).await;
    let unknown = site.gateway.ask(&post("/v1/messages", &message("no-such", false))).await;
    let refused = site.gateway.ask(&wrong_key).await;

    for (answer, status, kind) in
        [(bad, 400, "invalid_request_error"), (unknown, 404, "not_found_error"), (refused, 401, "authentication_error")]
    {
        assert_eq!((answer.status(), &answer.json()["type"]), (status, &json!("error")), "{}", answer.text());
        assert_eq!(answer.json()["error"]["type"], json!(kind), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_a_provider_cannot_carry_is_named_or_on_demand_refused() {
    let site = Site::open(calm()).await;
    let mut body = message("a/m", false);
    body["top_k"] = json!(5);

    let answer = site.gateway.ask(&post("/v1/messages", &body)).await;
    let strict = site.gateway.ask(&post("/v1/messages", &body).header("x-omniroute-strict", "true")).await;

    assert_eq!((answer.status(), answer.header("x-omniroute-params-dropped")), (200, Some("top_k")));
    assert_eq!(strict.status(), 400, "{}", strict.text());
    assert!(strict.json()["error"]["message"].as_str().is_some_and(|text| text.contains("top_k")));
}

#[tokio::test]
async fn tokens_are_counted_and_the_answer_says_how() {
    let site = Site::open(calm()).await;
    let body = json!({"model": "a/gpt-4o", "messages": [{"role": "user", "content": "hello world"}]});
    let guessed = json!({"model": "a/other", "messages": [{"role": "user", "content": "hello world"}]});

    let counted = site.gateway.ask(&post("/v1/messages/count_tokens", &body)).await.json();
    let guessed = site.gateway.ask(&post("/v1/messages/count_tokens", &guessed)).await.json();

    assert_eq!((&counted["input_tokens"], &counted["source"]), (&json!(8), &json!("tokenizer")));
    assert_eq!(guessed["source"], json!("estimated"));
    assert!(guessed["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
}

#[tokio::test]
async fn anthropics_clients_get_the_list_of_models_in_their_shape() {
    let site = Site::open(calm()).await;
    let request = Request::get("/v1/models?limit=1").header("x-api-key", KEY).header("anthropic-version", "2023-06-01");

    let list = site.gateway.ask(&request).await.json();

    assert_eq!((&list["data"][0]["type"], &list["data"].as_array().unwrap().len()), (&json!("model"), &1));
    assert!(list.get("has_more").is_some(), "{list}");
}
