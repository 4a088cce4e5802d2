//! Ollama's addresses: its clients, whatever the provider.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn chat(stream: Option<bool>) -> Value {
    let mut body = json!({"model": "a/m:latest", "messages": [{"role": "user", "content": "hello"}]});
    if let Some(stream) = stream {
        body["stream"] = json!(stream);
    }
    body
}

#[tokio::test]
async fn a_chat_is_streamed_unless_it_says_otherwise() {
    let site = Site::open(calm()).await;

    let streamed = site.gateway.ask(&Request::post("/api/chat", &chat(None)).key(KEY)).await;
    let whole = site.gateway.ask(&Request::post("/v1/api/chat", &chat(Some(false))).key(KEY)).await;

    assert_eq!(streamed.header("content-type"), Some("application/x-ndjson"));
    let lines = lines(&streamed.text());
    assert_eq!((&lines[0]["done"], &lines[lines.len() - 1]["done"]), (&json!(false), &json!(true)));
    assert_eq!((&whole.json()["done"], &whole.json()["message"]["role"]), (&json!(true), &json!("assistant")));
}

#[tokio::test]
async fn how_long_an_answer_took_is_measured() {
    let site = Site::open(calm()).await;

    let streamed = site.gateway.ask(&Request::post("/api/chat", &chat(None)).key(KEY)).await;
    let whole = site.gateway.ask(&Request::post("/api/chat", &chat(Some(false))).key(KEY)).await.json();

    let last = lines(&streamed.text()).pop().unwrap();
    for answer in [&last, &whole] {
        let nanos = |name: &str| answer[name].as_u64().unwrap();
        assert!(nanos("total_duration") > 0 && nanos("eval_duration") > 0, "{answer}");
        assert_eq!(
            nanos("total_duration"),
            nanos("load_duration") + nanos("prompt_eval_duration") + nanos("eval_duration"),
            "{answer}"
        );
    }
    assert!(last["prompt_eval_duration"].as_u64().unwrap() > 0, "{last}");
}

#[tokio::test]
async fn a_prompt_is_completed_and_a_model_is_loaded_at_once() {
    let site = Site::open(calm()).await;
    let prompt = json!({"model": "a/m", "prompt": "once upon", "stream": false});
    let load = json!({"model": "a/m"});

    let answer = site.gateway.ask(&Request::post("/api/generate", &prompt).key(KEY)).await.json();
    let asked = site.a.control.requests().len();
    let loaded = site.gateway.ask(&Request::post("/api/generate", &load).key(KEY)).await.json();

    assert!(answer["response"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    assert_eq!((&loaded["done_reason"], site.a.control.requests().len()), (&json!("load"), asked));
}

#[tokio::test]
async fn models_are_listed_and_shown_and_errors_are_a_line_of_text() {
    let site = Site::open(calm()).await;

    let tags = site.gateway.ask(&Request::get("/api/tags").key(KEY)).await.json();
    let show = site.gateway.ask(&Request::post("/api/show", &json!({"model": "team"})).key(KEY)).await;
    let none = site.gateway.ask(&Request::post("/api/show", &json!({"model": "none"})).key(KEY)).await;
    let version = site.gateway.ask(&Request::get("/api/version").key(KEY)).await.json();
    let stranger = site.gateway.ask(&Request::post("/api/chat", &chat(None))).await;

    assert!(tags["models"].as_array().unwrap().iter().any(|model| model["name"] == json!("team")), "{tags}");
    assert_eq!(show.status(), 200);
    assert_eq!((none.status(), none.json()["error"].is_string()), (404, true));
    assert!(version["version"].is_string());
    assert_eq!((stranger.status(), stranger.json()["error"].is_string()), (401, true));
}
