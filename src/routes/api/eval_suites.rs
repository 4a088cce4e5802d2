//! `/api/evals/suites*`: the cases that models are tried with.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::eval_form::fill;
use crate::evals::builtin::{self, Builtin};
use crate::evals::suite::Suite;
use crate::routes::body::iso;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{EvalSuiteRow, StoreError};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let (all, one) = ("/api/evals/suites", "/api/evals/suites/{id}");
    vec![
        RouteSpec::get(all, M, "All eval suites, those that are built in first", list),
        RouteSpec::post(all, M, "Add an eval suite", create),
        RouteSpec::get(one, M, "One eval suite", show),
        RouteSpec::put(one, M, "Change an eval suite", update),
        RouteSpec::patch(one, M, "Change an eval suite", update),
        RouteSpec::delete(one, M, "Remove an eval suite; its runs stay", delete),
        RouteSpec::get("/api/evals/{suiteId}", M, "One eval suite, as it is", show_bare),
    ]
}

async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(json!({"suites": all(&call).await?})))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(json!({"suite": shown(&call, &id).await?})))
}

async fn show_bare(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(shown(&call, &id).await?))
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("name");
    form.require("cases");
    let id = form.text("id", 1..=100).unwrap_or_else(|| Uuid::now_v7().to_string());
    if !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        form.problem("id", "Must consist of letters, digits, `-`, `_` and `.`");
    }
    if RESERVED.contains(&id.as_str()) || builtin::suite(&id).is_some() {
        form.problem("id", "This id is taken");
    }
    let now = call.now();
    let mut row = EvalSuiteRow {
        id,
        name: String::new(),
        description: String::new(),
        cases: json!([]),
        created_at: now,
        updated_at: now,
    };
    form.let_pass_answer(&view(&row));
    fill(&mut form, &mut row);
    form.finish()?;

    call.app.store.eval_suites().insert(&row).await.map_err(taken)?;
    call.audit("eval_suite.created", &row.id, particulars(&row)).await;
    Ok(HttpResponse::Created().json(json!({"suite": view(&row)})))
}

/// Words that stand for something else under `/api/evals/`.
const RESERVED: [&str; 3] = ["suites", "runs", "groups"];

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut row = stored(&call, &id).await?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    form.let_pass_answer(&view(&row));
    fill(&mut form, &mut row);
    form.finish()?;
    row.updated_at = call.now();

    call.app.store.eval_suites().update(&row).await.map_err(|error| gone(error, &id))?;
    call.audit("eval_suite.updated", &row.id, particulars(&row)).await;
    Ok(HttpResponse::Ok().json(json!({"suite": view(&row)})))
}

async fn delete(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let row = stored(&call, &id).await?;
    call.app.store.eval_suites().delete(&id).await.map_err(|error| gone(error, &id))?;
    call.audit("eval_suite.deleted", &row.id, particulars(&row)).await;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

fn particulars(row: &EvalSuiteRow) -> Value {
    json!({"name": row.name, "cases": row.cases.as_array().map(Vec::len)})
}

/// Every suite as it is shown.
pub(super) async fn all(call: &Call) -> Result<Vec<Value>, Refusal> {
    let rows = call.app.store.eval_suites().list().await?;
    Ok(builtin::suites().iter().map(builtin_view).chain(rows.iter().map(view)).collect())
}

async fn shown(call: &Call, id: &str) -> Result<Value, Refusal> {
    match builtin::suite(id) {
        Some(suite) => Ok(builtin_view(&suite)),
        None => stored(call, id).await.map(|row| view(&row)),
    }
}

/// A suite that can be run.
pub(super) async fn runnable(call: &Call, id: &str) -> Result<Suite, Refusal> {
    if let Some(Builtin { id, name, cases, .. }) = builtin::suite(id) {
        return Ok(Suite { id, name, cases });
    }
    let EvalSuiteRow { id, name, cases, .. } = stored(call, id).await?;
    let cases = serde_json::from_value(cases).map_err(|error| {
        tracing::error!(%error, suite.id = id, "the cases of a suite cannot be read");
        Refusal::internal()
    })?;
    Ok(Suite { id, name, cases })
}

/// A suite that can be changed.
async fn stored(call: &Call, id: &str) -> Result<EvalSuiteRow, Refusal> {
    if builtin::suite(id).is_some() {
        return Err(Refusal::conflict("This suite is built in and cannot be changed"));
    }
    call.app.store.eval_suites().get(id).await.map_err(|error| gone(error, id))
}

fn gone(error: StoreError, id: &str) -> Refusal {
    match error {
        StoreError::NotFound => Refusal::not_found(format!("Suite not found: {id}")),
        other => other.into(),
    }
}

fn taken(error: StoreError) -> Refusal {
    match error {
        StoreError::Conflict(_) => Refusal::conflict("A suite with this id exists"),
        other => other.into(),
    }
}

fn view(row: &EvalSuiteRow) -> Value {
    json!({
        "id": row.id, "name": row.name, "description": row.description, "cases": row.cases, "builtIn": false,
        "caseCount": row.cases.as_array().map(Vec::len),
        "createdAt": iso(row.created_at), "updatedAt": iso(row.updated_at),
    })
}

fn builtin_view(suite: &Builtin) -> Value {
    json!({
        "id": suite.id, "name": suite.name, "description": suite.description, "cases": suite.cases, "builtIn": true,
        "caseCount": suite.cases.len(), "createdAt": null, "updatedAt": null,
    })
}
