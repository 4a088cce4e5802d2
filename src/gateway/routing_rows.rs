//! What is stored about routing beside connections and combos, read together.

use std::sync::Arc;

use super::learned_models::{LEARNED_MODELS_SETTING, LearnedModels};
use crate::store::{
    FallbackChainRow, MappingRow, ModelAliasRow, ModelFactsRow, PolicyRow, ProviderModelRow, Store, StoreError,
    SyncedModelsRow,
};

/// The rows.
#[derive(Debug, Clone, Default)]
pub struct RoutingRows {
    /// Other names for models.
    pub aliases: Vec<ModelAliasRow>,
    /// Model strings that combos answer, the first to be looked at first.
    pub mappings: Vec<MappingRow>,
    /// Where requests go when a model's own candidates are used up.
    pub chains: Vec<FallbackChainRow>,
    /// Policies, the first to be looked at first.
    pub policies: Vec<PolicyRow>,
    /// What the operator knows better about models.
    pub facts: Vec<ModelFactsRow>,
    /// Models that operators added.
    pub models: Vec<ProviderModelRow>,
    /// What providers told of their models.
    pub synced: Vec<SyncedModelsRow>,
    /// What providers say about their models.
    pub learned: Arc<LearnedModels>,
}

impl RoutingRows {
    /// Read everything.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let learned = store.settings().get(LEARNED_MODELS_SETTING).await?;
        Ok(Self {
            learned: Arc::new(LearnedModels::of(learned.as_ref().map(|row| &row.value))),
            aliases: store.model_aliases().list().await?,
            mappings: store.mappings().list().await?,
            chains: store.fallback_chains().list().await?,
            policies: store.policies().list().await?,
            facts: store.model_facts().list().await?,
            models: store.provider_models().list().await?,
            synced: store.provider_models().synced().await?,
        })
    }

    /// Which knowledge about models this is: as of when providers were last asked, or only what came with the release.
    pub fn models_version(&self) -> String {
        let synced = self.synced.iter().map(|row| row.synced_at).max();
        let newest = self.learned.newest().max(synced).and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        newest.map_or_else(|| "model-metadata-v1:static".to_owned(), |at| format!("model-metadata-v1:{at}"))
    }
}
