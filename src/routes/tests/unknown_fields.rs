//! Bodies with fields that mean nothing: refused by name, unless clients of the original send them.

use serde_json::{Value, json};

use crate::routes::testing::{PASSWORD, signed_in};

#[actix_web::test]
async fn every_body_names_a_field_that_it_does_not_know() {
    let site = signed_in().await;
    let node = json!({"name": "n", "prefix": "mine", "baseUrl": "http://127.0.0.1:9/v1"});
    let bodies = [
        ("POST", "/api/auth/login", json!({"password": PASSWORD})),
        ("PUT", "/api/settings/require-login", json!({"password": PASSWORD, "currentPassword": PASSWORD})),
        ("POST", "/api/init", json!({"password": PASSWORD})),
        ("POST", "/api/keys", json!({"name": "k"})),
        ("POST", "/api/combos", json!({"name": "c", "models": ["openai/x"]})),
        ("POST", "/api/providers", json!({"provider": "groq", "name": "g", "apiKey": "k"})),
        ("POST", "/api/providers/validate", json!({"provider": "groq", "apiKey": "k"})),
        ("POST", "/api/providers/env-openai/test", json!({})),
        ("POST", "/api/provider-nodes", node.clone()),
        ("POST", "/api/provider-nodes/validate", json!({"baseUrl": "http://127.0.0.1:9/v1"})),
        ("PATCH", "/api/resilience", json!({})),
        ("POST", "/api/resilience/reset", json!({})),
        ("DELETE", "/api/resilience/model-cooldowns", json!({"all": true})),
        ("POST", "/api/rate-limits", json!({"connectionId": "env-openai", "enabled": true})),
        ("POST", "/api/rate-limit", json!({"requestQueue": {}})),
        ("PUT", "/api/settings", json!({"instanceName": "x"})),
        ("PUT", "/api/settings/proxy", json!({"global": null})),
        ("PATCH", "/api/settings/ip-filter", json!({"enabled": false})),
        ("PUT", "/api/settings/thinking-budget", json!({"mode": "auto"})),
        ("PUT", "/api/settings/system-prompt", json!({"enabled": false})),
        ("POST", "/api/settings/model-aliases", json!({"from": "a", "to": "openai/x"})),
    ];

    for (method, path, mut body) in bodies {
        body["unheardOf"] = json!(1);
        let answer = site.ask(method, path, Some(body)).await;

        assert_eq!((answer.status, answer.fields()), (400, vec!["unheardOf".to_owned()]), "{method} {path}");
    }
    assert_eq!(site.ok("GET", "/api/keys", None).await["total"], json!(0));
}

#[actix_web::test]
async fn the_likely_meaning_of_a_misspelt_field_is_told() {
    let site = signed_in().await;
    let body = json!({"name": "k", "max_requests_per_minute": 5, "allowedModel": ["a/b"]});

    let key = site.ask("POST", "/api/keys", Some(body)).await;
    let step = json!({"name": "c", "models": [{"model": "openai/x", "wheight": 3}]});
    let combo = site.ask("POST", "/api/combos", Some(step)).await;

    let breaker = json!({"providerBreaker": {"apikey": {"failureTreshold": 3}}});
    let resilience = site.ask("PATCH", "/api/resilience", Some(breaker)).await;

    assert!(resilience.text.contains("did you mean `providerBreaker.apikey.failureThreshold`?"), "{}", resilience.text);
    assert!(key.text.contains("did you mean `maxRequestsPerMinute`?"), "{}", key.text);
    assert!(key.text.contains("did you mean `allowedModels`?"), "{}", key.text);
    assert_eq!(combo.fields(), ["models.0.wheight"]);
    assert!(combo.text.contains("did you mean `weight`?"), "{}", combo.text);
}

#[actix_web::test]
async fn what_was_read_can_be_written_back_with_one_field_changed() {
    let site = signed_in().await;
    let write_back = async |path: String, mut read: Value| {
        read["name"] = json!("renamed");
        site.ok("PUT", &path, Some(read)).await
    };
    let make = async |path, body| site.ok("POST", path, Some(body)).await;

    let key = make("/api/keys", json!({"name": "k"})).await;
    let combo = make("/api/combos", json!({"name": "c", "models": ["openai/x"]})).await;
    let node = make("/api/provider-nodes", json!({"name": "n", "prefix": "mine"})).await["node"].clone();
    let provider = json!({"provider": "groq", "name": "g", "apiKey": "k"});
    let connection = make("/api/providers", provider).await["connection"].clone();
    let path = |family: &str, row: &Value| format!("/api/{family}/{}", row["id"].as_str().unwrap());
    let rows = [("keys", key), ("combos", combo), ("provider-nodes", node), ("providers", connection)];

    for (family, row) in rows {
        let answer = write_back(path(family, &row), row).await;
        assert!(answer.to_string().contains("renamed"), "{family}: {answer}");
    }
}

#[actix_web::test]
async fn documented_fields_without_a_meaning_here_are_let_pass() {
    let site = signed_in().await;

    let key = json!({"name": "k", "autoResolve": true, "allowUsageCommand": true, "maxSessions": 0, "usageLimitEnabled": false});
    let step = json!({"kind": "model", "model": "openai/x", "tags": [], "label": null, "comboName": null});
    let combo = json!({"name": "c", "models": [step], "context_cache_protection": true, "compressionOverride": ""});
    let node = json!({"name": "n", "prefix": "mine", "type": "openai-compatible", "compatMode": null});
    let provider = json!({"provider": "groq", "name": "g", "apiKey": "k", "healthCheckInterval": 60,
        "providerSpecificData": {"anything": 1}});

    for (path, body) in [("keys", key), ("combos", combo), ("provider-nodes", node), ("providers", provider)] {
        site.ok("POST", &format!("/api/{path}"), Some(body)).await;
    }
}
