//! Endpoints of the operator's own.

use omniroute_testkit::gateway::Builder;
use serde_json::{Value, json};

use super::area::{Area, text};
use crate::common::calm;

pub fn gateway() -> Builder {
    calm()
}

fn wanted(area: &Area, prefix: &str) -> Value {
    json!({"name": "own", "prefix": prefix, "apiType": "chat", "baseUrl": area.site.a.base_url()})
}

pub async fn walk(area: &Area) {
    let post = || area.call("POST /api/provider-nodes");
    post().json(json!({"name": "own"})).says(400).await;
    let mut inside = wanted(area, "own");
    inside["baseUrl"] = json!("http://169.254.169.254/v1");
    post().json(inside).says(400).await;
    post().json(wanted(area, "a")).says(409).await;
    let mut disguised = wanted(area, "own");
    disguised["compatMode"] = json!("cc");
    post().json(disguised).says(403).await;
    let made = post().json(wanted(area, "own")).says(201).await;
    let id = text(&made["node"]["id"]).to_owned();
    area.site.admin.create_connection(&id, "own", "sk-own").await;
    area.asks("own/m", 200).await;

    changed(area, &id).await;
    tried(area).await;
    let listed = area.call("GET /api/provider-nodes").says(200).await;
    area.must("a node is listed", listed.to_string().contains(&id), &listed);
    area.call("DELETE /api/provider-nodes/{id}").at(&id).says(200).await;
    area.call("DELETE /api/provider-nodes/{id}").at(&id).says(404).await;
    area.asks("moved/m", 404).await;
    let left = area.call("GET /api/providers").says(200).await;
    area.must("its connections have gone along", !left.to_string().contains(&id), &left);
}

async fn changed(area: &Area, id: &str) {
    let put = || area.call("PUT /api/provider-nodes/{id}");
    let moved = json!({"name": "moved", "prefix": "moved", "baseUrl": area.site.b.base_url()});
    let changed = put().at(id).json(moved).says(200).await;
    let read = area.call("GET /api/provider-nodes/{id}").at(id).says(200).await;
    area.expect("a change is read back", &read["node"], &changed["node"]);
    area.expect("another place takes the credential away", &changed["credentialsCleared"], &json!(1));
    area.asks("moved/m", 200).await;
    put().at(id).json(json!({})).says(400).await;
    put().at(id).json(json!({"prefix": "a"})).says(409).await;
    put().at("nobody").json(json!({"name": "x"})).says(404).await;
}

async fn tried(area: &Area) {
    let validate = || area.call("POST /api/provider-nodes/validate");
    let good = validate().json(json!({"baseUrl": area.site.a.base_url(), "apiKey": "k"})).says(200).await;
    area.expect("an endpoint that answers", &good["valid"], &json!(true));
    validate().json(json!({"apiKey": "k"})).says(400).await;
    validate().json(json!({"baseUrl": area.site.a.base_url(), "compatMode": "cc"})).says(403).await;
}
