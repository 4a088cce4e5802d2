//! `/api/combos*`: named lists of targets with a strategy.
//!
//! A stored combo keeps its targets in `data.models`, each a step with an `id`, a `kind` and a `weight`:
//! `{"kind": "model", "model": "prefix/model"}` (or `provider` / `providerId` beside a `model` without prefix, and
//! `connectionId` to pin one account) or `{"kind": "combo-ref", "comboName": ".."}`. Nothing is added to what the
//! caller wrote that would change what it means.

use std::collections::HashSet;

use actix_web::{HttpResponse, web};
use omniroute_actors::router::plan::Strategy;
use serde_json::{Value, json};
use uuid::Uuid;

use super::combo_check::{Target, steps};
use super::combo_form::fill;
use crate::routes::body::{iso, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ComboRow, StoreError};

const NOT_FOUND: &str = "Combo not found";

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/combos", M, "All combos", list),
        RouteSpec::post("/api/combos", M, "Add a combo", create),
        RouteSpec::post("/api/combos/reorder", M, "Put combos into another order", reorder),
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
        strategy: default_strategy(&call),
        is_active: true,
        sort_order: last.saturating_add(1),
        data: json!({"models": [], "config": {}}),
        created_at: now,
        updated_at: now,
    };
    form.let_pass_answer(&view(&combo));
    let warnings = fill(&call, &mut form, &mut combo);
    form.finish()?;

    call.app.store.combos().insert(&combo).await.map_err(taken)?;
    call.audit("combo.created", &combo.id, json!({"name": combo.name, "strategy": combo.strategy})).await;
    call.refresh().await?;
    Ok(HttpResponse::Created().json(warned(&combo, warnings)))
}

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut combo = stored(&call, &id).await?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    call.check_switch(&form)?;
    let before = combo.name.clone();
    form.let_pass_answer(&view(&combo));
    let warnings = fill(&call, &mut form, &mut combo);
    form.finish()?;
    if combo.name != before {
        unused(&call, &before, &combo.id)?;
    }
    combo.updated_at = call.now();

    call.app.store.combos().update(&combo).await.map_err(taken)?;
    call.audit("combo.updated", &combo.id, json!({"name": combo.name, "strategy": combo.strategy})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(warned(&combo, warnings)))
}

/// The strategy of a combo that names none.
fn default_strategy(call: &Call) -> String {
    let settings = call.app.directory.combo_settings().for_all();
    let word = settings.get("strategy").and_then(Value::as_str);
    word.and_then(Strategy::parse).unwrap_or_default().as_str().to_owned()
}

/// The combos of the list come first, in its order; the others follow as they were.
async fn reorder(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("comboIds");
    let wanted = form.texts("comboIds", 1_000, 100).unwrap_or_default();
    if form.has("comboIds") && wanted.is_empty() {
        form.problem("comboIds", "Must name at least one combo");
    }
    if wanted.iter().collect::<HashSet<_>>().len() != wanted.len() {
        form.problem("comboIds", "Names a combo twice");
    }
    form.finish()?;
    let rows = call.app.store.combos().list().await?;
    if let Some(ghost) = wanted.iter().find(|id| !rows.iter().any(|row| row.id == **id)) {
        return Err(Refusal::not_found(NOT_FOUND).beside("comboId", ghost.as_str()));
    }
    let rest = rows.iter().map(|row| &row.id).filter(|id| !wanted.contains(id));
    let places = wanted.iter().chain(rest).zip(1..).map(|(id, place)| (id.clone(), place)).collect();
    call.app.store.combos().reorder(places, call.now()).await?;
    call.audit("combo.reordered", "combos", json!({"comboIds": wanted})).await;
    call.refresh().await?;
    list(call).await
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

/// The combo, and what its writer should know.
fn warned(combo: &ComboRow, warnings: Vec<Value>) -> Value {
    let mut answer = view(combo);
    if !warnings.is_empty() {
        put(&mut answer, "warnings", Value::Array(warnings));
    }
    answer
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
        "system_message": from_data("system_message", Value::Null),
        "tool_filter_regex": from_data("tool_filter_regex", Value::Null),
        "allowedProviders": from_data("allowedProviders", json!([])),
        "isHidden": from_data("isHidden", json!(false)),
        "isActive": combo.is_active,
        "sortOrder": combo.sort_order,
        "createdAt": iso(combo.created_at),
        "updatedAt": iso(combo.updated_at),
    })
}
