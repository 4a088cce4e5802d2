//! `/api/models` and `/api/models/catalog`: what can be asked for, under which names, and what is known about it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use actix_web::{HttpResponse, web};
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::ids::{ComboName, ModelName, ProviderId};
use omniroute_actors::router::facts::{ModelFacts, Tier};
use omniroute_actors::router::features::Needs;
use omniroute_actors::router::plan::{ProviderEntry, RoutingPlan, StepTarget};
use omniroute_actors::router::resolve::Resolved;
use serde_json::{Map, Value, json};

use super::model_aliases;
use crate::app::App;
use crate::providers::{Catalog, usd};
use crate::routes::v1::models::{CATALOG_HEADER, kind_of};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ModelAliasRow, ProviderModelRow};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/models", M, "Models that can be asked for, with their aliases", list),
        RouteSpec::put("/api/models", M, "Give a model an alias", name),
        RouteSpec::get("/api/models/catalog", M, "Models by provider, with what is known about them", catalog),
    ]
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    all: Option<bool>,
}

/// With `all=true` also those of providers without a connection.
async fn list(call: Call, query: web::Query<Query>) -> HttpResponse {
    let (plan, routing) = (call.app.plan.load_full(), call.app.directory.routing());
    let all = query.all == Some(true);
    let mut models = Vec::new();
    for (id, entry) in ordered(&plan) {
        let available = plan.serves(id);
        if !available && !all {
            continue;
        }
        let prefix = prefix(&plan, id.as_str());
        let mut names: Vec<_> = entry.models.keys().map(|model| model.as_str()).collect();
        names.sort_unstable();
        for model in names {
            let full = format!("{prefix}/{model}");
            let alias = routing.aliases.iter().find(|alias| alias.target == full || alias.target == model);
            models.push(json!({
                "provider": id, "model": model, "fullModel": full,
                "alias": alias.map_or(model, |alias| alias.alias.as_str()), "available": available,
            }));
        }
    }
    HttpResponse::Ok().json(json!({ "models": models }))
}

/// The older way to write an alias: one that is taken stays as it is.
async fn name(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let row: ModelAliasRow = model_aliases::read(&call, &mut form, 200);
    form.finish()?;
    let taken = |known: &ModelAliasRow| known.alias == row.alias && known.target != row.target;
    if call.app.directory.routing().aliases.iter().any(taken) {
        return Err(Refusal::bad_request("Alias already in use"));
    }
    model_aliases::store(&call, &row).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "model": row.target, "alias": row.alias})))
}

async fn catalog(call: Call) -> HttpResponse {
    let (plan, routing) = (call.app.plan.load_full(), call.app.directory.routing());
    let of = |id: &ProviderId| routing.models.iter().filter(|row| row.provider == id.as_str()).collect::<Vec<_>>();
    let providers: Map<_, _> =
        ordered(&plan).filter_map(|(id, _)| Some((id.to_string(), provider(&plan, id, &of(id))?))).collect();
    let version = routing.models_version();
    HttpResponse::Ok()
        .insert_header((CATALOG_HEADER, version.as_str()))
        .json(json!({"catalog": providers, "catalogVersion": version}))
}

fn provider(plan: &RoutingPlan, id: &ProviderId, said: &[&ProviderModelRow]) -> Option<Value> {
    let entry = plan.providers.get(id)?;
    let spec = Catalog::builtin().get(id.as_str());
    let own = |model: &str| spec.is_none_or(|spec| !spec.models.iter().any(|known| known == model));
    let mut known: Vec<_> = entry.models.iter().map(|(model, facts)| (model.as_str(), facts)).collect();
    known.sort_unstable_by_key(|(model, _)| *model);
    let models: Vec<_> = known
        .into_iter()
        .map(|(model, facts)| {
            let data = said.iter().find(|row| row.model == model).map(|row| &row.data);
            let told = |name: &str| data.and_then(|data| data.get(name)).cloned();
            let format = told("apiFormat").and_then(|format| kind_of(format.as_str()?));
            let endpoints = told("supportedEndpoints");
            json!({
                "id": model, "name": told("name").unwrap_or_else(|| json!(model)), "type": format.unwrap_or("chat"),
                "custom": data.is_some() || own(model), "hidden": told("isHidden") == Some(json!(true)),
                "context_length": facts.context, "max_output_tokens": facts.max_output,
                "capabilities": capabilities(facts), "price": price(facts), "categories": categories(facts),
                "tier": facts.tier.map(Tier::as_str),
                "supported_endpoints": endpoints.unwrap_or_else(|| json!(["chat/completions", "responses", "messages"])),
            })
        })
        .collect();
    let name = spec.map_or(id.as_str(), |spec| spec.name.as_str());
    Some(json!({"provider": name, "active": plan.serves(id), "models": models}))
}

