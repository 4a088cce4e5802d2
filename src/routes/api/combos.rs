//! `/api/combos*`: named lists of targets with a strategy.
//!
//! A stored combo keeps its targets in `data.models`, each a step with an `id`, a `kind` and a `weight`:
//! `{"kind": "model", "model": "prefix/model"}` (or `provider` / `providerId` beside a `model` without prefix, and
//! `connectionId` to pin one account) or `{"kind": "combo-ref", "comboName": ".."}`. Nothing is added to what the
//! caller wrote that would change what it means.

use std::collections::HashSet;

use actix_web::{HttpResponse, web};
use omniroute_actors::router::plan::Strategy;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::providers::Catalog;
use crate::routes::body::iso;
use crate::routes::{Call, Detail, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ComboRow, NodeRow, StoreError};

const NOT_FOUND: &str = "Combo not found";
const MOST_STEPS: usize = 200;
/// Fields of a combo that change what is sent to a model. Taking them without doing it would be a lie.
const NOT_OFFERED: [&str; 3] = ["system_message", "tool_filter_regex", "allowedProviders"];

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/combos", M, "All combos", list),
        RouteSpec::post("/api/combos", M, "Add a combo", create),
        RouteSpec::get("/api/combos/{id}", M, "One combo", show),
        RouteSpec::put("/api/combos/{id}", M, "Change a combo", update),
        RouteSpec::patch("/api/combos/{id}", M, "Change a combo", update),
        RouteSpec::delete("/api/combos/{id}", M, "Remove a combo", delete),
    ]
}

/// What a combo's targets are checked against.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// All combos; one of the checked name is replaced by the checked data.
    pub combos: &'a [ComboRow],
    /// The operator's own endpoints.
    pub nodes: &'a [NodeRow],
    /// Connections: id and provider.
    pub connections: &'a [(String, String)],
    /// How deep combos may nest.
    pub max_depth: usize,
}

/// Where a step leads, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// A model, as `prefix/model`, or bare beside its provider.
    Model {
        /// The provider beside it, if it is named there.
        provider: Option<&'a str>,
        /// The model.
        model: &'a str,
        /// The one connection, if it is pinned.
        connection: Option<&'a str>,
    },
    /// Another combo.
    Combo(&'a str),
}

impl<'a> Target<'a> {
    /// Of a stored step; `None` for what is no step.
    pub fn of(step: &'a Value) -> Option<Self> {
        let text = |name: &str| step.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match step {
            Value::String(model) => Some(Self::Model { provider: None, model, connection: None }),
            _ if text("kind") == Some("combo-ref") => text("comboName").map(Self::Combo),
            _ => Some(Self::Model {
                provider: text("providerId").or_else(|| text("provider")),
                model: text("model")?,
                connection: text("connectionId"),
            }),
        }
    }
}

