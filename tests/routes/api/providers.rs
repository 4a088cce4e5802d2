//! `/api/providers*`.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{Site, calm, chat, touchy};

fn of_openai(site: &Site, more: &Value) -> Value {
    let data = json!({"baseUrl": site.a.base_url()});
    let mut fields = json!({"provider": "openai", "name": "main", "apiKey": "sk-open", "providerSpecificData": data});
    for (name, value) in more.as_object().into_iter().flatten() {
        fields[name] = value.clone();
    }
    fields
}

#[tokio::test]
async fn a_connection_is_made_read_changed_and_removed_and_never_shows_its_key() {
    let site = Site::open(calm()).await;

    let made = site.admin.post("/api/providers", &of_openai(&site, &json!({"priority": 3}))).await;
    let id = made["connection"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/providers/{id}");
    let served = site.gateway.ask(&chat("openai/gpt-x", false)).await;
    let renamed = site.admin.put(&path, &json!({"name": "renamed", "maxConcurrent": 7})).await;
    let off = site.admin.patch(&path, &json!({"isActive": false})).await;
    let refused = site.gateway.ask(&chat("openai/gpt-x", false)).await;
    let list = site.admin.get("/api/providers").await;
    site.admin.delete(&path).await;

    assert_eq!((&made["connection"]["priority"], served.status()), (&json!(3), 200), "{}", served.text());
    assert_eq!(site.a.control.requests().last().unwrap().key, "sk-open");
    assert_eq!(
        (&renamed["connection"]["name"], &renamed["connection"]["maxConcurrent"]),
        (&json!("renamed"), &json!(7))
    );
    assert_eq!((&off["connection"]["isActive"], refused.status() >= 400), (&json!(false), true));
    assert!(list["connections"].as_array().unwrap().iter().any(|connection| connection["id"] == id.as_str()));
    for shown in [&made, &renamed, &list] {
        assert!(!shown.to_string().contains("sk-open"), "{shown}");
    }
    assert_eq!(site.admin.send(Request::get(&path)).await.status(), 404);
}

#[tokio::test]
async fn a_new_key_is_used_by_the_next_request() {
    let site = Site::open(calm()).await;
    let path = format!("/api/providers/{}", site.at_a.connections[0]);

    site.admin.put(&path, &json!({"apiKey": "sk-rotated"})).await;
    site.ask(false).await;
    site.admin.put(&path, &json!({"apiKey": "", "name": "still"})).await;
    site.ask(false).await;

    let keys: Vec<_> = site.a.control.requests().into_iter().map(|request| request.key).collect();
    assert_eq!(keys, ["sk-rotated", "sk-rotated"], "an empty key keeps the old one");
}

#[tokio::test]
async fn a_new_key_ends_what_the_old_one_was_blamed_for() {
    let site = Site::open(calm()).await;
    site.a.control.script(["status code=402"]);
    site.ask(false).await;
    site.a_becomes("credits_exhausted").await;

    site.admin.put(&format!("/api/providers/{}", site.at_a.connections[0]), &json!({"apiKey": "sk-paid"})).await;

    assert_eq!(site.ask(false).await.status(), 200);
}

#[tokio::test]
async fn a_test_tells_what_is_wrong_and_success_ends_a_cooldown() {
    let site = Site::open(calm()).await;
    let path = format!("/api/providers/{}/test", site.at_a.connections[0]);
    site.a.control.script(["status code=429 retry_after=600"]);
    site.ask(false).await;
    site.a_becomes("cooling_down").await;

    let model = json!({"validationModelId": "m"});
    site.a.control.script(["status code=401"]);
    let bad = site.admin.post(&path, &model).await;
    let good = site.admin.post(&path, &model).await;

    assert_eq!((&bad["valid"], &bad["diagnosis"]["type"]), (&json!(false), &json!("upstream_auth_error")), "{bad}");
    assert_eq!((&good["valid"], &good["diagnosis"]["type"]), (&json!(true), &json!("ok")), "{good}");
    assert!(good["latencyMs"].is_u64());
    assert_eq!(site.ask(false).await.status(), 200);
}

#[tokio::test]
async fn the_models_of_a_connection_are_asked_of_its_provider() {
    let site = Site::open(calm()).await;

    let answer = site.admin.get(&format!("/api/providers/{}/models", site.at_a.connections[0])).await;

    let ids: Vec<_> = answer["models"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert_eq!((&answer["source"], ids), (&json!("api"), vec![json!("mock-model"), json!("mock-model-mini")]));
}

#[tokio::test]
async fn a_credential_is_tried_without_being_stored() {
    let site = Site::open(calm()).await;
    let body =
        json!({"provider": "openai", "apiKey": "sk-try", "baseUrl": site.a.base_url(), "validationModelId": "m"});

    let good = site.admin.post("/api/providers/validate", &body).await;
    site.a.control.script(["status code=401"]);
    let bad = site.admin.post("/api/providers/validate", &body).await;
    let list = site.admin.get("/api/providers").await;

    assert_eq!((&good["valid"], &bad["valid"]), (&json!(true), &json!(false)), "{good} {bad}");
    assert_eq!(list["connections"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_address_inside_the_network_is_refused_unless_it_is_listed() {
    let site = Site::open(calm()).await;
    let addresses = [
        "http://10.0.0.1/v1",
        "http://169.254.169.254/latest",
        "http://[::1]:80/v1",
        "http://localhost:1/v1",
        "http://0.0.0.0/v1",
        "file:///etc/passwd",
        "http://127.0.0.1.nip.io@10.0.0.8/v1",
    ];

    for address in addresses {
        let fields = of_openai(&site, &json!({"providerSpecificData": {"baseUrl": address}}));
        let stored = site.admin.send(Request::post("/api/providers", &fields)).await;
        let node =
            json!({"name": "n", "prefix": "n", "apiType": "chat", "type": "openai-compatible", "baseUrl": address});
        let noded = site.admin.send(Request::post("/api/provider-nodes", &node)).await;
        let tried = json!({"provider": "openai", "apiKey": "sk-x", "baseUrl": address});
        let tried = site.admin.send(Request::post("/api/providers/validate", &tried)).await;

        for answer in [stored, noded, tried] {
            assert_eq!(answer.status(), 400, "{address}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_changed_address_takes_the_credential_away() {
    let site = Site::open(calm()).await;
    let id = site.admin.create_connection_with(&of_openai(&site, &json!({}))).await;

    let data = json!({"providerSpecificData": {"baseUrl": site.b.base_url()}});
    let moved = site.admin.put(&format!("/api/providers/{id}"), &data).await;
    site.gateway.ask(&chat("openai/gpt-x", false)).await;

    assert_eq!(
        (&moved["credentialCleared"], &moved["connection"]["hasCredential"]),
        (&json!(true), &json!(false)),
        "{moved}"
    );
    assert!(site.b.control.requests().iter().all(|request| request.key != "sk-open"));
}

#[tokio::test]
async fn a_wrong_wish_is_refused_with_the_field() {
    let site = Site::open(calm()).await;
    let cases = [
        (json!({"name": "x", "apiKey": "k"}), "provider"),
        (json!({"provider": "openai", "apiKey": "k"}), "name"),
        (json!({"provider": "openai", "name": "x"}), "apiKey"),
        (json!({"provider": "openai", "name": "x", "apiKey": "k", "priority": 0}), "priority"),
    ];

    for (body, field) in cases {
        let answer = site.admin.send(Request::post("/api/providers", &body)).await;
        assert_eq!(answer.status(), 400, "{body}: {}", answer.text());
        assert!(answer.json()["error"]["details"].to_string().contains(field), "{body}: {}", answer.text());
    }
    let unknown = json!({"provider": "nobody", "name": "x", "apiKey": "k"});
    assert_eq!(site.admin.send(Request::post("/api/providers", &unknown)).await.status(), 400);
}

#[tokio::test]
async fn calls_beyond_the_limit_of_a_connection_go_elsewhere() {
    let site = Site::open(touchy(60_000).set("resilience.request_queue.max_queue_depth", "0")).await;
    site.admin.patch(&format!("/api/providers/{}", site.at_a.connections[0]), &json!({"maxConcurrent": 1})).await;
    site.a.control.always("ok tokens=50 delay_ms=50");

    let mut first = site.gateway.stream(&chat("team", true)).await;
    first.read_until("tok0").await.unwrap();
    let second = site.ask_team(false).await;
    let third = site.ask(false).await;

    assert_eq!(second.header("x-omniroute-connection"), Some(site.at_b.connections[0].as_str()));
    assert_eq!((third.status(), &third.json()["error"]["code"]), (429, &json!("local_capacity")), "{}", third.text());
    assert!(third.header("retry-after").is_some());
}
