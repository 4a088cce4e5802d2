//! `/api/cloud/*`: what clients that keep their settings alike ask with a key of their own: which connections there are,
//! what names lead to. Changing anything is for those who manage.

use actix_web::HttpResponse;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::connection_find::accounts;
use super::model_aliases;
use super::models::alias_map;
use super::oauth_end::token;
use crate::auth::Role;
use crate::gateway::directory::Listed;
use crate::providers::oauth::{AUTH_TYPE, Brought, Deed};
use crate::routes::body::iso_or_null;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ConnectionRow, LeaseWish, Leased, OauthSummary};
use omniroute_actors::connection::config::Source;
use omniroute_actors::ids::ConnectionId;

/// An update takes a moment; a lease of one that died ends by itself.
const LEASE_MS: i64 = 10_000;
const AGAIN: Duration = Duration::from_secs(2);

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
    let accounts = accounts(&call).await?;
    let listed = call.app.directory.listed();
    let allowed = call.principal.as_ref().and_then(|principal| principal.allowed_connections.clone());
    let may = |id: &str| allowed.as_ref().is_none_or(|allowed| allowed.contains(&ConnectionId::from(id)));
    let shown = listed.iter().filter(|entry| may(&entry.row.id));
    // Even the ends of a credential are nothing for those who only call models.
    let manages = call.has_role(Role::Viewer);
    let connections: Vec<_> = shown.map(|entry| connection(&entry.row, accounts.get(&entry.row.id), manages)).collect();
    let routing = call.app.directory.routing();
    let aliases = alias_map(&routing.aliases);
    Ok(HttpResponse::Ok().json(json!({"connections": connections, "modelAliases": aliases})))
}

fn connection(row: &ConnectionRow, account: Option<&OauthSummary>, manages: bool) -> Value {
    let held = row.credential.as_ref();
    let oauth = row.auth_type == AUTH_TYPE;
    json!({
        "id": row.id,
        "provider": row.provider,
        "name": row.name,
        "authType": row.auth_type,
        "hasApiKey": held.is_some() && !oauth,
        "hasAccessToken": oauth && account.is_some(),
        "hasRefreshToken": oauth && account.is_some_and(|account| account.renewable),
        "maskedApiKey": held.filter(|_| manages && !oauth).map(masked),
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
    let mut tokens = Form::part(form.object("credentials").unwrap_or_default(), "credentials");
    let access = token(&mut tokens, "accessToken");
    let refresh = token(&mut tokens, "refreshToken");
    let expires_in = tokens.integer("expiresIn", 1..=315_360_000);
    if access.is_none() && refresh.is_none() && expires_in.is_none() {
        tokens.problem("", "Must hold at least one of accessToken, refreshToken, expiresIn");
    }
    form.problems(tokens.into_problems());
    form.finish()?;

    let of =
        |entry: &&Listed| entry.row.provider == provider && entry.row.is_active && entry.source == Source::Database;
    let found = call.app.directory.listed().iter().find(of).map(|entry| entry.row.id.clone());
    let Some(id) = found else { return Err(Refusal::not_found("There is no active connection of this provider")) };
    let row = call.app.store.connections().get(&id).await?;
    let until = expires_in.map(|seconds| call.now().saturating_add(seconds.saturating_mul(1_000)));
    let brought = Brought { access, refresh, expires_at: until };
    if row.auth_type == AUTH_TYPE {
        to_account(&call, row, brought).await?
    } else {
        to_key(&call, row, brought).await?
    }
    call.audit("provider.credentials.updated", &id, json!({"provider": provider, "newCredential": true})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": "Credentials updated successfully", "id": id})))
}

/// A plain key is replaced.
async fn to_key(call: &Call, mut row: ConnectionRow, brought: Brought) -> Result<(), Refusal> {
    let only_a_key = brought.access.filter(|_| brought.refresh.is_none() && brought.expires_at.is_none());
    let refusal = || Refusal::bad_request("The connection has a key and no tokens: send accessToken alone");
    (row.credential, row.updated_at) = (Some(only_a_key.ok_or_else(refusal)?), call.now());
    Ok(call.app.store.connections().update(&row).await?)
}

/// The tokens of an account are a row of their own; they are renewed at the place that the account was signed in at.
async fn to_account(call: &Call, mut row: ConnectionRow, brought: Brought) -> Result<(), Refusal> {
    let nobody = || Refusal::conflict("The account is not signed in; sign in, or import its tokens");
    let deed = row.credential.as_ref().and_then(Deed::read).ok_or_else(nobody)?;
    let (store, owner, now) = (call.app.store.oauth_tokens(), Uuid::now_v7().to_string(), call.now());
    // Nobody renews meanwhile: the answer would be laid over these, or these over it.
    let wish = LeaseWish { owner, now, until: now.saturating_add(LEASE_MS) };
    let before = match store.lease(&row.id, wish).await? {
        Leased::Taken(before) => before,
        Leased::Gone => return Err(nobody()),
        Leased::Busy => return Err(Refusal::conflict("The tokens are being renewed; try again").after(AGAIN)),
    };
    let grant = Uuid::now_v7().to_string();
    let tokens = brought.over(&before, &grant, now);
    (row.credential, row.credential_unreadable, row.updated_at) = (Some(Deed { grant, ..deed }.write()), false, now);
    // With the row goes the lease.
    Ok(store.sign_in(&row, &tokens, false).await?)
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
