//! The routing plan: an immutable picture of providers, connections and combos that every router replica
//! reads. A change of configuration publishes a new one; requests in flight keep theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::handle::ConnectionHandle;
use crate::ids::{ComboName, ConnectionId, ModelName, ProviderId};

/// How a combo orders its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// In the given order.
    #[default]
    Priority,
    /// One drawn by weight, the others by falling weight.
    Weighted,
    /// Each in turn.
    RoundRobin,
    /// Shuffled.
    Random,
    /// The cheaper of two drawn ones, by peak-EWMA latency and requests in flight.
    P2c,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Priority, Self::Weighted, Self::RoundRobin, Self::Random, Self::P2c];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Weighted => "weighted",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::P2c => "p2c",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == word)
    }
}

/// Where a step of a combo leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepTarget {
    /// A model at a provider, on one connection or any.
    Model {
        /// The provider.
        provider: ProviderId,
        /// The model as the provider calls it.
        model: ModelName,
        /// The one connection, if it is pinned.
        connection: Option<ConnectionId>,
    },
    /// Another combo, with its own strategy.
    Combo(ComboName),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it leads.
    pub target: StepTarget,
    /// Its share under the weighted strategy, 0..=100.
    pub weight: u32,
}

/// A combo.
#[derive(Debug)]
pub struct Combo {
    /// Its name.
    pub name: ComboName,
    /// How it orders.
    pub strategy: Strategy,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Whose turn it is under round-robin; shared by all replicas and kept over new plans.
    pub cursor: Arc<AtomicU64>,
}

impl Combo {
    /// Take a turn.
    pub fn next_turn(&self) -> u64 {
        self.cursor.fetch_add(1, Ordering::Relaxed)
    }
}

/// A provider as the plan knows it.
#[derive(Debug, Default, Clone)]
pub struct ProviderEntry {
    /// The models it is known to serve.
    pub models: Vec<ModelName>,
    /// Its connections, the preferred first.
    pub connections: Vec<Arc<ConnectionHandle>>,
}

/// The plan.
#[derive(Debug, Default)]
pub struct RoutingPlan {
    /// Grows with every new plan.
    pub generation: u64,
    /// Providers by id.
    pub providers: HashMap<ProviderId, ProviderEntry>,
    /// What may stand before the slash: provider ids, aliases, node prefixes.
    pub prefixes: HashMap<String, ProviderId>,
    /// Combos by name.
    pub combos: HashMap<ComboName, Combo>,
    /// How deep combos may nest.
    pub max_combo_depth: usize,
}

impl RoutingPlan {
    /// Sorts each provider's connections: priority first, then the name, so that the order is stable.
    pub fn sorted(mut self) -> Self {
        for entry in self.providers.values_mut() {
            entry.connections.sort_by_cached_key(|handle| {
                let config = handle.config();
                (config.priority, config.name.clone(), config.id.clone())
            });
        }
        self
    }

    /// Whether the provider has a connection that is switched on.
    pub fn serves(&self, provider: &ProviderId) -> bool {
        self.providers
            .get(provider)
            .is_some_and(|entry| entry.connections.iter().any(|handle| handle.config().is_active))
    }

    /// Providers with a connection whose model list names this bare model.
    pub fn providers_of(&self, model: &str) -> Vec<&ProviderId> {
        let knows = |entry: &ProviderEntry| entry.models.iter().any(|known| known.as_str() == model);
        let mut found: Vec<_> =
            self.providers.iter().filter(|(id, entry)| knows(entry) && self.serves(id)).map(|(id, _)| id).collect();
        found.sort();
        found
    }
}
