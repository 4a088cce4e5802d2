//! `/api/resilience*`: the numbers in force, the state of every connection, and the buttons that clear it.

use actix_web::{HttpResponse, web};
use omniroute_actors::connection::Reset;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::ids::ModelName;
use omniroute_actors::resilience::health::{ResetScope, Transition};
use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::connection_page::Wish;
use super::live;
use super::resilience_numbers::{SETTING, effective_resilience, legacy, to_api};
use super::resilience_patch::{Changes, Clamped};
use super::stored::{Known, edit, with_version};
use crate::infra::stats::events::Event;
use crate::routes::body::{iso, iso_or_null, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::SettingRow;

/// Transitions that are shown.
const USUAL_EVENTS: usize = 200;
const MOST_EVENTS: usize = 2_000;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get(
            "/api/resilience",
            M,
            "The resilience numbers and the live state of connections, at most 500 a page",
            show,
        ),
        RouteSpec::put("/api/resilience", M, "Change resilience numbers", change),
        RouteSpec::patch("/api/resilience", M, "Change resilience numbers", change),
        RouteSpec::post(
            "/api/resilience/reset",
            M,
            "Close breakers; with a scope also end cooldowns and lockouts, or forget learned limits",
            reset,
        ),
        RouteSpec::get("/api/resilience/model-cooldowns", M, "Models locked out on a connection", cooldowns),
        RouteSpec::delete("/api/resilience/model-cooldowns", M, "Unlock models", unlock),
    ]
}

/// `include` is for clients of later versions; everything is included here.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct View {
    connection_id: Option<String>,
    events: Option<usize>,
}

async fn show(call: Call, view: web::Query<View>, wish: web::Query<Wish>) -> Result<HttpResponse, Refusal> {
    let stored = call.app.store.settings().get(SETTING).await?;
    let mut answer = settings(&call, stored.as_ref());
    put(&mut answer, "state", state(&call, &wish).await?);
    put(&mut answer, "slowStartStates", json!([]));
    put(&mut answer, "events", events(&call, view.into_inner()).await);
    Ok(with_version(stored.as_ref()).json(answer))
}

/// The numbers in force, in every vocabulary.
pub(super) fn settings(call: &Call, stored: Option<&SettingRow>) -> Value {
    let config = call.app.config.load();
    let effective = effective_resilience(&config.resilience, stored.map(|row| &row.value));
    let mut answer = to_api(&effective);
    let older = legacy(&answer);
    put(&mut answer, "legacy", older);
    put(&mut answer, "version", json!(stored.map_or(0, |row| row.version)));
    put(&mut answer, "updatedAt", iso_or_null(stored.map(|row| row.updated_at)));
    answer
}

/// The newest transitions first: of one connection, or of all.
async fn events(call: &Call, view: View) -> Value {
    let most = view.events.unwrap_or(USUAL_EVENTS).min(MOST_EVENTS);
    let connection = view.connection_id;
    let newest = call.app.stats.ask(move |kept| kept.events.newest(connection.as_deref(), most)).await;
    let line = |event: Event| {
        json!({
            "at": iso(event.at), "connectionId": event.connection, "name": event.name, "provider": event.provider,
            "kind": event.kind, "change": event.change, "cause": event.cause,
        })
    };
    newest.unwrap_or_default().into_iter().map(line).collect()
}

/// The connections that are wanted one by one; providers and the summary are about all.
async fn state(call: &Call, wish: &Wish) -> Result<Value, Refusal> {
    let page = wish.page(call)?;
    let asked = live::snapshots(&call.app, &page.shown).await?;
    let shown = page.shown.iter().filter_map(|entry| asked.get(entry.row.id.as_str()));
    let all = live::standings(&call.app);
    let count = |most: u8| all.iter().filter(|standing| live::rank(standing.state) <= most).count();
    let mut state = json!({
        "at": crate::routes::body::iso(call.now()),
        "connections": shown.map(live::connection).collect::<Vec<_>>(),
        "providers": live::providers(&all),
        "summary": {"total": all.len(), "ready": count(0), "usable": count(1)},
    });
    page.tell(&mut state);
    Ok(state)
}

async fn change(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let Some(Value::Object(body)) = body.0 else {
        return Err(Refusal::bad_request("Must provide resilience settings to update"));
    };
    let (stored, clamped) = store_changes(&call, &body).await?;
    let mut answer = settings(&call, Some(&stored));
    put(&mut answer, "ok", json!(true));
    put(&mut answer, "clamped", json!(clamped));
    put(&mut answer, "state", state(&call, &Wish::default()).await?);
    Ok(with_version(Some(&stored)).json(answer))
}