/// Whether a combo of this name with this data can be: every target known, no circle, not empty, not too deep.
///
/// # Errors
/// Each field that is wrong and why.
pub fn check_combo(name: &str, data: &Value, world: &World<'_>) -> Result<(), Vec<(String, String)>> {
    let steps = steps(data);
    if steps.is_empty() {
        return Err(vec![("models".into(), "Must name at least one model or combo".into())]);
    }
    let check = |(index, step): (usize, &Value)| {
        let problem = match Target::of(step) {
            None => Some("Is neither a model nor a combo".to_owned()),
            Some(Target::Combo(other)) => nested_problem(name, other, data, world),
            Some(Target::Model { provider, model, connection }) => model_problem(provider, model, connection, world),
        };
        problem.map(|problem| (format!("models.{index}"), problem))
    };
    let found: Vec<_> = steps.iter().enumerate().filter_map(check).collect();
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn steps(data: &Value) -> &[Value] {
    data.get("models").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn nested_problem(name: &str, other: &str, data: &Value, world: &World<'_>) -> Option<String> {
    let walk = Walk { name, data, world };
    match walk.depth_from(other, &mut vec![name.to_owned()]) {
        Ok(depth) if depth + 1 > world.max_depth => {
            Some(format!("Combos nest deeper than {} levels here", world.max_depth))
        }
        Ok(_) => None,
        Err(problem) => Some(problem),
    }
}

/// The combos as they would be with the checked one in place.
struct Walk<'a> {
    name: &'a str,
    data: &'a Value,
    world: &'a World<'a>,
}

impl Walk<'_> {
    /// Levels from this combo downwards, itself included.
    fn depth_from(&self, combo: &str, path: &mut Vec<String>) -> Result<usize, String> {
        if path.iter().any(|seen| seen == combo) {
            return Err(format!("Combos go in a circle: {} -> {combo}", path.join(" -> ")));
        }
        let Some(data) = self.data_of(combo) else { return Err(format!("There is no combo `{combo}`")) };
        if path.len() > self.world.max_depth {
            return Ok(path.len());
        }
        path.push(combo.to_owned());
        let mut deepest = 0;
        for step in steps(data) {
            if let Some(Target::Combo(next)) = Target::of(step) {
                deepest = deepest.max(self.depth_from(next, path)?);
            }
        }
        path.pop();
        Ok(deepest + 1)
    }

    fn data_of(&self, combo: &str) -> Option<&Value> {
        if combo == self.name {
            return Some(self.data);
        }
        self.world.combos.iter().find(|row| row.name == combo).map(|row| &row.data)
    }
}

fn model_problem(provider: Option<&str>, model: &str, connection: Option<&str>, world: &World<'_>) -> Option<String> {
    let home = match provider {
        Some(provider) => match home(provider, world) {
            Some(home) => Some(home),
            None => return Some(format!("There is no provider `{provider}`")),
        },
        None => match model.split_once('/') {
            Some((_, "")) => return Some("The model is missing after the slash".to_owned()),
            Some((prefix, _)) if home(prefix, world).is_some() => home(prefix, world),
            _ => match bare(model) {
                Ok(home) => Some(home),
                Err(problem) => return Some(problem),
            },
        },
    };
    let pinned = connection?;
    let Some((_, belongs_to)) = world.connections.iter().find(|(id, _)| id == pinned) else {
        return Some(format!("There is no connection `{pinned}`"));
    };
    let home = home?;
    (*belongs_to != home).then(|| format!("Connection `{pinned}` belongs to `{belongs_to}`, not to `{home}`"))
}

/// The id of the provider that this id, alias or prefix stands for.
fn home(name: &str, world: &World<'_>) -> Option<String> {
    let node = world.nodes.iter().find(|node| node.id == name || node.prefix == name).map(|node| node.id.clone());
    let built_in = || Catalog::builtin().by_alias(name).map(|spec| spec.id.clone());
    let in_use = || world.connections.iter().any(|(_, provider)| provider == name).then(|| name.to_owned());
    node.or_else(built_in).or_else(in_use)
}

fn bare(model: &str) -> Result<String, String> {
    let known: Vec<_> = Catalog::builtin().knowing(model).map(|spec| spec.id.clone()).collect();
    match known.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(format!("No provider is known for `{model}`; write it as prefix/model")),
        several => {
            Err(format!("Several providers know `{model}`; write one of them before it: {}", several.join(", ")))
        }
    }
}

