//! `/api/providers*`: connections, one account or key at one provider each.
//!
//! A credential goes in and never comes out, and it is sent to no other place (scheme, host, port) than the one it was
//! saved for: a change of the address without a new credential removes it.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::SetCooldown;
use omniroute_actors::resilience::health::Cooldown;
use omniroute_actors::resilience::outcome::Outcome;
use serde_json::{Value, json};

use super::connection_checks::{check_address, drafted, has_moved, home_of, let_pass};
use super::connection_find::{accounts_of, listed, stored, view};
use super::connection_form::{blank, fill};
use super::connection_page::Wish;
use super::probe::{self, Diagnosis, Subject};
use super::{connection_test, connection_view, live};
use crate::gateway::directory::Listed;
use crate::routes::body::put;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/providers", M, "Connections without their secrets, at most 500 a page", list),
        RouteSpec::post("/api/providers", M, "Add a connection", create),
        RouteSpec::post("/api/providers/validate", M, "Try a credential without storing it", validate),
        RouteSpec::get("/api/providers/{id}", M, "One connection", show),
        RouteSpec::put("/api/providers/{id}", M, "Change a connection", update),
        RouteSpec::patch("/api/providers/{id}", M, "Change a connection", update),
        RouteSpec::delete("/api/providers/{id}", M, "Remove a connection", delete),
        RouteSpec::post("/api/providers/{id}/test", M, "Try a connection; success ends its cooldown", test),
    ]
}

async fn list(call: Call, wish: web::Query<Wish>) -> Result<HttpResponse, Refusal> {
    let page = wish.page(&call)?;
    let (live, accounts) = (live::snapshots(&call.app, &page.shown).await?, accounts_of(&call, &page.shown).await?);
    let shown = |entry: &Arc<Listed>| {
        let id = entry.row.id.as_str();
        connection_view::connection(entry, live.get(id), accounts.get(id))
    };
    let mut answer = json!({ "connections": page.shown.iter().map(shown).collect::<Vec<_>>() });
    page.tell(&mut answer);
    Ok(HttpResponse::Ok().json(answer))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let shown = view(&call, &id).await?;
    Ok(HttpResponse::Ok().json(json!({ "connection": shown })))
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let row = drafted(&call, Form::of(body)?).await?;
    call.app.store.connections().insert(&row).await?;
    call.audit("provider.credentials.created", &row.id, json!({"provider": row.provider, "name": row.name})).await;
    call.refresh_one(&row.id).await?;
    Ok(HttpResponse::Created().json(json!({ "connection": view(&call, &row.id).await? })))
}

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let before = stored(&call, &id)?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    call.check_switch(&form)?;
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
    call.refresh_one(&row.id).await?;
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

async fn delete(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let listed = stored(&call, &id)?;
    call.app.store.connections().delete(&id).await?;
    let particulars = json!({"provider": listed.row.provider, "name": listed.row.name});
    call.audit("provider.credentials.revoked", &id, particulars).await;
    call.refresh_one(&id).await?;
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
    let tested = connection_test::run(&call, &listed, model.as_deref()).await?;
    call.refresh_one(&id).await?;
    Ok(HttpResponse::Ok().json(tested.to_json()))
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