/// Check, store and put into force.
pub(super) async fn store_changes(
    call: &Call,
    body: &Map<String, Value>,
) -> Result<(SettingRow, Vec<Clamped>), Refusal> {
    let (mut form, mut clamped) = (Form::default(), Vec::new());
    let changes = Changes::read(body, &mut form, &mut clamped);
    let mut version = Form::open_part(body.clone(), "");
    let known = Known::read(call, &mut version)?;
    form.problems(version.into_problems());
    form.finish()?;
    if changes.is_empty() {
        return Err(Refusal::bad_request("Must provide resilience settings to update"));
    }
    let stored = edit(call, SETTING, known, |before| {
        let value = changes.over(before);
        check_together(call, &value)?;
        Ok(value)
    });
    let stored = stored.await?;
    call.audit("resilience.updated", SETTING, json!({"changes": changes.tree(), "version": stored.version})).await;
    call.refresh().await?;
    Ok((stored, clamped))
}

/// Numbers that are right one by one may contradict each other.
fn check_together(call: &Call, value: &Value) -> Result<(), Refusal> {
    let effective = to_api(&effective_resilience(&call.app.config.load().resilience, Some(value)));
    let mut form = Form::default();
    for class in ["oauth", "apikey", "local"] {
        let number = |leaf: &str| effective.pointer(&format!("/{leaf}")).and_then(Value::as_i64).unwrap_or(0);
        let breaker = |leaf: &str| number(&format!("providerBreaker/{class}/{leaf}"));
        if breaker("maxOpenMs") < breaker("resetTimeoutMs") {
            form.problem(&format!("providerBreaker.{class}.maxOpenMs"), "Is less than resetTimeoutMs");
        }
    }
    form.finish()
}

/// Which connections an operator means.
#[derive(Debug, Default)]
struct Choice {
    provider: Option<String>,
    connection: Option<String>,
}

impl Choice {
    fn read(form: &mut Form) -> Self {
        Self { provider: form.text("provider", 1..=100), connection: form.text("connectionId", 1..=100) }
    }

    /// The chosen connections. A name that fits none is a mistake, not an empty choice.
    fn handles(&self, call: &Call) -> Result<Vec<Arc<ConnectionHandle>>, Refusal> {
        let plan = call.app.plan.load();
        let provider = self.provider.as_deref().map(|name| plan.prefixes.get(name).map_or(name, |id| id.as_str()));
        let mut handles = live::handles(&call.app);
        handles.retain(|handle| {
            provider.is_none_or(|provider| handle.provider().as_str() == provider)
                && self.connection.as_deref().is_none_or(|id| handle.id().as_str() == id)
        });
        if handles.is_empty() && (self.provider.is_some() || self.connection.is_some()) {
            return Err(Refusal::not_found("No connection fits provider and connectionId"));
        }
        Ok(handles)
    }
}

async fn reset(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = match body.0 {
        None => Form::default(),
        given => Form::of(JsonBody(given))?,
    };
    let (scope, word) = scope_of(&mut form);
    let choice = Choice::read(&mut form);
    form.finish()?;
    let outcome = reset_all(&call, &choice, scope, word).await?;
    let message = match word {
        "breakers" => format!("Reset {} circuit breaker(s)", outcome.changed),
        word => format!("Reset {word} of {} connection(s)", outcome.changed),
    };
    Ok(HttpResponse::Ok().json(json!({
        "ok": true,
        "resetCount": outcome.changed,
        "message": message,
        "scope": word,
        "connections": outcome.asked,
        "reset": outcome.list,
    })))
}

fn scope_of(form: &mut Form) -> (ResetScope, &'static str) {
    let model = form.text("model", 1..=512);
    let with_cooldowns = form.flag("includeCooldowns") == Some(true);
    let word = form.text("scope", 1..=20);
    if model.is_some() && word.as_deref() != Some("lockouts") {
        form.problem("model", "Goes with the scope lockouts only");
    }
    match word.as_deref() {
        None if with_cooldowns => (ResetScope::All, "all"),
        None | Some("breakers") => (ResetScope::Breakers, "breakers"),
        Some("cooldowns") => (ResetScope::Cooldowns, "cooldowns"),
        Some("lockouts") => (ResetScope::Lockouts(model.map(ModelName::from)), "lockouts"),
        Some("limiters") => (ResetScope::Limiters, "limiters"),
        Some("all") => (ResetScope::All, "all"),
        Some(_) => {
            form.problem("scope", "Expected breakers, cooldowns, lockouts, limiters or all");
            (ResetScope::Breakers, "breakers")
        }
    }
}