async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let combos: Vec<_> = call.app.directory.combos().iter().map(view).collect();
    Ok(HttpResponse::Ok().json(json!({ "combos": combos })))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let combos = call.app.directory.combos();
    let combo = combos.iter().find(|combo| combo.id == *id).ok_or_else(|| Refusal::not_found(NOT_FOUND))?;
    Ok(HttpResponse::Ok().json(view(combo)))
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("name");
    form.require("models");
    let now = call.now();
    let last = call.app.directory.combos().iter().map(|combo| combo.sort_order).max().unwrap_or(0);
    let mut combo = ComboRow {
        id: Uuid::now_v7().to_string(),
        name: String::new(),
        strategy: Strategy::default().as_str().into(),
        is_active: true,
        sort_order: last.saturating_add(1),
        data: json!({"models": [], "config": {}}),
        created_at: now,
        updated_at: now,
    };
    fill(&call, &mut form, &mut combo);
    form.finish()?;

    call.app.store.combos().insert(&combo).await.map_err(taken)?;
    call.audit("combo.created", &combo.id, json!({"name": combo.name, "strategy": combo.strategy})).await;
    call.refresh().await?;
    Ok(HttpResponse::Created().json(view(&combo)))
}

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut combo = stored(&call, &id).await?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    let before = combo.name.clone();
    fill(&call, &mut form, &mut combo);
    form.finish()?;
    if combo.name != before {
        unused(&call, &before, &combo.id)?;
    }
    combo.updated_at = call.now();

    call.app.store.combos().update(&combo).await.map_err(taken)?;
    call.audit("combo.updated", &combo.id, json!({"name": combo.name, "strategy": combo.strategy})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(view(&combo)))
}

async fn delete(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let combo = stored(&call, &id).await?;
    unused(&call, &combo.name, &combo.id)?;
    call.app.store.combos().delete(&id).await?;
    call.audit("combo.deleted", &id, json!({"name": combo.name})).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

fn fill(call: &Call, form: &mut Form, combo: &mut ComboRow) {
    if let Some(name) = form.text("name", 1..=100) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | ' ' | '[' | ']');
        if !name.chars().all(plain) || name.trim() != name || name.contains("..") {
            form.problem("name", "May hold letters, digits, spaces inside, and _ / . - [ ]");
        }
        combo.name = name;
    }
    if let Some(word) = form.text("strategy", 1..=50) {
        if Strategy::parse(&word).is_none() {
            form.problem("strategy", format!("Expected one of: {}", Strategy::ALL.map(Strategy::as_str).join(", ")));
        }
        combo.strategy = word;
    }
    if let Some(active) = form.flag("isActive") {
        combo.is_active = active;
    }
    if let Some(Some(order)) = form.nullable_small("sortOrder", 0..=1_000_000) {
        combo.sort_order = order;
    }
    refuse_what_is_not_offered(form);
    fill_data(call, form, combo);
}

fn refuse_what_is_not_offered(form: &mut Form) {
    for field in NOT_OFFERED {
        let empty = match form.raw(field) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        if !empty {
            form.problem(field, "Is not supported");
        }
    }
}

fn fill_data(call: &Call, form: &mut Form, combo: &mut ComboRow) {
    let mut data = combo.data.as_object().cloned().unwrap_or_default();
    if let Some(config) = form.object("config") {
        data.insert("config".into(), Value::Object(config));
    }
    if let Some(hidden) = form.flag("isHidden") {
        data.insert("isHidden".into(), json!(hidden));
    }
    if let Some(length) = form.nullable_integer("context_length", 1_000..=2_000_000) {
        data.insert("context_length".into(), json!(length));
    }
    if let Some(models) = form.raw("models").cloned() {
        data.insert("models".into(), normalised(form, &models, &call.app.directory.combos()));
    }
    combo.data = Value::Object(data);
    // What is misspelt is named by the form already; the targets are checked only when they can be read.
    if form.has("models") || form.has("name") {
        let (directory, config) = (&call.app.directory, call.app.config.load());
        let listed = directory.listed();
        let connections: Vec<_> =
            listed.iter().map(|entry| (entry.row.id.clone(), entry.row.provider.clone())).collect();
        let (combos, nodes) = (directory.combos(), directory.nodes());
        let others: Vec<_> = combos.iter().filter(|other| other.id != combo.id).cloned().collect();
        let max_depth = usize::try_from(config.routing.max_combo_depth).unwrap_or(usize::MAX);
        let world = World { combos: &others, nodes: &nodes, connections: &connections, max_depth };
        let problems = check_combo(&combo.name, &combo.data, &world).err().unwrap_or_default();
        form.problems(problems.into_iter().map(|(field, message)| Detail { field, message }));
    }
}