/// Every ability that is known of, yes or no; null where nothing is known.
pub(super) fn capabilities(facts: &ModelFacts) -> Value {
    let has = |need: Needs| facts.surely_can(need).then_some(true);
    let lacks = |need: Needs| (!facts.missing(need).is_empty()).then_some(false);
    let all = Needs::ALL.words().filter_map(|word| Some((word, Needs::parse(word)?)));
    let known = all.filter_map(|(word, need)| Some((word.to_owned(), has(need).or_else(|| lacks(need))?.into())));
    let known: Map<String, Value> = known.collect();
    if known.is_empty() { Value::Null } else { known.into() }
}

/// What it is good at.
pub(super) fn categories(facts: &ModelFacts) -> Vec<&str> {
    facts.categories.iter().map(|word| &**word).collect()
}

/// USD for a million tokens as decimal text; null where nothing is known.
pub(super) fn price(facts: &ModelFacts) -> Value {
    facts.price.map_or(Value::Null, |price| {
        json!({
            "input": usd::text(price.input), "output": usd::text(price.output),
            "cacheRead": price.cache_read.map(usd::text), "cacheWrite": price.cache_write.map(usd::text),
        })
    })
}

fn ordered(plan: &RoutingPlan) -> impl Iterator<Item = (&ProviderId, &ProviderEntry)> {
    let mut entries: Vec<_> = plan.providers.iter().collect();
    entries.sort_by_key(|(id, _)| id.as_str());
    entries.into_iter()
}

/// What stands before the slash: the catalogue's id, or the prefix of a node.
fn prefix(plan: &RoutingPlan, id: &str) -> String {
    if Catalog::builtin().get(id).is_some() {
        return id.to_owned();
    }
    let known = plan.prefixes.iter().filter(|(_, provider)| provider.as_str() == id).map(|(prefix, _)| prefix);
    known.min_by_key(|prefix| (prefix.len(), prefix.as_str())).map_or_else(|| id.to_owned(), Clone::clone)
}

/// Every connection that could be asked for this model string, with the model's name there; each once, in no particular
/// order.
pub(super) fn served_by(app: &App, model: &str) -> Vec<(Arc<ConnectionHandle>, ModelName)> {
    let plan = app.plan.load_full();
    let mut found = Found { plan: &plan, seen: HashSet::new(), combos: HashSet::new(), list: Vec::new() };
    match plan.resolve(model).map(|resolution| resolution.resolved) {
        Ok(Resolved::Combo(name)) => found.combo(&name),
        Ok(Resolved::Direct { provider, model }) => found.provider(&provider, &model, None),
        Ok(Resolved::Auto { .. }) => found.everything(),
        Err(_) => {}
    }
    found.list
}

struct Found<'a> {
    plan: &'a RoutingPlan,
    seen: HashSet<(String, String)>,
    combos: HashSet<ComboName>,
    list: Vec<(Arc<ConnectionHandle>, ModelName)>,
}

impl Found<'_> {
    fn everything(&mut self) {
        let plan = self.plan;
        for (id, entry) in &plan.providers {
            entry.models.keys().for_each(|model| self.provider(id, model, None));
        }
    }

    fn combo(&mut self, name: &ComboName) {
        let plan = self.plan;
        if !self.combos.insert(name.clone()) {
            return;
        }
        for step in plan.combos.get(name).into_iter().flat_map(|combo| &combo.steps) {
            match &step.target {
                StepTarget::Combo(inner) => self.combo(inner),
                StepTarget::Model { provider, model, connection } => {
                    self.provider(provider, model, connection.as_ref().map(|id| id.as_str()));
                }
            }
        }
    }

    fn provider(&mut self, provider: &ProviderId, model: &ModelName, pinned: Option<&str>) {
        let plan = self.plan;
        for handle in plan.providers.get(provider).into_iter().flat_map(|entry| &entry.connections) {
            let fits = pinned.is_none_or(|id| handle.id().as_str() == id);
            if fits && self.seen.insert((handle.id().to_string(), model.to_string())) {
                self.list.push((Arc::clone(handle), model.clone()));
            }
        }
    }
}

/// Aliases by name.
pub(super) fn alias_map(rows: &[ModelAliasRow]) -> BTreeMap<&str, &str> {
    rows.iter().map(|row| (row.alias.as_str(), row.target.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abilities_that_are_known_in_part_are_shown_in_part() {
        let mut facts = ModelFacts::default();
        let before = capabilities(&facts);

        facts.said(Needs::TOOLS, Needs::VISION);

        assert_eq!((before, capabilities(&facts)), (Value::Null, json!({"tools": true, "vision": false})));
    }
}