/// What a reset did.
struct ResetOutcome {
    asked: usize,
    changed: usize,
    list: Vec<Value>,
}

/// Every actor has answered, so every gate has moved, before this returns.
async fn reset_all(call: &Call, choice: &Choice, scope: ResetScope, word: &str) -> Result<ResetOutcome, Refusal> {
    let handles = choice.handles(call)?;
    let answers = live::tell(&call.app, &handles, Reset(scope.clone())).await;
    let silent = answers.iter().filter(|answer| answer.is_none()).count();
    let did = handles.iter().zip(&answers).filter_map(|(handle, answer)| Some((handle, answer.as_ref()?)));
    let list: Vec<_> =
        did.filter(|(_, changes)| !changes.is_empty()).map(|(handle, changes)| line(handle, changes)).collect();
    let model = match &scope {
        ResetScope::Lockouts(Some(model)) => Some(model.as_str()),
        _ => None,
    };
    let particulars = json!({
        "scope": word, "provider": choice.provider, "connectionId": choice.connection, "model": model,
        "asked": handles.len(), "changed": list.len(), "silent": silent,
    });
    call.audit_as("resilience.reset", word, if silent == 0 { "success" } else { "partial" }, particulars).await;
    if silent > 0 {
        return Err(
            Refusal::unavailable("Some connections did not answer the reset; try again").beside("silent", silent)
        );
    }
    Ok(ResetOutcome { asked: handles.len(), changed: list.len(), list })
}

fn line(handle: &ConnectionHandle, changes: &[Transition]) -> Value {
    let word = |change: &Transition| match change {
        Transition::Breaker { from, to } => {
            json!({"what": "breaker", "from": live::upper(from.state), "to": live::upper(to.state)})
        }
        Transition::CooldownCleared => json!({"what": "cooldown"}),
        Transition::ModelsUnlocked(count) => json!({"what": "lockouts", "count": count}),
        Transition::LimitsForgotten => json!({"what": "limiters"}),
        Transition::AttentionOver => json!({"what": "attention"}),
        Transition::TerminalCleared(terminal) => json!({"what": "terminal", "from": terminal.as_str()}),
        _ => json!({"what": "other"}),
    };
    json!({
        "connectionId": handle.id(),
        "provider": handle.provider(),
        "name": handle.config().name,
        "changes": changes.iter().map(word).collect::<Vec<_>>(),
    })
}

/// What a reset without a body does, for the other address that does the same.
pub(super) async fn reset_breakers(call: &Call) -> Result<usize, Refusal> {
    Ok(reset_all(call, &Choice::default(), ResetScope::Breakers, "breakers").await?.changed)
}

async fn cooldowns(call: Call) -> Result<HttpResponse, Refusal> {
    let items = live::lockouts(&call.app);
    Ok(HttpResponse::Ok().json(json!({"items": items, "slowStartStates": []})))
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Query {
    all: Option<bool>,
    provider: Option<String>,
    connection_id: Option<String>,
    model: Option<String>,
}

/// Some clients cannot send a body with DELETE: the same words may stand in the query.
async fn unlock(call: Call, query: web::Query<Query>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let query = query.into_inner();
    let mut form = match body.0 {
        None => Form::default(),
        given => Form::of(JsonBody(given))?,
    };
    let all = form.flag("all").or(query.all) == Some(true);
    let model = form.text("model", 1..=512).or(query.model);
    let mut choice = Choice::read(&mut form);
    choice.provider = choice.provider.or(query.provider);
    choice.connection = choice.connection.or(query.connection_id);
    if !all && (model.is_none() || choice.provider.is_none() && choice.connection.is_none()) {
        form.problem("model", "Name provider (or connectionId) and model, or send all: true");
    }
    form.finish()?;
    let choice = if all { Choice::default() } else { choice };
    let scope = ResetScope::Lockouts(model.filter(|_| !all).map(ModelName::from));
    let outcome = reset_all(&call, &choice, scope, "lockouts").await?;
    let answer =
        if all { json!({"ok": true, "clearedAll": true}) } else { json!({"ok": true, "cleared": outcome.changed > 0}) };
    Ok(HttpResponse::Ok().json(answer))
}
