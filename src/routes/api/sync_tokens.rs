//! `/api/sync/tokens`: what other instances show to fetch our configuration, or to bring theirs.

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpResponse, web};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::infra::crypto::random_token;
use crate::routes::body::{iso, iso_or_null};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{StoreError, SyncTokenRow};

/// What a token begins with: it is no client key and is never taken for one.
const PREFIX: &str = "ags_";

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/sync/tokens", M, "The tokens of other instances", list),
        RouteSpec::post("/api/sync/tokens", M, "Make a token for another instance; it is shown once", create),
        RouteSpec::delete("/api/sync/tokens/{id}", M, "Revoke a token", revoke),
    ]
}

async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let rows = call.app.store.sync_tokens().list().await?;
    let tokens: Vec<_> = rows.iter().map(view).collect();
    Ok(HttpResponse::Ok().json(json!({"tokens": tokens, "total": rows.len()})))
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("name");
    let name = form.text("name", 1..=200).unwrap_or_default();
    form.finish()?;
    let token = format!("{PREFIX}{}", random_token().map_err(StoreError::from)?.expose_secret());
    let row = SyncTokenRow {
        id: Uuid::now_v7().to_string(),
        name,
        secret_hash: call.app.vault.client_keys().hash(&token),
        created_at: call.now(),
        updated_at: call.now(),
        last_used_at: None,
        revoked_at: None,
    };
    call.app.store.sync_tokens().insert(&row).await?;
    call.audit("sync.token.created", &row.id, json!({"name": row.name})).await;
    Ok(HttpResponse::Created().json(json!({"token": token, "syncToken": view(&row)})))
}

async fn revoke(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    call.app.store.sync_tokens().revoke(&id, call.now()).await.map_err(|error| match error {
        StoreError::NotFound => Refusal::not_found("There is no such token"),
        other => other.into(),
    })?;
    call.audit("sync.token.revoked", &id, json!({})).await;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

/// The token that a request shows, if it is one of ours and still good.
pub(super) async fn shown(call: &Call) -> Result<Option<SyncTokenRow>, Refusal> {
    let header = call.request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| token.starts_with(PREFIX));
    let Some(token) = token else { return Ok(None) };
    let hash = call.app.vault.client_keys().hash(token);
    Ok(call.app.store.sync_tokens().take(&hash, call.now()).await?)
}

fn view(row: &SyncTokenRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "syncApiKeyId": null,
        "revokedAt": iso_or_null(row.revoked_at),
        "lastUsedAt": iso_or_null(row.last_used_at),
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
    })
}
