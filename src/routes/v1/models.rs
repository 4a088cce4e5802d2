//! `GET /v1/models` and `GET /v1/models/{id}`: combos, then the models of providers that have a connection, as
//! far as the caller's key may use them.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use omniroute_actors::router::facts::ModelFacts as Facts;
use omniroute_actors::router::features::Needs;
use omniroute_actors::router::plan::RoutingPlan;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, Problem};
use crate::providers::Catalog;
use crate::store::ProviderModelRow;
use crate::wire::anthropic;
use crate::wire::model_facts::ModelFacts;

/// One model as OpenAI lists it, with the fields that the gateway adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: String,
    permission: [(); 0],
    root: String,
    parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip)]
    can: Option<Needs>,
    /// What it can do, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_modalities: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_modalities: Option<[&'static str; 1]>,
    /// Set where an operator added it.
    #[serde(skip_serializing_if = "Option::is_none")]
    custom: Option<bool>,
    /// What it is for, where that is not chat.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supported_endpoints: Option<Vec<String>>,
}

impl Model {
    /// Its id, as requests name it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the lists of all formats say of it.
    pub fn facts(&self) -> ModelFacts {
        ModelFacts {
            id: self.id.clone(),
            created: self.created,
            input_limit: self.context_length.map(u64::from),
            output_limit: self.max_output_tokens.map(u64::from),
            tools: self.can.is_none_or(|can| can.covers(Needs::TOOLS)),
            vision: self.can.is_some_and(|can| can.covers(Needs::VISION)),
            thinking: self.can.is_some_and(|can| can.covers(Needs::REASONING)),
            embeds: self.kind == Some("embedding"),
            ..ModelFacts::default()
        }
    }
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
}

/// Which page an Anthropic client asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Page {
    limit: Option<u64>,
    after_id: Option<String>,
    before_id: Option<String>,
}

/// The header that says which knowledge a list was made of.
pub const CATALOG_HEADER: &str = "x-model-catalog-version";

/// List all models. Anthropic's clients ask the same address: their header tells them apart.
pub async fn list(request: HttpRequest, app: web::Data<App>, page: Option<web::Query<Page>>) -> HttpResponse {
    let version = app.directory.routing().models_version();
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CATALOG_HEADER, version));
    if request.headers().contains_key("anthropic-version") {
        let page = page.map(web::Query::into_inner).unwrap_or_default();
        return anthropic_page(answer, &visible(&request, &app), &page);
    }
    answer.json(List { object: "list", data: visible(&request, &app) })
}

fn anthropic_page(mut answer: HttpResponseBuilder, models: &[Model], page: &Page) -> HttpResponse {
    let listed = |model: &Model| anthropic::ListedModel {
        id: model.id.clone(),
        display_name: model.id.clone(),
        created_at: model.created,
    };
    let models: Vec<_> = models.iter().map(listed).collect();
    let page =
        anthropic::Page { limit: page.limit, after_id: page.after_id.as_deref(), before_id: page.before_id.as_deref() };
    answer.content_type("application/json").body(anthropic::models_page(&models, page))
}

/// One model; its id may hold slashes.
pub async fn one(request: HttpRequest, id: web::Path<String>, app: web::Data<App>) -> HttpResponse {
    let id = id.into_inner();
    match visible(&request, &app).into_iter().find(|model| model.id == id) {
        Some(model) => HttpResponse::Ok().json(model),
        None => {
            let shown: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
            let message = format!("The model '{shown}' does not exist or this key may not use it.");
            ApiError::new(Problem::ModelNotFound, message).at("model").retry(false).to_response()
        }
    }
}

/// The models that the caller may use.
pub fn visible(request: &HttpRequest, app: &App) -> Vec<Model> {
    let principal = request.extensions().get::<Arc<Principal>>().cloned();
    let may_use = |model: &Model| principal.as_ref().is_some_and(|principal| principal.may_use_model(&model.id));
    let created = app.clock.wall().0 / 1_000;
    let own = OwnModels::of(&app.directory.routing().models);
    models(&app.plan.load(), &own, created).into_iter().filter(may_use).collect()
}

