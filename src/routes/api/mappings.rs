//! `/api/model-combo-mappings*`: model strings of a pattern that a combo answers.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::routes::body::iso;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ComboRow, MappingRow, StoreError};

const NOT_FOUND: &str = "Mapping not found";

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let (all, one) = ("/api/model-combo-mappings", "/api/model-combo-mappings/{id}");
    vec![
        RouteSpec::get(all, M, "Patterns of model names that combos answer, in their order", list),
        RouteSpec::post(all, M, "Let a combo answer a pattern of model names", create),
        RouteSpec::get(one, M, "One mapping", show),
        RouteSpec::put(one, M, "Change a mapping", update),
        RouteSpec::patch(one, M, "Change a mapping", update),
        RouteSpec::delete(one, M, "Remove a mapping", delete),
    ]
}

async fn list(call: Call) -> HttpResponse {
    let (rows, combos) = (call.app.directory.routing(), call.app.directory.combos());
    let mappings: Vec<_> = rows.mappings.iter().map(|row| view(row, &combos)).collect();
    HttpResponse::Ok().json(json!({ "mappings": mappings }))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let row = stored(&call, &id).await?;
    Ok(HttpResponse::Ok().json(json!({"mapping": view(&row, &call.app.directory.combos())})))
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("pattern");
    form.require("comboId");
    let now = call.now();
    let mut row = MappingRow {
        id: Uuid::now_v7().to_string(),
        pattern: String::new(),
        combo_id: String::new(),
        priority: 0,
        enabled: true,
        description: String::new(),
        created_at: now,
        updated_at: now,
    };
    let combos = call.app.directory.combos();
    form.let_pass_answer(&view(&row, &combos));
    fill(&mut form, &mut row, &combos);
    form.finish()?;

    call.app.store.mappings().insert(&row).await?;
    call.audit("mapping.created", &row.id, json!({"pattern": row.pattern, "comboId": row.combo_id})).await;
    call.refresh().await?;
    Ok(HttpResponse::Created().json(json!({"mapping": view(&row, &combos)})))
}

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut row = stored(&call, &id).await?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    let combos = call.app.directory.combos();
    form.let_pass_answer(&view(&row, &combos));
    fill(&mut form, &mut row, &combos);
    form.finish()?;
    row.updated_at = call.now();

    call.app.store.mappings().update(&row).await.map_err(gone)?;
    let particulars = json!({"pattern": row.pattern, "comboId": row.combo_id, "enabled": row.enabled});
    call.audit("mapping.updated", &row.id, particulars).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"mapping": view(&row, &combos)})))
}

async fn delete(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let row = stored(&call, &id).await?;
    call.app.store.mappings().delete(&id).await.map_err(gone)?;
    call.audit("mapping.deleted", &id, json!({"pattern": row.pattern})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

fn fill(form: &mut Form, row: &mut MappingRow, combos: &[ComboRow]) {
    if let Some(pattern) = form.text("pattern", 1..=500) {
        if pattern.trim() != pattern || pattern.chars().any(char::is_control) {
            form.problem("pattern", "Must not begin or end with a space or hold control characters");
        }
        row.pattern = pattern;
    }
    if let Some(id) = form.text("comboId", 1..=100) {
        if !combos.iter().any(|combo| combo.id == id) {
            form.problem("comboId", "There is no such combo");
        }
        row.combo_id = id;
    }
    if let Some(priority) = form.nullable_small("priority", -1_000_000..=1_000_000).flatten() {
        row.priority = priority;
    }
    if let Some(enabled) = form.flag("enabled") {
        row.enabled = enabled;
    }
    if let Some(description) = form.nullable_text("description", 0..=1_000) {
        row.description = description.unwrap_or_default();
    }
}

async fn stored(call: &Call, id: &str) -> Result<MappingRow, Refusal> {
    call.app.store.mappings().get(id).await.map_err(gone)
}

fn gone(error: StoreError) -> Refusal {
    match error {
        StoreError::NotFound => Refusal::not_found(NOT_FOUND),
        other => other.into(),
    }
}

fn view(row: &MappingRow, combos: &[ComboRow]) -> Value {
    let combo = combos.iter().find(|combo| combo.id == row.combo_id);
    json!({
        "id": row.id,
        "pattern": row.pattern,
        "comboId": row.combo_id,
        "comboName": combo.map(|combo| combo.name.as_str()),
        "priority": row.priority,
        "enabled": row.enabled,
        "description": row.description,
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
    })
}
