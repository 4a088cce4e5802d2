//! `/api/evals*`: try models with the cases of a suite, and see how they did.
//!
//! A run is a job that goes on whoever waits for it. A call that begins one waits a while for its end and then answers
//! 200 with the results, as callers of the original expect, or 202 with how far it is; with `"background": true` it
//! answers at once.

use std::time::Duration;

use actix::Addr;
use actix_web::{HttpResponse, web};
use futures_util::future::join_all;
use omniroute_actors::router::Router;
use serde_json::{Map, Value, json};

use super::eval_suites::{all, runnable};
use crate::evals::suite::Suite;
use crate::evals::{self, Job, NotBegun, Target, report};
use crate::routes::body::put;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{EvalRunRow, EvalStatus, StoreError};

/// Runs that an overview shows.
const RECENT: u8 = 20;
/// Runs of which the best are looked for.
const HISTORY: i64 = 500;
/// When a caller may ask again for room.
const COME_BACK: Duration = Duration::from_secs(10);

/// Keys that a form has to choose from; any other is named by its id.
const KEYS_TO_CHOOSE: i64 = 500;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let run = "/api/evals/runs/{id}";
    vec![
        RouteSpec::get("/api/evals", M, "Eval suites, the latest runs, and who can be tried", overview),
        RouteSpec::post("/api/evals", M, "Try a model or combo with a suite, or score given outputs", begin),
        RouteSpec::get("/api/evals/runs", M, "The latest eval runs without their results", list),
        RouteSpec::get(run, M, "One eval run with its results so far", show),
        RouteSpec::delete(run, M, "Forget an eval run that has ended", forget),
        RouteSpec::post("/api/evals/runs/{id}/cancel", M, "End an eval run; what it found out is kept", cancel),
        RouteSpec::get("/api/evals/groups/{id}", M, "Runs that were begun together, compared", group),
    ]
}

async fn overview(call: Call) -> Result<HttpResponse, Refusal> {
    let history = call.app.store.eval_runs().list(None, HISTORY).await?;
    let keys = call.app.store.api_keys().names(KEYS_TO_CHOOSE).await?;
    let keys: Vec<_> =
        keys.into_iter().map(|(id, name, active)| json!({"id": id, "name": name, "isActive": active})).collect();
    Ok(HttpResponse::Ok().json(json!({
        "suites": all(&call).await?,
        "recentRuns": history.iter().take(RECENT.into()).map(report::run).collect::<Vec<_>>(),
        "scorecard": report::scorecard(report::latest(&history)),
        "targets": targets(&call),
        "apiKeys": keys,
    })))
}

/// Whom a run can ask.
fn targets(call: &Call) -> Vec<Value> {
    let plan = call.app.plan.load();
    let target = |kind: &str, id: &str| json!({"type": kind, "id": id, "label": id});
    let mut combos: Vec<_> = plan.combos.keys().map(ToString::to_string).collect();
    combos.sort();
    let of = |(id, entry): (&_, &omniroute_actors::router::plan::ProviderEntry)| {
        let models = entry.models.keys().map(|model| format!("{id}/{model}")).collect::<Vec<_>>();
        if entry.connections.is_empty() { Vec::new() } else { models }
    };
    let mut models: Vec<_> = plan.providers.iter().flat_map(of).collect();
    models.sort();
    let own = std::iter::once(json!({"type": "suite-default", "id": null, "label": "the models of the cases"}));
    let combos = combos.iter().map(|id| target("combo", id));
    own.chain(combos).chain(models.iter().map(|id| target("model", id))).collect()
}

/// What a body asks for.
struct Asked {
    suite: Suite,
    targets: Vec<Target>,
    key: Option<String>,
    in_background: bool,
}

async fn begin(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("suiteId");
    let suite = form.text("suiteId", 1..=100);
    let outputs = form.object("outputs");
    let key = form.text("apiKeyId", 1..=100);
    let in_background = form.flag("background").unwrap_or(false);
    let targets = if outputs.is_none() { wanted(&call, &mut form) } else { Vec::new() };
    if let Some(id) = &key
        && !call.app.keys.by_id(id).is_ok_and(|owner| owner.scopes.inference)
    {
        form.problem("apiKeyId", "There is no such key, or it may not call models");
    }
    form.finish()?;
    let suite = runnable(&call, &suite.unwrap_or_default()).await?;
    match outputs {
        Some(outputs) => Ok(HttpResponse::Ok().json(scored(&suite, &outputs))),
        None => run(&call, Asked { suite, targets, key, in_background }).await,
    }
}

/// One target, or two that are compared.
fn wanted(call: &Call, form: &mut Form) -> Vec<Target> {
    let first = target(call, form, "target");
    let second = target(call, form, "compareTarget");
    if second.is_some() && first == second {
        form.problem("compareTarget", "Must differ from the target");
    }
    std::iter::once(first.unwrap_or(Target::SuiteDefault)).chain(second).collect()
}

