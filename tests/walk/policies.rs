//! Routing policies, and who is locked out from signing in.

use omniroute_testkit::gateway::Builder;
use serde_json::{Value, json};

use super::area::{Area, text};
use crate::common::calm;

pub fn gateway() -> Builder {
    calm()
}

fn no_more_of_a(name: &str) -> Value {
    json!({"name": name, "effect": "deny", "what": {"models": ["a/*"]}})
}

pub async fn walk(area: &Area) {
    let post = || area.call("POST /api/policies");
    post().json(json!({"name": "x"})).says(400).await;
    post().json(json!({"action": "lock", "identifier": "10.0.0.9"})).says(400).await;
    let made = post().json(no_more_of_a("no a")).says(201).await;
    post().json(no_more_of_a("no a")).says(409).await;
    let unlocked = post().json(json!({"action": "unlock", "identifier": "10.0.0.9"})).says(200).await;
    area.expect("nobody was locked out", &unlocked["wasLocked"], &json!(false));

    let listed = area.call("GET /api/policies").says(200).await;
    area.expect("a policy is listed as it was made", &listed["policies"], &json!([made["policy"]]));
    let refused = area.site.ask(false).await;
    area.must("a policy is in force", refused.status() >= 400, refused.text());

    let delete = || area.call("DELETE /api/policies");
    delete().says(400).await;
    delete().query("id=nobody").says(404).await;
    delete().query("identifier=10.0.0.9").says(200).await;
    delete().query(&format!("id={}", text(&made["policy"]["id"]))).says(200).await;
    area.asks("a/m", 200).await;
}
