//! `/api/assess`: which models answer? Each gets one tiny question over a connection that a request would take.

use std::collections::HashSet;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use futures_util::StreamExt;
use omniroute_actors::router::Only;
use omniroute_actors::router::features::RequestFeatures;
use serde_json::{Value, json};

use super::explain::explained;
use super::models::categories;
use super::probe::{Diagnosis, try_connection};
use crate::routes::body::iso;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::AssessmentRow;

/// Models of one assessment.
const MOST_MODELS: usize = 500;
/// Models that are asked at the same time.
const AT_ONCE: usize = 8;
/// How long one may take.
const WITHIN: Duration = Duration::from_secs(20);
/// What can become of a model.
const STATUSES: [&str; 5] = ["working", "broken", "timeout", "rate_limited", "auth_error"];

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/assess", M, "Which models answered when they were last tried", show),
        RouteSpec::post("/api/assess", M, "Try models with one tiny question each", assess),
    ]
}

#[derive(serde::Deserialize)]
struct Query {
    action: Option<String>,
    status: Option<String>,
    provider: Option<String>,
    category: Option<String>,
}

async fn show(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let rows = call.app.store.assessments().list().await?;
    let answer = match query.action.as_deref() {
        None => help(),
        Some("results") => {
            if query.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
                return Err(Refusal::bad_request(format!("status is one of: {}", STATUSES.join(", "))));
            }
            models(rows.iter().filter(|row| query.asks_for(row)))
        }
        Some("working") => models(rows.iter().filter(|row| row.status == "working")),
        Some("combo-health") => combos(&call, &rows),
        Some(_) => return Err(Refusal::bad_request("Unknown action")),
    };
    Ok(HttpResponse::Ok().json(answer))
}

impl Query {
    fn asks_for(&self, row: &AssessmentRow) -> bool {
        let same = |asked: &Option<String>, value: &str| asked.as_deref().is_none_or(|asked| asked == value);
        let is_for = |asked: &String| row.categories.as_array().is_some_and(|list| list.iter().any(|one| one == asked));
        same(&self.status, &row.status)
            && same(&self.provider, &row.provider)
            && self.category.as_ref().is_none_or(is_for)
    }
}

fn help() -> Value {
    json!({
        "message": "Tries models and remembers which of them answered",
        "actions": {
            "results": "what is known of each model; filters: status, provider, category",
            "working": "the models that answered",
            "combo-health": "how many targets of each combo answered",
        },
        "run": "POST with {\"scope\": {\"type\": \"all\"}}, {\"type\": \"provider\", \"providerId\": \"..\"} or \
                {\"type\": \"model\", \"modelId\": \"provider/model\"}",
    })
}

fn models<'a>(rows: impl Iterator<Item = &'a AssessmentRow>) -> Value {
    json!({"models": rows.map(view).collect::<Vec<_>>()})
}

fn view(row: &AssessmentRow) -> Value {
    json!({
        "id": row.id, "modelId": row.model, "providerId": row.provider, "status": row.status,
        "categories": row.categories, "latencyMs": row.latency_ms, "error": row.message, "runId": row.run_id,
        "lastTested": iso(row.assessed_at),
    })
}

/// The targets that a combo's own steps name.
fn combos(call: &Call, rows: &[AssessmentRow]) -> Value {
    let plan = call.app.plan.load();
    let status = |model: &str| rows.iter().find(|row| row.id == model).map_or("unknown", |row| row.status.as_str());
    let features = || RequestFeatures { at: call.app.clock.wall(), ..RequestFeatures::default() };
    let combo = |name: &str| {
        let legs = explained(call, name, features(), &Only::default()).map(|found| found.legs).unwrap_or_default();
        let models: Vec<_> = legs.iter().map(|leg| format!("{}/{}", leg.provider, leg.model)).collect();
        let working = models.iter().filter(|model| status(model) == "working").count();
        let targets = models.iter().map(|model| json!({"model": model, "status": status(model)}));
        json!({
            "name": name, "total": models.len(), "working": working, "targets": targets.collect::<Vec<_>>(),
            "health": match working {
                0 => "down",
                _ if working == models.len() => "healthy",
                _ => "degraded",
            },
        })
    };
    let mut names: Vec<_> = plan.combos.keys().map(ToString::to_string).collect();
    names.sort();
    json!({"combos": names.iter().map(|name| combo(name)).collect::<Vec<_>>()})
}

/// The provider that people name by its prefix.
fn id_of(call: &Call, named: &str) -> String {
    call.app.plan.load().prefixes.get(named).map_or_else(|| named.to_owned(), ToString::to_string)
}

