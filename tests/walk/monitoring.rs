//! What is told about the running gateway.

use omniroute_testkit::gateway::Builder;
use serde_json::json;

use super::area::Area;
use crate::common::{calm, chat};

pub fn gateway() -> Builder {
    calm()
}

pub async fn walk(area: &Area) {
    let asked = area.site.gateway.ask(&chat("a/m", false).header("x-omniroute-session", "walk")).await;
    area.expect("a call with a session", asked.status(), 200);

    let sessions = area.call("GET /api/sessions").says(200).await;
    let telemetry = area.call("GET /api/telemetry/summary").query("windowMs=60000").says(200).await;
    let health = area.call("GET /api/monitoring/health").says(200).await;
    let short = area.call("GET /api/monitoring/health").by_a_stranger().says(200).await;

    area.expect("a session that is alive", &sessions["count"], &json!(1));
    area.expect("a call of the last minute", &telemetry["totalRequests"], &json!(1));
    area.must("operators read how providers are", health["providerHealth"].is_object(), &health);
    area.must("strangers only whether it runs", short.get("providerHealth").is_none(), &short);
    area.call("GET /api/telemetry/summary").query("windowMs=long").says(400).await;
}
