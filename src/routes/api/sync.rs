//! `/api/sync/*`: this instance's configuration for another one, and the other one's for this.
//!
//! There is no vendor's cloud: the peer is the one that the operator names in the configuration, and without it
//! everything says so. A bundle is believed by its signature, within a window of time, and never twice.

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::{HttpResponse, web};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use super::sync_tokens;
use crate::auth::Role;
use crate::infra::crypto::Vault;
use crate::infra::sync::{Envelope, Opened, Peer, PeerError, Wish, seal};
use crate::routes::body::iso_or_null;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope, guard};
use crate::settings::travel::SYNC_STATE;
use crate::store::{Applied, Changes, StoreError};

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

/// What is remembered between exchanges.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct State {
    enabled: bool,
    instance: Option<String>,
    last_sync: Option<i64>,
    last_error: Option<String>,
    version: Option<String>,
    /// By instance, when the newest bundle that was applied had been made: none is applied twice.
    newest: std::collections::BTreeMap<String, i64>,
}

impl State {
    async fn load(call: &Call) -> Result<Self, Refusal> {
        let row = call.app.store.settings().get(SYNC_STATE).await?;
        Ok(row.and_then(|row| serde_json::from_value(row.value).ok()).unwrap_or_default())
    }

    async fn store(&self, call: &Call) -> Result<(), Refusal> {
        call.app.store.settings().put(SYNC_STATE, json!(self), None, call.now()).await?;
        Ok(())
    }

    /// The name of this instance, made once.
    async fn instance(call: &Call) -> Result<String, Refusal> {
        let mut state = Self::load(call).await?;
        if state.instance.is_none() {
            state.instance = Some(Uuid::new_v4().to_string());
            state.store(call).await?;
        }
        Ok(state.instance.unwrap_or_default())
    }
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let state = State::load(&call).await?;
    let configured = !call.app.config.load().sync.peer_url.is_empty();
    if !state.enabled || !configured {
        return Ok(HttpResponse::Ok().json(json!({"enabled": false, "configured": configured})));
    }
    Ok(HttpResponse::Ok().json(json!({
        "enabled": true,
        "configured": true,
        "connected": state.last_error.is_none() && state.last_sync.is_some(),
        "lastSync": iso_or_null(state.last_sync),
        "lastError": state.last_error,
        "version": state.version,
    })))
}

struct Wanted {
    push: bool,
    replace: bool,
    dry: bool,
}

async fn act(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("action");
    let action = form.word("action", &["enable", "sync", "disable"]).unwrap_or_default();
    let push = form.word("direction", &["pull", "push"]).as_deref() == Some("push");
    let replace = form.word("mode", &["merge", "replace"]).as_deref() == Some("replace");
    let dry = form.flag("dryRun").unwrap_or(false);
    form.finish()?;
    match action.as_str() {
        "enable" => enable(&call).await,
        "disable" => disable(&call).await,
        _ => exchange(&call, Wanted { push, replace, dry }).await,
    }
}

async fn enable(call: &Call) -> Result<HttpResponse, Refusal> {
    let version = verify(call).await?;
    let mut state = State::load(call).await?;
    (state.enabled, state.last_error) = (true, None);
    state.store(call).await?;
    call.audit("sync.enabled", "sync", json!({"peerVersion": version})).await;
    let url = call.app.config.load().sync.peer_url.clone();
    Ok(HttpResponse::Ok().json(json!({
        "success": true, "message": "Cloud enabled", "cloudUrl": url, "verified": true, "peerVersion": version,
    })))
}

async fn disable(call: &Call) -> Result<HttpResponse, Refusal> {
    let mut state = State::load(call).await?;
    state.enabled = false;
    state.store(call).await?;
    call.audit("sync.disabled", "sync", json!({})).await;
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": "Cloud disabled"})))
}

