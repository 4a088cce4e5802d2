//! `/api/sessions`: sessions that clients named in the last half hour, and where they are served.

use actix_web::HttpResponse;

use super::combo_metrics::silent;
use crate::routes::{Call, Refusal, RouteSpec, Scope};

/// Sessions that are shown.
const MOST: usize = 1_000;

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![RouteSpec::get("/api/sessions", Scope::Management, "Sessions of clients, the latest first", show)]
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let now = call.now();
    let answer = call.app.stats.ask(move |kept| kept.sessions.to_json(now, MOST)).await;
    Ok(HttpResponse::Ok().json(answer.ok_or_else(silent)?))
}
