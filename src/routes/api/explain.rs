//! `/api/explain` and `/api/combos/explain`: what would happen to a request for a model, from the state that requests
//! themselves look at. Nothing is taken, no turn is used up, nobody is asked.

use std::collections::HashSet;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use omniroute_actors::clock::Now;
use omniroute_actors::ids::ConnectionId;
use omniroute_actors::router::config::{Ensemble, OverBudget};
use omniroute_actors::router::explain::{ExplainedConnection, ExplainedLeg};
use omniroute_actors::router::features::{Effort, Needs, RequestFeatures, TagMatch};
use omniroute_actors::router::resolve::Unresolved;
use omniroute_actors::router::{Explanation, Only, explain};
use serde_json::{Value, json};

use crate::providers::usd;
use crate::routes::body::{iso, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::StoreError;

pub(super) fn routes() -> Vec<RouteSpec> {
    let meaning = "Who would serve a request for a model, in which order, and why not the others";
    vec![
        RouteSpec::post("/api/combos/explain", Scope::Management, meaning, show),
        RouteSpec::post("/api/explain", Scope::Management, meaning, show),
    ]
}

async fn show(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let model = form.text("model", 1..=512).or_else(|| form.text("comboName", 1..=512));
    if model.is_none() {
        form.problem("model", "Required");
    }
    let key = form.text("apiKeyId", 1..=100);
    let forced = form.text("connectionId", 1..=100).map(ConnectionId::from);
    let mut features = RequestFeatures { at: call.app.clock.wall(), ..RequestFeatures::default() };
    features.key = key.as_deref().map(Arc::from);
    if let Some(given) = form.object("features") {
        let mut part = Form::part(given, "features");
        fill(&mut part, &mut features);
        form.problems(part.into_problems());
    }
    form.finish()?;
    let only = Only { allowed: allowed(&call, key.as_deref()).await?, forced };
    let model = model.unwrap_or_default();
    let explained = explained(&call, &model, features, &only)?;
    Ok(HttpResponse::Ok().json(view(&model, &explained, call.app.clock.both())))
}

/// The explanation of a request with these features.
pub(super) fn explained(
    call: &Call,
    model: &str,
    features: RequestFeatures,
    only: &Only,
) -> Result<Explanation, Refusal> {
    let plan = call.app.plan.load();
    explain(&plan, model, &Arc::new(features), only, call.app.clock.now()).map_err(|why| match why {
        Unresolved::Malformed => Refusal::bad_request(why.to_string()),
        Unresolved::Ambiguous(candidates) => {
            Refusal::new(StatusCode::CONFLICT, "ambiguous_model", "Several providers serve this model")
                .beside("candidates", candidates)
        }
        other => Refusal::new(StatusCode::NOT_FOUND, "model_not_found", other.to_string()),
    })
}

/// The connections that a key may use.
async fn allowed(call: &Call, key: Option<&str>) -> Result<Option<Arc<HashSet<ConnectionId>>>, Refusal> {
    let Some(key) = key else { return Ok(None) };
    let row = call.app.store.api_keys().get(key).await.map_err(|error| match error {
        StoreError::NotFound => Refusal::not_found("There is no such key"),
        other => other.into(),
    })?;
    let ids: HashSet<_> =
        row.allowed_connections.as_array().into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect();
    Ok((!ids.is_empty()).then(|| Arc::new(ids)))
}

/// What is known about the request, as far as the caller says it.
fn fill(part: &mut Form, features: &mut RequestFeatures) {
    let tokens = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    features.prompt_tokens = tokens(part.integer("promptTokens", 0..=100_000_000));
    features.output_tokens = tokens(part.integer("outputTokens", 0..=100_000_000));
    for word in part.texts("needs", 10, 30).unwrap_or_default() {
        match Needs::parse(&word) {
            Some(need) => features.needs = features.needs.and(need),
            None => {
                let known: Vec<_> = Needs::ALL.words().collect();
                part.problem("needs", format!("`{word}` is not one of: {}", known.join(", ")));
            }
        }
    }
    features.tags = part.texts("tags", 50, 64).unwrap_or_default().iter().map(|tag| tag.as_str().into()).collect();
    if part.word("tagMatch", &["any", "all"]).as_deref() == Some("all") {
        features.tag_match = TagMatch::All;
    }
    features.task = part.text("task", 1..=50).map(Arc::from);
    features.mode = part.text("mode", 1..=50).map(Arc::from);
    let effort = part.word("effort", &["minimal", "low", "medium", "high", "xhigh", "max"]);
    features.effort = effort.as_deref().and_then(Effort::parse);
    let over = part.word("budgetFallback", &["strict", "cheapest"]);
    features.over_budget = over.as_deref().and_then(OverBudget::parse);
    features.budget = money(part, "budget");
    features.max_input_price = money(part, "maxInputPrice");
    features.max_output_price = money(part, "maxOutputPrice");
}

/// Decimal USD, as text or as a number.
fn money(part: &mut Form, field: &str) -> Option<u64> {
    let text = match part.any(field)? {
        Value::Null => return None,
        Value::String(text) => text,
        other => other.to_string(),
    };
    let amount = usd::nano(&text);
    if amount.is_none() {
        part.problem(field, "Expected USD such as 0.25");
    }
    amount
}

fn view(model: &str, explained: &Explanation, now: Now) -> Value {
    let serving = explained.would_serve().map(|(leg, one)| {
        json!({
            "executionKey": leg.key, "provider": leg.provider, "model": leg.model,
            "connectionId": one.connection.id(), "name": one.connection.config().name,
        })
    });
    let excluded = explained.excluded.iter().map(|out| {
        json!({
            "stepId": &*out.step, "provider": out.provider, "model": out.model, "reason": out.why.as_str(),
            "message": out.why.to_string(),
        })
    });
    json!({
        "model": model,
        "path": explained.path,
        "combo": explained.combo,
        "strategy": explained.strategy.map(|strategy| strategy.as_str()),
        "ensemble": explained.ensemble.as_ref().map(ensemble),
        "relaxed": explained.relaxed,
        "wouldServe": serving,
        "candidates": explained.legs.iter().map(|leg| candidate(leg, now)).collect::<Vec<_>>(),
        "excluded": excluded.collect::<Vec<_>>(),
    })
}

/// What becomes of the answers of all steps.
pub(super) fn ensemble(ensemble: &Ensemble) -> Value {
    json!({
        "judgeModel": ensemble.judge.as_deref(),
        "minAnswers": ensemble.quorum,
        "maxPanel": ensemble.panel,
        "panelTimeoutMs": ensemble.patience.map(|patience| u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)),
    })
}

fn candidate(leg: &ExplainedLeg, now: Now) -> Value {
    let mut candidate = json!({
        "executionKey": leg.key, "provider": leg.provider, "model": leg.model, "why": leg.why, "pick": leg.pick,
        "expectedCost": leg.cost.map(usd::text), "expectedCostNanoUsd": leg.cost,
        "contextLength": leg.window,
        "connections": leg.connections.iter().map(|one| connection(one, now)).collect::<Vec<_>>(),
        "more": leg.more,
    });
    if let Some(factors) = &leg.factors {
        put(&mut candidate, "factors", json!(factors));
    }
    candidate
}

fn connection(one: &ExplainedConnection, now: Now) -> Value {
    let wait = one.retry_at.map(|at| at.until(now.moment));
    json!({
        "connectionId": one.connection.id(),
        "name": one.connection.config().name,
        "skipped": one.skipped.map(|why| why.as_str()),
        "retryAt": one.retry_at.map(|at| iso(now.to_wall(at).0)),
        "retryInMs": wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        "load": if one.load.is_finite() { json!((one.load * 10.0).round() / 10.0) } else { Value::Null },
    })
}