fn target(call: &Call, form: &mut Form, field: &str) -> Option<Target> {
    let mut part = Form::part(form.object(field)?, field);
    part.require("type");
    let kind = part.word("type", &["suite-default", "model", "combo"]);
    let id = part.text("id", 1..=300);
    part.let_pass(["label"]);
    let plan = call.app.plan.load();
    let found = match (kind.as_deref(), id) {
        (Some("model" | "combo"), None) => {
            part.problem("id", "Required");
            None
        }
        (Some("model"), Some(id)) => match plan.resolve(&id) {
            Ok(_) => Some(Target::Model(id)),
            Err(why) => {
                part.problem("id", why.to_string());
                None
            }
        },
        (Some("combo"), Some(id)) => {
            let named = call.app.directory.combos().iter().find(|combo| combo.id == id).map(|combo| combo.name.clone());
            let name = named.unwrap_or(id);
            if !plan.combos.contains_key(name.as_str()) {
                part.problem("id", "There is no such combo");
            }
            Some(Target::Combo(name))
        }
        (Some(_), _) => Some(Target::SuiteDefault),
        (None, _) => None,
    };
    form.problems(part.into_problems());
    found
}

fn scored(suite: &Suite, outputs: &Map<String, Value>) -> Value {
    report::of_outputs(suite, |id| outputs.get(id).and_then(Value::as_str).map(ToOwned::to_owned))
}

async fn run(call: &Call, asked: Asked) -> Result<HttpResponse, Refusal> {
    let Asked { suite, targets, key, in_background } = asked;
    let router = call.request.app_data::<web::Data<Addr<Router>>>().cloned().ok_or_else(Refusal::internal)?;
    let operator = call.principal.clone().ok_or_else(Refusal::internal)?;
    let shown: Vec<_> = targets.iter().map(|target| json!({"type": target.kind(), "id": target.id()})).collect();
    let (suite_id, particulars) = (suite.id.clone(), json!({"targets": shown, "apiKeyId": key}));
    let job = Job { app: call.app.clone(), router, operator, key, suite, targets };
    let begun = evals::begin(job).await.map_err(|why| match why {
        NotBegun::Store(error) => error.into(),
        NotBegun::NoRoom => {
            Refusal::new(actix_web::http::StatusCode::TOO_MANY_REQUESTS, "too_many_runs", why.to_string())
                .after(COME_BACK)
        }
    })?;
    call.audit("eval.started", &suite_id, particulars).await;
    let (ids, ends): (Vec<_>, Vec<_>) = begun.into_iter().unzip();
    let patience = if in_background { 0 } else { call.app.config.load().evals.wait_s };
    // Whether it has ended is the store's to say.
    let _ = tokio::time::timeout(Duration::from_secs(patience), join_all(ends)).await;
    answer(call, &suite_id, &ids).await
}

async fn answer(call: &Call, suite: &str, ids: &[String]) -> Result<HttpResponse, Refusal> {
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        rows.push(stored(call, id).await?);
    }
    let history = call.app.store.eval_runs().list(Some(suite), HISTORY).await?;
    let mut shown = json!({
        "suiteId": suite,
        "runGroupId": rows.first().and_then(|row| row.group_id.as_deref()),
        "runs": rows.iter().map(report::run).collect::<Vec<_>>(),
        "scorecard": report::scorecard(&rows),
        "recentRuns": history.iter().take(RECENT.into()).map(report::run).collect::<Vec<_>>(),
        "historyScorecard": report::scorecard(report::latest(&history)),
    });
    if rows.len() > 1 {
        put(&mut shown, "comparison", report::comparison(&rows));
    }
    let goes_on = rows.iter().any(|row| EvalStatus::is_running(&row.status));
    let mut response = if goes_on { HttpResponse::Accepted() } else { HttpResponse::Ok() };
    Ok(response.json(shown))
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    suite_id: Option<String>,
    limit: Option<i64>,
}

async fn list(call: Call, page: web::Query<Page>) -> Result<HttpResponse, Refusal> {
    let limit = page.limit.unwrap_or(RECENT.into()).clamp(1, HISTORY);
    let rows = call.app.store.eval_runs().list(page.suite_id.as_deref(), limit).await?;
    Ok(HttpResponse::Ok().json(json!({"runs": rows.iter().map(report::run).collect::<Vec<_>>()})))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(json!({"run": report::run(&stored(&call, &id).await?)})))
}

async fn cancel(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let row = stored(&call, &id).await?;
    let ended = call.app.store.eval_runs().end(&id, EvalStatus::Cancelled, None, call.now()).await?;
    if ended {
        call.app.evals.stop(&id).await;
        call.audit("eval.cancelled", &id, json!({"suiteId": row.suite_id})).await;
    }
    show(call, id).await
}

async fn forget(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let row = stored(&call, &id).await?;
    if !call.app.store.eval_runs().delete(&id).await? {
        return Err(Refusal::conflict("The run goes on; cancel it first"));
    }
    call.audit("eval.deleted", &id, json!({"suiteId": row.suite_id})).await;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

async fn group(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let rows = call.app.store.eval_runs().group(&id).await?;
    if rows.is_empty() {
        return Err(Refusal::not_found("There is no such group of runs"));
    }
    Ok(HttpResponse::Ok().json(json!({
        "runGroupId": *id,
        "runs": rows.iter().map(report::run).collect::<Vec<_>>(),
        "comparison": report::comparison(&rows),
    })))
}

async fn stored(call: &Call, id: &str) -> Result<EvalRunRow, Refusal> {
    call.app.store.eval_runs().get(id).await.map_err(|error| match error {
        StoreError::NotFound => Refusal::not_found("There is no such run"),
        other => other.into(),
    })
}
