//! `/api/combos/test`: would each target of a combo answer?
//!
//! Without `"live": true` nobody is asked: the answer is made from the state that requests look at, costs nothing and can
//! be repeated at will. With it each target gets one tiny request, past no gate: only connections that would be taken.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use futures_util::StreamExt;
use omniroute_actors::router::explain::{ExplainedConnection, ExplainedLeg};
use omniroute_actors::router::features::RequestFeatures;
use omniroute_actors::router::plan::ReadyPlan;
use omniroute_actors::router::{Explanation, Only};
use serde_json::{Value, json};

use super::explain::{ensemble, explained};
use super::probe::try_connection;
use crate::routes::body::{iso, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};

/// Targets that are looked at.
const MOST_TARGETS: usize = 100;
/// Targets that are asked at the same time.
const AT_ONCE: usize = 10;
/// How long one may take.
const WITHIN: Duration = Duration::from_secs(20);

pub(super) fn routes() -> Vec<RouteSpec> {
    let meaning = "Whether each target of a combo would answer; with live: true each is asked";
    vec![RouteSpec::post("/api/combos/test", Scope::Management, meaning, test)]
}

async fn test(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("comboName");
    let name = form.text("comboName", 1..=100).unwrap_or_default();
    let live = form.flag("live").unwrap_or(false);
    form.let_pass(["protocol"]);
    form.finish()?;
    let plan = call.app.plan.load_full();
    let combo = plan.combos.get(name.as_str()).ok_or_else(|| Refusal::not_found("Combo not found"))?;
    if combo.steps.is_empty() {
        return Err(Refusal::bad_request("Combo has no models"));
    }
    let features = RequestFeatures { at: call.app.clock.wall(), ..RequestFeatures::default() };
    let explained = explained(&call, &name, features, &Only::default())?;
    let results = if live { asked(&call, &plan, &explained).await } else { looked_at(&call, &plan, &explained) };
    let first = results.iter().find(|result| result.get("status") == Some(&json!("ok"))).cloned();
    let part = |name: &str| first.as_ref().and_then(|first| first.get(name)).cloned().unwrap_or_default();
    let qualified = first.as_ref().map(|_| format!("{}/{}", text(&part("provider")), text(&part("model"))));
    if live {
        let answered = results.iter().filter(|result| result.get("status") == Some(&json!("ok"))).count();
        call.audit("combo.tested", &name, json!({"targets": results.len(), "answered": answered})).await;
    }
    Ok(HttpResponse::Ok().json(json!({
        "comboName": name, "strategy": combo.strategy.as_str(), "live": live,
        "resolvedBy": qualified, "resolvedByExecutionKey": part("executionKey"), "resolvedByTarget": first,
        "ensemble": explained.ensemble.as_ref().map(ensemble), "judge": judge(&call, &explained),
        "results": results, "testedAt": iso(call.now()),
    })))
}

/// Whether the judge of a panel could be asked now; nothing where the steps judge themselves, or nobody does.
fn judge(call: &Call, explained: &Explanation) -> Option<Value> {
    let model = explained.ensemble.as_ref()?.judge.as_deref()?;
    let features = RequestFeatures { at: call.app.clock.wall(), ..RequestFeatures::default() };
    let found = super::explain::explained(call, model, features, &Only::default());
    let serving = found.as_ref().ok().and_then(Explanation::would_serve);
    let why = match &found {
        Ok(found) => found.legs.first().map_or("no_connection", why),
        Err(_) => "model_not_found",
    };
    Some(json!({
        "model": model, "status": if serving.is_some() { "ok" } else { "error" },
        "connectionId": serving.map(|(_, one)| one.connection.id()), "error": serving.is_none().then_some(why),
    }))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// From the state alone.
fn looked_at(call: &Call, plan: &ReadyPlan, explained: &Explanation) -> Vec<Value> {
    let of = |leg: &ExplainedLeg| {
        let taken = leg.connections.iter().find(|one| one.skipped.is_none());
        let mut result = line(plan, explained, leg, taken.or_else(|| leg.connections.first()));
        match taken {
            Some(_) => put(&mut result, "status", "ok"),
            None => {
                put(&mut result, "status", "error");
                put(&mut result, "error", why(leg));
                let at = leg.connections.iter().filter_map(|one| one.retry_at).min();
                put(&mut result, "retryAt", at.map(|at| iso(call.app.clock.both().to_wall(at).0)));
            }
        }
        result
    };
    explained.legs.iter().take(MOST_TARGETS).map(of).collect()
}

fn why(leg: &ExplainedLeg) -> &'static str {
    leg.connections.iter().find_map(|one| one.skipped).map_or("no_connection", |why| why.as_str())
}

/// Each with a tiny request, some at a time; the order stays.
async fn asked(call: &Call, plan: &ReadyPlan, explained: &Explanation) -> Vec<Value> {
    let legs = explained.legs.iter().take(MOST_TARGETS);
    futures_util::stream::iter(legs.map(|leg| ask(call, plan, explained, leg))).buffered(AT_ONCE).collect().await
}

async fn ask(call: &Call, plan: &ReadyPlan, explained: &Explanation, leg: &ExplainedLeg) -> Value {
    let taken = leg.connections.iter().find(|one| one.skipped.is_none());
    let mut result = line(plan, explained, leg, taken.or_else(|| leg.connections.first()));
    let Some(taken) = taken else {
        put(&mut result, "status", "error");
        put(&mut result, "error", why(leg));
        return result;
    };
    let tried = try_connection(&call.app, Arc::clone(&taken.connection), leg.model.as_str(), WITHIN).await;
    put(&mut result, "latencyMs", u64::try_from(tried.took.as_millis()).unwrap_or(u64::MAX));
    match tried.found {
        Some(diagnosis) if diagnosis.valid() => {
            put(&mut result, "status", "ok");
            put(&mut result, "statusCode", diagnosis.status);
        }
        Some(diagnosis) => {
            put(&mut result, "status", "error");
            put(&mut result, "statusCode", diagnosis.status);
            put(&mut result, "error", diagnosis.message);
        }
        None => {
            put(&mut result, "status", "error");
            put(&mut result, "error", "the target did not answer in time");
        }
    }
    result
}

fn line(plan: &ReadyPlan, explained: &Explanation, leg: &ExplainedLeg, one: Option<&ExplainedConnection>) -> Value {
    let step = leg.key.rsplit('>').next().unwrap_or_default();
    let label =
        explained.combo.as_ref().and_then(|combo| plan.combos.get(combo)).and_then(|combo| {
            combo.steps.iter().find(|known| &*known.id == step).and_then(|known| known.label.clone())
        });
    json!({
        "model": leg.model, "provider": leg.provider, "stepId": step, "executionKey": leg.key,
        "connectionId": one.map(|one| one.connection.id()), "label": label.as_deref(), "latencyMs": null,
    })
}