async fn assess(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(JsonBody(Some(body.0.unwrap_or_else(|| json!({})))))?;
    form.word("trigger", &["on_demand", "scheduled", "startup"]);
    let scope = form.object("scope").unwrap_or_default();
    let mut part = Form::part(scope, "scope");
    let kind = part.word("type", &["all", "provider", "model"]).unwrap_or_else(|| "all".into());
    let (provider, model) = (part.text("providerId", 1..=100), part.text("modelId", 1..=600));
    for (needed, field) in [("provider", "providerId"), ("model", "modelId")] {
        if kind == needed {
            part.require(field);
        }
    }
    form.problems(part.into_problems());
    form.finish()?;
    let provider = provider.map(|named| id_of(&call, &named));
    let model = model.map(|named| match named.split_once('/') {
        Some((provider, model)) => format!("{}/{model}", id_of(&call, provider)),
        None => named,
    });
    let found = known(&call);
    let chosen: Vec<_> = found
        .into_iter()
        .filter(|one| match kind.as_str() {
            "provider" => Some(&one.provider) == provider.as_ref(),
            "model" => Some(&one.id()) == model.as_ref(),
            _ => true,
        })
        .collect();
    if chosen.is_empty() && kind != "all" {
        return Err(Refusal::not_found("No connection serves that"));
    }
    if chosen.len() > MOST_MODELS {
        let message = format!("These are {} models; one assessment tries at most {MOST_MODELS}", chosen.len());
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many_models", message));
    }
    let began = call.app.clock.now();
    let run = uuid::Uuid::now_v7().to_string();
    let tried = futures_util::stream::iter(chosen.iter().map(|one| attempt(&call, one, &run)));
    let rows: Vec<_> = tried.buffered(AT_ONCE).collect().await;
    let count = |status: &str| rows.iter().filter(|row| row.status == status).count();
    let (passed, limited) = (count("working"), count("rate_limited"));
    let answer = json!({
        "run_id": run, "status": "completed", "models_tested": rows.len(), "models_passed": passed,
        "models_failed": rows.len() - passed - limited, "models_rate_limited": limited,
        "duration_ms": u64::try_from(call.app.clock.now().since(began).as_millis()).unwrap_or(u64::MAX),
    });
    call.app.store.assessments().replace(rows).await?;
    call.audit("assessment.run", &run, answer.clone()).await;
    Ok(HttpResponse::Ok().json(answer))
}

/// A model that some connection is known to serve.
struct Known {
    provider: String,
    model: String,
    categories: Vec<String>,
}

impl Known {
    fn id(&self) -> String {
        format!("{}/{}", self.provider, self.model)
    }
}

fn known(call: &Call) -> Vec<Known> {
    let plan = call.app.plan.load();
    let listed = call.app.directory.listed();
    let served = plan.providers.iter().filter(|(_, entry)| !entry.connections.is_empty());
    let mut found: Vec<Known> = Vec::new();
    for (provider, entry) in served {
        let own = listed.iter().filter(|one| one.row.provider == provider.as_str());
        let defaults = own.filter_map(|one| one.row.default_model.clone());
        let mut seen = HashSet::new();
        let listed = entry.models.iter().map(|(model, facts)| (model.to_string(), categories(facts)));
        for (model, categories) in listed.chain(defaults.map(|model| (model, Vec::new()))) {
            if seen.insert(model.clone()) {
                let categories = categories.into_iter().map(ToOwned::to_owned).collect();
                found.push(Known { provider: provider.to_string(), model, categories });
            }
        }
    }
    found.sort_by(|a, b| (&a.provider, &a.model).cmp(&(&b.provider, &b.model)));
    found
}

async fn attempt(call: &Call, one: &Known, run: &str) -> AssessmentRow {
    let (status, latency, message) = ask(call, one).await;
    AssessmentRow {
        id: one.id(),
        provider: one.provider.clone(),
        model: one.model.clone(),
        status: status.to_owned(),
        categories: json!(one.categories),
        latency_ms: latency,
        message,
        run_id: run.to_owned(),
        assessed_at: call.now(),
    }
}

async fn ask(call: &Call, one: &Known) -> (&'static str, Option<i64>, Option<String>) {
    let features = RequestFeatures { at: call.app.clock.wall(), ..RequestFeatures::default() };
    let Ok(explained) = explained(call, &one.id(), features, &Only::default()) else {
        return ("broken", None, Some("the model string means nothing here".to_owned()));
    };
    let Some((leg, taken)) = explained.would_serve() else {
        let skipped = explained.legs.iter().flat_map(|leg| &leg.connections).find_map(|one| one.skipped);
        let why = skipped.map_or("no_connection", |why| why.as_str());
        return (resting(why), None, Some(format!("no connection can be asked now: {why}")));
    };
    let tried = try_connection(&call.app, taken.connection.clone(), leg.model.as_str(), WITHIN).await;
    let latency = i64::try_from(tried.took.as_millis()).ok();
    let Some(diagnosis) = tried.found else {
        return ("timeout", latency, Some("the model did not answer in time".to_owned()));
    };
    (judged(&diagnosis), latency, diagnosis.message.map(ToOwned::to_owned))
}

fn judged(diagnosis: &Diagnosis) -> &'static str {
    match diagnosis.kind {
        "ok" => "working",
        "upstream_auth_error" => "auth_error",
        "upstream_rate_limited" => "rate_limited",
        "upstream_unavailable" if diagnosis.status.is_none() => "timeout",
        _ => "broken",
    }
}

/// A model whose connections all rest was not asked.
fn resting(why: &str) -> &'static str {
    let for_a_while = ["cooldown", "lockout", "limit", "saturated", "full", "quota"];
    if for_a_while.iter().any(|word| why.contains(word)) { "rate_limited" } else { "broken" }
}
