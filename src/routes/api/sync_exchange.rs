//! One exchange with the other instance, whoever asked for it: a caller of `/api/sync/cloud`, the schedule, or the other
//! instance itself.

use actix_web::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::config::{SyncDirection, SyncMode};
use crate::infra::crypto::Vault;
use crate::infra::sync::{Envelope, Opened, Peer, PeerError, Wish, seal};
use crate::routes::Refusal;
use crate::settings::travel::SYNC_STATE;
use crate::store::{Applied, Changes, StoreError};

/// How often a write that another one came before is tried.
const TRIES: usize = 10;

/// What is remembered between exchanges.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct State {
    /// Whether the operator wants the configurations kept alike.
    pub(super) enabled: bool,
    pub(super) instance: Option<String>,
    pub(super) last_sync: Option<i64>,
    pub(super) last_error: Option<String>,
    pub(super) version: Option<String>,
    /// By instance, when the newest bundle that was applied had been made: none is applied twice.
    newest: std::collections::BTreeMap<String, i64>,
    /// When the schedule is next; at once if it never was.
    pub(super) next_at: Option<i64>,
    /// How many of its exchanges failed in a row.
    pub(super) failures: u32,
    /// Until when one instance exchanges for all that share the database.
    pub(super) claimed_until: Option<i64>,
}

impl State {
    /// As it is stored, with its version.
    pub(super) async fn read(app: &App) -> Result<(Self, i64), StoreError> {
        let row = app.store.settings().get(SYNC_STATE).await?;
        let version = row.as_ref().map_or(0, |row| row.version);
        Ok((row.and_then(|row| serde_json::from_value(row.value).ok()).unwrap_or_default(), version))
    }

    pub(super) async fn load(app: &App) -> Result<Self, StoreError> {
        Self::read(app).await.map(|(state, _)| state)
    }

    /// Write it, unless somebody else did since that version.
    pub(super) async fn store(&self, app: &App, version: i64) -> Result<(), StoreError> {
        app.store.settings().put(SYNC_STATE, json!(self), Some(version), app.clock.wall().0).await.map(drop)
    }

    /// Change what is there, whoever else changes it.
    pub(super) async fn change(app: &App, mut change: impl FnMut(&mut Self)) -> Result<Self, StoreError> {
        for _ in 0..TRIES {
            let (mut state, version) = Self::read(app).await?;
            change(&mut state);
            match state.store(app, version).await {
                Err(StoreError::Conflict(_)) => {}
                other => return other.map(|()| state),
            }
        }
        Err(StoreError::Conflict("the state of the exchange is being changed by others".into()))
    }

    /// The name of this instance, made once.
    async fn instance(app: &App) -> Result<String, StoreError> {
        if let Some(name) = Self::load(app).await?.instance {
            return Ok(name);
        }
        let fresh = Uuid::new_v4().to_string();
        let name = |state: &mut Self| {
            state.instance.get_or_insert_with(|| fresh.clone());
        };
        let named = Self::change(app, name).await?;
        Ok(named.instance.unwrap_or(fresh))
    }
}

/// Which exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) direction: SyncDirection,
    pub(super) mode: SyncMode,
    pub(super) dry: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Exchanged {
    pub(super) version: String,
    pub(super) changes: Value,
}

impl Exchanged {
    /// Whether anything became different.
    pub(super) fn changed_something(&self) -> bool {
        let rows = |kind: &Value, list: &str| kind.get(list)?.as_array().map(|rows| !rows.is_empty());
        let lists = |kind: &Value| ["added", "changed", "removed"].iter().any(|list| rows(kind, list) == Some(true));
        let kinds = self.changes.get("kinds").and_then(Value::as_object);
        // A peer that tells nothing may have changed anything.
        kinds.is_none_or(|kinds| kinds.values().any(lists))
    }
}

/// Do it, count it and remember how it went.
pub(super) async fn exchange(app: &App, wanted: Wanted) -> Result<Exchanged, Refusal> {
    let done = match wanted.direction {
        SyncDirection::Push => push(app, wanted).await,
        SyncDirection::Pull => pull(app, wanted).await,
    };
    if wanted.dry {
        return done;
    }
    let now = app.clock.wall().0;
    app.exchanges.count(wanted.direction, done.is_ok().then_some(now));
    let noted = State::change(app, |state| match &done {
        Ok(done) => {
            (state.last_sync, state.last_error) = (Some(now), None);
            state.version = Some(done.version.clone());
        }
        Err(refusal) => state.last_error = Some(refusal.to_string()),
    });
    noted.await?;
    done
}

