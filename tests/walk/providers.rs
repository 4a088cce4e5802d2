//! Connections: made, read, changed, tried, removed.

use omniroute_testkit::gateway::Builder;
use serde_json::{Value, json};

use super::area::{Area, text};
use crate::common::calm;

/// One connection comes from the environment: it is shown like the others, and changed nowhere here.
pub fn gateway() -> Builder {
    calm().env("GROQ_API_KEY", "gsk-of-the-environment")
}

pub async fn walk(area: &Area) {
    let id = made(area).await;
    changed(area, &id).await;
    tried(area, &id).await;
    of_the_environment(area).await;
    removed(area, &id).await;
}

fn wanted(area: &Area) -> Value {
    let data = json!({"baseUrl": area.site.a.base_url()});
    json!({"provider": "openai", "name": "main", "apiKey": "sk-walk", "providerSpecificData": data})
}

async fn made(area: &Area) -> String {
    let post = || area.call("POST /api/providers");
    post().json(json!({"provider": "openai"})).says(400).await;
    post().json(json!({"provider": "nobody", "name": "x", "apiKey": "k"})).says(400).await;
    post().json(json!({"provider": "openai-compatible-chat-gone", "name": "x", "apiKey": "k"})).says(404).await;
    let made = post().json(wanted(area)).says(201).await;

    let id = text(&made["connection"]["id"]).to_owned();
    let shown = area.call("GET /api/providers/{id}").at(&id).says(200).await;
    let listed = area.call("GET /api/providers").says(200).await;
    area.call("GET /api/providers").query("cursor=made-up").says(400).await;
    area.call("GET /api/providers/{id}").at("nobody").says(404).await;
    area.expect("a connection is read as it was made", &shown["connection"]["name"], &json!("main"));
    area.must("a connection is listed", listed.to_string().contains(&id), &listed);
    area.must("no credential is shown", !listed.to_string().contains("sk-walk"), &listed);
    area.asks("openai/gpt-x", 200).await;
    id
}

async fn changed(area: &Area, id: &str) {
    let put = || area.call("PUT /api/providers/{id}");
    let answer = put().at(id).json(json!({"name": "renamed", "maxConcurrent": 7, "group": "g"})).says(200).await;
    let read = area.call("GET /api/providers/{id}").at(id).says(200).await;
    area.expect("a change is read back", &read["connection"]["name"], &answer["connection"]["name"]);
    area.expect("a change is read back", &read["connection"]["maxConcurrent"], &json!(7));

    put().at(id).json(json!({})).says(400).await;
    put().at(id).json(json!({"priority": 0})).says(400).await;
    put().at("nobody").json(json!({"name": "x"})).says(404).await;
    area.call("PATCH /api/providers/{id}").at(id).json(json!({"isActive": false})).says(200).await;
    area.asks("openai/gpt-x", 400).await;
    area.call("PATCH /api/providers/{id}").at(id).json(json!({"isActive": true})).says(200).await;
}

async fn tried(area: &Area, id: &str) {
    let test = || area.call("POST /api/providers/{id}/test");
    let good = test().at(id).json(json!({"validationModelId": "m"})).says(200).await;
    area.site.a.control.script(["status code=401"]);
    let bad = test().at(id).json(json!({"validationModelId": "m"})).says(200).await;
    let noted = area.call("GET /api/providers/{id}").at(id).says(200).await;
    area.expect("a connection that works", &good["valid"], &json!(true));
    area.expect("a refused credential", &bad["diagnosis"]["type"], &json!("upstream_auth_error"));
    area.expect("what was found is noted", &noted["connection"]["testStatus"], &json!("error"));
    test().at(id).json(json!({"validationModelId": 7})).says(400).await;
    test().at("nobody").says(404).await;

    let models = area.call("GET /api/providers/{id}/models").at(id).query("refresh=true").says(200).await;
    area.expect("the provider's own list", &models["source"], &json!("api"));
    area.call("GET /api/providers/{id}/models").at(id).query("refresh=perhaps").says(400).await;
    area.call("GET /api/providers/{id}/models").at("nobody").says(404).await;

    let validate = || area.call("POST /api/providers/validate");
    let wish = json!({"provider": "openai", "apiKey": "sk-try", "baseUrl": area.site.a.base_url()});
    let found = validate().json(wish).says(200).await;
    area.expect("a credential that works", &found["valid"], &json!(true));
    validate().json(json!({"provider": "openai", "baseUrl": "http://10.0.0.1/v1"})).says(400).await;
    validate().json(json!({"provider": "openai-compatible-chat-gone"})).says(404).await;
}

async fn of_the_environment(area: &Area) {
    let listed = area.call("GET /api/providers").says(200).await;
    let all = listed["connections"].as_array().cloned().unwrap_or_default();
    let fixed = all.iter().find(|connection| connection["readOnly"] == true).cloned().unwrap_or_default();
    let id = text(&fixed["id"]);

    area.call("PUT /api/providers/{id}").at(id).json(json!({"name": "x"})).says(409).await;
    area.call("DELETE /api/providers/{id}").at(id).says(409).await;
}

async fn removed(area: &Area, id: &str) {
    area.call("DELETE /api/providers/{id}").at(id).says(200).await;
    area.call("GET /api/providers/{id}").at(id).says(404).await;
    area.call("DELETE /api/providers/{id}").at(id).says(404).await;
    area.asks("openai/gpt-x", 400).await;
}
