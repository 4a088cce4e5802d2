//! What is asked of a connection before it is stored, and whether a change moves it to another place.

use omniroute_actors::connection::config::{ConnectionConfig, Source};
use serde_json::json;
use url::{Origin, Url};
use uuid::Uuid;

use super::connection_form::{Home, blank, fill};
use super::connection_view;
use crate::gateway::directory::Listed;
use crate::providers::NodeKind;
use crate::routes::{Call, Form, Refusal};
use crate::store::ConnectionRow;

const BASE_URL: &str = "providerSpecificData.baseUrl";

/// A new connection as a caller describes it, checked.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) async fn drafted(call: &Call, mut form: Form) -> Result<ConnectionRow, Refusal> {
    form.require("provider");
    form.require("name");
    let provider = form.text("provider", 1..=100);
    let home = provider.as_deref().map(|provider| home_of(call, provider)).transpose();
    let id = Uuid::now_v7().to_string();
    let mut row = blank(id, home.as_ref().ok().and_then(Option::as_ref).map_or("", Home::id), call.now());
    let_pass(&mut form, &row);
    fill(&mut form, &mut row);
    if let Ok(Some(home)) = &home
        && row.credential.is_none()
        && !home.key_optional()
    {
        form.problem("apiKey", "Required");
    }
    form.finish()?;
    home?;
    check_address(call, &row).await?;
    Ok(row)
}

/// What an answer holds about a connection may come back.
pub(super) fn let_pass(form: &mut Form, row: &ConnectionRow) {
    let listed = Listed { row: row.clone(), source: Source::Database, problem: None };
    form.let_pass_answer(&connection_view::connection(&listed, None, None));
}

/// What a connection of this provider belongs to.
pub(super) fn home_of(call: &Call, provider: &str) -> Result<Home, Refusal> {
    let found = Home::find(provider, &call.app.directory.nodes());
    let is_node = NodeKind::ALL.iter().any(|kind| provider.starts_with(&format!("{}-", kind.name)));
    found.ok_or_else(|| match is_node {
        true => Refusal::not_found("Provider node not found"),
        false => Refusal::bad_request("Invalid provider"),
    })
}

/// Where the connection would send its requests must be a place that may be reached. Checked again at each connect.
pub(super) async fn check_address(call: &Call, row: &ConnectionRow) -> Result<ConnectionConfig, Refusal> {
    let refuse = |message: String| {
        let mut form = Form::default();
        form.problem(BASE_URL, message);
        form.finish()
    };
    let config = match call.app.directory.prepare(row) {
        Ok(config) => config,
        Err(message) => return Err(refuse(message).err().unwrap_or_else(Refusal::internal)),
    };
    for (field, text) in places(&config) {
        let refuse = |message: String| {
            let mut form = Form::default();
            form.problem(field, message);
            form.finish()
        };
        let checked = match Url::parse(text) {
            Ok(url) => call.app.clients.policy().check_url(&url).map_err(|refusal| refusal.to_string()),
            Err(_) => Err("Is no valid URL".to_owned()),
        };
        if let Err(message) = checked {
            let particulars = json!({"provider": row.provider, "reason": message});
            call.audit_as("provider.validation.ssrf_blocked", &row.id, "blocked", particulars).await;
            refuse(message)?;
        }
    }
    Ok(config)
}

/// Every place that the connection sends something to, with the field to blame.
fn places(config: &ConnectionConfig) -> Vec<(&'static str, &String)> {
    let own = [&*config.target].into_iter().chain(config.target.by_model.iter().map(|(_, target)| &**target));
    let urls =
        own.flat_map(|target| std::iter::once(&target.chat_url).chain(&target.stream_url).chain(&target.models_url));
    let tokens = config.exchange.iter().map(|exchange| ("providerSpecificData.tokenUrl", &exchange.token_url));
    urls.map(|url| (BASE_URL, url)).chain(tokens).collect()
}

/// Whether requests, or the credential itself, would go to another origin than before. When that cannot be told they would.
pub(super) fn has_moved(call: &Call, before: &ConnectionRow, after: &ConnectionRow) -> bool {
    if before.provider_specific_data == after.provider_specific_data {
        return false;
    }
    let origins = |row: &ConnectionRow| -> Option<Vec<Origin>> {
        let config = call.app.directory.prepare(row).ok()?;
        let origins = places(&config).into_iter().map(|(_, place)| Some(Url::parse(place).ok()?.origin()));
        let mut origins = origins.collect::<Option<Vec<_>>>()?;
        origins.dedup();
        Some(origins)
    };
    let (before, after) = (origins(before), origins(after));
    before.is_none() || before != after
}
