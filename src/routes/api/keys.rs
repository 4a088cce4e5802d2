//! `/api/keys*`: client keys. The key itself is shown once, when it is made; afterwards only its ends.
//!
//! Limits that this gateway does not enforce are refused: a restriction that is stored and ignored is worse than none.

use actix_web::{HttpResponse, web};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::connection_page::wrong_cursor;
use crate::auth::{Kind, ModelPatterns, Principal, Scopes, client_keys};
use crate::routes::body::{iso, iso_or_null, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ApiKeyRow, KeyPage, StoreError};
use actix_web::http::StatusCode;

const NOT_FOUND: &str = "Key not found";
/// What is shown unless less is asked for, and the most: who has more keys goes on with the cursor.
const MOST_SHOWN: i64 = 500;
const MOST_MODELS: usize = 1_000;
const MOST_CONNECTIONS: usize = 100;
/// Restrictions of the original that are not enforced here.
const NOT_OFFERED: [&str; 12] = [
    "accessSchedule",
    "rateLimits",
    "allowedCombos",
    "allowedEndpoints",
    "ipAllowlist",
    "maxSessions",
    "dailyUsageLimitUsd",
    "weeklyUsageLimitUsd",
    "usageLimitEnabled",
    "throttleDelayMs",
    "isBanned",
    "preferredConnections",
];
/// Wishes of the original about parts that this gateway does not have; none of them restricts anything.
const WITHOUT_MEANING: [&str; 4] = ["autoResolve", "allowUsageCommand", "cacheDefaultMode", "compressionEnabled"];

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/keys", M, "Client keys, masked, at most 500 a page", list),
        RouteSpec::post("/api/keys", M, "Make a client key; it is shown once", create),
        RouteSpec::get("/api/keys/{id}", M, "One client key, masked", show),
        RouteSpec::put("/api/keys/{id}", M, "Change what a key may do", update),
        RouteSpec::patch("/api/keys/{id}", M, "Change what a key may do", update),
        RouteSpec::delete("/api/keys/{id}", M, "Remove a key", delete),
    ]
}

#[derive(Debug, serde::Deserialize)]
struct Page {
    limit: Option<i64>,
    offset: Option<i64>,
    /// Where the page before ended: the time and the id of its last key.
    cursor: Option<String>,
    search: Option<String>,
}

impl Page {
    fn wish(&self) -> Result<KeyPage, Refusal> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let place = |text: String| text.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
        let after = given(&self.cursor).map(|text| place(text).ok_or_else(wrong_cursor)).transpose()?;
        let limit = self.limit.unwrap_or(MOST_SHOWN).clamp(1, MOST_SHOWN);
        Ok(KeyPage { search: given(&self.search), after, offset: self.offset.unwrap_or(0).max(0), limit })
    }
}

async fn list(call: Call, page: web::Query<Page>) -> Result<HttpResponse, Refusal> {
    let wish = page.wish()?;
    let most = usize::try_from(wish.limit).unwrap_or(usize::MAX);
    let (rows, total) = call.app.store.api_keys().page(wish).await?;
    let keys: Vec<_> = rows.iter().map(|row| view(&call, row)).collect();
    let next = rows.last().filter(|_| rows.len() == most).map(|row| format!("{}.{}", row.created_at, row.id));
    Ok(HttpResponse::Ok().json(json!({"keys": keys, "total": total, "nextCursor": next, "allowKeyReveal": false})))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let row = get(&call, &id).await?;
    Ok(HttpResponse::Ok().json(view(&call, &row)))
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("name");
    let (mut row, secret) = client_keys::fresh(&call.app.vault, "", call.now()).map_err(StoreError::from)?;
    form.let_pass_answer(&view(&call, &row));
    fill(&call, &mut form, &mut row);
    if row.expires_at.is_some_and(|end| end <= row.created_at) {
        form.problem("expiresAt", "Lies in the past");
    }
    form.finish()?;
    check_grant(call.principal.as_deref(), &row)?;

    call.app.store.api_keys().insert(&row).await?;
    call.audit("apikey.created", &row.id, particulars(&row)).await;
    call.app.keys.take_up(&row.secret_hash, &call.app.store).await?;
    let mut answer = view(&call, &row);
    put(&mut answer, "key", json!(secret.expose_secret()));
    put(&mut answer, "machineId", Value::Null);
    Ok(HttpResponse::Created().json(answer))
}

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut row = get(&call, &id).await?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No valid fields to update"));
    }
    form.let_pass_answer(&view(&call, &row));
    fill(&call, &mut form, &mut row);
    form.finish()?;
    check_grant(call.principal.as_deref(), &row)?;

    call.app.store.api_keys().update(&row).await?;
    call.audit("apikey.updated", &row.id, particulars(&row)).await;
    call.app.keys.take_up(&row.secret_hash, &call.app.store).await?;
    let mut answer = view(&call, &row);
    put(&mut answer, "message", json!("API key settings updated successfully"));
    Ok(HttpResponse::Ok().json(answer))
}