async fn initialized(call: Call) -> Result<HttpResponse, Refusal> {
    let configured = !call.app.config.load().sync.peer_url.is_empty();
    let message = if configured { "The other instance is configured" } else { "There is no other instance" };
    Ok(HttpResponse::Ok().json(json!({
        "initialized": configured && State::load(&call).await?.enabled,
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
    let (envelope, _) = fetch(call).await?;
    Ok(envelope.version)
}

async fn exchange(call: &Call, wanted: Wanted) -> Result<HttpResponse, Refusal> {
    let done = if wanted.push { push(call, &wanted).await } else { pull(call, &wanted).await };
    if !wanted.dry {
        let mut state = State::load(call).await?;
        match &done {
            Ok((version, _)) => {
                (state.last_sync, state.last_error) = (Some(call.now()), None);
                state.version = Some(version.clone());
            }
            Err(refusal) => state.last_error = Some(refusal.to_string()),
        }
        state.store(call).await?;
    }
    let (version, changes) = done?;
    let direction = if wanted.push { "push" } else { "pull" };
    let particulars = json!({"direction": direction, "dryRun": wanted.dry, "version": version, "changes": changes});
    call.audit("sync.exchanged", "sync", particulars).await;
    Ok(HttpResponse::Ok().json(json!({
        "success": true, "direction": direction, "dryRun": wanted.dry, "version": version, "changes": changes,
    })))
}

async fn pull(call: &Call, wanted: &Wanted) -> Result<(String, Value), Refusal> {
    let (envelope, opened) = fetch(call).await?;
    let changes = apply(call, &envelope, opened, wanted).await?;
    Ok((envelope.version, json!(changes)))
}

async fn push(call: &Call, wanted: &Wanted) -> Result<(String, Value), Refusal> {
    let (peer, shared) = way(call)?;
    let envelope = own(call, Uuid::new_v4().to_string(), Some(&shared)).await?;
    let answer = peer.bring(&envelope, wanted.replace, wanted.dry).await.map_err(bad_gateway)?;
    Ok((envelope.version, answer.get("changes").cloned().unwrap_or_default()))
}

async fn fetch(call: &Call) -> Result<(Envelope, Opened), Refusal> {
    let (peer, shared) = way(call)?;
    let nonce = Uuid::new_v4().to_string();
    let envelope = peer.fetch(&nonce).await.map_err(bad_gateway)?;
    let opened = envelope.open(&shared, call.now(), window(call), Some(&nonce));
    let opened = opened.map_err(|why| Refusal::new(StatusCode::BAD_GATEWAY, "sync_rejected", why.to_string()))?;
    Ok((envelope, opened))
}

fn bad_gateway(error: PeerError) -> Refusal {
    Refusal::new(StatusCode::BAD_GATEWAY, "sync_failed", error.to_string())
}

/// The other instance and the key that is shared with it.
fn way(call: &Call) -> Result<(Peer, Vault), Refusal> {
    let config = call.app.config.load();
    if config.sync.peer_url.is_empty() {
        return Err(Refusal::bad_request("No other instance is configured; see sync.peer_url"));
    }
    let token = config.sync.peer_token.resolve().map_err(|_| Refusal::internal())?;
    let peer = Peer::new(&config.sync.peer_url, token, call.app.clients.clone());
    let peer = peer.ok_or_else(|| Refusal::bad_request("sync.peer_url cannot be read"))?;
    let shared = shared(call)?.ok_or_else(|| Refusal::bad_request("No key is shared; see sync.shared_key"))?;
    Ok((peer, shared))
}

fn shared(call: &Call) -> Result<Option<Vault>, Refusal> {
    let key = call.app.config.load().sync.shared_key.resolve().map_err(|_| Refusal::internal())?;
    Ok(key.filter(|key| !key.expose_secret().is_empty()).map(|key| Vault::shared(&key)))
}

fn window(call: &Call) -> i64 {
    i64::try_from(call.app.config.load().sync.replay_window_s.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

async fn own(call: &Call, nonce: String, shared: Option<&Vault>) -> Result<Envelope, Refusal> {
    let held = call.app.store.bundles().read().await?;
    let with_credentials = call.app.config.load().sync.include_credentials;
    let instance = State::instance(call).await?;
    let wish = Wish { instance, at: call.now(), nonce, shared, with_credentials };
    Ok(seal(held, wish).map_err(StoreError::from)?)
}

/// Put it in force before it is answered; a bundle that is not newer than the last one of its instance is an old one.
async fn apply(call: &Call, envelope: &Envelope, opened: Opened, wanted: &Wanted) -> Result<Changes, Refusal> {
    let mut state = State::load(call).await?;
    if state.newest.get(&envelope.instance).is_some_and(|newest| *newest >= envelope.created_at) {
        return Err(Refusal::conflict("A bundle of this instance that is as new was applied already"));
    }
    let Opened { configuration, credentials } = opened;
    let applied = Applied { configuration, credentials, replace: wanted.replace, dry: wanted.dry, at: call.now() };
    let changes = call.app.store.bundles().apply(applied).await?;
    if !wanted.dry {
        state.newest.insert(envelope.instance.clone(), envelope.created_at);
        state.store(call).await?;
        call.refresh().await?;
    }
    Ok(changes)
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
    let envelope = own(&call, nonce, shared(&call)?.as_ref()).await?;
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
    let shared = shared(&call)?.ok_or_else(|| Refusal::bad_request("No key is shared; see sync.shared_key"))?;
    let mut form = Form::of(body)?;
    form.require("envelope");
    let text = form.text("envelope", 1..=LARGEST_CHARS).unwrap_or_default();
    form.finish()?;
    let envelope: Envelope =
        serde_json::from_str(&text).map_err(|_| Refusal::bad_request("The envelope cannot be read"))?;
    let opened = match envelope.open(&shared, call.now(), window(&call), None) {
        Ok(opened) => opened,
        Err(why) => {
            call.alarm("sync.bundle.rejected", "sync", json!({"from": from, "why": why.to_string()})).await;
            return Err(Refusal::new(StatusCode::FORBIDDEN, "sync_rejected", why.to_string()));
        }
    };
    let wanted = Wanted { push: false, replace: manner.replace, dry: manner.dry_run };
    let changes = apply(&call, &envelope, opened, &wanted).await?;
    let particulars = json!({"from": from, "dryRun": wanted.dry, "version": envelope.version, "changes": changes});
    call.audit("sync.bundle.taken", "sync", particulars).await;
    Ok(HttpResponse::Ok().json(json!({"success": true, "dryRun": wanted.dry, "changes": changes})))
}
