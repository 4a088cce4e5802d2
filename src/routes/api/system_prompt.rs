//! `/api/settings/system-prompt`: the operator's own instructions, sent with every request.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::stored::{Known, edit_as, with_version};
use crate::routes::body::put;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::settings::system_prompt::{PLACEMENTS, Placement};
use crate::settings::{Stored, SystemPrompt};
use crate::store::SettingRow;

/// Characters of one text.
const MOST_CHARS: usize = 50_000;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/settings/system-prompt";
    vec![
        RouteSpec::get(path, M, "The operator's own instructions", show),
        RouteSpec::put(path, M, "Change the operator's own instructions", change),
        RouteSpec::patch(path, M, "Change the operator's own instructions", change),
    ]
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let stored = call.app.store.settings().get(SystemPrompt::KEY).await?;
    Ok(with_version(stored.as_ref()).json(view(stored.as_ref())))
}

fn view(stored: Option<&SettingRow>) -> Value {
    let mut view = json!(SystemPrompt::of(stored.map(|row| &row.value)));
    put(&mut view, "version", json!(stored.map_or(0, |row| row.version)));
    view
}

async fn change(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let (known, given) = (Known::read(&call, &mut form)?, form.names());
    let enabled = form.flag("enabled");
    let prompt = form.text("prompt", 0..=MOST_CHARS);
    let mode = form.word("mode", &PLACEMENTS);
    let before = form.text("prefixPrompt", 0..=MOST_CHARS);
    let behind = form.text("suffixPrompt", 0..=MOST_CHARS);
    if given.is_empty() {
        form.problem("", "No fields to update");
    }
    form.finish()?;
    let row = edit_as(&call, known, given, |setting: &mut SystemPrompt| {
        setting.enabled = enabled.unwrap_or(setting.enabled);
        setting.prompt = prompt.clone().unwrap_or(std::mem::take(&mut setting.prompt));
        setting.mode = mode.as_deref().map_or(setting.mode, placement);
        setting.prefix_prompt = before.clone().unwrap_or(std::mem::take(&mut setting.prefix_prompt));
        setting.suffix_prompt = behind.clone().unwrap_or(std::mem::take(&mut setting.suffix_prompt));
        Ok(())
    });
    let row = row.await?;
    Ok(with_version(Some(&row)).json(view(Some(&row))))
}

fn placement(word: &str) -> Placement {
    match word {
        "suffix" => Placement::Suffix,
        "replace" => Placement::Replace,
        _ => Placement::Prefix,
    }
}
