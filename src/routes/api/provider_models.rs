//! `/api/provider-models`: models that an operator adds to a provider, knows something about, or hides.

use std::collections::{BTreeMap, HashMap};

use actix_web::{HttpResponse, web};
use omniroute_actors::router::facts::ModelFacts;
use serde_json::{Map, Value, json};

use super::connection_checks::home_of;
use crate::gateway::model_knowledge::{FACT_NAMES, facts_of};
use crate::providers::model_table::FactsText;
use crate::routes::body::iso;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::ProviderModelRow;

const FORMATS: [&str; 7] = [
    "chat-completions",
    "responses",
    "embeddings",
    "rerank",
    "audio-transcriptions",
    "audio-speech",
    "images-generations",
];
/// The source of a row that only hides a model which is there without it.
const OVERRIDE: &str = "override";
const MOST_AT_ONCE: usize = 1_000;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/provider-models";
    vec![
        RouteSpec::get(path, M, "Models that operators added, of one provider or of all", list),
        RouteSpec::post(path, M, "Add a model to a provider, or describe it anew", create),
        RouteSpec::put(path, M, "Change what is said about a model", update),
        RouteSpec::patch(path, M, "Hide models from the lists, or show them again", hide),
        RouteSpec::delete(path, M, "Remove a model, or all models that were added to a provider", delete),
        RouteSpec::get("/api/synced-available-models", M, "The models that providers told of themselves", synced),
    ]
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    provider: Option<String>,
    model: Option<String>,
    #[serde(rename = "modelId")]
    model_id: Option<String>,
    all: Option<bool>,
}

impl Query {
    fn provider(&self, call: &Call) -> Result<String, Refusal> {
        let named = self.provider.as_deref().ok_or_else(|| field_missing("provider"))?;
        known_provider(call, named)
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref().or(self.model_id.as_deref())
    }
}

async fn list(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let routing = call.app.directory.routing();
    let models = match &query.provider {
        Some(named) => {
            let provider = known_provider(&call, named)?;
            routing.models.iter().filter(|row| row.provider == provider).map(view).collect()
        }
        None => {
            let mut by_provider: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
            for row in &routing.models {
                by_provider.entry(&row.provider).or_default().push(view(row));
            }
            json!(by_provider)
        }
    };
    Ok(HttpResponse::Ok().json(json!({"models": models, "modelCompatOverrides": []})))
}

fn view(row: &ProviderModelRow) -> Value {
    let mut shown = Map::new();
    shown.insert("id".into(), json!(row.model));
    shown.insert("name".into(), json!(row.model));
    shown.extend(row.data.as_object().cloned().unwrap_or_default());
    shown.insert("createdAt".into(), iso(row.created_at));
    shown.insert("updatedAt".into(), iso(row.updated_at));
    Value::Object(shown)
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let row = read(&call, body, Missing::IsNew)?;
    store(&call, vec![row.clone()], "provider_model.stored").await?;
    Ok(HttpResponse::Ok().json(json!({ "model": view(&row) })))
}

async fn update(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let row = read(&call, body, Missing::IsRefused)?;
    store(&call, vec![row.clone()], "provider_model.stored").await?;
    Ok(HttpResponse::Ok().json(json!({ "model": view(&row) })))
}

/// What becomes of a model that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsNew,
    IsRefused,
}

/// The fields of the body laid over what is stored; null takes one back.
fn read(call: &Call, body: JsonBody, missing: Missing) -> Result<ProviderModelRow, Refusal> {
    let mut form = Form::of(body)?;
    form.require("provider");
    form.require("modelId");
    let provider = form.text("provider", 1..=120).unwrap_or_default();
    let model = form.text("modelId", 1..=240).unwrap_or_default();
    if model.trim() != model || model.chars().any(char::is_control) {
        form.problem("modelId", "Must not begin or end with a space or hold control characters");
    }
    let before = find(call, &provider, &model);
    let mut data = before.as_ref().and_then(|row| row.data.as_object().cloned()).unwrap_or_else(usual);
    describe(&mut form, &mut data, &model);
    form.finish().map_err(invalid)?;
    let provider = known_provider(call, &provider)?;
    if before.is_none() && missing == Missing::IsRefused {
        return Err(Refusal::not_found("There is no such model; add it first").kind("not_found"));
    }
    let created_at = before.map_or_else(|| call.now(), |row| row.created_at);
    Ok(ProviderModelRow { provider, model, data: Value::Object(data), created_at, updated_at: call.now() })
}

fn usual() -> Map<String, Value> {
    let usual = json!({
        "source": "manual", "apiFormat": "chat-completions", "supportedEndpoints": ["chat"], "isHidden": false,
    });
    usual.as_object().cloned().unwrap_or_default()
}

fn describe(form: &mut Form, data: &mut Map<String, Value>, model: &str) {
    if let Some(name) = form.text("modelName", 1..=240) {
        data.insert("name".into(), json!(name));
    }
    data.entry("name").or_insert_with(|| json!(model));
    if let Some(source) = form.text("source", 1..=80) {
        data.insert("source".into(), json!(source));
    }
    if let Some(format) = form.word("apiFormat", &FORMATS) {
        data.insert("apiFormat".into(), json!(format));
    }
    if let Some(endpoints) = form.texts("supportedEndpoints", 20, 80) {
        data.insert("supportedEndpoints".into(), json!(endpoints));
    }
    if let Some(hidden) = form.flag("isHidden") {
        data.insert("isHidden".into(), json!(hidden));
    }
    let mut facts = facts_of(data);
    for name in FACT_NAMES {
        match form.any(name) {
            None => {}
            Some(Value::Null) => drop((facts.remove(name), data.remove(name))),
            Some(value) => drop(facts.insert(name.to_owned(), value)),
        }
    }
    match serde_json::from_value::<FactsText>(Value::Object(facts.clone())) {
        Err(error) => form.problem("", error.to_string()),
        Ok(read) => {
            if let Err((field, why)) = read.over(&mut ModelFacts::default()) {
                form.problem(field, why);
            }
        }
    }
    data.extend(facts);
}

