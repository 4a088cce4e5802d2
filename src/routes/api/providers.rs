//! `/api/providers*`: connections, one account or key at one provider each.
//!
//! A credential goes in and never comes out, and it is sent to no other place (scheme, host, port) than the one it was
//! saved for: a change of the address without a new credential removes it.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::config::{ConnectionConfig, Source};
use omniroute_actors::connection::{Reset, SetCooldown};
use omniroute_actors::resilience::health::{Cooldown, ResetScope};
use omniroute_actors::resilience::outcome::Outcome;
use serde_json::{Value, json};
use url::{Origin, Url};
use uuid::Uuid;

use super::connection_form::{Home, blank, fill};
use super::learn;
use super::probe::{self, Diagnosis, Offered, Subject};
use super::{connection_view, live};
use crate::gateway::directory::Listed;
use crate::providers::{Catalog, NodeKind};
use crate::routes::body::{iso, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::ConnectionRow;

const NOT_FOUND: &str = "Connection not found";
const BASE_URL: &str = "providerSpecificData.baseUrl";

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/providers", M, "All connections, without their secrets", list),
        RouteSpec::post("/api/providers", M, "Add a connection", create),
        RouteSpec::post("/api/providers/validate", M, "Try a credential without storing it", validate),
        RouteSpec::get("/api/providers/{id}", M, "One connection", show),
        RouteSpec::put("/api/providers/{id}", M, "Change a connection", update),
        RouteSpec::patch("/api/providers/{id}", M, "Change a connection", update),
        RouteSpec::delete("/api/providers/{id}", M, "Remove a connection", delete),
        RouteSpec::post("/api/providers/{id}/test", M, "Try a connection; success ends its cooldown", test),
        RouteSpec::get("/api/providers/{id}/models", M, "The models a connection offers", models),
    ]
}

async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let snapshots = live::snapshots(&call.app).await?;
    let connections = connection_view::all(&call.app.directory.listed(), &snapshots);
    Ok(HttpResponse::Ok().json(json!({ "connections": connections })))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let shown = view(&call, &id).await?;
    Ok(HttpResponse::Ok().json(json!({ "connection": shown })))
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("provider");
    form.require("name");
    let provider = form.text("provider", 1..=100);
    let home = provider.as_deref().map(|provider| home_of(&call, provider)).transpose();
    let now = call.now();
    let id = Uuid::now_v7().to_string();
    let mut row = blank(id, home.as_ref().ok().and_then(Option::as_ref).map_or("", Home::id), now);
    let_pass(&mut form, &row);
    fill(&mut form, &mut row);
    if let Ok(Some(home)) = &home
        && row.credential.is_none()
        && !home.key_optional()
    {
        form.problem("apiKey", "Required");
    }
    form.finish()?;
    home?;
    check_address(&call, &row).await?;

    call.app.store.connections().insert(&row).await?;
    call.audit("provider.credentials.created", &row.id, json!({"provider": row.provider, "name": row.name})).await;
    call.refresh().await?;
    Ok(HttpResponse::Created().json(json!({ "connection": view(&call, &row.id).await? })))
}

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let before = stored(&call, &id)?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    let mut row = call.app.store.connections().get(&id).await?;
    let new_key = form.raw("apiKey").and_then(Value::as_str).is_some_and(|key| !key.trim().is_empty());
    let_pass(&mut form, &row);
    fill(&mut form, &mut row);
    let cooldown = form.time("rateLimitedUntil");
    form.finish()?;
    row.updated_at = call.now();
    check_address(&call, &row).await?;
    let moved = has_moved(&call, &before.row, &row);
    let cleared = moved && !new_key && (row.credential.is_some() || row.credential_unreadable);
    if cleared {
        (row.credential, row.credential_unreadable) = (None, false);
    }

    call.app.store.connections().update(&row).await?;
    let particulars =
        json!({"provider": row.provider, "name": row.name, "newCredential": new_key, "credentialCleared": cleared});
    call.audit("provider.credentials.updated", &row.id, particulars).await;
    call.refresh().await?;
    if let Some(until) = cooldown {
        set_cooldown(&call, &row.id, until).await?;
    }
    let mut answer = json!({ "connection": view(&call, &row.id).await? });
    if cleared {
        put(&mut answer, "credentialCleared", json!(true));
        put(&mut answer, "warning", json!("The address changed, so the credential was removed; enter it again"));
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// What an answer holds about a connection may come back.
fn let_pass(form: &mut Form, row: &ConnectionRow) {
    let listed = Listed { row: row.clone(), source: Source::Database, problem: None };
    form.let_pass_answer(&connection_view::connection(&listed, None));
}

async fn delete(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let listed = stored(&call, &id)?;
    call.app.store.connections().delete(&id).await?;
    let particulars = json!({"provider": listed.row.provider, "name": listed.row.name});
    call.audit("provider.credentials.revoked", &id, particulars).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"message": "Connection deleted successfully"})))
}

