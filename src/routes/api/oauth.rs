//! `/api/oauth/{provider}/{action}`: signing accounts in at servers that are described as data.
//!
//! | action | method | what it does |
//! |---|---|---|
//! | `authorize` | GET, POST | where to send a browser; `state` and the verifier's hash belong to this caller alone |
//! | `exchange`, `callback` | POST | the code that the browser brought back for tokens |
//! | `device-code` | GET, POST | what a person enters where |
//! | `poll` | POST | whether that has happened |
//! | `client-credentials` | POST | tokens for the gateway itself |
//! | `import` | POST | tokens that were got elsewhere |
//! | `refresh` | POST | the next token now |
//! | `status` | GET | what is configured and what is missing |
//!
//! Verifiers, device codes and tokens never leave the gateway.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::connection::token::MintFailure;
use omniroute_actors::resilience::outcome::Outcome;
use serde_json::{Map, Value, json};

use super::connection_find::{accounts, listed};
use super::{connection_test, live, oauth_begin, oauth_end};
use crate::auth::Kind;
use crate::providers::oauth::{AUTH_TYPE, Flow, OauthSpec};
use crate::routes::body::{iso, iso_or_null};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/oauth/{provider}/{action}";
    vec![
        RouteSpec::get("/api/oauth", M, "Servers that accounts can be signed in with", list),
        RouteSpec::get(path, M, "Begin a sign-in (authorize, device-code), or see what is configured (status)", get),
        RouteSpec::post(path, M, "Begin, end, import or renew a sign-in", post),
        RouteSpec::post("/api/oauth/{provider}/callback", M, "End a sign-in that came back to the callback page", end),
        RouteSpec::post("/api/providers/{id}/refresh", M, "Renew the token of an account now", refresh_one),
    ]
}

/// A server that is meant, and what the caller says.
pub(super) struct Asked {
    /// The server.
    pub(super) spec: Arc<OauthSpec>,
    /// The fields.
    pub(super) form: Form,
}

async fn list(call: Call) -> HttpResponse {
    let servers: Vec<_> = call.app.oauth.specs().iter().map(|spec| status(spec)).collect();
    HttpResponse::Ok().json(json!({ "providers": servers }))
}

fn status(spec: &OauthSpec) -> Value {
    let missing = spec.missing();
    json!({
        "id": spec.id,
        "name": spec.name,
        "provider": spec.provider,
        "flows": spec.flows.iter().map(|flow| flow.as_str()).collect::<Vec<_>>(),
        "configured": missing.is_empty(),
        "missing": missing,
        "scopes": spec.scopes,
        "hasClientSecret": spec.secret.is_some(),
    })
}

async fn get(
    call: Call,
    path: web::Path<(String, String)>,
    query: web::Query<Map<String, Value>>,
) -> Result<HttpResponse, Refusal> {
    let (provider, action) = path.into_inner();
    let asked = Asked { spec: spec(&call, &provider)?, form: Form::part(query.into_inner(), "") };
    match action.as_str() {
        "authorize" => oauth_begin::authorize(&call, asked).await,
        "device-code" => oauth_begin::device(&call, asked).await,
        "status" => Ok(HttpResponse::Ok().json(status(&asked.spec))),
        other => Err(unknown(other)),
    }
}

async fn post(call: Call, path: web::Path<(String, String)>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let (provider, action) = path.into_inner();
    let form = match body.0 {
        None => Form::default(),
        given => Form::of(JsonBody(given))?,
    };
    let asked = Asked { spec: spec(&call, &provider)?, form };
    match action.as_str() {
        "authorize" => oauth_begin::authorize(&call, asked).await,
        "device-code" => oauth_begin::device(&call, asked).await,
        "exchange" => oauth_end::exchange(&call, asked).await,
        "poll" => oauth_end::poll(&call, asked).await,
        "import" => oauth_end::import(&call, asked).await,
        "client-credentials" => oauth_end::as_client(&call, asked).await,
        "refresh" => refresh_named(&call, asked).await,
        other => Err(unknown(other)),
    }
}

async fn end(call: Call, provider: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let asked = Asked { spec: spec(&call, &provider)?, form: Form::of(body)? };
    oauth_end::exchange(&call, asked).await
}

fn spec(call: &Call, provider: &str) -> Result<Arc<OauthSpec>, Refusal> {
    call.app.oauth.spec(provider).ok_or_else(|| Refusal::not_found("Unknown provider"))
}

