//! `/api/cloud/*`: what clients that keep their settings alike ask with a key of their own: which connections there are,
//! what names lead to. Changing anything is for those who manage.

use std::sync::Arc;

use actix_web::HttpResponse;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::model_aliases;
use super::models::alias_map;
use crate::auth::Role;
use crate::gateway::directory::Listed;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::ConnectionRow;
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

async fn auth(call: Call) -> HttpResponse {
    let listed = call.app.directory.listed();
    let allowed = call.principal.as_ref().and_then(|principal| principal.allowed_connections.clone());
    let may = |id: &str| allowed.as_ref().is_none_or(|allowed| allowed.contains(&ConnectionId::from(id)));
    let shown = listed.iter().filter(|entry| may(&entry.row.id));
    // Even the ends of a credential are nothing for those who only call models.
    let manages = call.has_role(Role::Viewer);
    let connections: Vec<_> = shown.map(|entry| connection(&entry.row, manages)).collect();
    let routing = call.app.directory.routing();
    HttpResponse::Ok().json(json!({"connections": connections, "modelAliases": alias_map(&routing.aliases)}))
}

fn connection(row: &ConnectionRow, manages: bool) -> Value {
    let held = row.credential.as_ref();
    let oauth = row.auth_type == "oauth";
    let document: Value = held
        .filter(|_| oauth)
        .and_then(|credential| serde_json::from_str(credential.expose_secret()).ok())
        .unwrap_or_default();
    let has = |names: [&str; 2]| names.iter().any(|name| document.get(name).is_some_and(Value::is_string));
    json!({
        "id": row.id,
        "provider": row.provider,
        "name": row.name,
        "authType": row.auth_type,
        "hasApiKey": held.is_some() && !oauth,
        "hasAccessToken": oauth && (has(["accessToken", "access_token"]) || held.is_some() && document.is_null()),
        "hasRefreshToken": oauth && has(["refreshToken", "refresh_token"]),
        "maskedApiKey": held.filter(|_| manages && !oauth).map(masked),
        "projectId": row.provider_specific_data.get("projectId"),
        "expiresAt": document.get("expiresAt"),
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
    let mut tokens = Form::part(form.object("credentials").unwrap_or_default(), "credentials");
    let access = tokens.text("accessToken", 1..=100_000);
    let refresh = tokens.text("refreshToken", 1..=100_000);
    let expires_in = tokens.integer("expiresIn", 1..=315_360_000);
    if access.is_none() && refresh.is_none() && expires_in.is_none() {
        tokens.problem("", "Must hold at least one of accessToken, refreshToken, expiresIn");
    }
    form.problems(tokens.into_problems());
    form.finish()?;

    let of = |entry: &&Arc<Listed>| {
        entry.row.provider == provider && entry.row.is_active && entry.source == Source::Database
    };
    let found = call.app.directory.listed().iter().find(of).map(|entry| entry.row.id.clone());
    let Some(id) = found else { return Err(Refusal::not_found("There is no active connection of this provider")) };
    let mut row = call.app.store.connections().get(&id).await?;
    let until = expires_in.map(|seconds| call.now().saturating_add(seconds.saturating_mul(1_000)));
    let changed = Changed { access, refresh, until };
    row.credential = Some(changed.into_credential(&row)?);
    row.updated_at = call.now();
    call.app.store.connections().update(&row).await?;
    call.audit("provider.credentials.updated", &id, json!({"provider": provider, "newCredential": true})).await;
    call.refresh_one(&id).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": "Credentials updated successfully", "id": id})))
}

struct Changed {
    access: Option<String>,
    refresh: Option<String>,
    until: Option<i64>,
}

impl Changed {
    /// A plain key is replaced; a document of tokens keeps what is not changed.
    fn into_credential(self, row: &ConnectionRow) -> Result<SecretString, Refusal> {
        if row.auth_type != "oauth" {
            let only_a_key = self.access.filter(|_| self.refresh.is_none() && self.until.is_none());
            let refusal = || Refusal::bad_request("The connection has a key and no tokens: send accessToken alone");
            return only_a_key.map(SecretString::from).ok_or_else(refusal);
        }
        let stored = row.credential.as_ref().and_then(|held| serde_json::from_str(held.expose_secret()).ok());
        let mut document = match stored {
            Some(Value::Object(document)) => document,
            _ => serde_json::Map::new(),
        };
        let changes = [
            ("accessToken", self.access.map(Value::from)),
            ("refreshToken", self.refresh.map(Value::from)),
            ("expiresAt", self.until.map(Value::from)),
        ];
        document.extend(changes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Ok(Value::Object(document).to_string().into())
    }
}

async fn resolve(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("alias");
    let alias = form.text("alias", 1..=512).unwrap_or_default();
    form.finish()?;
    let resolved = model_aliases::resolve(&call, alias.trim(), &call.app.directory.routing().aliases)
        .map_err(|_| Refusal::not_found("Alias not found"))?;
    let field = |name: &str| resolved.get(name).cloned().unwrap_or_default();
    Ok(HttpResponse::Ok().json(json!({
        "alias": alias, "provider": field("provider"), "model": field("model"), "combo": field("combo"),
        "qualifiedId": field("qualifiedId"),
    })))
}

async fn aliases(call: Call) -> HttpResponse {
    let routing = call.app.directory.routing();
    HttpResponse::Ok().json(json!({"aliases": alias_map(&routing.aliases)}))
}

async fn alias(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let row = model_aliases::read(&call, &mut form, 200);
    form.finish()?;
    model_aliases::store(&call, &row).await?;
    let message = "Alias stored successfully";
    Ok(HttpResponse::Ok().json(json!({"success": true, "model": row.target, "alias": row.alias, "message": message})))
}
