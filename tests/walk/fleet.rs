//! What stands beside the operations of the first reference about many connections, suites and instances.

use omniroute_testkit::gateway::Builder;
use serde_json::{Value, json};

use super::area::{Area, text};
use crate::common::touchy;

pub fn gateway() -> Builder {
    touchy(60_000)
}

pub async fn walk(area: &Area) {
    many(area).await;
    synced(area).await;
    suites(area).await;
    tokens(area).await;
    rested(area).await;
    looked_at(area).await;
}

async fn many(area: &Area) {
    let node = &area.site.at_a.node;
    let bulk = || area.call("POST /api/providers/bulk");
    bulk().json(json!({"provider": node, "keys": []})).says(400).await;
    bulk().json(json!({"provider": node, "namePrefix": "key", "keys": ["sk-1", "sk-2"]})).says(200).await;
    let import = |rows: Value| area.call("POST /api/providers/import").json(json!({"connections": rows}));
    let good = json!({"provider": node, "name": "three", "apiKey": "sk-3"});
    import(json!([good, {"provider": "nobody", "name": "x", "apiKey": "k"}])).says(207).await;
    import(json!("three")).says(400).await;

    let batch = || area.call("POST /api/providers/test-batch");
    let tried = batch().json(json!({"mode": "provider", "providerId": node})).says(200).await;
    area.expect("all of them are tried", &tried["summary"]["total"], &json!(4));
    batch().json(json!({"mode": "some"})).says(400).await;
}

async fn synced(area: &Area) {
    let sync = || area.call("POST /api/providers/{id}/sync-models");
    let id = &area.site.at_a.connections[0];
    let done = sync().at(id).says(200).await;
    area.expect("the provider's own list", &done["modelChanges"]["added"], &json!(2));
    sync().at(id).json(json!({"mode": "guess"})).says(400).await;
    sync().at("nobody").says(404).await;
    let told = area.call("GET /api/synced-available-models").says(200).await;
    area.must("is told", told["models"].is_object(), &told);

    let test = || area.call("POST /api/models/test");
    test().json(json!({"providerId": area.site.at_a.node, "modelId": "m"})).says(200).await;
    test().json(json!({"providerId": "openai", "modelId": "m"})).says(404).await;
    test().json(json!({"modelId": "m"})).says(400).await;
    area.call("POST /api/assess").json(json!({"scope": {"type": "provider", "providerId": "a"}})).says(200).await;
    area.call("GET /api/assess").query("action=results").says(200).await;
}

async fn suites(area: &Area) {
    let case = json!({"id": "c", "name": "c", "expected": {"strategy": "contains", "value": "x"},
        "input": {"messages": [{"role": "user", "content": "say x"}]}});
    let post = || area.call("POST /api/evals/suites");
    post().json(json!({"id": "mine", "name": "Mine"})).says(400).await;
    post().json(json!({"id": "mine", "name": "Mine", "cases": [case]})).says(201).await;
    post().json(json!({"id": "mine", "name": "Mine", "cases": [case]})).says(409).await;
    for change in ["PUT /api/evals/suites/{id}", "PATCH /api/evals/suites/{id}"] {
        area.call(change).at("mine").json(json!({"description": "new"})).says(200).await;
        area.call(change).at("basics").json(json!({"description": "new"})).says(409).await;
        area.call(change).at("nobody").json(json!({"description": "new"})).says(404).await;
    }
    let read = area.call("GET /api/evals/suites/{id}").at("mine").says(200).await;
    area.expect("a change is read back", &read["suite"]["description"], &json!("new"));
    area.call("GET /api/evals/suites").says(200).await;
    let run = json!({"suiteId": "mine", "target": {"type": "model", "id": "b/m"}});
    let run = area.call("POST /api/evals").json(run).says(200).await;
    let id = text(&run["runs"][0]["id"]);
    area.call("GET /api/evals/runs").query("suiteId=mine&limit=1").says(200).await;
    area.call("GET /api/evals/runs/{id}").at(id).says(200).await;
    area.call("DELETE /api/evals/runs/{id}").at(id).says(200).await;
    area.call("GET /api/evals/runs/{id}").at(id).says(404).await;
    area.call("DELETE /api/evals/suites/{id}").at("mine").says(200).await;
    area.call("DELETE /api/evals/suites/{id}").at("mine").says(404).await;
    area.call("DELETE /api/evals/suites/{id}").at("basics").says(409).await;
}

async fn tokens(area: &Area) {
    let post = || area.call("POST /api/sync/tokens");
    post().json(json!({})).says(400).await;
    let made = post().json(json!({"name": "peer"})).says(201).await;
    let bundle = || area.call("GET /api/sync/bundle").by_a_stranger();
    let bearer = format!("Bearer {}", text(&made["token"]));
    bundle().header("Authorization", &bearer).says(200).await;
    bundle().says(401).await;
    let listed = area.call("GET /api/sync/tokens").says(200).await;
    let id = text(&listed["tokens"][0]["id"]);
    area.must("its use is noted", listed["tokens"][0]["lastUsedAt"].is_string(), &listed);
    area.call("DELETE /api/sync/tokens/{id}").at(id).says(200).await;
    area.call("DELETE /api/sync/tokens/{id}").at("nobody").says(404).await;
    bundle().header("Authorization", &bearer).says(401).await;
}

async fn rested(area: &Area) {
    let queue = || area.call("POST /api/rate-limit");
    queue().json(json!({"requestsPerMinute": 50})).says(200).await;
    queue().json(json!({"requestsPerMinut": 50})).says(400).await;
    queue().json(json!({"requestsPerMinute": 50})).header("If-Match", "9").says(412).await;
    let switch = || area.call("POST /api/rate-limits");
    switch().json(json!({"connectionId": "nobody", "enabled": true})).says(404).await;
    area.call("GET /api/resilience/model-cooldowns").says(200).await;
    let unlock = || area.call("DELETE /api/resilience/model-cooldowns");
    unlock().query("all=true").says(200).await;
    unlock().says(400).await;
    area.call("DELETE /api/monitoring/health").says(200).await;
}

/// What is only read.
async fn looked_at(area: &Area) {
    for read in [
        "GET /api/providers/expiration",
        "GET /api/token-health",
        "GET /api/oauth",
        "GET /api/models",
        "GET /api/cli-tools/status",
        "GET /api/auth/status",
        "GET /livez",
        "GET /readyz",
        "GET /api/health/ping",
    ] {
        area.call(read).says(200).await;
    }
    let metrics = area.call("GET /metrics").answers(200).await;
    area.must("numbers", metrics.text().contains("omniroute_"), metrics.text().len());
    area.call("POST /api/config/reload").says(200).await;
}
