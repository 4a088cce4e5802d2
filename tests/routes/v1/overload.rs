//! What clients of each format read when every provider has too much to do.

use omniroute_testkit::http::{Request, Response};
use omniroute_testkit::mock::Behaviour;
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm, touchy};

fn text(role: &str) -> Value {
    json!([{"role": role, "content": "hello"}])
}

/// A request of each format to this model: its address and its body.
fn requests(model: &str) -> Vec<(String, Value)> {
    let generate = format!("/v1beta/models/{model}:generateContent");
    vec![
        ("/v1/chat/completions".into(), json!({"model": model, "messages": text("user")})),
        ("/v1/completions".into(), json!({"model": model, "prompt": "hello"})),
        ("/v1/responses".into(), json!({"model": model, "input": "hello"})),
        ("/v1/messages".into(), json!({"model": model, "max_tokens": 9, "messages": text("user")})),
        (generate, json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]})),
        ("/api/chat".into(), json!({"model": model, "stream": false, "messages": text("user")})),
        ("/api/generate".into(), json!({"model": model, "stream": false, "prompt": "hello"})),
    ]
}

fn message(model: &str, stream: bool) -> Request {
    let body = json!({"model": model, "max_tokens": 9, "stream": stream, "messages": text("user")});
    Request::post("/v1/messages", &body).key(KEY)
}

fn is_overloaded(answer: &Response) {
    assert_eq!(answer.status(), 529, "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], json!("overloaded_error"), "{}", answer.text());
}

#[tokio::test]
async fn when_all_are_overloaded_each_client_reads_its_own_formats_words() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=503");
    site.b.control.always("status code=529");

    for (path, body) in requests("team") {
        site.admin.reset(&json!({"scope": "all"})).await;
        let answer = site.gateway.ask(&Request::post(&path, &body).key(KEY)).await;

        let (status, place, word) = match path.as_str() {
            "/v1/messages" => (529, "/error/type", json!("overloaded_error")),
            path if path.starts_with("/v1beta") => (503, "/error/status", json!("UNAVAILABLE")),
            path if path.starts_with("/api") => (503, "/nothing", Value::Null),
            _ => (503, "/error/code", json!("provider_overloaded")),
        };
        assert_eq!(answer.status(), status, "{path}: {}", answer.text());
        assert_eq!(answer.json().pointer(place).cloned().unwrap_or_default(), word, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-should-retry"), Some("false"), "{path}");
        assert_eq!(answer.header("x-omniroute-attempts"), Some("2"), "{path}");
    }
}

#[tokio::test]
async fn a_stream_that_has_not_begun_gets_the_status_too_and_the_record_says_what_the_client_got() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=529");

    let answer = site.gateway.ask(&message("a/m", true)).await;

    is_overloaded(&answer);
    let record = site.record(answer.header("x-request-id").unwrap()).await;
    assert_eq!((record.status, record.outcome.as_str()), (529, "overloaded"));
}

#[tokio::test]
async fn an_open_breaker_is_an_overload_with_a_time_to_come_back() {
    let site = Site::open(touchy(30_000)).await;
    site.open_breaker_of_a().await;

    let answer = site.gateway.ask(&message("a/m", false)).await;

    is_overloaded(&answer);
    assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait <= 34)));
    assert_eq!(answer.header("x-should-retry"), Some("true"));
}

#[tokio::test]
async fn a_provider_that_is_overloaded_in_the_middle_ends_the_stream_with_that_word() {
    let site = Site::open(calm()).await;
    let fault = json!({"name": "error_event_mid", "n": 2, "error_type": "overloaded_error"});
    site.a.control.always(Behaviour::from_json(&fault).unwrap());

    let answer = site.gateway.ask(&message("a/m", true)).await;

    let last = answer.events().pop().unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!("overloaded_error")));
    assert!(!answer.text().contains("message_stop"), "{}", answer.text());
}
