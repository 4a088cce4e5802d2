//! `GET /v1/models` and `GET /v1/models/{id}`.

use omniroute_testkit::http::Request;
use serde_json::json;

use crate::common::{KEY, Site, calm, error_of};

async fn ids(site: &Site, key: &str) -> Vec<String> {
    let answer = site.gateway.ask(&Request::get("/v1/models").key(key)).await;
    assert_eq!((answer.status(), &answer.json()["object"]), (200, &json!("list")));
    let data = answer.json()["data"].as_array().cloned().unwrap_or_default();
    data.iter().filter_map(|model| model["id"].as_str().map(str::to_owned)).collect()
}

async fn with_openai(site: &Site) {
    let data = json!({"baseUrl": site.a.base_url()});
    let fields = json!({"provider": "openai", "name": "main", "apiKey": "sk-x", "providerSpecificData": data});
    site.admin.create_connection_with(&fields).await;
}

#[tokio::test]
async fn the_list_holds_combos_and_the_models_of_providers_that_have_a_connection() {
    let site = Site::open(calm()).await;
    with_openai(&site).await;

    let ids = ids(&site, KEY).await;

    assert!(ids.contains(&"team".to_owned()), "{ids:?}");
    assert!(ids.iter().any(|id| id.starts_with("openai/")), "{ids:?}");
    assert!(!ids.iter().any(|id| id.starts_with("groq/")), "{ids:?}");
}

#[tokio::test]
async fn one_model_is_found_although_its_id_holds_a_slash() {
    let site = Site::open(calm()).await;
    with_openai(&site).await;
    let id = ids(&site, KEY).await.into_iter().find(|id| id.starts_with("openai/")).unwrap();

    let plain = site.gateway.ask(&Request::get(&format!("/v1/models/{id}")).key(KEY)).await;
    let escaped = site.gateway.ask(&Request::get(&format!("/v1/models/{}", id.replace('/', "%2F"))).key(KEY)).await;

    for answer in [plain, escaped] {
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!((&answer.json()["id"], &answer.json()["object"]), (&json!(id), &json!("model")));
    }
}

#[tokio::test]
async fn a_model_that_is_not_there_is_a_404() {
    let site = Site::open(calm()).await;

    let answer = site.gateway.ask(&Request::get("/v1/models/no/such").key(KEY)).await;

    let error = error_of(&answer);
    assert_eq!((answer.status(), &error["code"], &error["param"]), (404, &json!("model_not_found"), &json!("model")));
}

#[tokio::test]
async fn a_key_sees_only_what_it_may_use() {
    let site = Site::open(calm()).await;
    with_openai(&site).await;
    let key = site.admin.create_key_with(&json!({"name": "narrow", "allowedModels": ["team"]})).await.key;

    let ids = ids(&site, &key).await;
    let hidden = site.gateway.ask(&Request::get("/v1/models/openai/gpt-4o").key(&key)).await;

    assert_eq!(ids, ["team"]);
    assert_eq!(hidden.status(), 404);
}

#[tokio::test]
async fn a_list_says_which_knowledge_it_was_made_of() {
    let site = Site::open(calm()).await;
    let version = async |request: Request| {
        let answer = site.gateway.ask(&request.key(KEY)).await;
        answer.header("x-model-catalog-version").unwrap_or_default().to_owned()
    };
    let before = version(Request::get("/v1/models")).await;

    with_openai(&site).await;
    let connections = site.admin.get("/api/providers").await["connections"].clone();
    let openai = connections.as_array().unwrap().iter().find(|row| row["provider"] == "openai").unwrap();
    site.admin.post(&format!("/api/providers/{}/sync-models", openai["id"].as_str().unwrap()), &json!({})).await;
    let after = version(Request::get("/v1/models")).await;
    let anthropic = version(Request::get("/v1/models").header("anthropic-version", "2023-06-01")).await;

    assert_eq!(before, "model-metadata-v1:static");
    assert!(after.starts_with("model-metadata-v1:20") && after.ends_with('Z'), "{after}");
    assert_eq!(anthropic, after);
}