async fn test(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let model = match body.0 {
        None => None,
        given => {
            let mut form = Form::of(JsonBody(given))?;
            let model = form.text("validationModelId", 1..=500);
            form.finish()?;
            model
        }
    };
    let listed = listed(&call, &id)?;
    let began = tokio::time::Instant::now();
    let diagnosis = diagnose(&call, &listed, model.or_else(|| listed.row.default_model.clone()).as_deref()).await;
    let latency = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let now = call.now();
    if listed.source == Source::Database {
        note(&call, &id, &diagnosis, now).await?;
    }
    if diagnosis.valid() {
        forgive(&call, &id).await;
    }
    call.audit_as("provider.test", &id, diagnosis.kind, json!({"provider": listed.row.provider})).await;
    Ok(HttpResponse::Ok().json(json!({
        "valid": diagnosis.valid(),
        "error": diagnosis.message,
        "warning": null,
        "refreshed": false,
        "runtime": null,
        "diagnosis": diagnosis.to_json(),
        "latencyMs": latency,
        "statusCode": diagnosis.status,
        "testedAt": iso(now),
    })))
}

async fn diagnose(call: &Call, listed: &Listed, model: Option<&str>) -> Diagnosis {
    let local = |kind, message| Diagnosis { kind, source: "local", message: Some(message), status: None };
    let row = &listed.row;
    if row.credential_unreadable {
        return local("auth_missing", "the stored credential cannot be read; enter it again");
    }
    let needs_key = Home::find(&row.provider, &call.app.directory.nodes()).is_some_and(|home| !home.key_optional());
    if needs_key && row.credential.is_none() {
        return local("auth_missing", "there is no credential");
    }
    match prepared(call, listed) {
        Some(subject) => probe::test(&subject, model).await,
        None => local("validation_error", "the connection is not complete"),
    }
}

/// A connection as it runs, or as it would run.
fn prepared<'a>(call: &'a Call, listed: &Listed) -> Option<Subject<'a>> {
    let running = live::handles(&call.app).into_iter().find(|handle| handle.id().as_str() == listed.row.id);
    let config = match &running {
        Some(handle) => ConnectionConfig::clone(&handle.config()),
        None => call.app.directory.prepare(&listed.row).ok()?,
    };
    Some(Subject { app: &call.app, running, config })
}

async fn note(call: &Call, id: &str, diagnosis: &Diagnosis, now: i64) -> Result<(), Refusal> {
    let mut row = call.app.store.connections().get(id).await?;
    row.last_tested = Some(now);
    row.test_status = if diagnosis.valid() { "active" } else { "error" }.to_owned();
    let failed = !diagnosis.valid();
    row.last_error = diagnosis.message.filter(|_| failed).map(str::to_owned);
    row.last_error_type = failed.then(|| diagnosis.kind.to_owned());
    row.last_error_source = failed.then(|| diagnosis.source.to_owned());
    row.last_error_at = failed.then_some(now);
    row.error_code = diagnosis.status.filter(|_| failed).map(|status| status.to_string());
    call.app.store.connections().update(&row).await?;
    call.refresh().await
}

