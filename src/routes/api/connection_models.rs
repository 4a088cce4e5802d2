//! `/api/providers/{id}/models` and `sync-models`: what a connection's provider says it serves, now or when it was asked last.

use std::collections::BTreeSet;

use actix_web::{HttpResponse, web};
use omniroute_actors::connection::config::Source;
use omniroute_actors::router::facts::ModelFacts;
use serde_json::{Value, json};

use super::connection_find::listed;
use super::connection_test::prepared;
use super::learn;
use super::probe::{self, Offered};
use crate::gateway::directory::Listed;
use crate::providers::Catalog;
use crate::routes::body::put;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::SyncedModelsRow;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/providers/{id}/models", M, "The models a connection offers", models),
        RouteSpec::post("/api/providers/{id}/sync-models", M, "Take the provider's own list of models over", sync),
    ]
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    refresh: Option<bool>,
    mode: Option<String>,
}

/// What was synchronised last, unless the provider is to be asked anew. A provider that does not answer is no error.
async fn models(call: Call, id: web::Path<String>, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let listed = listed(&call, &id)?;
    let known = known(&call, &id);
    let cached = known.as_ref().filter(|_| query.refresh != Some(true));
    let (models, source, warning) = match cached {
        Some(names) => (names.iter().cloned().collect(), "cache", None),
        None => match asked(&call, &listed).await {
            Ok(offered) => (told(&call, &listed, offered).await?, "api", None),
            Err(why) => {
                let (models, source) = fallback(&listed, known);
                (models, source, Some(format!("not the provider's own list: {why}")))
            }
        },
    };
    let mut answer = json!({
        "provider": listed.row.provider, "connectionId": listed.row.id, "models": named(&call, &listed.row.provider, &models), "source": source,
    });
    if let Some(warning) = warning {
        put(&mut answer, "warning", json!(warning));
    }
    Ok(HttpResponse::Ok().json(answer))
}

fn fallback(listed: &Listed, known: Option<BTreeSet<String>>) -> (Vec<String>, &'static str) {
    let catalogue = || Catalog::builtin().get(&listed.row.provider).map(|spec| spec.models.clone()).unwrap_or_default();
    match known {
        Some(names) => (names.into_iter().collect(), "cache"),
        None => (catalogue(), "local_catalog"),
    }
}

fn named(call: &Call, provider: &str, models: &[String]) -> Vec<Value> {
    let routing = call.app.directory.routing();
    let shown = |model: &String| {
        let mut facts = ModelFacts::default();
        routing.learned.over(provider, model, &mut facts);
        json!({"id": model, "name": model, "contextLength": facts.context, "maxOutputTokens": facts.max_output})
    };
    models.iter().map(shown).collect()
}

/// What the provider told last.
fn known(call: &Call, id: &str) -> Option<BTreeSet<String>> {
    let routing = call.app.directory.routing();
    let row = routing.synced.iter().find(|row| row.connection_id == id)?;
    Some(row.names().map(str::to_owned).collect())
}

async fn asked(call: &Call, listed: &Listed) -> Result<Vec<Offered>, &'static str> {
    let subject = prepared(call, listed).ok_or("the connection is not complete")?;
    probe::models(&subject).await.map_err(|diagnosis| diagnosis.message.unwrap_or("no answer"))
}

/// What the provider says about its models is kept, too.
async fn told(call: &Call, listed: &Listed, offered: Vec<Offered>) -> Result<Vec<String>, Refusal> {
    learn::keep(&call.app, &listed.row.provider, &offered).await?;
    Ok(offered.into_iter().map(|one| one.id).collect())
}

/// With `mode=import` what was known stays beside what is new; else it is replaced.
async fn sync(
    call: Call,
    id: web::Path<String>,
    query: web::Query<Query>,
    body: JsonBody,
) -> Result<HttpResponse, Refusal> {
    let listed = listed(&call, &id)?;
    let mode = mode(body, query.mode.as_deref())?;
    if listed.source != Source::Database {
        return Err(Refusal::conflict("Only connections that are stored keep a list of models"));
    }
    let told: BTreeSet<String> = match asked(&call, &listed).await {
        Ok(offered) => told(&call, &listed, offered).await?.into_iter().collect(),
        Err(why) => return Err(Refusal::bad_gateway(format!("The list of models could not be read: {why}"))),
    };
    let before = known(&call, &id).unwrap_or_default();
    let now: BTreeSet<String> = if mode == "import" { before.union(&told).cloned().collect() } else { told.clone() };
    let row = SyncedModelsRow { connection_id: id.to_string(), models: json!(now), synced_at: call.now() };
    call.app.store.provider_models().sync(row).await?;
    let (added, removed) = (now.difference(&before).count(), before.difference(&now).count());
    call.audit("provider.models.synced", &id, json!({"mode": mode, "added": added, "removed": removed})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({
        "ok": true,
        "provider": listed.row.provider,
        "mode": mode,
        "syncedModels": told.len(),
        "availableModelsCount": now.len(),
        "modelChanges": {"added": added, "removed": removed, "updated": 0, "total": added + removed},
        "importedCount": added,
        "models": named(&call, &listed.row.provider, &now.into_iter().collect::<Vec<_>>()),
    })))
}

/// The body or the query says it.
fn mode(body: JsonBody, query: Option<&str>) -> Result<String, Refusal> {
    let mut form = match body.0 {
        None => Form::default(),
        given => Form::of(JsonBody(given))?,
    };
    let word = form.word("mode", &["sync", "import"]);
    let word = word.or_else(|| query.map(str::to_owned)).unwrap_or_else(|| "sync".to_owned());
    if !matches!(word.as_str(), "sync" | "import") {
        form.problem("mode", "Expected one of: sync, import");
    }
    form.finish()?;
    Ok(word)
}
