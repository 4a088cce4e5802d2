//! Breakers, queues and limits: their numbers, their state, and setting them back.

use omniroute_testkit::gateway::Builder;
use serde_json::json;

use super::area::Area;
use crate::common::touchy;

pub fn gateway() -> Builder {
    touchy(60_000)
}

pub async fn walk(area: &Area) {
    area.site.open_breaker_of_a().await;
    let reset = || area.call("POST /api/resilience/reset");
    reset().json(json!({"scope": "moon"})).says(400).await;
    reset().json(json!({"connectionId": "nobody"})).says(404).await;
    let done = reset().says(200).await;
    area.expect("the breaker closes", &done["resetCount"], &json!(1));
    area.asks("a/m", 200).await;

    numbers(area).await;
    limits(area).await;
}

async fn numbers(area: &Area) {
    let get = || area.call("GET /api/resilience");
    let put = || area.call("PUT /api/resilience");
    let before = get().answers(200).await;
    let version = before.header("etag").unwrap_or_default().to_owned();
    get().query("events=many").says(400).await;
    let nobody = get().query("connectionId=nobody").says(200).await;
    area.expect("nobody is shown", &nobody["state"]["connections"], &json!([]));

    let change = json!({"requestQueue": {"requestsPerMinute": 77}, "waitForCooldown": {"maxRetries": 1}});
    let changed = put().json(change.clone()).header("If-Match", &version).says(200).await;
    let after = get().query("events=1").says(200).await;
    area.expect("a change is read back", &after["requestQueue"], &changed["requestQueue"]);
    area.expect("as it was sent", &after["requestQueue"]["requestsPerMinute"], &json!(77));
    area.expect("one event", after["events"].as_array().map(Vec::len), Some(1));
    put().json(change.clone()).header("If-Match", &version).says(412).await;
    put().json(json!({"version": 0, "requestQueue": {"requestsPerMinute": 78}})).says(409).await;
    put().json(json!({"requestQueue": {"requestsPerMinut": 77}})).says(400).await;
    put().json(json!({})).says(400).await;
    let again = json!({"version": 1, "requestQueue": {"requestsPerMinute": 79}});
    area.call("PATCH /api/resilience").json(again).says(200).await;
}

async fn limits(area: &Area) {
    let queue = area.call("GET /api/rate-limit").says(200).await;
    area.expect("the queue of now", &queue["requestsPerMinute"], &json!(79));
    let id = &area.site.at_a.connections[0];
    area.call("POST /api/rate-limits").json(json!({"connectionId": id, "enabled": true})).says(200).await;
    let limits = area.call("GET /api/rate-limits").says(200).await;
    area.call("GET /api/rate-limits").query("cursor=made-up").says(400).await;
    let all = limits["connections"].as_array().cloned().unwrap_or_default();
    let own = all.iter().find(|one| one["connectionId"] == id.as_str()).cloned().unwrap_or_default();
    area.expect("the switch of a connection", &own["enabled"], &json!(true));
}