/// Every model of a plan, in a stable order.
pub fn models(plan: &RoutingPlan, said: &OwnModels, created: i64) -> Vec<Model> {
    let mut combos: Vec<_> = plan.combos.keys().map(|name| combo(name.as_str(), created)).collect();
    combos.sort_by(|a, b| a.id.cmp(&b.id));
    let mut own: Vec<_> = plan
        .providers
        .keys()
        .filter(|id| plan.serves(id))
        .flat_map(|id| {
            let entry = plan.providers.get(id);
            let prefix = prefix(plan, id.as_str());
            let models = entry.into_iter().flat_map(|entry| &entry.models);
            let shown = models.filter(|(model, _)| !said.hides(id.as_str(), model.as_str()));
            shown
                .map(|(model, facts)| {
                    let model = provided(&prefix, model.as_str(), facts, created);
                    said.describe(id.as_str(), model)
                })
                .collect::<Vec<_>>()
        })
        .collect();
    own.sort_by(|a, b| a.id.cmp(&b.id));
    combos.into_iter().chain(own).collect()
}

/// What stands before the slash: the catalogue's id, or the prefix of a node.
fn prefix(plan: &RoutingPlan, id: &str) -> String {
    if Catalog::builtin().get(id).is_some() {
        return id.to_owned();
    }
    let known = plan.prefixes.iter().filter(|(_, provider)| provider.as_str() == id).map(|(prefix, _)| prefix);
    known.min_by_key(|prefix| (prefix.len(), prefix.as_str())).map_or_else(|| id.to_owned(), Clone::clone)
}

fn combo(name: &str, created: i64) -> Model {
    plain(name.to_owned(), "combo", name, created)
}

fn provided(prefix: &str, model: &str, facts: &Facts, created: i64) -> Model {
    Model {
        context_length: facts.context,
        max_output_tokens: facts.max_output,
        can: facts.can,
        capabilities: facts.can.map(capabilities),
        input_modalities: facts.can.map(inputs),
        output_modalities: facts.can.map(|_| ["text"]),
        ..plain(format!("{prefix}/{model}"), prefix, model, created)
    }
}

fn capabilities(can: Needs) -> Value {
    let thinks = can.covers(Needs::REASONING);
    json!({
        "vision": can.covers(Needs::VISION), "tool_calling": can.covers(Needs::TOOLS), "reasoning": thinks,
        "thinking": thinks, "json_schema": can.covers(Needs::JSON_SCHEMA),
    })
}

fn inputs(can: Needs) -> Vec<&'static str> {
    let kinds = [(Needs::NONE, "text"), (Needs::VISION, "image"), (Needs::AUDIO, "audio"), (Needs::FILES, "file")];
    kinds.into_iter().filter(|(need, _)| can.covers(*need)).map(|(_, word)| word).collect()
}

fn plain(id: String, owner: &str, root: &str, created: i64) -> Model {
    Model {
        id,
        object: "model",
        created,
        owned_by: owner.to_owned(),
        permission: [],
        root: root.to_owned(),
        parent: None,
        context_length: None,
        max_output_tokens: None,
        can: None,
        capabilities: None,
        input_modalities: None,
        output_modalities: None,
        custom: None,
        kind: None,
        api_format: None,
        supported_endpoints: None,
    }
}

/// What operators say about models of their own, and which ones they hide.
#[derive(Debug, Default)]
pub struct OwnModels(HashMap<(String, String), Value>);

impl OwnModels {
    /// From what is stored.
    pub fn of(rows: &[ProviderModelRow]) -> Self {
        let entry = |row: &ProviderModelRow| ((row.provider.clone(), row.model.clone()), row.data.clone());
        Self(rows.iter().map(entry).collect())
    }

    fn get(&self, provider: &str, model: &str) -> Option<&Value> {
        // Most gateways have none: no key is made for the question then.
        if self.0.is_empty() { None } else { self.0.get(&(provider.to_owned(), model.to_owned())) }
    }

    fn hides(&self, provider: &str, model: &str) -> bool {
        self.get(provider, model).and_then(|data| data.get("isHidden")) == Some(&Value::Bool(true))
    }

    fn describe(&self, provider: &str, mut model: Model) -> Model {
        let Some(data) = self.get(provider, &model.root) else { return model };
        let format = data.get("apiFormat").and_then(Value::as_str);
        let endpoints = data.get("supportedEndpoints").and_then(Value::as_array);
        model.custom = Some(true);
        model.kind = format.and_then(kind_of);
        model.api_format = format.map(str::to_owned);
        model.supported_endpoints =
            endpoints.map(|list| list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect());
        model
    }
}

/// The word for what a model is for; none for chat.
pub fn kind_of(api_format: &str) -> Option<&'static str> {
    Some(match api_format {
        "embeddings" => "embedding",
        "rerank" => "rerank",
        "audio-transcriptions" | "audio-speech" => "audio",
        "images-generations" => "image",
        _ => return None,
    })
}