/// A connection that works need not rest; one that was out of service until somebody acts is back, for somebody did.
async fn forgive(call: &Call, id: &str) {
    let handles: Vec<_> = live::handles(&call.app).into_iter().filter(|handle| handle.id().as_str() == id).collect();
    let terminal = handles.iter().any(|handle| handle.remembered().terminal.is_some());
    let scope = if terminal { ResetScope::All } else { ResetScope::Cooldowns };
    live::tell(&call.app, &handles, Reset(scope)).await;
}

async fn set_cooldown(call: &Call, id: &str, until: Option<i64>) -> Result<(), Refusal> {
    let handles: Vec<_> = live::handles(&call.app).into_iter().filter(|handle| handle.id().as_str() == id).collect();
    let now = call.app.clock.both();
    let cooldown =
        until.map(|until| Cooldown { until: now.to_moment(UnixMillis(until)), reason: Outcome::RateLimited });
    let told = live::tell(&call.app, &handles, SetCooldown(cooldown)).await;
    if told.iter().any(Option::is_none) {
        return Err(Refusal::unavailable("The connection is stored but did not take the cooldown; try again"));
    }
    Ok(())
}

async fn models(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let listed = listed(&call, &id)?;
    let known: Vec<String> =
        Catalog::builtin().get(&listed.row.provider).map(|spec| spec.models.clone()).unwrap_or_default();
    let asked = match prepared(&call, &listed) {
        Some(subject) => probe::models(&subject).await.map_err(|diagnosis| diagnosis.message),
        None => Err(Some("the connection is not complete")),
    };
    let (models, source, warning) = match asked {
        Ok(models) => {
            learn::keep(&call.app, &listed.row.provider, &models).await?;
            (models, "api", None)
        }
        Err(why) => {
            let known = known.into_iter().map(|id| Offered { id, facts: None }).collect();
            (known, "local_catalog", Some(format!("not the provider's own list: {}", why.unwrap_or("no answer"))))
        }
    };
    let shown = |model: &Offered| {
        let facts = model.facts.as_ref();
        json!({
            "id": model.id, "name": model.id,
            "contextLength": facts.and_then(|facts| facts.context),
            "maxOutputTokens": facts.and_then(|facts| facts.max_output),
        })
    };
    let models: Vec<_> = models.iter().map(shown).collect();
    let mut answer =
        json!({"provider": listed.row.provider, "connectionId": listed.row.id, "models": models, "source": source});
    if let Some(warning) = warning {
        put(&mut answer, "warning", json!(warning));
    }
    Ok(HttpResponse::Ok().json(answer))
}

async fn validate(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("provider");
    let provider = form.text("provider", 1..=100);
    let model = form.text("validationModelId", 1..=500);
    let base_url = form.text("baseUrl", 1..=2_000);
    let mut row = blank("validation".into(), provider.as_deref().unwrap_or_default(), call.now());
    form.let_pass(["customUserAgent", "cx"]);
    fill(&mut form, &mut row);
    form.finish()?;
    let home = home_of(&call, provider.as_deref().unwrap_or_default())?;
    row.provider = home.id().to_owned();
    if let (Some(url), Some(data)) = (base_url, row.provider_specific_data.as_object_mut()) {
        data.insert("baseUrl".into(), json!(url));
    }
    let config = check_address(&call, &row).await?;
    let diagnosis = if row.credential.is_none() && !home.key_optional() {
        Diagnosis { kind: "auth_missing", source: "validation", message: Some("there is no credential"), status: None }
    } else {
        probe::test(&Subject { app: &call.app, running: None, config }, model.as_deref()).await
    };
    Ok(HttpResponse::Ok().json(json!({
        "valid": diagnosis.valid(),
        "error": diagnosis.message,
        "warning": null,
        "method": if model.is_some() { "chat" } else { "models" },
        "diagnosis": diagnosis.to_json(),
        "statusCode": diagnosis.status,
    })))
}

