//! `/api/restart`, `/api/shutdown`: the whole process, drained. Both are answered first: what runs may end.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use serde_json::json;

use crate::infra::orders::Order;
use crate::routes::{Call, Refusal, RouteSpec, Scope};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::post("/api/restart", M, "Begin anew with the configuration of now; what runs may end", restart),
        RouteSpec::post("/api/shutdown", M, "End the process; what runs may end", shutdown),
    ]
}

/// A configuration that would not start is found before anything ends.
async fn restart(call: Call) -> Result<HttpResponse, Refusal> {
    let reloader = call.management.reloader.clone();
    let checked = web::block(move || reloader.check()).await.map_err(|_| Refusal::internal())?;
    if let Err(problems) = checked {
        call.audit_as("system.restart", "system", "failed", json!({"problems": problems.to_string()})).await;
        return Err(Refusal::conflict("The configuration would not start; nothing was changed")
            .beside("problems", json!(problems)));
    }
    call.audit("system.restart", "system", json!({})).await;
    give(&call, Order::Restart)?;
    Ok(HttpResponse::Accepted().json(json!({"status": "restarting", "success": true})))
}

async fn shutdown(call: Call) -> Result<HttpResponse, Refusal> {
    call.audit("system.shutdown", "system", json!({})).await;
    give(&call, Order::Shutdown)?;
    Ok(HttpResponse::Accepted().json(json!({"success": true, "message": "Shutting down..."})))
}

fn give(call: &Call, order: Order) -> Result<(), Refusal> {
    let busy = || Refusal::new(StatusCode::CONFLICT, "conflict", "The process is already about to restart or to end");
    if call.management.orders.give(order) { Ok(()) } else { Err(busy()) }
}
