//! What is odd about single providers, with the catalogue's own entries.

use serde_json::{Value, json};

use crate::common::{Site, calm, chat_with, state_of};
use omniroute_testkit::mock::Behaviour;

async fn connected(site: &Site, provider: &str) -> String {
    let data = json!({"baseUrl": site.a.base_url()});
    let fields = json!({"provider": provider, "name": provider, "apiKey": "sk-q", "providerSpecificData": data});
    site.admin.create_connection_with(&fields).await
}

fn sent(site: &Site) -> Value {
    serde_json::from_str(&site.a.control.requests().pop().unwrap().body).unwrap()
}

#[tokio::test]
async fn a_conversation_is_written_anew_only_where_the_provider_would_refuse_it() {
    let site = Site::open(calm()).await;
    connected(&site, "perplexity").await;
    let turns = |turns: &[(&str, &str)]| -> Value {
        turns.iter().map(|(role, text)| json!({"role": role, "content": text})).collect()
    };
    let odd = turns(&[("user", "a"), ("user", "b")]);
    let even = turns(&[("user", "a"), ("assistant", "b"), ("user", "c")]);

    for (messages, wanted) in [(odd, vec!["user"]), (even, vec!["user", "assistant", "user"])] {
        let members = json!({"messages": messages, "search_domain_filter": ["a.invalid"]});
        let answer = site.gateway.ask(&chat_with("perplexity/sonar", &members)).await;

        let sent = sent(&site);
        let roles: Vec<&str> =
            sent["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
        assert_eq!((answer.status(), roles), (200, wanted), "{}", answer.text());
        assert_eq!(sent["search_domain_filter"], json!(["a.invalid"]), "what only this provider knows stays");
    }
}

#[tokio::test]
async fn mistral_gets_short_ids_that_pair() {
    let site = Site::open(calm()).await;
    connected(&site, "mistral").await;
    let call = json!({"id": "call_0123456789abcdef", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let messages = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_0123456789abcdef", "content": "r"}]);

    let answer = site.gateway.ask(&chat_with("mistral/mistral-large-latest", &json!({"messages": messages}))).await;

    let sent = sent(&site);
    let id = sent["messages"][1]["tool_calls"][0]["id"].as_str().unwrap();
    assert_eq!((answer.status(), id.len(), &sent["messages"][2]["tool_call_id"]), (200, 9, &json!(id)));
}

#[tokio::test]
async fn limits_told_by_odd_means_are_limits() {
    let site = Site::open(calm()).await;
    let told = [
        (
            "xiaomi-mimo",
            json!({"name": "status", "code": 400, "body": "{\"error\":{\"message\":\"请求过于频繁\"}}"}),
            "rate_limited",
        ),
        ("groq", json!({"name": "status", "code": 498}), "overloaded"),
        (
            "fireworks",
            json!({"name": "status", "code": 412, "body": "{\"error\":\"Account is suspended\"}"}),
            "credits_exhausted",
        ),
        ("nvidia", json!({"name": "status", "code": 202, "body": "{}"}), "overloaded"),
        ("deepseek", json!({"name": "status", "code": 402}), "credits_exhausted"),
    ];

    for (provider, behaviour, outcome) in told {
        let id = connected(&site, provider).await;
        site.a.control.always(Behaviour::from_json(&behaviour).unwrap());

        let answer = site.gateway.ask(&chat_with(&format!("{provider}/m"), &json!({}))).await;

        assert!(answer.status() >= 400, "{provider}: {}", answer.text());
        assert_eq!(state_of(&site.admin, &id).await["lastError"]["outcome"], json!(outcome), "{provider}");
    }
}
