//! `/api/telemetry/summary`: how long requests took lately, per provider and per phase.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::combo_metrics::silent;
use crate::infra::memory;
use crate::infra::stats::telemetry::FARTHEST_MS;
use crate::routes::{Call, Refusal, RouteSpec, Scope};

const USUAL_MS: i64 = 300_000;

pub(super) fn routes() -> Vec<RouteSpec> {
    let meaning = "How long requests took lately, per provider and phase";
    vec![RouteSpec::get("/api/telemetry/summary", Scope::Management, meaning, show)]
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Query {
    window_ms: Option<i64>,
}

async fn show(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let (now, window) = (call.now(), query.window_ms.unwrap_or(USUAL_MS).clamp(1, FARTHEST_MS));
    let asked = call.app.stats.ask(move |kept| (kept.telemetry.summary(window, now), kept.sessions.alive(now))).await;
    let (mut answer, sessions) = asked.ok_or_else(silent)?;
    let uptime = call.app.clock.now().since(call.app.lifecycle.started_at()).as_secs_f64();
    answer.insert("sessions".into(), json!({"activeCount": sessions, "stickyBoundCount": 0}));
    answer.insert("quotaMonitor".into(), json!({"active": 0, "alerting": 0, "exhausted": 0, "errors": 0}));
    answer.insert("uptime".into(), json!(uptime));
    answer.insert("memoryUsage".into(), json!({"rss": memory::resident()}));
    answer.insert("activeConnections".into(), json!(call.app.lifecycle.in_flight()));
    answer.insert("lost".into(), json!(call.app.stats.lost()));
    Ok(HttpResponse::Ok().json(answer))
}
