//! `/v1beta`: Gemini's clients, whatever the provider.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm};

fn post(path: &str) -> Request {
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    Request::post(path, &body).header("x-goog-api-key", KEY)
}

#[tokio::test]
async fn content_is_generated_under_every_path_that_googles_clients_use() {
    let site = Site::open(calm()).await;

    for path in
        ["/v1beta/models/a/m:generateContent", "/v1/models/a/m:generateContent", "/v1beta/a%2Fm:generateContent"]
    {
        let answer = site.gateway.ask(&post(path)).await;

        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        let candidate = &answer.json()["candidates"][0];
        assert_eq!(
            (&candidate["finishReason"], &candidate["content"]["role"]),
            (&json!("STOP"), &json!("model")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_stream_is_events_or_one_array() {
    let site = Site::open(calm()).await;

    let events = site.gateway.ask(&post("/v1beta/models/a/m:streamGenerateContent?alt=sse")).await;
    let array = site.gateway.ask(&post("/v1beta/models/a/m:streamGenerateContent")).await;

    assert!(events.text().starts_with("data: {") && !events.text().contains("[DONE]"), "{}", events.text());
    assert_eq!(array.header("content-type"), Some("application/json"));
    let parts: Vec<Value> = serde_json::from_str(&array.text()).unwrap();
    assert_eq!(parts.last().unwrap()["candidates"][0]["finishReason"], json!("STOP"));
}

#[tokio::test]
async fn every_error_has_googles_shape() {
    let site = Site::open(calm()).await;
    let stranger = Request::post("/v1beta/models/a/m:generateContent", &json!({"contents": []}));

    let unknown = site.gateway.ask(&post("/v1beta/models/none:generateContent")).await;
    let stranger = site.gateway.ask(&stranger).await;
    let empty =
        Request::post("/v1beta/models/a/m:generateContent", &json!({"contents": 7})).header("x-goog-api-key", KEY);
    let empty = site.gateway.ask(&empty).await;

    for (answer, status, word) in
        [(unknown, 404, "NOT_FOUND"), (stranger, 401, "UNAUTHENTICATED"), (empty, 400, "INVALID_ARGUMENT")]
    {
        assert_eq!((answer.status(), &answer.json()["error"]["status"]), (status, &json!(word)), "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], json!(status));
    }
}

#[tokio::test]
async fn tokens_are_counted_and_models_listed() {
    let site = Site::open(calm()).await;

    let counted = site.gateway.ask(&post("/v1beta/models/a/gpt-4o:countTokens")).await.json();
    let list = site.gateway.ask(&Request::get("/v1beta/models").header("x-goog-api-key", KEY)).await.json();
    let one = site.gateway.ask(&Request::get("/v1beta/models/team").header("x-goog-api-key", KEY)).await.json();

    assert_eq!((&counted["totalTokens"], &counted["source"]), (&json!(7), &json!("tokenizer")));
    assert!(list["models"].as_array().unwrap().iter().any(|model| model["name"] == json!("models/team")), "{list}");
    assert_eq!(one["name"], json!("models/team"));
}

#[tokio::test]
async fn a_key_in_the_address_counts_only_where_it_is_allowed() {
    let (closed, open) = (Site::open(calm()).await, Site::open(calm().set("auth.query_key", "true")).await);
    let path = format!("/v1beta/models/a/m:generateContent?key={KEY}");
    let body = json!({"contents": [{"parts": [{"text": "hi"}]}]});

    let refused = closed.gateway.ask(&Request::post(&path, &body)).await;
    let answered = open.gateway.ask(&Request::post(&path, &body)).await;
    let wrong = open.gateway.ask(&Request::post("/v1beta/models/a/m:generateContent?key=sk-wrong", &body)).await;

    assert_eq!((refused.status(), answered.status(), wrong.status()), (401, 200, 401), "{}", answered.text());
    assert!(!open.gateway.log().contains(KEY));
    assert!(!open.a.control.requests().pop().unwrap().path.contains("key="));
}
