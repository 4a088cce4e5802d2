//! `POST /v1/completions` and `POST /v1/providers/{provider}/chat/completions`.

use omniroute_testkit::http::Request;
use serde_json::json;

use crate::common::{KEY, Site, calm};

#[tokio::test]
async fn a_prompt_is_completed_by_a_chat_model() {
    let site = Site::open(calm()).await;
    let body = json!({"model": "a/m", "prompt": "once upon"});

    let answer = site.gateway.ask(&Request::post("/v1/completions", &body).key(KEY)).await;

    assert_eq!((answer.status(), &answer.json()["object"]), (200, &json!("text_completion")), "{}", answer.text());
    assert!(answer.json()["choices"][0]["text"].as_str().is_some_and(|text| !text.is_empty()));
}

#[tokio::test]
async fn a_provider_in_the_path_is_the_prefix_of_the_model() {
    let site = Site::open(calm()).await;
    let chat = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    let post = |model: &str| Request::post("/v1/providers/a/chat/completions", &chat(model)).key(KEY);

    let bare = site.gateway.ask(&post("m")).await;
    let prefixed = site.gateway.ask(&post("a/m")).await;
    let foreign = site.gateway.ask(&post("openai/gpt-4o")).await;

    assert_eq!((bare.status(), prefixed.status()), (200, 200), "{}", bare.text());
    assert_eq!((foreign.status(), &foreign.json()["error"]["code"]), (400, &json!("provider_mismatch")));
    let names: Vec<_> =
        site.a.control.requests().iter().map(|request| request.body.contains("\"model\":\"m\"")).collect();
    assert_eq!(names, [true, true]);
}
