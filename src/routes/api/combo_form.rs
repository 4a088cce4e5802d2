//! The fields of a combo as a caller sends them, checked and laid over a row.

use std::collections::HashSet;

use omniroute_actors::router::plan::Strategy;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::combo_check::{World, check_combo};
use crate::routes::{Call, Detail, Form};
use crate::store::ComboRow;

const MOST_STEPS: usize = 200;
/// Fields of a combo that change what is sent to a model. Taking them without doing it would be a lie.
const NOT_OFFERED: [&str; 3] = ["system_message", "tool_filter_regex", "allowedProviders"];

/// Settings of the original that change nothing here: caches and compression are not part of this gateway.
const WITHOUT_MEANING: [&str; 2] = ["context_cache_protection", "compressionOverride"];
/// Every field that a step can have; which of them count is up to its kind.
const STEP_FIELDS: [&str; 6] = ["model", "provider", "providerId", "connectionId", "tags", "comboName"];

/// Lay the given fields over the row; what is wrong is noted in the form.
pub(super) fn fill(call: &Call, form: &mut Form, combo: &mut ComboRow) {
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
    form.let_pass(WITHOUT_MEANING);
    fill_data(call, form, combo);
}

fn refuse_what_is_not_offered(form: &mut Form) {
    for field in NOT_OFFERED {
        form.let_pass([field]);
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
    if let Some(models) = form.any("models") {
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
    part.let_pass(STEP_FIELDS);
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
