//! `/api/models/test`: does this model answer at this provider? Asked with one tiny request; nothing of the answer is shown.

use actix_web::HttpResponse;
use serde_json::json;

use super::connection_checks::home_of;
use super::connection_test::prepared;
use super::probe;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![RouteSpec::post("/api/models/test", Scope::Management, "Ask a model of a provider for a sign of life", test)]
}

/// The first connection that is switched on is asked, in the order of their priorities.
async fn test(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("providerId");
    form.require("modelId");
    let provider = form.text("providerId", 1..=100).unwrap_or_default();
    let model = form.text("modelId", 1..=500).unwrap_or_default();
    form.finish()?;
    let home = home_of(&call, &provider)?;
    let listed = call.app.directory.listed();
    let mut own: Vec<_> =
        listed.iter().filter(|entry| entry.row.provider == home.id() && entry.row.is_active).collect();
    own.sort_by_key(|entry| entry.row.priority);
    let subject = own.into_iter().find_map(|entry| prepared(&call, entry));
    let subject = subject.ok_or_else(|| Refusal::not_found("This provider has no connection that can be used"))?;
    let began = tokio::time::Instant::now();
    let found = probe::test(&subject, Some(&model)).await;
    let latency = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    call.audit_as("model.test", &model, found.kind, json!({"provider": home.id()})).await;
    Ok(HttpResponse::Ok().json(if found.valid() {
        json!({"status": "ok", "latencyMs": latency, "responseText": null, "diagnosis": found.to_json()})
    } else {
        json!({
            "status": "error", "statusCode": found.status, "error": found.message, "latencyMs": latency,
            "diagnosis": found.to_json(),
        })
    }))
}
