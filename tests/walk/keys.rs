//! Client keys: shown once, narrowed, taken back.

use omniroute_testkit::gateway::Builder;
use serde_json::json;

use super::area::{Area, text};
use crate::common::calm;

pub fn gateway() -> Builder {
    calm()
}

pub async fn walk(area: &Area) {
    let post = || area.call("POST /api/keys");
    post().json(json!({"scopes": ["manage"]})).says(400).await;
    post().json(json!({"name": "x", "maxSessions": 3})).says(400).await;
    let made = post().json(json!({"name": "ci", "maxRequestsPerMinute": 100})).says(201).await;
    let (id, key) = (text(&made["id"]).to_owned(), text(&made["key"]).to_owned());
    area.call("POST /v1/chat/completions").json(chat("a/m")).by(&key).says(200).await;

    let read = area.call("GET /api/keys/{id}").at(&id).says(200).await;
    area.expect("a key is read as it was made", &read["maxRequestsPerMinute"], &json!(100));
    area.must("a key is shown once", !read.to_string().contains(&key), &read);
    area.call("GET /api/keys/{id}").at("nobody").says(404).await;
    let page = area.call("GET /api/keys").query("limit=1").says(200).await;
    area.expect("a page of keys", page["keys"].as_array().map(Vec::len), Some(1));
    area.call("GET /api/keys").query("limit=few").says(400).await;

    narrowed(area, &id, &key).await;
    let robot = area.site.admin.create_key_with(&json!({"name": "robot", "scopes": ["manage"]})).await.key;
    post().json(json!({"name": "more than it has"})).by(&robot).says(403).await;
    area.call("DELETE /api/keys/{id}").at(&id).says(200).await;
    area.call("DELETE /api/keys/{id}").at(&id).says(404).await;
    area.call("POST /v1/chat/completions").json(chat("a/m")).by(&key).says(401).await;
}

fn chat(model: &str) -> serde_json::Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hello"}]})
}

async fn narrowed(area: &Area, id: &str, key: &str) {
    let patch = || area.call("PATCH /api/keys/{id}");
    let changed = patch().at(id).json(json!({"allowedModels": ["b/*"], "noLog": true})).says(200).await;
    let read = area.call("GET /api/keys/{id}").at(id).says(200).await;
    area.expect("a change is read back", &read["allowedModels"], &changed["allowedModels"]);
    area.call("POST /v1/chat/completions").json(chat("b/m")).by(key).says(200).await;
    area.call("POST /v1/chat/completions").json(chat("a/m")).by(key).says(403).await;
    patch().at(id).json(json!({})).says(400).await;
    patch().at(id).json(json!({"allowedConnections": ["nobody"]})).says(400).await;
    patch().at("nobody").json(json!({"noLog": true})).says(404).await;
    let put = area.call("PUT /api/keys/{id}").at(id).json(json!({"isActive": false})).says(200).await;
    area.expect("PUT does the same", &put["isActive"], &json!(false));
    area.call("POST /v1/chat/completions").json(chat("b/m")).by(key).says(401).await;
}
