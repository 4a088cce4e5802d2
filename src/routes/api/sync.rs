//! `/api/sync/*`: this instance's configuration for another one, and the other one's for this.
//!
//! There is no vendor's cloud: the peer is the one that the operator names in the configuration, and without it
//! everything says so. A bundle is believed by its signature, within a window of time, and never twice.

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::sync_exchange::{Exchanged, State, Wanted, apply, exchange, fetch, needed_key, own, shared_key, window};
use super::{sync_schedule, sync_tokens};
use crate::auth::Role;
use crate::config::{SyncDirection, SyncMode};
use crate::infra::sync::Envelope;
use crate::routes::body::iso_or_null;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope, guard};

const NONCE_CHARS: usize = 64;
const LARGEST_CHARS: usize = 32 * 1024 * 1024;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::{Management as M, Public as P};
    vec![
        RouteSpec::get("/api/sync/cloud", M, "Whether the configuration is kept like another instance's", show),
        RouteSpec::post("/api/sync/cloud", M, "Switch that on or off, fetch or bring a configuration", act),
        RouteSpec::get("/api/sync/initialize", M, "Whether the other instance is set up", initialized),
        RouteSpec::post("/api/sync/initialize", M, "Check the way to the other instance", initialize),
        RouteSpec::get("/api/sync/bundle", P, "The configuration, for an instance with a sync token", bundle),
        RouteSpec::post("/api/sync/bundle", P, "Take a configuration from an instance with a sync token", take),
    ]
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let state = State::load(&call.app).await?;
    let configured = !call.app.config.load().sync.peer_url.is_empty();
    if !state.enabled || !configured {
        let schedule = sync_schedule::shown(&call.app, &state);
        return Ok(HttpResponse::Ok().json(json!({
            "enabled": false, "configured": configured, "schedule": schedule,
        })));
    }
    Ok(HttpResponse::Ok().json(json!({
        "enabled": true,
        "configured": true,
        "connected": state.last_error.is_none() && state.last_sync.is_some(),
        "lastSync": iso_or_null(state.last_sync),
        "lastError": state.last_error,
        "version": state.version,
        "schedule": sync_schedule::shown(&call.app, &state),
    })))
}

async fn act(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("action");
    let action = form.word("action", &["enable", "sync", "disable"]).unwrap_or_default();
    let push = form.word("direction", &["pull", "push"]).as_deref() == Some("push");
    let mode = mode(form.word("mode", &["merge", "replace"]).as_deref() == Some("replace"));
    let dry = form.flag("dryRun").unwrap_or(false);
    form.finish()?;
    match action.as_str() {
        "enable" => enable(&call).await,
        "disable" => disable(&call).await,
        _ => {
            let direction = if push { SyncDirection::Push } else { SyncDirection::Pull };
            exchanged(&call, Wanted { direction, mode, dry }).await
        }
    }
}

const fn mode(replace: bool) -> SyncMode {
    if replace { SyncMode::Replace } else { SyncMode::Merge }
}

async fn enable(call: &Call) -> Result<HttpResponse, Refusal> {
    let version = verify(call).await?;
    let begin = |state: &mut State| {
        (state.enabled, state.last_error) = (true, None);
        // The schedule begins at once.
        (state.next_at, state.failures) = (None, 0);
    };
    State::change(&call.app, begin).await?;
    call.audit("sync.enabled", "sync", json!({"peerVersion": version})).await;
    let url = call.app.config.load().sync.peer_url.clone();
    Ok(HttpResponse::Ok().json(json!({
        "success": true, "message": "Cloud enabled", "cloudUrl": url, "verified": true, "peerVersion": version,
    })))
}

async fn disable(call: &Call) -> Result<HttpResponse, Refusal> {
    State::change(&call.app, |state| state.enabled = false).await?;
    call.audit("sync.disabled", "sync", json!({})).await;
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": "Cloud disabled"})))
}

async fn initialized(call: Call) -> Result<HttpResponse, Refusal> {
    let configured = !call.app.config.load().sync.peer_url.is_empty();
    let message = if configured { "The other instance is configured" } else { "There is no other instance" };
    Ok(HttpResponse::Ok().json(json!({
        "initialized": configured && State::load(&call.app).await?.enabled,
        "modelSyncInitialized": false,
        "message": message,
    })))
}

