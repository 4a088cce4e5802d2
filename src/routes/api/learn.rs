//! Learning about models from the lists that providers offer: whenever somebody looks at one, and now and then by itself.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::connection::config::Source;
use omniroute_actors::connection::handle::ConnectionHandle;
use serde_json::{Value, json};

use super::live;
use super::probe::{self, Offered, Subject};
use crate::app::App;
use crate::gateway::directory::DirectoryError;
use crate::gateway::learned_models::{LEARNED_MODELS_SETTING, LearnedModels, Said};
use crate::providers::model_table::FactsText;
use crate::store::StoreError;

type Models = BTreeMap<String, FactsText>;

/// Lists that are asked for in one look: a start with many providers does not ask all of them at once.
const MOST_AT_ONCE: usize = 4;
/// How often a write that another one came before is tried.
const TRIES: usize = 3;

/// Keep what a provider's list says, and let the routers know it.
///
/// # Errors
/// When it cannot be kept.
pub(super) async fn keep(app: &App, provider: &str, offered: &[Offered]) -> Result<(), DirectoryError> {
    let models: Models = offered.iter().filter_map(|one| Some((one.id.clone(), one.facts.clone()?))).collect();
    if write(app, provider, Some(&models)).await? {
        app.directory.refresh().await?;
    }
    Ok(())
}

/// Write what a provider says, or only that it was asked; whether it says anything new.
async fn write(app: &App, provider: &str, models: Option<&Models>) -> Result<bool, StoreError> {
    let (mut tries, at) = (0, app.clock.wall().0);
    loop {
        tries += 1;
        let row = app.store.settings().get(LEARNED_MODELS_SETTING).await?;
        let (mut all, version) = row.map_or_else(|| (json!({}), 0), |row| (row.value, row.version));
        let Some(providers) = all.as_object_mut() else { return Ok(false) };
        let before = providers.get(provider).and_then(|value| serde_json::from_value::<Said>(value.clone()).ok());
        let before = before.map(|said| said.models).unwrap_or_default();
        let models = models.unwrap_or(&before);
        let said = Said { at, models: models.clone() };
        providers.insert(provider.to_owned(), serde_json::to_value(said).unwrap_or(Value::Null));
        match app.store.settings().put(LEARNED_MODELS_SETTING, all, Some(version), at).await {
            Ok(_) => return Ok(*models != before),
            Err(StoreError::Conflict(_)) if tries < TRIES => {}
            Err(other) => return Err(other),
        }
    }
}

/// Ask the providers that were not asked for a while, through one connection each.
pub async fn look(app: App) {
    let every = app.config.load().providers.learn_models_every_h;
    if every == 0 {
        return;
    }
    let every = Duration::from_secs(every.saturating_mul(3_600));
    let row = match app.store.settings().get(LEARNED_MODELS_SETTING).await {
        Ok(row) => row,
        Err(error) => return tracing::warn!(%error, "what providers said about their models cannot be read"),
    };
    let said = LearnedModels::of(row.as_ref().map(|row| &row.value));
    for handle in due(&app, &said, every) {
        let config = (*handle.config()).clone();
        let provider = handle.provider().as_str().to_owned();
        let subject = Subject { app: &app, running: Some(handle), config };
        let kept = match probe::models(&subject).await {
            Ok(offered) => keep(&app, &provider, &offered).await,
            // It was asked all the same: another one is asked next time.
            Err(_) => write(&app, &provider, None).await.map(drop).map_err(Into::into),
        };
        if let Err(error) = kept {
            tracing::warn!(provider, %error, "what a provider says about its models is not kept");
        }
    }
}

/// One connection of each provider whose list is old, of those that can be asked.
fn due(app: &App, said: &LearnedModels, every: Duration) -> Vec<Arc<ConnectionHandle>> {
    let now = app.clock.wall().0;
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    let mut seen = HashSet::new();
    let fits = |handle: &Arc<ConnectionHandle>| {
        let config = handle.config();
        let old = said.asked_at(handle.provider().as_str()).is_none_or(|at| now - at >= every);
        let sound = config.is_active && handle.remembered().terminal.is_none();
        sound && old && config.target.models_url.is_some() && config.source != Source::Demo
    };
    live::handles(app)
        .into_iter()
        .filter(fits)
        .filter(|handle| seen.insert(handle.provider().clone()))
        .take(MOST_AT_ONCE)
        .collect()
}