async fn delete(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let row = get(&call, &id).await?;
    call.app.store.api_keys().delete(&id).await?;
    call.audit("apikey.deleted", &id, particulars(&row)).await;
    call.app.keys.take_up(&row.secret_hash, &call.app.store).await?;
    Ok(HttpResponse::Ok().json(json!({"message": "Key deleted successfully"})))
}

fn fill(call: &Call, form: &mut Form, row: &mut ApiKeyRow) {
    if let Some(name) = form.text("name", 1..=200) {
        row.name = name;
    }
    if let Some(scopes) = form.texts("scopes", 32, 64) {
        for scope in scopes.iter().filter(|scope| !Scopes::WORDS.contains(&scope.as_str())) {
            form.problem("scopes", format!("`{scope}` is none of: {}", Scopes::WORDS.join(", ")));
        }
        row.scopes = json!(scopes);
    }
    fill_lists(call, form, row);
    if let Some(expires_at) = form.time("expiresAt") {
        row.expires_at = expires_at;
    }
    for (field, place) in [
        ("maxRequestsPerMinute", &mut row.max_requests_per_minute),
        ("maxRequestsPerDay", &mut row.max_requests_per_day),
    ] {
        if let Some(limit) = form.nullable_small(field, 0..=1_000_000_000) {
            *place = limit.filter(|limit| *limit > 0);
        }
    }
    if let Some(active) = form.flag("isActive") {
        row.is_active = active;
    }
    if let Some(no_log) = form.flag("noLog") {
        row.no_log = no_log;
    }
    fill_extra(form, row);
    form.let_pass(WITHOUT_MEANING);
    refuse_what_is_not_offered(form);
}

fn fill_lists(call: &Call, form: &mut Form, row: &mut ApiKeyRow) {
    if let Some(models) = form.texts("allowedModels", MOST_MODELS, 512) {
        for model in models.iter().filter(|model| !ModelPatterns::is_pattern(model)) {
            form.problem("allowedModels", format!("`{model}` is no model, prefix/* or *"));
        }
        row.allowed_models = json!(models);
    }
    match form.text("modelAccessMode", 1..=20).as_deref() {
        None => {}
        Some("all") => row.allowed_models = json!([]),
        Some("restricted") if row.allowed_models.as_array().is_some_and(Vec::is_empty) => {
            form.problem("allowedModels", "Must name a model when access is restricted");
        }
        Some("restricted") => {}
        Some(_) => form.problem("modelAccessMode", "Expected all or restricted"),
    }
    if let Some(connections) = form.texts("allowedConnections", MOST_CONNECTIONS, 100) {
        let listed = call.app.directory.listed();
        let known = |id: &String| listed.iter().any(|entry| entry.row.id == *id);
        for id in connections.iter().filter(|id| !known(id)) {
            form.problem("allowedConnections", format!("There is no connection `{id}`"));
        }
        row.allowed_connections = json!(connections);
    }
}

