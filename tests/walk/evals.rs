//! Evals: suites that are run against models, and outputs that are scored.

use omniroute_testkit::gateway::Builder;
use serde_json::json;

use super::area::{Area, text};
use crate::common::{PATIENCE, calm, eventually};

pub fn gateway() -> Builder {
    calm().set("evals.max_queued", "2")
}

pub async fn walk(area: &Area) {
    let case = json!({"id": "c", "name": "kind", "expected": {"strategy": "contains", "value": "hello"},
        "input": {"messages": [{"role": "user", "content": "say something kind"}]}});
    let suite = json!({"id": "mine", "name": "Mine", "cases": [case]});
    area.call("POST /api/evals/suites").json(suite).says(201).await;
    let post = || area.call("POST /api/evals");
    let on_a = json!({"suiteId": "mine", "target": {"type": "model", "id": "a/m"}});

    area.site.a.control.script(["ok text=hello+friend"]);
    let done = post().json(on_a.clone()).says(200).await;
    area.expect("a run is scored", &done["runs"][0]["summary"]["passed"], &json!(1));
    let scored = post().json(json!({"suiteId": "mine", "outputs": {"c": "hello"}})).says(200).await;
    area.expect("so are outputs", &scored["summary"]["passed"], &json!(1));
    let overview = area.call("GET /api/evals").says(200).await;
    area.expect("a run is kept", &overview["recentRuns"][0]["id"], &done["runs"][0]["id"]);

    post().json(json!({"target": {"type": "model", "id": "a/m"}})).says(400).await;
    post().json(json!({"suiteId": "mine", "target": {"type": "model", "id": "nowhere"}})).says(400).await;
    post().json(json!({"suiteId": "no-such-suite"})).says(404).await;
    crowded(area).await;
}

/// Runs in the background, as many as there may be and one more.
async fn crowded(area: &Area) {
    area.site.a.control.always("hang_before_head");
    let body = json!({"suiteId": "mine", "target": {"type": "model", "id": "a/m"}, "background": true});
    let post = || area.call("POST /api/evals").json(body.clone());
    let mut runs = Vec::new();
    for _ in 0..2 {
        runs.push(post().says(202).await["runs"][0]["id"].clone());
    }
    post().says(429).await;
    for run in &runs {
        area.call("POST /api/evals/runs/{id}/cancel").at(text(run)).says(200).await;
    }
    let room = eventually(PATIENCE * 2, async || {
        let over = area.site.admin.get(&format!("/api/evals/runs/{}", text(&runs[0]))).await;
        (over["run"]["status"] == "cancelled").then_some(())
    });
    area.must("a run is ended", room.await.is_some(), &runs);
}
