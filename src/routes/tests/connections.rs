//! Connections, nodes and trying them.

use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};

use crate::routes::testing::signed_in;

fn id_of(answer: &Value, what: &str) -> String {
    answer[what]["id"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_connection_is_made_changed_and_removed() {
    let site = signed_in().await;

    let made =
        site.ok("POST", "/api/providers", Some(json!({"provider": "openai", "name": "main", "apiKey": "sk-1"}))).await;
    let path = format!("/api/providers/{}", id_of(&made, "connection"));
    let changed = site.ok("PATCH", &path, Some(json!({"name": "renamed", "priority": 5, "isActive": false}))).await;

    assert_eq!(
        (&made["connection"]["hasCredential"], &made["connection"]["source"]),
        (&json!(true), &json!("database"))
    );
    assert_eq!(
        (&changed["connection"]["name"], &changed["connection"]["state"]),
        (&json!("renamed"), &json!("disabled"))
    );
    assert_eq!(site.ask("PUT", &path, Some(json!({}))).await.status, 400);
    assert_eq!(site.ok("DELETE", &path, None).await["message"], json!("Connection deleted successfully"));
    assert_eq!(site.ask("GET", &path, None).await.status, 404);
}

#[actix_web::test]
async fn a_connection_that_cannot_be_is_refused() {
    let site = signed_in().await;
    let create = async |body| site.ask("POST", "/api/providers", Some(body)).await;

    let unknown = create(json!({"provider": "nobody", "name": "x", "apiKey": "k"})).await;
    let node = create(json!({"provider": "openai-compatible-chat-1", "name": "x"})).await;
    let keyless = create(json!({"provider": "openai", "name": "x"})).await;
    let secret = create(
        json!({"provider": "openai", "name": "x", "apiKey": "k", "providerSpecificData": {"consoleApiKey": "k"}}),
    )
    .await;

    assert_eq!((unknown.status, unknown.json()["error"]["message"].clone()), (400, json!("Invalid provider")));
    assert_eq!(node.status, 404);
    assert_eq!(keyless.fields(), ["apiKey"]);
    assert_eq!(secret.fields(), ["providerSpecificData.consoleApiKey"]);
}

#[actix_web::test]
async fn an_address_inside_the_house_is_refused_and_written_down() {
    let site = signed_in().await;
    for url in
        ["http://169.254.169.254/v1", "https://10.0.0.1/v1", "http://localhost:9/v1", "https://a:b@api.openai.com/v1"]
    {
        let body = json!({"provider": "openai", "name": "x", "apiKey": "k", "providerSpecificData": {"baseUrl": url}});
        let answer = site.ask("POST", "/api/providers", Some(body)).await;
        assert_eq!((answer.status, answer.fields()), (400, vec!["providerSpecificData.baseUrl".to_owned()]), "{url}");
    }

    let log = site.ok("GET", "/api/compliance/audit-log?action=provider.validation.ssrf_blocked", None).await;

    assert_eq!(log.as_array().unwrap().len(), 3, "a URL with a password is no valid URL before it is an address");
    assert_eq!(log[0]["actor"], json!("admin"));
}

#[actix_web::test]
async fn a_credential_does_not_move_to_another_place() {
    let site = signed_in().await;
    let made =
        site.ok("POST", "/api/providers", Some(json!({"provider": "openai", "name": "main", "apiKey": "sk-1"}))).await;
    let path = format!("/api/providers/{}", id_of(&made, "connection"));
    let to = |url: &str| json!({"providerSpecificData": {"baseUrl": url}});

    let same = site.ok("PUT", &path, Some(to("https://api.openai.com/other/v1"))).await;
    let moved = site.ok("PUT", &path, Some(to("https://proxy.example/v1"))).await;
    let mut with_key = to("https://third.example/v1");
    with_key["apiKey"] = json!("sk-2");
    let renewed = site.ok("PUT", &path, Some(with_key)).await;

    assert_eq!((&same["connection"]["hasCredential"], &same["credentialCleared"]), (&json!(true), &Value::Null));
    assert_eq!((&moved["connection"]["hasCredential"], &moved["credentialCleared"]), (&json!(false), &json!(true)));
    assert_eq!((&renewed["connection"]["hasCredential"], &renewed["credentialCleared"]), (&json!(true), &Value::Null));
}

#[actix_web::test]
async fn connections_of_the_environment_are_shown_and_read_only() {
    let site = signed_in().await;

    let shown = site.ok("GET", "/api/providers/env-openai", None).await;
    let changed = site.ask("PATCH", "/api/providers/env-openai", Some(json!({"name": "x"}))).await;
    let deleted = site.ask("DELETE", "/api/providers/env-openai", None).await;

    assert_eq!(
        (&shown["connection"]["source"], &shown["connection"]["readOnly"]),
        (&json!("environment"), &json!(true))
    );
    assert_eq!((changed.status, deleted.status), (409, 409));
}

#[actix_web::test]
async fn a_working_connection_is_found_to_work_and_lists_its_models() {
    let mock = MockUpstream::start().await;
    let site = signed_in().await;
    let node = json!({"name": "mock", "prefix": "mock", "apiType": "chat", "baseUrl": mock.base_url()});
    let node = id_of(&site.ok("POST", "/api/provider-nodes", Some(node)).await, "node");
    let made = site.ok("POST", "/api/providers", Some(json!({"provider": node, "name": "a", "apiKey": "sk-a"}))).await;
    let path = format!("/api/providers/{}", id_of(&made, "connection"));

    let tested = site.ok("POST", &format!("{path}/test"), Some(json!({"validationModelId": "m"}))).await;
    let models = site.ok("GET", &format!("{path}/models"), None).await;
    let validated = site.ok("POST", "/api/provider-nodes/validate", Some(json!({"baseUrl": mock.base_url()}))).await;

    assert_eq!((&tested["valid"], &tested["diagnosis"]["type"]), (&json!(true), &json!("ok")), "{tested}");
    assert_eq!(site.ok("GET", &path, None).await["connection"]["testStatus"], json!("active"));
    assert_eq!(models["source"], json!("api"), "{models}");
    assert_eq!(validated["valid"], json!(true), "{validated}");
}

#[actix_web::test]
async fn what_a_provider_tells_of_its_models_is_known_to_routers_and_less_than_what_an_operator_says() {
    let mock = MockUpstream::start().await;
    let site = signed_in().await;
    let node = json!({"name": "mock", "prefix": "mock", "apiType": "chat", "baseUrl": mock.base_url()});
    let node = id_of(&site.ok("POST", "/api/provider-nodes", Some(node)).await, "node");
    let made = site.ok("POST", "/api/providers", Some(json!({"provider": node, "name": "a", "apiKey": "sk-a"}))).await;
    let list = format!("/api/providers/{}/models", id_of(&made, "connection"));
    let fits = async |model: &str, tokens: u64| {
        let asked = json!({"model": format!("mock/{model}"), "features": {"promptTokens": tokens}});
        site.ok("POST", "/api/explain", Some(asked)).await["wouldServe"].clone()
    };

    let before = fits("mock-model-mini", 20_000).await;
    let shown = site.ok("GET", &list, None).await;
    let (mini, dated, other) = (
        fits("mock-model-mini", 20_000).await,
        fits("mock-model-mini-2026-01-31", 20_000).await,
        fits("nobody-knows", 20_000).await,
    );
    site.ok("PUT", "/api/models/facts", Some(json!({"pattern": "mock-model-mini", "context": 32_000}))).await;
    let raised = fits("mock-model-mini", 20_000).await;

    assert_eq!(shown["models"][1]["contextLength"], json!(16_000), "{shown}");
    let served = |answer: &Value| !answer.is_null();
    assert_eq!(
        [&before, &mini, &dated, &other, &raised].map(served),
        [true, false, false, true, true],
        "{mini} {dated}"
    );
}

#[actix_web::test]
async fn a_connection_that_cannot_be_reached_is_diagnosed_in_our_own_words() {
    let site = signed_in().await;
    let body = json!({"provider": "openai", "apiKey": "k", "baseUrl": "http://127.0.0.1:1/v1"});

    let answer = site.ok("POST", "/api/providers/validate", Some(body)).await;

    assert_eq!((&answer["valid"], &answer["diagnosis"]["type"]), (&json!(false), &json!("network_error")));
    assert_eq!(answer["error"], json!("the provider cannot be reached"));
}

#[actix_web::test]
async fn a_node_is_checked_and_takes_its_connections_with_it() {
    let site = signed_in().await;
    let create = async |body| site.ask("POST", "/api/provider-nodes", Some(body)).await;
    let node = |prefix: &str, url: &str| json!({"name": "n", "prefix": prefix, "baseUrl": url});

    let made = create(node("mine", "https://llm.example/v1/")).await.json();
    let id = id_of(&made, "node");
    site.ok("POST", "/api/providers", Some(json!({"provider": id, "name": "a", "apiKey": "sk-a"}))).await;
    let wrong = create(
        json!({"name": "", "prefix": "openai", "baseUrl": "http://10.0.0.1/v1", "chatPath": "x", "apiType": "y"}),
    )
    .await;
    let taken = create(node("mine", "https://other.example/v1")).await;
    let moved =
        site.ok("PUT", &format!("/api/provider-nodes/{id}"), Some(node("mine", "https://new.example/v1"))).await;
    site.ok("DELETE", &format!("/api/provider-nodes/{id}"), None).await;

    assert_eq!(made["node"]["baseUrl"], json!("https://llm.example/v1"));
    let mut fields = wrong.fields();
    fields.sort();
    assert_eq!(fields, ["apiType", "baseUrl", "chatPath", "name", "prefix"]);
    assert_eq!(taken.status, 409);
    assert_eq!(moved["credentialsCleared"], json!(1));
    let left = site.ok("GET", "/api/providers", None).await;
    assert_eq!(left["connections"].as_array().unwrap().len(), 1, "only the one of the environment is left");
}
