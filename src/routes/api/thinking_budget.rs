//! `/api/settings/thinking-budget`: who decides how much models think.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::stored::{Known, edit_as, with_version};
use crate::routes::body::put;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::settings::thinking::{EFFORTS, MODES, MOST_TOKENS, Mode};
use crate::settings::{Stored, ThinkingBudget};
use crate::store::SettingRow;

/// How much more than usual the size of a request may count.
const MOST_MULTIPLIER: f64 = 10.0;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/settings/thinking-budget";
    vec![
        RouteSpec::get(path, M, "Who decides how much models think", show),
        RouteSpec::put(path, M, "Change who decides how much models think", change),
        RouteSpec::patch(path, M, "Change who decides how much models think", change),
    ]
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let stored = call.app.store.settings().get(ThinkingBudget::KEY).await?;
    Ok(with_version(stored.as_ref()).json(view(stored.as_ref())))
}

fn view(stored: Option<&SettingRow>) -> Value {
    let mut view = json!(ThinkingBudget::of(stored.map(|row| &row.value)));
    put(&mut view, "version", json!(stored.map_or(0, |row| row.version)));
    view
}

async fn change(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let (known, given) = (Known::read(&call, &mut form)?, form.names());
    let tokens = 0..=i64::try_from(MOST_TOKENS).unwrap_or(i64::MAX);
    let unsigned = |tokens: i64| u64::try_from(tokens).unwrap_or(0);
    let mode = form.word("mode", &MODES);
    let custom = form.integer("customBudget", tokens.clone()).map(unsigned);
    let effort = form.word("effortLevel", &EFFORTS);
    let base = form.nullable_integer("baseBudget", tokens).map(|base| base.map(unsigned));
    let multiplier = form.number("complexityMultiplier", 0.0..=MOST_MULTIPLIER);
    if given.is_empty() {
        form.problem("", "No fields to update");
    }
    form.finish()?;
    let row = edit_as(&call, known, given, |setting: &mut ThinkingBudget| {
        setting.mode = mode.as_deref().map_or(setting.mode, mode_of);
        setting.custom_budget = custom.unwrap_or(setting.custom_budget);
        setting.effort_level = effort.clone().unwrap_or(std::mem::take(&mut setting.effort_level));
        setting.base_budget = base.unwrap_or(setting.base_budget);
        setting.complexity_multiplier = multiplier.unwrap_or(setting.complexity_multiplier);
        Ok(())
    });
    let row = row.await?;
    Ok(with_version(Some(&row)).json(view(Some(&row))))
}

fn mode_of(word: &str) -> Mode {
    match word {
        "auto" => Mode::Auto,
        "custom" => Mode::Custom,
        "adaptive" => Mode::Adaptive,
        _ => Mode::Passthrough,
    }
}