async fn pull(app: &App, wanted: Wanted) -> Result<Exchanged, Refusal> {
    let (envelope, opened) = fetch(app).await?;
    let changes = apply(app, &envelope, opened, wanted).await?;
    Ok(Exchanged { version: envelope.version, changes: json!(changes) })
}

async fn push(app: &App, wanted: Wanted) -> Result<Exchanged, Refusal> {
    let (peer, shared) = way(app)?;
    let envelope = own(app, Uuid::new_v4().to_string(), Some(&shared)).await?;
    let replace = wanted.mode == SyncMode::Replace;
    let answer = peer.bring(&envelope, replace, wanted.dry).await.map_err(bad_gateway)?;
    Ok(Exchanged { version: envelope.version, changes: answer.get("changes").cloned().unwrap_or_default() })
}

/// The other instance's configuration, believed.
pub(super) async fn fetch(app: &App) -> Result<(Envelope, Opened), Refusal> {
    let (peer, shared) = way(app)?;
    let nonce = Uuid::new_v4().to_string();
    let envelope = peer.fetch(&nonce).await.map_err(bad_gateway)?;
    let opened = envelope.open(&shared, app.clock.wall().0, window(app), Some(&nonce));
    let opened = opened.map_err(|why| Refusal::new(StatusCode::BAD_GATEWAY, "sync_rejected", why.to_string()))?;
    Ok((envelope, opened))
}

fn bad_gateway(error: PeerError) -> Refusal {
    Refusal::new(StatusCode::BAD_GATEWAY, "sync_failed", error.to_string())
}

/// The other instance and the key that is shared with it.
fn way(app: &App) -> Result<(Peer, Vault), Refusal> {
    let config = app.config.load();
    if config.sync.peer_url.is_empty() {
        return Err(Refusal::bad_request("No other instance is configured; see sync.peer_url"));
    }
    let token = config.sync.peer_token.resolve().map_err(|_| Refusal::internal())?;
    let peer = Peer::new(&config.sync.peer_url, token, app.clients.clone());
    let peer = peer.ok_or_else(|| Refusal::bad_request("sync.peer_url cannot be read"))?;
    Ok((peer, needed_key(app)?))
}

/// The key that both instances share.
pub(super) fn needed_key(app: &App) -> Result<Vault, Refusal> {
    shared_key(app)?.ok_or_else(|| Refusal::bad_request("No key is shared; see sync.shared_key"))
}

/// The same, if there is one.
pub(super) fn shared_key(app: &App) -> Result<Option<Vault>, Refusal> {
    let key = app.config.load().sync.shared_key.resolve().map_err(|_| Refusal::internal())?;
    Ok(key.filter(|key| !key.expose_secret().is_empty()).map(|key| Vault::shared(&key)))
}

/// How old a bundle may be.
pub(super) fn window(app: &App) -> i64 {
    i64::try_from(app.config.load().sync.replay_window_s.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

/// This instance's configuration in its envelope.
pub(super) async fn own(app: &App, nonce: String, shared: Option<&Vault>) -> Result<Envelope, Refusal> {
    let held = app.store.bundles().read().await?;
    let with_credentials = app.config.load().sync.include_credentials;
    let instance = State::instance(app).await?;
    let wish = Wish { instance, at: app.clock.wall().0, nonce, shared, with_credentials };
    Ok(seal(held, wish).map_err(StoreError::from)?)
}

/// Put it in force before it is answered; a bundle that is not newer than the last one of its instance is an old one.
pub(super) async fn apply(app: &App, envelope: &Envelope, opened: Opened, wanted: Wanted) -> Result<Changes, Refusal> {
    let (instance, made) = (&envelope.instance, envelope.created_at);
    let state = State::load(app).await?;
    if state.newest.get(instance).is_some_and(|newest| *newest >= made) {
        return Err(Refusal::conflict("A bundle of this instance that is as new was applied already"));
    }
    let Opened { configuration, credentials } = opened;
    let (replace, at) = (wanted.mode == SyncMode::Replace, app.clock.wall().0);
    let applied = Applied { configuration, credentials, replace, dry: wanted.dry, at };
    let changes = app.store.bundles().apply(applied).await?;
    if !wanted.dry {
        let newest = |state: &mut State| {
            let newest = state.newest.entry(instance.clone()).or_insert(made);
            *newest = made.max(*newest);
        };
        State::change(app, newest).await?;
        app.directory.refresh().await?;
    }
    Ok(changes)
}
