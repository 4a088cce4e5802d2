//! The fields of a combo as a caller sends them, checked and laid over a row.

use omniroute_actors::router::plan::Strategy;
use serde_json::{Map, Value, json};

use super::combo_check::{World, check_combo, steps};
use super::combo_steps::{Surroundings, normalised};
use super::{combo_config, combo_ensemble};
use crate::gateway::combo_wish::tool_filter;
use crate::routes::{Call, Detail, Form};
use crate::store::ComboRow;

/// Settings of the original that are kept for its clients, and that nothing here acts upon.
const FOREIGN: [&str; 4] = ["evalRouting", "compressionMode", "healthCheckEnabled", "healthCheckTimeoutMs"];

/// Settings of the original that change nothing here: caches and compression are not part of this gateway, and a pin
/// that a client could write into its own history would be a way around every policy.
const WITHOUT_MEANING: [&str; 2] = ["context_cache_protection", "compressionOverride"];

/// Lay the given fields over the row; what is wrong is noted in the form. The answer is what the caller should know.
pub(super) fn fill(call: &Call, form: &mut Form, combo: &mut ComboRow) -> Vec<Value> {
    if let Some(name) = form.text("name", 1..=100) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | ' ' | '[' | ']');
        if !name.chars().all(plain) || name.trim() != name || name.contains("..") {
            form.problem("name", "May hold letters, digits, spaces inside, and _ / . - [ ]");
        }
        combo.name = name;
    }
    if let Some(word) = form.text("strategy", 1..=50) {
        combo.strategy = strategy(form, "strategy", word);
    }
    if let Some(active) = form.flag("isActive") {
        combo.is_active = active;
    }
    if let Some(Some(order)) = form.nullable_small("sortOrder", 0..=1_000_000) {
        combo.sort_order = order;
    }
    form.let_pass(WITHOUT_MEANING);
    let mut data = combo.data.as_object().cloned().unwrap_or_default();
    let mut warnings = config(form, combo, &mut data);
    fill_data(form, &mut data);
    if let Some(models) = form.any("models") {
        let combos = call.app.directory.combos();
        let around = Surroundings { combo: &combo.name, before: steps(&combo.data), combos: &combos };
        data.insert("models".into(), Value::Array(normalised(form, &models, &around)));
    }
    combo.data = Value::Object(data);
    check(call, form, combo);
    warnings.extend(shadows(call, combo));
    warnings.extend(foreign(&combo.data));
    warnings.extend(combo_ensemble::idle_settings(combo));
    warnings
}

/// The word of a strategy as it is stored; one that nobody knows is refused with the list.
pub(super) fn strategy(form: &mut Form, field: &str, word: String) -> String {
    match Strategy::parse(&word) {
        Some(strategy) => strategy.as_str().to_owned(),
        None => {
            let offered = Strategy::ALL.map(Strategy::as_str);
            form.problem(field, format!("Expected one of: {}", offered.join(", ")));
            word
        }
    }
}

/// The combo's own settings. A strategy among them counts when there is none beside them.
fn config(form: &mut Form, combo: &mut ComboRow, data: &mut Map<String, Value>) -> Vec<Value> {
    let Some(given) = form.object("config") else { return Vec::new() };
    let checked = combo_config::check(&given, "config");
    form.problems(checked.problems);
    if let Some(word) = given.get("strategy").and_then(Value::as_str)
        && !form.has("strategy")
    {
        combo.strategy = strategy(form, "config.strategy", word.to_owned());
    }
    data.insert("config".into(), Value::Object(checked.config));
    let told = |name: String| {
        json!({
            "code": "COMBO_CONFIG_IGNORED",
            "field": format!("config.{name}"),
            "message": format!("`{name}` is kept and has no effect here"),
        })
    };
    checked.ignored.into_iter().map(told).collect()
}

fn fill_data(form: &mut Form, data: &mut Map<String, Value>) {
    let mut put = |name: &str, value: Value| drop(data.insert(name.to_owned(), value));
    if let Some(hidden) = form.flag("isHidden") {
        put("isHidden", json!(hidden));
    }
    if let Some(length) = form.nullable_integer("context_length", 1_000..=2_000_000) {
        put("context_length", json!(length));
    }
    if let Some(message) = form.nullable_text("system_message", 0..=50_000) {
        put("system_message", json!(message.filter(|text| !text.is_empty())));
    }
    if let Some(pattern) = form.nullable_text("tool_filter_regex", 0..=1_000) {
        let pattern = pattern.filter(|text| !text.is_empty());
        if let Some(problem) = pattern.as_deref().and_then(|pattern| tool_filter(pattern).err()) {
            form.problem("tool_filter_regex", problem);
        }
        put("tool_filter_regex", json!(pattern));
    }
    if form.has("allowedProviders")
        && let Some(providers) = form.texts("allowedProviders", 100, 100)
    {
        put("allowedProviders", json!(providers));
    }
}

/// What is misspelt is named by the form already; the targets are checked only when they can have changed.
fn check(call: &Call, form: &mut Form, combo: &ComboRow) {
    if !["models", "name", "config", "allowedProviders", "strategy"].iter().any(|field| form.has(field)) {
        return;
    }
    let (directory, config) = (&call.app.directory, call.app.config.load());
    let listed = directory.listed();
    let connections: Vec<_> = listed.iter().map(|entry| (entry.row.id.clone(), entry.row.provider.clone())).collect();
    let (combos, nodes) = (directory.combos(), directory.nodes());
    let others: Vec<_> = combos.iter().filter(|other| other.id != combo.id).cloned().collect();
    let max_depth = usize::try_from(config.routing.max_combo_depth).unwrap_or(usize::MAX);
    let world = World { combos: &others, nodes: &nodes, connections: &connections, max_depth };
    let mut problems = check_combo(&combo.name, &combo.data, &world).err().unwrap_or_default();
    problems.extend(combo_ensemble::problems(combo, &world));
    form.problems(problems.into_iter().map(|(field, message)| Detail { field, message }));
}

/// What is kept for those who send it, and changes nothing here: they should know.
fn foreign(data: &Value) -> Option<Value> {
    let says_something = |value: &Value| match value {
        Value::Bool(flag) => *flag,
        Value::String(text) => !text.is_empty(),
        other => !other.is_null(),
    };
    let given = |name: &&&str| data.get("config").and_then(|config| config.get(**name)).is_some_and(says_something);
    let names: Vec<_> = FOREIGN.iter().filter(given).copied().collect();
    (!names.is_empty()).then(|| {
        json!({
            "code": "SETTING_WITHOUT_EFFECT",
            "field": "config",
            "message": format!("Kept, but without effect here: {}", names.join(", ")),
        })
    })
}

/// A combo may answer in the place of a model of the same name; who did not mean that should know.
fn shadows(call: &Call, combo: &ComboRow) -> Option<Value> {
    let plan = call.app.plan.load();
    let listed = |model: &str| plan.providers.values().any(|entry| entry.models.contains_key(model));
    let name = combo.name.as_str();
    let prefixed = name.split_once('/').filter(|(prefix, _)| plan.prefixes.contains_key(*prefix));
    let is_model = listed(name) || prefixed.is_some();
    is_model.then(|| {
        json!({
            "code": "COMBO_NAME_SHADOWS_MODEL",
            "field": "name",
            "message": format!("`{name}` is also a model; requests for it go to this combo"),
        })
    })
}