/// Steps as they are stored. A text that names a combo is one; everything else is a model.
fn normalised(form: &mut Form, models: &Value, combos: &[ComboRow]) -> Value {
    let Some(list) = models.as_array().filter(|list| list.len() <= MOST_STEPS) else {
        form.problem("models", format!("Expected a list of at most {MOST_STEPS} models"));
        return json!([]);
    };
    let mut ids = HashSet::new();
    let mut steps = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let mut step = match entry {
            Value::String(text) => from_text(text, combos),
            Value::Object(fields) => from_object(form, fields, index),
            _ => {
                form.problem("models", format!("Entry {index} is neither a text nor an object"));
                continue;
            }
        };
        let own = step.get("id").and_then(Value::as_str).filter(|id| !id.is_empty() && ids.insert((*id).to_owned()));
        if own.is_none() {
            let id = Uuid::now_v7().to_string();
            step.insert("id".into(), json!(id));
            ids.insert(id);
        }
        steps.push(Value::Object(step));
    }
    Value::Array(steps)
}

fn from_text(text: &str, combos: &[ComboRow]) -> Map<String, Value> {
    let text = text.trim();
    let named = |name: &str| combos.iter().any(|combo| combo.name == name);
    let combo = if named(text) { Some(text) } else { text.strip_prefix("combo/") };
    let step = match combo {
        Some(combo) => json!({"kind": "combo-ref", "comboName": combo, "weight": 0, "label": null}),
        None => json!({"kind": "model", "model": text, "weight": 0, "label": null}),
    };
    step.as_object().cloned().unwrap_or_default()
}

fn from_object(form: &mut Form, fields: &Map<String, Value>, index: usize) -> Map<String, Value> {
    let mut part = Form::part(fields.clone(), format!("models.{index}"));
    let mut step = Map::new();
    let kind = part.text("kind", 1..=20).unwrap_or_else(|| "model".into());
    match kind.as_str() {
        "model" => {
            part.require("model");
            for (name, most) in [("model", 512), ("provider", 100), ("providerId", 100), ("connectionId", 100)] {
                step.extend(part.text(name, 1..=most).map(|text| (name.to_owned(), json!(text))));
            }
            step.extend(part.texts("tags", 20, 64).map(|tags| ("tags".to_owned(), json!(tags))));
        }
        "combo-ref" => {
            part.require("comboName");
            step.extend(part.text("comboName", 1..=100).map(|name| ("comboName".to_owned(), json!(name))));
        }
        other => part.problem("kind", format!("`{other}` is neither model nor combo-ref")),
    }
    step.insert("kind".into(), json!(kind));
    step.insert("weight".into(), json!(part.integer("weight", 0..=100).unwrap_or(0)));
    step.insert("label".into(), json!(part.text("label", 0..=200)));
    step.extend(part.text("id", 1..=100).map(|id| ("id".to_owned(), json!(id))));
    form.problems(part.into_problems());
    step
}

/// A combo that others lead to cannot go away under its name.
fn unused(call: &Call, name: &str, id: &str) -> Result<(), Refusal> {
    let combos = call.app.directory.combos();
    let leads_here = |combo: &&ComboRow| {
        combo.id != id && steps(&combo.data).iter().any(|step| Target::of(step) == Some(Target::Combo(name)))
    };
    let users: Vec<_> = combos.iter().filter(leads_here).map(|combo| combo.name.as_str()).collect();
    if users.is_empty() {
        return Ok(());
    }
    Err(Refusal::conflict(format!("These combos lead to it: {}", users.join(", "))))
}

/// A combo that can be changed here.
async fn stored(call: &Call, id: &str) -> Result<ComboRow, Refusal> {
    match call.app.store.combos().get(id).await {
        Err(StoreError::NotFound) if call.app.directory.combos().iter().any(|combo| combo.id == id) => {
            Err(Refusal::conflict("This combo belongs to the built-in demo and cannot be changed"))
        }
        Err(StoreError::NotFound) => Err(Refusal::not_found(NOT_FOUND)),
        other => Ok(other?),
    }
}

