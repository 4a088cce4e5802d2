//! `/api/rate-limits` and `/api/rate-limit`: the pace of calls through each connection, and for all.

use actix_web::{HttpResponse, web};
use omniroute_actors::connection::config::Source;
use serde_json::{Map, Value, json};

use super::connection_page::Wish;
use super::resilience::{settings, store_changes};
use super::{RESILIENCE_SETTING, live};
use crate::routes::body::put;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::StoreError;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/rate-limits", M, "Pace and load of connections, at most 500 a page", show),
        RouteSpec::post("/api/rate-limits", M, "Switch the pacing of a connection on or off", switch),
        RouteSpec::get("/api/rate-limit", M, "The pace for all connections", show_queue),
        RouteSpec::post("/api/rate-limit", M, "Change the pace for all connections", change_queue),
    ]
}

async fn show(call: Call, wish: web::Query<Wish>) -> Result<HttpResponse, Refusal> {
    let page = wish.page(&call)?;
    let snapshots = live::snapshots(&call.app, &page.shown).await?;
    let mut overview = Map::new();
    let mut connections = Vec::new();
    for entry in &page.shown {
        let row = &entry.row;
        let live = snapshots.get(row.id.as_str());
        let running = live.map_or(0, |snapshot| snapshot.in_flight);
        let queued = live.map_or(0, |snapshot| snapshot.queued);
        let load = json!({"queued": queued, "running": running, "executing": running});
        overview.insert(format!("{}:{}", row.provider, row.id), load);
        connections.push(json!({
            "connectionId": row.id,
            "provider": row.provider,
            "name": row.name,
            "rateLimitProtection": row.rate_limit_protection,
            "enabled": row.rate_limit_protection,
            "active": row.is_active,
            "queued": queued,
            "running": running,
            "executing": running,
            "done": live.map_or(0, |snapshot| snapshot.succeeded + snapshot.failed),
            "maxConcurrent": row.max_concurrent,
        }));
    }
    let lockouts = live::lockouts(&call.app);
    let mut answer = json!({"connections": connections, "overview": overview, "lockouts": lockouts, "cacheStats": {}});
    page.tell(&mut answer);
    Ok(HttpResponse::Ok().json(answer))
}

async fn switch(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("connectionId");
    form.require("enabled");
    let (id, enabled) = (form.text("connectionId", 1..=100), form.flag("enabled"));
    form.finish()?;
    let (id, enabled) = (id.unwrap_or_default(), enabled.unwrap_or_default());
    if call.app.directory.listed().iter().any(|entry| entry.row.id == id && entry.source != Source::Database) {
        return Err(Refusal::conflict("This connection is not in the database and cannot be changed here"));
    }
    let mut row = call.app.store.connections().get(&id).await.map_err(|error| match error {
        StoreError::NotFound => Refusal::not_found("Connection not found"),
        other => other.into(),
    })?;
    row.rate_limit_protection = enabled;
    row.updated_at = call.now();
    call.app.store.connections().update(&row).await?;
    call.audit("provider.rate_limit.switched", &id, json!({"enabled": enabled})).await;
    call.refresh_one(&id).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "connectionId": id, "enabled": enabled})))
}

async fn show_queue(call: Call) -> Result<HttpResponse, Refusal> {
    let stored = call.app.store.settings().get(RESILIENCE_SETTING).await?;
    Ok(HttpResponse::Ok().json(queue(&settings(&call, stored.as_ref()))))
}

/// The fields of the queue, bare or inside `requestQueue` or `defaults`.
async fn change_queue(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let Some(Value::Object(body)) = body.0 else {
        return Err(Refusal::bad_request("Must provide settings to update"));
    };
    let wrapped = body.contains_key("requestQueue") || body.contains_key("defaults");
    let changes = if wrapped { body } else { Map::from_iter([("requestQueue".to_owned(), Value::Object(body))]) };
    if let Some(other) = changes.keys().find(|name| !matches!(name.as_str(), "requestQueue" | "defaults")) {
        let mut form = Form::default();
        form.unknown(other, ["requestQueue", "defaults"]);
        form.finish()?;
    }
    let (stored, clamped) = store_changes(&call, &changes).await?;
    let mut answer = queue(&settings(&call, Some(&stored)));
    put(&mut answer, "ok", json!(true));
    put(&mut answer, "clamped", json!(clamped));
    Ok(HttpResponse::Ok().json(answer))
}

/// The group, both bare and under its name.
fn queue(settings: &Value) -> Value {
    let group = settings.get("requestQueue").cloned().unwrap_or_default();
    let mut answer = group.clone();
    put(&mut answer, "requestQueue", group);
    answer
}
