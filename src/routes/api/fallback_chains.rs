//! `/api/fallback/chains`: where a model's requests go when its own candidates are used up.
//!
//! A link names a provider and, if it is another one there, the model; links are tried by their priority, the lower
//! number first.

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{FallbackChainRow, StoreError};

/// Most links of one chain.
const MOST_LINKS: usize = 50;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/fallback/chains";
    vec![
        RouteSpec::get(path, M, "Fallback chains by model", list),
        RouteSpec::post(path, M, "Store a model's fallback chain", put),
        RouteSpec::delete(path, M, "Remove a model's fallback chain", delete),
    ]
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    model: Option<String>,
}

async fn list(call: Call, query: web::Query<Query>) -> HttpResponse {
    let rows = call.app.directory.routing();
    let wanted = rows.chains.iter().filter(|row| query.model.as_ref().is_none_or(|model| row.model == *model));
    HttpResponse::Ok().json(wanted.map(|row| (row.model.clone(), row.chain.clone())).collect::<Map<_, _>>())
}

async fn put(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("model");
    form.require("chain");
    let model = model_of(&mut form).unwrap_or_default();
    let given = form.any("chain").unwrap_or_default();
    let chain = links(&call, &mut form, &given);
    form.finish()?;

    let now = call.now();
    let row = FallbackChainRow { model: model.clone(), chain: json!(chain), created_at: now, updated_at: now };
    call.app.store.fallback_chains().put(&row).await?;
    call.audit("fallback_chain.stored", &model, json!({"chain": row.chain})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "model": model, "chain": row.chain})))
}

/// Some clients cannot send a body with DELETE: the model may stand in the query.
async fn delete(call: Call, query: web::Query<Query>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = match body.0 {
        None => Form::default(),
        given => Form::of(JsonBody(given))?,
    };
    let model = model_of(&mut form).or(query.into_inner().model);
    if model.is_none() {
        form.problem("model", "Required");
    }
    form.finish()?;
    let model = model.unwrap_or_default();
    match call.app.store.fallback_chains().delete(&model).await {
        Err(StoreError::NotFound) => {
            return Err(Refusal::not_found("There is no chain for this model").beside("removed", false));
        }
        other => other?,
    }
    call.audit("fallback_chain.deleted", &model, json!({})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "removed": true})))
}

fn model_of(form: &mut Form) -> Option<String> {
    let model = form.text("model", 1..=512)?;
    if model.trim() != model || model.chars().any(char::is_control) {
        form.problem("model", "Must not begin or end with a space or hold control characters");
    }
    Some(model)
}

/// The links as they are stored, in the order in which they are tried.
fn links(call: &Call, form: &mut Form, given: &Value) -> Vec<Value> {
    let Some(list) = given.as_array().filter(|list| !list.is_empty() && list.len() <= MOST_LINKS) else {
        if form.has("chain") {
            form.problem("chain", format!("Expected a list of 1 to {MOST_LINKS} links"));
        }
        return Vec::new();
    };
    let plan = call.app.plan.load();
    let mut links = Vec::new();
    for (index, link) in list.iter().enumerate() {
        let mut part = Form::part(link.as_object().cloned().unwrap_or_default(), format!("chain.{index}"));
        part.require("provider");
        let provider = part.text("provider", 1..=100);
        if provider.as_ref().is_some_and(|name| !plan.prefixes.contains_key(name)) {
            part.problem("provider", "There is no such provider");
        }
        let priority = part.integer("priority", 1..=100).unwrap_or(1);
        let mut stored = json!({
            "provider": provider, "priority": priority, "enabled": part.flag("enabled").unwrap_or(true),
        });
        if let (Some(model), Some(fields)) = (part.text("model", 1..=512), stored.as_object_mut()) {
            fields.insert("model".into(), json!(model));
        }
        form.problems(part.into_problems());
        links.push((priority, stored));
    }
    links.sort_by_key(|(priority, _)| *priority);
    links.into_iter().map(|(_, link)| link).collect()
}
