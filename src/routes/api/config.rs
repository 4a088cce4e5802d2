//! `/api/config/reload`: read the configuration again, as SIGHUP does.

use std::sync::Arc;

use actix_web::HttpResponse;
use serde_json::json;

use crate::routes::body::put;
use crate::routes::{Call, Detail, Refusal, RouteSpec, Scope};

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![RouteSpec::post("/api/config/reload", Scope::Management, "Read the configuration again", reload)]
}

/// An invalid configuration is named problem by problem, and the old one stays in force.
async fn reload(call: Call) -> Result<HttpResponse, Refusal> {
    let reloader = Arc::clone(&call.management.reloader);
    let read = tokio::task::spawn_blocking(move || reloader.reload()).await.map_err(|error| {
        tracing::error!(%error, "reading the configuration failed");
        Refusal::internal()
    })?;
    let report = match read {
        Ok(report) => report,
        Err(problems) => {
            call.audit_as("config.reload", "config", "failed", json!({"problems": problems.to_string()})).await;
            let lines = problems.to_string();
            let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
            return Err(Refusal::invalid(
                lines.map(|line| Detail { field: "config".to_owned(), message: line.to_owned() }).collect(),
            ));
        }
    };
    call.audit("config.reload", "config", json!(report)).await;
    call.app.keys.reload(&call.app.store).await?;
    call.refresh().await?;
    let mut answer = json!(report);
    put(&mut answer, "ok", json!(true));
    Ok(HttpResponse::Ok().json(answer))
}
