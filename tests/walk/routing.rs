//! What stands beside the operations of the first reference about where requests go.

use omniroute_testkit::gateway::Builder;
use serde_json::{Value, json};

use super::area::{Area, text};
use crate::common::calm;

pub fn gateway() -> Builder {
    calm()
}

pub async fn walk(area: &Area) {
    mapped(area).await;
    chained(area).await;
    known(area).await;
    renamed(area).await;
    ordered(area).await;
    ruled(area).await;
}

async fn mapped(area: &Area) {
    let combos = area.call("GET /api/combos").says(200).await;
    let team = text(&combos["combos"][0]["id"]).to_owned();
    let post = || area.call("POST /api/model-combo-mappings");
    post().json(json!({"pattern": "gpt-*"})).says(400).await;
    let made = post().json(json!({"pattern": "gpt-*", "comboId": team})).says(201).await;
    area.asks("gpt-anything", 200).await;

    let id = text(&made["mapping"]["id"]);
    for change in ["PUT /api/model-combo-mappings/{id}", "PATCH /api/model-combo-mappings/{id}"] {
        area.call(change).at(id).json(json!({"priority": 7})).says(200).await;
        area.call(change).at(id).json(json!({"priority": "high"})).says(400).await;
        area.call(change).at("nobody").json(json!({"priority": 7})).says(404).await;
    }
    let read = area.call("GET /api/model-combo-mappings/{id}").at(id).says(200).await;
    let listed = area.call("GET /api/model-combo-mappings").says(200).await;
    area.expect("a change is read back", &read["mapping"]["priority"], &json!(7));
    area.expect("a mapping is listed", &listed["mappings"][0], &read["mapping"]);
    area.call("DELETE /api/model-combo-mappings/{id}").at(id).says(200).await;
    area.call("DELETE /api/model-combo-mappings/{id}").at(id).says(404).await;
}

async fn chained(area: &Area) {
    let post = || area.call("POST /api/fallback/chains");
    post().json(json!({"model": "a/m"})).says(400).await;
    post().json(json!({"model": "a/m", "chain": [{"provider": "b", "model": "m"}]})).says(200).await;
    area.site.a.control.script(["status code=500"]);
    area.asks("a/m", 200).await;
    area.expect("the chain serves", area.site.b.control.requests().len(), 1);
    let listed = area.call("GET /api/fallback/chains").says(200).await;
    area.must("a chain is listed", listed.to_string().contains("a/m"), &listed);
    area.call("DELETE /api/fallback/chains").query("model=a/m").says(200).await;
    area.call("DELETE /api/fallback/chains").query("model=a/m").says(404).await;
    area.call("DELETE /api/fallback/chains").says(400).await;
}

async fn known(area: &Area) {
    for change in ["PUT /api/models/facts", "PATCH /api/models/facts"] {
        area.call(change).json(json!({"pattern": "a/m", "context": 4_096})).says(200).await;
        area.call(change).json(json!({"context": 4_096})).says(400).await;
    }
    let told = area.call("GET /api/models/facts").query("model=a/m").says(200).await;
    area.expect("a fact is told", &told["facts"]["context"], &json!(4_096));
    area.call("DELETE /api/models/facts").query("pattern=a/m").says(200).await;
    area.call("DELETE /api/models/facts").query("pattern=a/m").says(404).await;
}

async fn renamed(area: &Area) {
    let path = || area.call("POST /api/settings/model-aliases");
    path().json(json!({"from": "ancient"})).says(400).await;
    path().json(json!({"from": "ancient", "to": "a/m"})).says(200).await;
    area.asks("ancient", 200).await;
    let listed = area.call("GET /api/settings/model-aliases").says(200).await;
    area.expect("a new name is listed", &listed["custom"]["ancient"], &json!("a/m"));
    area.call("DELETE /api/settings/model-aliases").json(json!({"from": "ancient"})).says(200).await;
    area.call("DELETE /api/settings/model-aliases").json(json!({"from": "ancient"})).says(404).await;
}

async fn ordered(area: &Area) {
    let other = area.site.admin.create_combo("other", "priority", &["b/m"]).await;
    let order = || area.call("POST /api/combos/reorder");
    let answer = order().json(json!({"comboIds": [other]})).says(200).await;
    area.expect("the named one comes first", &answer["combos"][0]["id"], &json!(other));
    order().json(json!({"comboIds": ["nobody"]})).says(404).await;
    order().json(json!({})).says(400).await;
    for explain in ["POST /api/explain", "POST /api/combos/explain"] {
        let told = area.call(explain).json(json!({"model": "other"})).says(200).await;
        area.expect("who would serve", &told["combo"], &json!("other"));
        area.call(explain).json(json!({"model": "nowhere"})).says(404).await;
    }
    area.call("DELETE /api/combos/metrics").says(200).await;
    area.call("GET /api/combos/builder/options").says(200).await;
}

async fn ruled(area: &Area) {
    let rule = |name: &str| json!({"name": name, "effect": "prefer", "what": {"providers": ["b"]}});
    let post = |name: &str| area.call("POST /api/policies").json(rule(name));
    let made = post("first").says(201).await;
    post("second").says(201).await;
    let id = text(&made["policy"]["id"]);
    for change in ["PUT /api/policies/{id}", "PATCH /api/policies/{id}"] {
        area.call(change).at(id).json(json!({"priority": 3})).says(200).await;
        area.call(change).at(id).json(json!({"effect": "shout"})).says(400).await;
        area.call(change).at(id).json(json!({"name": "second"})).says(409).await;
        area.call(change).at("nobody").json(json!({"priority": 3})).says(404).await;
    }
    let read = area.call("GET /api/policies/{id}").at(id).says(200).await;
    area.expect("a change is read back", &read["policy"]["priority"], &json!(3));
    area.call("DELETE /api/policies/{id}").at(id).says(200).await;
    let gone: Value = area.call("DELETE /api/policies/{id}").at(id).says(404).await;
    area.must("what is missing is said", gone["error"]["message"].is_string(), &gone);
}