fn taken(error: StoreError) -> Refusal {
    match error {
        StoreError::Conflict(_) => Refusal::bad_request("Combo name already exists"),
        StoreError::NotFound => Refusal::not_found(NOT_FOUND),
        other => other.into(),
    }
}

fn view(combo: &ComboRow) -> Value {
    let from_data = |name: &str, otherwise: Value| combo.data.get(name).cloned().unwrap_or(otherwise);
    json!({
        "id": combo.id,
        "name": combo.name,
        "models": from_data("models", json!([])),
        "strategy": combo.strategy,
        "config": from_data("config", json!({})),
        "context_length": from_data("context_length", Value::Null),
        "isHidden": from_data("isHidden", json!(false)),
        "isActive": combo.is_active,
        "sortOrder": combo.sort_order,
        "createdAt": iso(combo.created_at),
        "updatedAt": iso(combo.updated_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combo(name: &str, models: Value) -> ComboRow {
        ComboRow {
            id: name.into(),
            name: name.into(),
            strategy: "priority".into(),
            is_active: true,
            sort_order: 1,
            data: json!({ "models": models }),
            created_at: 1,
            updated_at: 1,
        }
    }

    fn to(combo: &str) -> Value {
        json!({"kind": "combo-ref", "comboName": combo})
    }

    fn problems(name: &str, models: Value, combos: &[ComboRow]) -> Vec<String> {
        let connections = [("c1".to_owned(), "openai".to_owned()), ("demo-steady".to_owned(), "demo".to_owned())];
        let world = World { combos, nodes: &[], connections: &connections, max_depth: 3 };
        let found = check_combo(name, &json!({ "models": models }), &world).err().unwrap_or_default();
        found.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
    }

    #[test]
    fn a_combo_needs_a_target() {
        assert_eq!(problems("a", json!([]), &[]), ["models: Must name at least one model or combo"]);
    }

    #[test]
    fn targets_are_known_by_prefix_alias_listed_model_and_connection() {
        let models = json!([
            {"model": "openai/anything"}, {"model": "ds/deepseek-chat"}, {"model": "big-pickle"}, {"model": "demo/echo"},
            {"model": "gpt", "provider": "openai"}, {"model": "openai/gpt", "connectionId": "c1"},
        ]);

        assert_eq!(problems("a", models, &[]), Vec::<String>::new());
    }

    #[test]
    fn unknown_targets_are_named_with_their_place() {
        let models = json!([
            {"model": "nobody/gpt"}, {"model": "openai/gpt"}, to("ghost"), {"model": "openai/gpt", "connectionId": "c9"},
            {"model": "groq/x", "connectionId": "c1"}, {"model": "openai/"}, {"model": "kimi-k2.5"},
        ]);

        let found = problems("a", models, &[]);

        let places: Vec<_> = found.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(places, ["models.0", "models.2", "models.3", "models.4", "models.5", "models.6"]);
        assert!(found[5].contains("Several providers know"), "{found:?}");
    }

    #[test]
    fn a_circle_is_found_however_long() {
        let combos = [combo("b", json!([to("c")])), combo("c", json!([to("a")]))];

        let own = problems("a", json!([to("a")]), &combos);
        let long = problems("a", json!([{"model": "openai/x"}, to("b")]), &combos);

        assert!(own[0].contains("circle: a -> a"), "{own:?}");
        assert!(long[0].contains("circle: a -> b -> c -> a"), "{long:?}");
    }

    #[test]
    fn combos_may_nest_as_deep_as_configured() {
        let leaf = json!([{"model": "openai/x"}]);
        let combos = [combo("b", json!([to("c")])), combo("c", leaf.clone()), combo("z", json!([to("b")]))];

        assert_eq!(problems("a", json!([to("b")]), &combos), Vec::<String>::new());
        assert!(problems("a", json!([to("z")]), &combos)[0].contains("deeper than 3"));
    }
}
