//! `/api/models/facts`: what is known about models, and what operators know better.

use actix_web::{HttpResponse, web};
use omniroute_actors::router::facts::{ModelFacts, Tier};
use serde_json::{Map, Value, json};

use super::models::{capabilities, categories, price};
use crate::gateway::model_knowledge::Knowledge;
use crate::providers::ModelTable;
use crate::providers::model_table::FactsText;
use crate::routes::body::iso;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ModelFactsRow, StoreError};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/models/facts";
    vec![
        RouteSpec::get(path, M, "What operators know about models; with a model, what is known about it", show),
        RouteSpec::patch(path, M, "Store facts about the models of a pattern", put),
        RouteSpec::put(path, M, "Store facts about the models of a pattern", put),
        RouteSpec::delete(path, M, "Take stored facts back", delete),
    ]
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    model: Option<String>,
    provider: Option<String>,
    pattern: Option<String>,
}

async fn show(call: Call, query: web::Query<Query>) -> HttpResponse {
    let (routing, listed) = (call.app.directory.routing(), call.app.directory.listed());
    let overrides: Vec<_> = routing.facts.iter().map(view).collect();
    let mut answer = json!({"overrides": overrides, "pricesOf": ModelTable::builtin().prices_of()});
    if let (Some(model), Some(fields)) = (&query.model, answer.as_object_mut()) {
        let provider = query.provider.as_deref().unwrap_or_default();
        let facts = Knowledge::of(&listed, &routing).facts(provider, model);
        fields.insert("facts".into(), facts_view(&facts));
    }
    HttpResponse::Ok().json(answer)
}

fn facts_view(facts: &ModelFacts) -> Value {
    json!({
        "context": facts.context, "maxOutput": facts.max_output, "capabilities": capabilities(facts),
        "price": price(facts), "categories": categories(facts), "tier": facts.tier.map(Tier::as_str),
    })
}

fn view(row: &ModelFactsRow) -> Value {
    json!({"pattern": row.pattern, "facts": row.data, "updatedAt": iso(row.updated_at)})
}

/// The fields of the body are laid over what is stored for the same pattern; null takes one back.
async fn put(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("pattern");
    let pattern = form.text("pattern", 1..=512).unwrap_or_default();
    let mut given = Map::new();
    for name in ["context", "maxOutput", "can", "price", "categories", "tier"] {
        given.extend(form.any(name).map(|value| (name.to_owned(), value)));
    }
    let routing = call.app.directory.routing();
    let before = routing.facts.iter().find(|row| row.pattern == pattern);
    let mut data = before.and_then(|row| row.data.as_object().cloned()).unwrap_or_default();
    for (name, value) in given {
        if value.is_null() {
            data.remove(&name);
        } else {
            data.insert(name, value);
        }
    }
    let data = Value::Object(data);
    match serde_json::from_value::<FactsText>(data.clone()) {
        Err(error) => form.problem("", error.to_string()),
        Ok(facts) => {
            if let Err((field, why)) = facts.over(&mut ModelFacts::default()) {
                form.problem(field, why);
            }
        }
    }
    form.finish()?;
    let row = ModelFactsRow { pattern, data, updated_at: call.now() };
    call.app.store.model_facts().put(&row).await?;
    call.audit("model_facts.stored", &row.pattern, json!({"facts": row.data})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "override": view(&row)})))
}

async fn delete(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let pattern = query.into_inner().pattern.ok_or_else(|| Refusal::bad_request("Name the pattern in the query"))?;
    call.app.store.model_facts().delete(&pattern).await.map_err(|error| match error {
        StoreError::NotFound => Refusal::not_found("Nothing is stored for this pattern"),
        other => other.into(),
    })?;
    call.audit("model_facts.deleted", &pattern, json!({})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}
