//! `/api/provider-nodes*`.

use omniroute_testkit::http::Request;
use serde_json::json;

use crate::common::{Site, calm, chat};

#[tokio::test]
async fn a_node_moves_with_all_its_connections() {
    let site = Site::open(calm()).await;
    let path = format!("/api/provider-nodes/{}", site.at_a.node);

    let changed = site.admin.put(&path, &json!({"name": "moved", "prefix": "z", "baseUrl": site.b.base_url()})).await;
    let old = site.gateway.ask(&chat("a/m", false)).await;
    site.gateway.ask(&chat("z/m", false)).await;

    assert_eq!((&changed["node"]["prefix"], &changed["node"]["id"]), (&json!("z"), &json!(site.at_a.node)));
    assert!([400, 404].contains(&old.status()), "{}", old.text());
    assert_eq!(site.a.control.stats().total.started, 0);
}

#[tokio::test]
async fn own_paths_are_used() {
    let site = Site::open(calm()).await;
    let base = format!("http://{}", site.a.addr);
    let node = json!({"name": "odd", "prefix": "odd", "apiType": "chat", "type": "openai-compatible", "baseUrl": base,
        "chatPath": "/v1/chat/completions", "modelsPath": "/v1/models"});
    let made = site.admin.post("/api/provider-nodes", &node).await;
    site.admin.create_connection(made["node"]["id"].as_str().unwrap(), "odd", "sk-odd").await;

    assert_eq!(site.gateway.ask(&chat("odd/m", false)).await.status(), 200);
    assert_eq!(site.a.control.requests().pop().unwrap().path, "/v1/chat/completions");
}

#[tokio::test]
async fn a_removed_node_takes_its_connections_along() {
    let site = Site::open(calm()).await;

    let answer = site.admin.delete(&format!("/api/provider-nodes/{}", site.at_a.node)).await;

    assert_eq!(answer["success"], true);
    let left = site.admin.get("/api/providers").await["connections"].as_array().unwrap().len();
    assert_eq!((left, site.ask_team(false).await.status()), (1, 200), "the combo goes on with what is left");
    assert_eq!(site.admin.send(Request::get(&format!("/api/provider-nodes/{}", site.at_a.node))).await.status(), 404);
}

#[tokio::test]
async fn an_endpoint_is_tried_without_being_stored() {
    let site = Site::open(calm()).await;

    let good =
        site.admin.post("/api/provider-nodes/validate", &json!({"baseUrl": site.a.base_url(), "apiKey": "k"})).await;
    let nodes = site.admin.get("/api/provider-nodes").await;

    assert_eq!((&good["valid"], nodes["nodes"].as_array().unwrap().len()), (&json!(true), 2), "{good}");
    assert_eq!(site.a.control.stats().model_lists, 1);
}

#[tokio::test]
async fn a_prefix_is_taken_once_and_never_hides_a_provider() {
    let site = Site::open(calm()).await;

    for prefix in ["a", "openai", "x/y", ""] {
        let node = json!({"name": "n", "prefix": prefix, "apiType": "chat", "type": "openai-compatible", "baseUrl": site.a.base_url()});
        let answer = site.admin.send(Request::post("/api/provider-nodes", &node)).await;
        assert!([400, 409].contains(&answer.status()), "{prefix:?}: {} {}", answer.status(), answer.text());
    }
}

#[tokio::test]
async fn every_format_can_be_an_own_endpoint_and_an_unknown_one_cannot() {
    let site = Site::open(calm()).await;
    let types = [
        "openai-compatible",
        "anthropic-compatible",
        "gemini-compatible",
        "ollama-compatible",
        "cohere-compatible",
        "bedrock-compatible",
        "nlpcloud-compatible",
        "gitlab-compatible",
        "petals-compatible",
    ];

    for (nth, kind) in types.into_iter().enumerate() {
        let node = json!({"name": kind, "prefix": format!("p{nth}"), "type": kind, "baseUrl": site.a.base_url()});
        let made = site.admin.post("/api/provider-nodes", &node).await;
        let id = made["node"]["id"].as_str().unwrap();
        assert!(id.starts_with(kind), "{made}");
        site.admin.create_connection(id, kind, "k:s").await;
        let shown = site.admin.get("/api/providers").await;
        let own =
            shown["connections"].as_array().unwrap().iter().find(|entry| entry["provider"] == id).unwrap().clone();
        assert_eq!(own["problem"], serde_json::Value::Null, "{own}");
    }
    let refused = |body: serde_json::Value| site.admin.send(Request::post("/api/provider-nodes", &body));
    let unknown = json!({"name": "x", "prefix": "x", "type": "telepathy-compatible", "baseUrl": site.a.base_url()});
    let nowhere = json!({"name": "x", "prefix": "x", "type": "bedrock-compatible"});
    let disguised = json!({"name": "x", "prefix": "x", "type": "anthropic-compatible", "compatMode": "cc"});
    assert_eq!((refused(unknown).await.status(), refused(nowhere).await.status()), (400, 400));
    assert_eq!(refused(disguised).await.status(), 403);
}

#[tokio::test]
async fn an_endpoint_without_a_list_of_models_is_tried_with_a_model() {
    let site = Site::open(calm()).await;
    let body = json!({"baseUrl": format!("{}/chat/completions", site.a.base_url()), "validationModelId": "m"});

    let good = site.admin.post("/api/provider-nodes/validate", &body).await;

    assert_eq!(good["valid"], json!(true), "{good}");
    assert_eq!(site.a.control.requests().last().unwrap().path, "/v1/chat/completions");
}
