//! `/api/policies*`: who is locked out from signing in, and the routing policies. The original has the first under this
//! name and its documents promise the second; both are here.

use actix_web::{HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use super::policy_form::{fill, view};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{PolicyRow, StoreError};

const NOT_FOUND: &str = "Policy not found";
/// The place of a policy that names none.
const USUAL_PRIORITY: i32 = 100;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let (all, one) = ("/api/policies", "/api/policies/{id}");
    vec![
        RouteSpec::get(all, M, "Routing policies, and who is locked out from signing in", list),
        RouteSpec::post(all, M, "Add a routing policy, or let somebody sign in again", post),
        RouteSpec::delete(all, M, "Remove a routing policy, or let somebody sign in again", remove),
        RouteSpec::get(one, M, "One routing policy", show),
        RouteSpec::put(one, M, "Change a routing policy", update),
        RouteSpec::patch(one, M, "Change a routing policy", update),
        RouteSpec::delete(one, M, "Remove a routing policy", delete),
    ]
}

async fn list(call: Call) -> HttpResponse {
    let now = call.now();
    let locked = call.app.logins.locked().into_iter().map(|(identifier, left)| {
        let left = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
        json!({"identifier": identifier, "lockedUntil": now.saturating_add(left), "remainingMs": left})
    });
    let policies: Vec<_> = call.app.directory.routing().policies.iter().map(view).collect();
    HttpResponse::Ok().json(json!({"lockedIdentifiers": locked.collect::<Vec<_>>(), "policies": policies}))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let row = call.app.store.policies().get(&id).await.map_err(told)?;
    Ok(HttpResponse::Ok().json(json!({"policy": view(&row)})))
}

async fn post(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    if form.has("action") {
        form.word("action", &["unlock"]);
        form.require("identifier");
        let identifier = form.text("identifier", 1..=200);
        form.finish()?;
        return unlock(&call, &identifier.unwrap_or_default()).await;
    }
    let row = create(&call, form).await?;
    Ok(HttpResponse::Created().json(json!({"success": true, "policy": view(&row)})))
}

async fn unlock(call: &Call, identifier: &str) -> Result<HttpResponse, Refusal> {
    let was_locked = call.app.logins.unlock(identifier);
    call.audit("login.unlocked", identifier, json!({"wasLocked": was_locked})).await;
    let answer = json!({"success": true, "action": "unlocked", "identifier": identifier, "wasLocked": was_locked});
    Ok(HttpResponse::Ok().json(answer))
}

async fn create(call: &Call, mut form: Form) -> Result<PolicyRow, Refusal> {
    for field in ["name", "effect", "what"] {
        form.require(field);
    }
    let now = call.now();
    let mut row = PolicyRow {
        id: Uuid::now_v7().to_string(),
        name: String::new(),
        enabled: true,
        priority: USUAL_PRIORITY,
        effect: String::new(),
        data: json!({}),
        created_at: now,
        updated_at: now,
    };
    form.let_pass_answer(&view(&row));
    fill(&mut form, &mut row);
    form.finish()?;
    call.app.store.policies().insert(&row).await.map_err(told)?;
    call.audit("policy.created", &row.id, view(&row)).await;
    call.refresh().await?;
    Ok(row)
}

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut row = call.app.store.policies().get(&id).await.map_err(told)?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    form.let_pass_answer(&view(&row));
    fill(&mut form, &mut row);
    form.finish()?;
    row.updated_at = call.now();
    call.app.store.policies().update(&row).await.map_err(told)?;
    call.audit("policy.updated", &row.id, view(&row)).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"policy": view(&row)})))
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    id: Option<String>,
    identifier: Option<String>,
}

async fn remove(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    match query.into_inner() {
        Query { id: Some(id), .. } => taken_away(&call, &id).await,
        Query { identifier: Some(identifier), .. } => unlock(&call, &identifier).await,
        _ => Err(Refusal::bad_request("Name a policy by id, or who is locked out by identifier")),
    }
}

async fn delete(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    taken_away(&call, &id).await
}

async fn taken_away(call: &Call, id: &str) -> Result<HttpResponse, Refusal> {
    call.app.store.policies().delete(id).await.map_err(told)?;
    call.audit("policy.deleted", id, json!({})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "id": id})))
}

fn told(error: StoreError) -> Refusal {
    match error {
        StoreError::NotFound => Refusal::not_found(NOT_FOUND),
        StoreError::Conflict(_) => Refusal::conflict("Another policy has this name"),
        other => other.into(),
    }
}