async fn initialize(call: Call) -> Result<HttpResponse, Refusal> {
    let version = verify(&call).await?;
    call.audit("sync.initialized", "sync", json!({"peerVersion": version})).await;
    let message = "The other instance answers and shares the key";
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": message, "modelSyncEnabled": false})))
}

/// Fetch the other instance's configuration and believe it: then the way, the token and the key are right.
async fn verify(call: &Call) -> Result<String, Refusal> {
    let (envelope, _) = fetch(&call.app).await?;
    Ok(envelope.version)
}

async fn exchanged(call: &Call, wanted: Wanted) -> Result<HttpResponse, Refusal> {
    let Exchanged { version, changes } = exchange(&call.app, wanted).await?;
    let direction = wanted.direction;
    let particulars = json!({"direction": direction, "dryRun": wanted.dry, "version": version, "changes": changes});
    call.audit("sync.exchanged", "sync", particulars).await;
    Ok(HttpResponse::Ok().json(json!({
        "success": true, "direction": direction, "dryRun": wanted.dry, "version": version, "changes": changes,
    })))
}

/// Another instance by its token; an administrator may look as well.
async fn admit(call: &Call) -> Result<String, Refusal> {
    if let Some(token) = sync_tokens::shown(call).await? {
        return Ok(token.name);
    }
    let administrator = guard::manager(Role::Admin, &call.request).await;
    let refused = || Refusal::new(StatusCode::UNAUTHORIZED, "AUTH_001", "A sync token is required");
    administrator.map(|caller| caller.label()).ok_or_else(refused)
}

#[derive(Debug, serde::Deserialize)]
struct Question {
    nonce: Option<String>,
}

async fn bundle(call: Call, question: web::Query<Question>) -> Result<HttpResponse, Refusal> {
    admit(&call).await?;
    let nonce = question.into_inner().nonce.unwrap_or_default();
    if nonce.len() > NONCE_CHARS {
        return Err(Refusal::bad_request("The nonce is too long"));
    }
    let envelope = own(&call.app, nonce, shared_key(&call.app)?.as_ref()).await?;
    let tag = format!("\"{}\"", envelope.version);
    let known = call.request.headers().get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let unchanged = known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag));
    let mut answer = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header((ETAG, tag)).insert_header(("x-config-version", envelope.version.clone()));
    Ok(if unchanged { answer.finish() } else { answer.json(envelope) })
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manner {
    #[serde(default)]
    replace: bool,
    #[serde(default)]
    dry_run: bool,
}

async fn take(call: Call, manner: web::Query<Manner>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let from = admit(&call).await?;
    if !call.app.config.load().sync.accept {
        let message = "This instance takes no configuration from others; see sync.accept";
        return Err(Refusal::conflict(message));
    }
    let shared = needed_key(&call.app)?;
    let mut form = Form::of(body)?;
    form.require("envelope");
    let text = form.text("envelope", 1..=LARGEST_CHARS).unwrap_or_default();
    form.finish()?;
    let envelope: Envelope =
        serde_json::from_str(&text).map_err(|_| Refusal::bad_request("The envelope cannot be read"))?;
    let opened = match envelope.open(&shared, call.now(), window(&call.app), None) {
        Ok(opened) => opened,
        Err(why) => {
            call.alarm("sync.bundle.rejected", "sync", json!({"from": from, "why": why.to_string()})).await;
            return Err(Refusal::new(StatusCode::FORBIDDEN, "sync_rejected", why.to_string()));
        }
    };
    let wanted = Wanted { direction: SyncDirection::Pull, mode: mode(manner.replace), dry: manner.dry_run };
    let changes = apply(&call.app, &envelope, opened, wanted).await?;
    let particulars = json!({"from": from, "dryRun": wanted.dry, "version": envelope.version, "changes": changes});
    call.audit("sync.bundle.taken", "sync", particulars).await;
    Ok(HttpResponse::Ok().json(json!({"success": true, "dryRun": wanted.dry, "changes": changes})))
}
