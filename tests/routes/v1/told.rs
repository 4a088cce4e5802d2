//! What providers are told beside the request: the session's name for a prompt cache, and the time that is left.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::scripted::Scripted;
use crate::common::{KEY, Site, calm, chat};

/// A provider of the catalogue whose calls arrive at a server of ours, which answers none of them.
async fn connected(site: &Site, provider: &str) -> Scripted {
    let server = Scripted::start(|_, _| (400, "{}".into())).await;
    let data = json!({"baseUrl": server.url("")});
    let fields = json!({"provider": provider, "name": provider, "apiKey": "sk-q", "providerSpecificData": data});
    site.admin.create_connection_with(&fields).await;
    server
}

/// The name of the prompt cache that the provider was told.
async fn named(site: &Site, server: &Scripted, path: &str, body: &Value) -> Option<String> {
    site.gateway.ask(&Request::post(path, body).key(KEY)).await;
    let sent: Value = serde_json::from_str(&server.asked().await.pop().expect("a request").body).unwrap();
    sent["prompt_cache_key"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_session_is_named_to_providers_that_keep_a_prompt_cache_by_name_whatever_the_client_speaks() {
    let site = Site::open(calm()).await;
    let words = json!([{"role": "user", "content": "hello"}]);
    for provider in ["openai", "openai-responses"] {
        let server = connected(&site, provider).await;
        let model = format!("{provider}/gpt-5.5");
        for (path, mut body) in [
            ("/v1/chat/completions", json!({"messages": words})),
            ("/v1/messages", json!({"max_tokens": 9, "messages": words})),
            ("/v1/responses", json!({"input": "hello"})),
        ] {
            body["model"] = json!(model);
            let name = named(&site, &server, path, &body).await;
            assert!(name.as_ref().is_some_and(|name| name.len() == 16), "{path} {model}: {name:?}");
            assert_eq!(named(&site, &server, path, &body).await, name, "{path} {model}: another turn");
            if path != "/v1/messages" {
                body["prompt_cache_key"] = json!("my own");
                assert_eq!(named(&site, &server, path, &body).await.as_deref(), Some("my own"), "{path} {model}");
            }
        }
    }
    let groq = connected(&site, "groq").await;
    let body = json!({"model": "groq/x", "max_tokens": 9, "messages": words});
    assert_eq!(named(&site, &groq, "/v1/messages", &body).await, None, "it does not know the name");
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
