//! `/api/combos*`: named lists of targets with a strategy.
//!
//! A stored combo keeps its targets in `data.models`, each a step with an `id`, a `kind` and a `weight`:
//! `{"kind": "model", "model": "prefix/model"}` (or `provider` / `providerId` beside a `model` without prefix, and
//! `connectionId` to pin one account) or `{"kind": "combo-ref", "comboName": ".."}`. Nothing is added to what the
//! caller wrote that would change what it means.

use actix_web::{HttpResponse, web};
use omniroute_actors::router::plan::Strategy;
use serde_json::{Value, json};
use uuid::Uuid;

use super::combo_check::{Target, steps};
use super::combo_form::fill;
use crate::routes::body::iso;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ComboRow, StoreError};

const NOT_FOUND: &str = "Combo not found";
pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/combos", M, "All combos", list),
        RouteSpec::post("/api/combos", M, "Add a combo", create),
        RouteSpec::get("/api/combos/{id}", M, "One combo", show),
        RouteSpec::put("/api/combos/{id}", M, "Change a combo", update),
        RouteSpec::patch("/api/combos/{id}", M, "Change a combo", update),
        RouteSpec::delete("/api/combos/{id}", M, "Remove a combo", delete),
    ]
}

async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let combos: Vec<_> = call.app.directory.combos().iter().map(view).collect();
    Ok(HttpResponse::Ok().json(json!({ "combos": combos })))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let combos = call.app.directory.combos();
    let combo = combos.iter().find(|combo| combo.id == *id).ok_or_else(|| Refusal::not_found(NOT_FOUND))?;
    Ok(HttpResponse::Ok().json(view(combo)))
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("name");
    form.require("models");
    let now = call.now();
    let last = call.app.directory.combos().iter().map(|combo| combo.sort_order).max().unwrap_or(0);
    let mut combo = ComboRow {
        id: Uuid::now_v7().to_string(),
        name: String::new(),
        strategy: Strategy::default().as_str().into(),
        is_active: true,
        sort_order: last.saturating_add(1),
        data: json!({"models": [], "config": {}}),
        created_at: now,
        updated_at: now,
    };
    form.let_pass_answer(&view(&combo));
    fill(&call, &mut form, &mut combo);
    form.finish()?;

    call.app.store.combos().insert(&combo).await.map_err(taken)?;
    call.audit("combo.created", &combo.id, json!({"name": combo.name, "strategy": combo.strategy})).await;
    call.refresh().await?;
    Ok(HttpResponse::Created().json(view(&combo)))
}

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut combo = stored(&call, &id).await?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    let before = combo.name.clone();
    form.let_pass_answer(&view(&combo));
    fill(&call, &mut form, &mut combo);
    form.finish()?;
    if combo.name != before {
        unused(&call, &before, &combo.id)?;
    }
    combo.updated_at = call.now();

    call.app.store.combos().update(&combo).await.map_err(taken)?;
    call.audit("combo.updated", &combo.id, json!({"name": combo.name, "strategy": combo.strategy})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(view(&combo)))
}

async fn delete(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let combo = stored(&call, &id).await?;
    unused(&call, &combo.name, &combo.id)?;
    let mappings = call.app.store.combos().delete(&id).await?;
    call.audit("combo.deleted", &id, json!({"name": combo.name, "mappings": mappings})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

/// A combo that others lead to cannot go away under its name.
fn unused(call: &Call, name: &str, id: &str) -> Result<(), Refusal> {
    let combos = call.app.directory.combos();
    let leads_here = |combo: &&ComboRow| {
        combo.id != id && steps(&combo.data).iter().any(|step| Target::of(step) == Some(Target::Combo(name)))
    };
    let users: Vec<_> = combos.iter().filter(leads_here).map(|combo| combo.name.as_str()).collect();
    if users.is_empty() {
        return Ok(());
    }
    Err(Refusal::conflict(format!("These combos lead to it: {}", users.join(", "))))
}

/// A combo that can be changed here.
async fn stored(call: &Call, id: &str) -> Result<ComboRow, Refusal> {
    match call.app.store.combos().get(id).await {
        Err(StoreError::NotFound) if call.app.directory.combos().iter().any(|combo| combo.id == id) => {
            Err(Refusal::conflict("This combo belongs to the built-in demo and cannot be changed"))
        }
        Err(StoreError::NotFound) => Err(Refusal::not_found(NOT_FOUND)),
        other => Ok(other?),
    }
}

fn taken(error: StoreError) -> Refusal {
    match error {
        StoreError::Conflict(_) => Refusal::bad_request("Combo name already exists"),
        StoreError::NotFound => Refusal::not_found(NOT_FOUND),
        other => other.into(),
    }
}

fn view(combo: &ComboRow) -> Value {
    let from_data = |name: &str, otherwise: Value| combo.data.get(name).cloned().unwrap_or(otherwise);
    json!({
        "id": combo.id,
        "name": combo.name,
        "models": from_data("models", json!([])),
        "strategy": combo.strategy,
        "config": from_data("config", json!({})),
        "context_length": from_data("context_length", Value::Null),
        "isHidden": from_data("isHidden", json!(false)),
        "isActive": combo.is_active,
        "sortOrder": combo.sort_order,
        "createdAt": iso(combo.created_at),
        "updatedAt": iso(combo.updated_at),
    })
}
