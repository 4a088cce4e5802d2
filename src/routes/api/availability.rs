//! `/api/models/availability`: which models cannot be asked for now, whether one can, and letting one be asked again.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use omniroute_actors::connection::Reset;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::ids::ModelName;
use omniroute_actors::resilience::health::ResetScope;
use serde_json::{Value, json};

use super::live;
use super::models::served_by;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/models/availability";
    vec![
        RouteSpec::get(path, M, "Models that are locked out, and where", list),
        RouteSpec::post(path, M, "With a model: can it be asked for? With its provider beside it: unlock it", act),
    ]
}

async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let models: Vec<_> = live::lockouts(&call.app);
    Ok(HttpResponse::Ok().json(json!({"unavailableCount": models.len(), "models": models})))
}

/// One address for two questions, as the two documents of the original have it: the provider makes the difference.
async fn act(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("model");
    let (model, provider) = (form.text("model", 1..=512), form.text("provider", 1..=100));
    form.finish()?;
    let model = model.unwrap_or_default();
    match provider {
        None => Ok(HttpResponse::Ok().json(check(&call, &model))),
        Some(provider) => clear(&call, &provider, &model).await,
    }
}

/// Who would answer, from the state that requests themselves look at.
fn check(call: &Call, model: &str) -> Value {
    let now = call.app.clock.now();
    let mut providers: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for (handle, model) in served_by(&call.app, model) {
        let [connections, ready, resting] = providers.entry(handle.provider().to_string()).or_default();
        *connections += 1;
        match handle.look(model.as_str(), now) {
            Ok(_) => *ready += 1,
            Err(refused) if refused.retry_at.is_some() => *resting += 1,
            Err(_) => {}
        }
    }
    let available = providers.values().any(|[_, ready, _]| *ready > 0);
    let line = |(provider, [connections, ready, resting]): (&String, &[usize; 3])| {
        json!({
            "provider": provider, "available": *ready > 0, "connections": connections, "coolingDown": resting,
        })
    };
    json!({"model": model, "available": available, "providers": providers.iter().map(line).collect::<Vec<_>>()})
}

async fn clear(call: &Call, provider: &str, model: &str) -> Result<HttpResponse, Refusal> {
    let plan = call.app.plan.load();
    let id = plan.prefixes.get(provider).map_or(provider, |id| id.as_str()).to_owned();
    let handles: Vec<_> =
        live::handles(&call.app).into_iter().filter(|handle| handle.provider().as_str() == id).collect();
    if handles.is_empty() {
        return Err(Refusal::not_found("This provider has no connection"));
    }
    let model = model.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')).unwrap_or(model);
    let scope = ResetScope::Lockouts(Some(ModelName::from(model)));
    let answers = live::tell(&call.app, &handles, Reset(scope)).await;
    let removed = answers.iter().flatten().any(|changes| !changes.is_empty());
    let silent = silent(&answers, &handles);
    let particulars = json!({"provider": id, "model": model, "removed": removed, "silent": silent});
    call.audit("model.unlocked", model, particulars).await;
    if !silent.is_empty() {
        return Err(Refusal::unavailable("Some connections did not answer; try again").beside("silent", silent));
    }
    Ok(HttpResponse::Ok().json(json!({"success": true, "removed": removed})))
}

fn silent<T>(answers: &[Option<T>], handles: &[std::sync::Arc<ConnectionHandle>]) -> Vec<String> {
    let pairs = handles.iter().zip(answers);
    pairs.filter(|(_, answer)| answer.is_none()).map(|(handle, _)| handle.id().to_string()).collect()
}
