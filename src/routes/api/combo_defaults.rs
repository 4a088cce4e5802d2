//! `/api/settings/combo-defaults`: what holds for all combos, and for those of one provider.

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use super::combo_config;
use super::combo_form::strategy;
use super::stored::{Known, edit, with_version};
use crate::gateway::combo_settings::{COMBO_DEFAULTS_SETTING, ComboSettings};
use crate::routes::body::put;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::SettingRow;

/// Most providers with settings of their own.
const MOST_PROVIDERS: usize = 500;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/settings/combo-defaults";
    vec![
        RouteSpec::get(path, M, "Settings of all combos and of those of one provider", show),
        RouteSpec::patch(path, M, "Change settings of combos; null takes one back", change),
        RouteSpec::put(path, M, "Change settings of combos; null takes one back", change),
    ]
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let stored = call.app.store.settings().get(COMBO_DEFAULTS_SETTING).await?;
    Ok(with_version(stored.as_ref()).json(view(&call, stored.as_ref())))
}

/// The settings in force; what is built in shows where the operator said nothing.
fn view(call: &Call, stored: Option<&SettingRow>) -> Value {
    let settings = call.app.directory.combo_settings();
    let mut defaults = settings.for_all();
    let depth = call.app.config.load().routing.max_combo_depth;
    defaults.entry("maxComboDepth").or_insert_with(|| json!(depth));
    json!({"comboDefaults": defaults, "providerOverrides": settings.overrides, "stored": settings.to_value(),
        "version": stored.map_or(0, |row| row.version)})
}

async fn change(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    form.let_pass(["stored", "ok", "ignored"]);
    let known = Known::read(&call, &mut form)?;
    let mut ignored = Vec::new();
    let defaults = form.object("comboDefaults").map(|given| settings(&mut form, &given, "comboDefaults", &mut ignored));
    let overrides = form.object("providerOverrides").map(|given| by_provider(&call, &mut form, given, &mut ignored));
    form.finish()?;

    let stored = write(&call, known, defaults.unwrap_or_default(), overrides.unwrap_or_default()).await?;
    call.audit("combo_defaults.updated", COMBO_DEFAULTS_SETTING, stored.value.clone()).await;
    call.refresh().await?;
    let mut answer = view(&call, Some(&stored));
    put(&mut answer, "ok", json!(true));
    put(&mut answer, "ignored", json!(ignored));
    Ok(with_version(Some(&stored)).json(answer))
}

/// Checked settings, with null where one is to be taken back.
fn settings(form: &mut Form, given: &Map<String, Value>, path: &str, ignored: &mut Vec<String>) -> Map<String, Value> {
    let checked = combo_config::check(given, path);
    form.problems(checked.problems);
    ignored.extend(checked.ignored.iter().map(|name| format!("{path}.{name}")));
    let mut config = checked.config;
    if let Some(word) = given.get("strategy").and_then(Value::as_str) {
        config.insert("strategy".into(), json!(strategy(form, &format!("{path}.strategy"), word.to_owned())));
    } else if given.get("strategy").is_some_and(|word| !word.is_null()) {
        form.problem(&format!("{path}.strategy"), "Expected a text");
    }
    config.extend(given.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| (name.clone(), Value::Null)));
    config
}

/// Null in the place of a provider takes all its settings back.
fn by_provider(
    call: &Call,
    form: &mut Form,
    given: Map<String, Value>,
    ignored: &mut Vec<String>,
) -> Map<String, Value> {
    if given.len() > MOST_PROVIDERS {
        form.problem("providerOverrides", format!("Expected at most {MOST_PROVIDERS} providers"));
        return Map::new();
    }
    let plan = call.app.plan.load();
    let mut all = Map::new();
    for (name, over) in given {
        let path = format!("providerOverrides.{name}");
        let Some(provider) = plan.prefixes.get(&name) else {
            form.problem(&path, "There is no such provider");
            continue;
        };
        let over = match &over {
            Value::Null => Value::Null,
            Value::Object(over) => Value::Object(settings(form, over, &path, ignored)),
            _ => {
                form.problem(&path, "Expected an object");
                continue;
            }
        };
        all.insert(provider.to_string(), over);
    }
    all
}

async fn write(
    call: &Call,
    known: Known,
    defaults: Map<String, Value>,
    overrides: Map<String, Value>,
) -> Result<SettingRow, Refusal> {
    let row = edit(call, COMBO_DEFAULTS_SETTING, known, |before| {
        let mut settings = ComboSettings::of(before);
        merge(&mut settings.defaults, &defaults);
        for (provider, over) in &overrides {
            match over.as_object() {
                Some(over) => merge(settings.overrides.entry(provider.clone()).or_default(), over),
                None => drop(settings.overrides.remove(provider)),
            }
        }
        Ok(settings.to_value())
    });
    row.await
}

fn merge(settings: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() {
            settings.remove(name);
        } else {
            settings.insert(name.clone(), value.clone());
        }
    }
}