fn home_of(call: &Call, provider: &str) -> Result<Home, Refusal> {
    let found = Home::find(provider, &call.app.directory.nodes());
    let is_node = NodeKind::ALL.iter().any(|kind| provider.starts_with(&format!("{}-", kind.name)));
    found.ok_or_else(|| match is_node {
        true => Refusal::not_found("Provider node not found"),
        false => Refusal::bad_request("Invalid provider"),
    })
}

/// Where the connection would send its requests must be a place that may be reached. Checked again at each connect.
async fn check_address(call: &Call, row: &ConnectionRow) -> Result<ConnectionConfig, Refusal> {
    let refuse = |message: String| {
        let mut form = Form::default();
        form.problem(BASE_URL, message);
        form.finish()
    };
    let config = match call.app.directory.prepare(row) {
        Ok(config) => config,
        Err(message) => return Err(refuse(message).err().unwrap_or_else(Refusal::internal)),
    };
    for (field, text) in places(&config) {
        let refuse = |message: String| {
            let mut form = Form::default();
            form.problem(field, message);
            form.finish()
        };
        let checked = match Url::parse(text) {
            Ok(url) => call.app.clients.policy().check_url(&url).map_err(|refusal| refusal.to_string()),
            Err(_) => Err("Is no valid URL".to_owned()),
        };
        if let Err(message) = checked {
            let particulars = json!({"provider": row.provider, "reason": message});
            call.audit_as("provider.validation.ssrf_blocked", &row.id, "blocked", particulars).await;
            refuse(message)?;
        }
    }
    Ok(config)
}

/// Every place that the connection sends something to, with the field to blame.
fn places(config: &ConnectionConfig) -> Vec<(&'static str, &String)> {
    let own = [&*config.target].into_iter().chain(config.target.by_model.iter().map(|(_, target)| &**target));
    let urls =
        own.flat_map(|target| std::iter::once(&target.chat_url).chain(&target.stream_url).chain(&target.models_url));
    let tokens = config.exchange.iter().map(|exchange| ("providerSpecificData.tokenUrl", &exchange.token_url));
    urls.map(|url| (BASE_URL, url)).chain(tokens).collect()
}

/// Whether requests, or the credential itself, would go to another origin than before. When that cannot be told they would.
fn has_moved(call: &Call, before: &ConnectionRow, after: &ConnectionRow) -> bool {
    if before.provider_specific_data == after.provider_specific_data {
        return false;
    }
    let origins = |row: &ConnectionRow| -> Option<Vec<Origin>> {
        let config = call.app.directory.prepare(row).ok()?;
        let origins = places(&config).into_iter().map(|(_, place)| Some(Url::parse(place).ok()?.origin()));
        let mut origins = origins.collect::<Option<Vec<_>>>()?;
        origins.dedup();
        Some(origins)
    };
    let (before, after) = (origins(before), origins(after));
    before.is_none() || before != after
}

async fn view(call: &Call, id: &str) -> Result<Value, Refusal> {
    let listed = listed(call, id)?;
    let snapshots = tokio::time::timeout(Duration::from_secs(2), live::snapshots(&call.app)).await;
    let snapshots = snapshots.ok().and_then(Result::ok).unwrap_or_default();
    Ok(connection_view::connection(&listed, snapshots.iter().find(|snapshot| snapshot.id.as_str() == id)))
}

fn listed(call: &Call, id: &str) -> Result<Listed, Refusal> {
    let all = call.app.directory.listed();
    all.iter().find(|entry| entry.row.id == id).cloned().ok_or_else(|| Refusal::not_found(NOT_FOUND))
}

/// A connection that can be changed here.
fn stored(call: &Call, id: &str) -> Result<Listed, Refusal> {
    let listed = listed(call, id)?;
    match listed.source {
        Source::Database => Ok(listed),
        Source::Environment => Err(Refusal::conflict(
            "This connection comes from an environment variable; change or unset the variable and restart",
        )),
        Source::Demo => Err(Refusal::conflict(
            "This connection belongs to the built-in demo; it goes away when a provider is configured",
        )),
    }
}