fn unknown(action: &str) -> Refusal {
    match action {
        // A server has no loopback that a person's browser could reach.
        "start-callback-server" | "poll-callback" => {
            Refusal::bad_request("Unknown action: no server is started here; use authorize and exchange")
        }
        _ => Refusal::bad_request("Unknown action"),
    }
}

/// Whether the server can be used in this way.
pub(super) fn check_ready(spec: &OauthSpec, flow: Flow) -> Result<(), Refusal> {
    if !spec.offers(flow) {
        let offered: Vec<_> = spec.flows.iter().map(|flow| flow.as_str()).collect();
        let message = format!("{} offers no {}; it offers {}", spec.name, flow.as_str(), offered.join(", "));
        return Err(Refusal::bad_request(message));
    }
    let missing = spec.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("{} is not configured: `{}` of [{}] in oauth.file", spec.name, missing.join("`, `"), spec.id);
    Err(Refusal::conflict(message).beside("missing", missing))
}

/// Who a sign-in belongs to: this session, or this key.
pub(super) fn caller(call: &Call) -> String {
    match call.principal.as_ref().map(|principal| &principal.kind) {
        Some(Kind::Key { id, .. }) => format!("key:{id}"),
        Some(Kind::Session { id_hash, .. }) => format!("session:{id_hash}"),
        Some(Kind::Service) => "service".to_owned(),
        Some(Kind::Anonymous) | None => "anonymous".to_owned(),
    }
}

async fn refresh_named(call: &Call, mut asked: Asked) -> Result<HttpResponse, Refusal> {
    asked.form.require("connectionId");
    let id = asked.form.text("connectionId", 1..=100).unwrap_or_default();
    asked.form.finish()?;
    refresh(call, &id).await
}

async fn refresh_one(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    refresh(&call, &id).await
}

/// The next token now, by the connection's actor as for its requests.
async fn refresh(call: &Call, id: &str) -> Result<HttpResponse, Refusal> {
    let listed = listed(call, id)?;
    if listed.row.auth_type != AUTH_TYPE {
        return Err(Refusal::bad_request("This connection is not signed in by OAuth"));
    }
    if !accounts(call).await?.contains_key(id) {
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no_tokens", "There are no tokens; sign in again"));
    }
    let handle = live::handles(&call.app).into_iter().find(|handle| handle.id().as_str() == id);
    let handle = handle.ok_or_else(|| Refusal::unavailable("The connection does not run; is it complete?"))?;
    let renewed = renew(call, &handle).await;
    let word = renewed.as_ref().map_or_else(|failure| failure.outcome.as_str(), |()| "success");
    call.audit_as("provider.oauth.refreshed", id, word, json!({"provider": listed.row.provider})).await;
    renewed.map_err(|failure| refusal(&failure))?;
    connection_test::forgive(call, id).await;
    let known = accounts(call).await?;
    let account = known.get(id);
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "connectionId": id,
        "provider": listed.row.provider,
        "expiresAt": iso_or_null(account.and_then(|account| account.expires_at)),
        "refreshedAt": account.map_or_else(|| iso(call.now()), |account| iso(account.obtained_at)),
    })))
}

/// A connection that has no token in memory first takes the kept one: only that is known to be the one to replace. Where
/// that one had ended, this already brings the next.
async fn renew(call: &Call, handle: &ConnectionHandle) -> Result<(), MintFailure> {
    let (config, clock, before) = (handle.config(), &call.app.clock, obtained(call, handle).await);
    let held = handle.fresh_token(&config, None, clock.now()).await?;
    if obtained(call, handle).await == before {
        handle.fresh_token(&config, Some(held.version), clock.now()).await?;
    }
    Ok(())
}

async fn obtained(call: &Call, handle: &ConnectionHandle) -> Option<i64> {
    accounts(call).await.ok()?.get(handle.id().as_str()).map(|account| account.obtained_at)
}

fn refusal(failure: &MintFailure) -> Refusal {
    let refused = matches!(failure.outcome, Outcome::AuthRefused | Outcome::Forbidden);
    match (refused, failure.retry_after) {
        (true, _) => Refusal::new(StatusCode::UNAUTHORIZED, "reauth_required", failure.message.clone())
            .beside("requiresReauth", true),
        (false, Some(wait)) => Refusal::bad_gateway(failure.message.clone()).after(wait),
        (false, None) => Refusal::bad_gateway(failure.message.clone()),
    }
}