fn fill_extra(form: &mut Form, row: &mut ApiKeyRow) {
    let Some(mode) = form.text("streamDefaultMode", 1..=20) else { return };
    if !matches!(mode.as_str(), "legacy" | "json") {
        form.problem("streamDefaultMode", "Expected legacy or json");
    }
    let mut extra: Map<String, Value> = row.extra.as_object().cloned().unwrap_or_default();
    extra.insert("streamDefaultMode".into(), json!(mode));
    row.extra = Value::Object(extra);
}

fn refuse_what_is_not_offered(form: &mut Form) {
    for field in NOT_OFFERED {
        form.let_pass([field]);
        let harmless = match form.raw(field) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::Number(number)) => number.as_f64() == Some(0.0),
            Some(Value::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        if !harmless {
            form.problem(field, "Is not supported");
        }
    }
}

/// A key can hand on only what it holds itself; the administrator holds everything.
fn check_grant(granter: Option<&Principal>, row: &ApiKeyRow) -> Result<(), Refusal> {
    let Some(granter) = granter.filter(|granter| matches!(granter.kind, Kind::Key { .. })) else { return Ok(()) };
    let scopes = Scopes::of(&row.scopes);
    let scopes_held = (granter.scopes.inference || !scopes.inference) && granter.scopes.management >= scopes.management;
    let models = row.allowed_models.as_array().map_or(&[][..], Vec::as_slice);
    let models_held = granter.allowed_models == ModelPatterns::All
        || !models.is_empty() && models.iter().filter_map(Value::as_str).all(|model| granter.may_use_model(model));
    let connections = row.allowed_connections.as_array().map_or(&[][..], Vec::as_slice);
    let connections_held = granter.allowed_connections.as_ref().is_none_or(|held| {
        let mut named = connections.iter().filter_map(Value::as_str);
        !connections.is_empty() && named.all(|id| held.contains(id))
    });
    if scopes_held && models_held && connections_held {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "AUTH_001", "A key can grant only what it holds itself"))
}

async fn get(call: &Call, id: &str) -> Result<ApiKeyRow, Refusal> {
    call.app.store.api_keys().get(id).await.map_err(|error| match error {
        StoreError::NotFound => Refusal::not_found(NOT_FOUND),
        other => other.into(),
    })
}

fn particulars(row: &ApiKeyRow) -> Value {
    json!({"name": row.name, "prefix": row.prefix, "scopes": row.scopes, "isActive": row.is_active})
}

pub(super) fn view(call: &Call, row: &ApiKeyRow) -> Value {
    let used = row.last_used_at.max(call.app.keys.used_at(&row.secret_hash));
    json!({
        "id": row.id,
        "name": row.name,
        "key": format!("{}****{}", row.prefix, row.last4),
        "keyPrefix": row.prefix,
        "last4": row.last4,
        "machineId": null,
        "scopes": row.scopes,
        "allowedModels": row.allowed_models,
        "modelAccessMode": if row.allowed_models.as_array().is_some_and(Vec::is_empty) { "all" } else { "restricted" },
        "allowedConnections": row.allowed_connections,
        "noLog": row.no_log,
        "autoResolve": false,
        "isActive": row.is_active,
        "accessSchedule": null,
        "maxRequestsPerDay": row.max_requests_per_day,
        "maxRequestsPerMinute": row.max_requests_per_minute,
        "maxSessions": row.max_sessions.unwrap_or(0),
        "streamDefaultMode": row.extra.get("streamDefaultMode").cloned().unwrap_or(json!("json")),
        "ipAllowlist": null,
        "revokedAt": iso_or_null(row.revoked_at),
        "expiresAt": iso_or_null(row.expires_at),
        "lastUsedAt": iso_or_null(used),
        "createdAt": iso(row.created_at),
    })
}
