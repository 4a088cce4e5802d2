//! `/api/cloud/*`: what clients that keep their settings alike ask with a key of their own: which connections there are,
//! what names lead to. Changing anything is for those who manage.

use std::sync::Arc;

use actix_web::HttpResponse;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::cloud_tokens::Given;
use super::connection_find::accounts;
use super::model_aliases;
use super::models::alias_map;
use crate::auth::Role;
use crate::gateway::directory::Listed;
use crate::providers::oauth::AUTH_TYPE;
use crate::routes::body::iso_or_null;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ConnectionRow, OauthSummary};
use omniroute_actors::connection::config::Source;
use omniroute_actors::ids::ConnectionId;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::{Inference as I, Management as M};
    let credentials = "/api/cloud/credentials/update";
    vec![
        RouteSpec::post("/api/cloud/auth", I, "Which connections the key may use, and all aliases", auth),
        RouteSpec::put(credentials, M, "Give a provider's connection new tokens", update),
        RouteSpec::post(credentials, M, "Give a provider's connection new tokens", update),
        RouteSpec::post("/api/cloud/model/resolve", I, "What a name leads to", resolve),
        RouteSpec::get("/api/cloud/models/alias", I, "All aliases", aliases),
        RouteSpec::put("/api/cloud/models/alias", M, "Store an alias", alias),
        RouteSpec::post("/api/cloud/models/alias", M, "Store an alias", alias),
    ]
}

async fn auth(call: Call) -> Result<HttpResponse, Refusal> {
    let listed = call.app.directory.listed();
    let allowed = call.principal.as_ref().and_then(|principal| principal.allowed_connections.clone());
    let may = |id: &str| allowed.as_ref().is_none_or(|allowed| allowed.contains(&ConnectionId::from(id)));
    let shown = listed.iter().filter(|entry| may(&entry.row.id));
    // Even the ends of a credential are nothing for those who only call models.
    let manages = call.has_role(Role::Viewer);
    let accounts = accounts(&call).await?;
    let connections: Vec<_> = shown.map(|entry| connection(&entry.row, accounts.get(&entry.row.id), manages)).collect();
    let answer = json!({"connections": connections, "modelAliases": own_aliases(&call)});
    Ok(HttpResponse::Ok().json(answer))
}

fn connection(row: &ConnectionRow, account: Option<&OauthSummary>, manages: bool) -> Value {
    let key = row.credential.as_ref().filter(|_| row.auth_type != AUTH_TYPE);
    json!({
        "id": row.id,
        "provider": row.provider,
        "name": row.name,
        "authType": row.auth_type,
        "hasApiKey": key.is_some(),
        "hasAccessToken": account.is_some(),
        "hasRefreshToken": account.is_some_and(|account| account.renewable),
        "maskedApiKey": key.filter(|_| manages).map(masked),
        "projectId": row.provider_specific_data.get("projectId"),
        "expiresAt": iso_or_null(account.and_then(|account| account.expires_at)),
        "priority": row.priority,
        "globalPriority": row.global_priority,
        "defaultModel": row.default_model,
        "isActive": row.is_active,
    })
}

/// The last four characters, and only of a key that is long enough to spare them.
fn masked(key: &SecretString) -> String {
    let key = key.expose_secret();
    let last: String = match key.char_indices().rev().nth(3) {
        Some((at, _)) if key.chars().count() >= 16 => key.get(at..).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    format!("****{last}")
}

/// New tokens for the first active connection of a provider. The place they are sent to stays what it was.
async fn update(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("provider");
    form.require("credentials");
    let provider = form.text("provider", 1..=100).unwrap_or_default();
    let tokens = Form::part(form.object("credentials").unwrap_or_default(), "credentials");
    let given = Given::read(tokens, &mut form);
    form.finish()?;

    let of = |entry: &&Arc<Listed>| {
        entry.row.provider == provider && entry.row.is_active && entry.source == Source::Database
    };
    let found = call.app.directory.listed().iter().find(of).map(|entry| entry.row.id.clone());
    let Some(id) = found else { return Err(Refusal::not_found("There is no active connection of this provider")) };
    let row = call.app.store.connections().get(&id).await?;
    if row.auth_type == AUTH_TYPE {
        given.sign_in(&call, row).await?;
    } else {
        given.replace(&call, row).await?;
    }
    call.audit("provider.credentials.updated", &id, json!({"provider": provider, "newCredential": true})).await;
    call.refresh_one(&id).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": "Credentials updated successfully", "id": id})))
}

async fn resolve(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("alias");
    let alias = form.text("alias", 1..=512).unwrap_or_default();
    form.finish()?;
    if !may_use(&call, &alias) {
        return Err(Refusal::not_found("Alias not found"));
    }
    let resolved = model_aliases::resolve(&call, alias.trim(), &call.app.directory.routing().aliases)
        .map_err(|_| Refusal::not_found("Alias not found"))?;
    let field = |name: &str| resolved.get(name).cloned().unwrap_or_default();
    Ok(HttpResponse::Ok().json(json!({
        "alias": alias, "provider": field("provider"), "model": field("model"), "combo": field("combo"),
        "qualifiedId": field("qualifiedId"),
    })))
}

async fn aliases(call: Call) -> HttpResponse {
    HttpResponse::Ok().json(json!({"aliases": own_aliases(&call)}))
}

/// A key that may use some models only learns nothing about the names of others.
fn own_aliases(call: &Call) -> Value {
    let rows = call.app.directory.routing();
    let mut aliases = alias_map(&rows.aliases);
    aliases.retain(|alias, _| may_use(call, alias));
    json!(aliases)
}

fn may_use(call: &Call, name: &str) -> bool {
    call.principal.as_ref().is_some_and(|principal| principal.may_use_model(name))
}

async fn alias(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let row = model_aliases::read(&call, &mut form, 200);
    form.finish()?;
    model_aliases::store(&call, &row).await?;
    let message = "Alias stored successfully";
    Ok(HttpResponse::Ok().json(json!({"success": true, "model": row.target, "alias": row.alias, "message": message})))
}
