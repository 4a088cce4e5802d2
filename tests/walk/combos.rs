//! Combos: made, read, changed, tried, counted, removed.

use omniroute_testkit::gateway::Builder;
use serde_json::{Value, json};

use super::area::{Area, text};
use crate::common::calm;

pub fn gateway() -> Builder {
    calm()
}

pub async fn walk(area: &Area) {
    let id = made(area).await;
    changed(area, &id).await;
    tried(area).await;
    counted(area).await;
    removed(area, &id).await;
}

async fn made(area: &Area) -> String {
    let post = || area.call("POST /api/combos");
    post().json(json!({"name": "pair"})).says(400).await;
    post().json(json!({"name": "pair", "models": ["a/m"], "strategy": "luck"})).says(400).await;
    post().json(json!({"name": "pair", "models": [{"kind": "combo-ref", "comboName": "nowhere"}]})).says(400).await;
    post().json(json!({"name": "team", "models": ["a/m"]})).says(400).await;
    let made = post().json(json!({"name": "pair", "models": ["b/m", "a/m"]})).says(201).await;

    let id = text(&made["id"]).to_owned();
    let read = area.call("GET /api/combos/{id}").at(&id).says(200).await;
    let listed = area.call("GET /api/combos").says(200).await;
    area.call("GET /api/combos/{id}").at("nobody").says(404).await;
    area.expect("a combo is read as it was made", &read, &made);
    area.must("a combo is listed", listed.to_string().contains(&id), &listed);
    area.asks("pair", 200).await;
    area.expect("by its first target", area.site.b.control.requests().len(), 1);
    id
}

async fn changed(area: &Area, id: &str) {
    let put = || area.call("PUT /api/combos/{id}");
    let changed = put().at(id).json(json!({"models": ["a/m", "b/m"], "strategy": "fill-first"})).says(200).await;
    let read = area.call("GET /api/combos/{id}").at(id).says(200).await;
    area.expect("a change is read back", &read, &changed);
    area.asks("pair", 200).await;
    area.expect("the order has changed", area.site.a.control.requests().len(), 1);

    put().at(id).json(json!({})).says(400).await;
    put().at(id).json(json!({"models": [{"kind": "combo-ref", "comboName": "pair"}]})).says(400).await;
    put().at("nobody").json(json!({"isActive": true})).says(404).await;
    let outer = json!({"name": "outer", "models": [{"kind": "combo-ref", "comboName": "pair"}]});
    area.call("POST /api/combos").json(outer).says(201).await;
    put().at(id).json(json!({"name": "renamed"})).says(409).await;
}

async fn tried(area: &Area) {
    let test = || area.call("POST /api/combos/test");
    let looked = test().json(json!({"comboName": "pair"})).says(200).await;
    let asked = test().json(json!({"comboName": "pair", "live": true})).says(200).await;
    area.expect("the first target would answer", &looked["resolvedBy"], &asked["resolvedBy"]);
    area.expect("each target is told", asked["results"].as_array().map(Vec::len), Some(2));
    test().json(json!({"live": true})).says(400).await;
    test().json(json!({"comboName": "nowhere"})).says(404).await;
}

async fn counted(area: &Area) {
    let of_all = area.call("GET /api/combos/metrics").says(200).await;
    let of_one = area.call("GET /api/combos/metrics").query("combo=pair").says(200).await;
    let of_none = area.call("GET /api/combos/metrics").query("combo=nowhere").says(200).await;
    area.expect("calls are counted", &of_one["metrics"]["totalRequests"], &json!(2));
    area.expect("by combo", &of_all["metrics"]["pair"], &of_one["metrics"]);
    area.expect("of those there are", &of_none["metrics"], &Value::Null);
    area.call("GET /api/combos/metrics").query("combo=pair&combo=team").says(400).await;
}

async fn removed(area: &Area, id: &str) {
    let listed = area.call("GET /api/combos").says(200).await;
    let all = listed["combos"].as_array().cloned().unwrap_or_default();
    let outer = all.iter().find(|combo| combo["name"] == "outer").cloned().unwrap_or_default();
    let delete = || area.call("DELETE /api/combos/{id}");
    delete().at(id).says(409).await;
    delete().at(text(&outer["id"])).says(200).await;
    delete().at(id).says(200).await;
    delete().at(id).says(404).await;
    area.asks("pair", 404).await;
}