async fn hide(call: Call, query: web::Query<Query>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let provider = query.provider(&call)?;
    form.require("isHidden");
    let hidden = form.flag("isHidden").unwrap_or_default();
    let listed = form.texts("modelIds", MOST_AT_ONCE, 240).unwrap_or_default();
    let models: Vec<String> = query.model().map(str::to_owned).into_iter().chain(listed).collect();
    if models.is_empty() {
        form.problem("modelIds", "Required, or name one model in the query");
    }
    form.finish().map_err(invalid)?;
    let (gone, kept): (Vec<_>, Vec<_>) = models
        .iter()
        .map(|model| hidden_row(&call, &provider, model, hidden))
        .partition(|row| !hidden && row.data.get("source") == Some(&json!(OVERRIDE)));
    for row in &gone {
        call.app.store.provider_models().delete(&row.provider, &row.model).await?;
    }
    let shown: Vec<_> = kept.iter().map(view).collect();
    store(&call, kept, "provider_model.visibility").await?;
    let updated = models.len();
    Ok(HttpResponse::Ok().json(json!({"ok": true, "updated": updated, "models": shown, "modelCompatOverrides": []})))
}

fn hidden_row(call: &Call, provider: &str, model: &str, hidden: bool) -> ProviderModelRow {
    let now = call.now();
    let new = || ProviderModelRow {
        provider: provider.to_owned(),
        model: model.to_owned(),
        data: json!({"name": model, "source": OVERRIDE}),
        created_at: now,
        updated_at: now,
    };
    let mut row = find(call, provider, model).unwrap_or_else(new);
    crate::routes::body::put(&mut row.data, "isHidden", json!(hidden));
    ProviderModelRow { updated_at: now, ..row }
}

async fn delete(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let provider = query.provider(&call)?;
    let models = call.app.store.provider_models();
    let (target, answer) = match (query.model(), query.all) {
        (Some(model), _) => {
            if !models.delete(&provider, model).await? {
                return Err(Refusal::not_found("There is no such model").kind("not_found"));
            }
            (format!("{provider}/{model}"), json!({"removed": true}))
        }
        (None, Some(true)) => {
            models.delete_all(&provider).await?;
            (provider, json!({"cleared": true}))
        }
        (None, _) => return Err(field_missing("model")),
    };
    call.audit("provider_model.deleted", &target, json!({})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(answer))
}

async fn synced(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let wanted = query.provider.as_deref().map(|named| known_provider(&call, named)).transpose()?;
    let (listed, routing) = (call.app.directory.listed(), call.app.directory.routing());
    let providers: HashMap<&str, &str> =
        listed.iter().map(|entry| (entry.row.id.as_str(), entry.row.provider.as_str())).collect();
    let mut by_provider: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for row in &routing.synced {
        let Some(provider) = providers.get(row.connection_id.as_str()) else { continue };
        let models = by_provider.entry((*provider).to_owned()).or_default();
        let entry = |name: &str| (name.to_owned(), json!({"id": name, "name": name, "syncedAt": iso(row.synced_at)}));
        models.extend(row.names().map(entry));
    }
    let list = |models: &BTreeMap<String, Value>| models.values().cloned().collect::<Value>();
    let models = match wanted {
        Some(provider) => by_provider.get(&provider).map_or_else(|| json!([]), list),
        None => {
            by_provider.iter().map(|(provider, models)| (provider.clone(), list(models))).collect::<Map<_, _>>().into()
        }
    };
    Ok(HttpResponse::Ok().json(json!({ "models": models })))
}

async fn store(call: &Call, rows: Vec<ProviderModelRow>, action: &str) -> Result<(), Refusal> {
    let names: Vec<_> = rows.iter().map(|row| format!("{}/{}", row.provider, row.model)).collect();
    let hidden: Vec<_> = rows.iter().map(|row| row.data.get("isHidden").cloned()).collect();
    call.app.store.provider_models().put(rows).await?;
    call.audit(action, names.first().map_or("", String::as_str), json!({"models": names, "hidden": hidden})).await;
    call.refresh().await
}

/// The id of a provider, however it is named: by id, alias, or the prefix of an own endpoint.
fn known_provider(call: &Call, named: &str) -> Result<String, Refusal> {
    let nodes = call.app.directory.nodes();
    let by_prefix = nodes.iter().find(|node| node.prefix == named).map(|node| node.id.clone());
    home_of(call, by_prefix.as_deref().unwrap_or(named)).map(|home| home.id().to_owned())
}

fn find(call: &Call, provider: &str, model: &str) -> Option<ProviderModelRow> {
    let provider = known_provider(call, provider).ok()?;
    let routing = call.app.directory.routing();
    routing.models.iter().find(|row| row.provider == provider && row.model == model).cloned()
}

fn invalid(refusal: Refusal) -> Refusal {
    refusal.kind("validation_error")
}

fn field_missing(field: &str) -> Refusal {
    let mut form = Form::default();
    form.problem(field, "Required in the query");
    form.finish().err().map_or_else(Refusal::internal, invalid)
}
