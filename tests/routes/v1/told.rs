//! What providers are told beside the request: the session's name for a prompt cache, and the time that is left.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm, chat};

async fn connected(site: &Site, provider: &str) {
    let data = json!({"baseUrl": site.a.base_url()});
    let fields = json!({"provider": provider, "name": provider, "apiKey": "sk-q", "providerSpecificData": data});
    site.admin.create_connection_with(&fields).await;
}

/// The name of the prompt cache that the provider was told.
async fn named(site: &Site, path: &str, body: &Value) -> Option<String> {
    site.gateway.ask(&Request::post(path, body).key(KEY)).await;
    let sent = site.a.control.requests().pop().expect("a request").json();
    sent["prompt_cache_key"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_session_is_named_to_providers_that_keep_a_prompt_cache_by_name_whatever_the_client_speaks() {
    let site = Site::open(calm()).await;
    connected(&site, "openai").await;
    connected(&site, "openai-responses").await;
    let words = json!([{"role": "user", "content": "hello"}]);

    for (path, model, body) in [
        ("/v1/chat/completions", "openai/gpt-5.5", json!({"messages": words})),
        ("/v1/messages", "openai/gpt-5.5", json!({"max_tokens": 9, "messages": words})),
        ("/v1/responses", "openai/gpt-5.5", json!({"input": "hello"})),
        ("/v1/responses", "openai-responses/gpt-5.5", json!({"input": "hello"})),
        ("/v1/chat/completions", "openai-responses/gpt-5.5", json!({"messages": words})),
    ] {
        let mut body = body;
        body["model"] = json!(model);
        let name = named(&site, path, &body).await;
        assert!(name.as_ref().is_some_and(|name| name.len() == 16), "{path} {model}: {name:?}");
        assert_eq!(named(&site, path, &body).await, name, "{path} {model}: another turn");
        if path != "/v1/messages" {
            body["prompt_cache_key"] = json!("my own");
            assert_eq!(named(&site, path, &body).await.as_deref(), Some("my own"), "{path} {model}");
        }
    }
    assert_eq!(named(&site, "/v1/messages", &json!({"model": "a/m", "max_tokens": 9, "messages": words})).await, None);
}

#[tokio::test]
async fn another_gateway_of_this_kind_is_told_the_time_that_is_left() {
    let site = Site::open(calm()).await;
    let ask = async || {
        let request = chat("a/m", false).header("x-omniroute-timeout-ms", "30000");
        assert_eq!(site.gateway.ask(&request).await.status(), 200);
        let sent = site.a.control.requests().pop().expect("a request");
        sent.header("x-omniroute-timeout-ms").and_then(|left| left.parse::<u64>().ok())
    };
    let plain = ask().await;
    let path = format!("/api/providers/{}", site.at_a.connections[0]);
    site.admin.patch(&path, &json!({"providerSpecificData": {"omniroute": true}})).await;

    let told = ask().await;

    assert_eq!(plain, None);
    assert!(told.is_some_and(|left| left > 0 && left <= 30_000), "{told:?}");
}
