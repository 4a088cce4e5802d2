//! The routing plan: an immutable picture of providers, connections and combos that every router replica reads. A
//! change of configuration publishes a new one; requests in flight keep theirs.
//!
//! A [`RoutingPlan`] is written by whoever knows the configuration; [`RoutingPlan::ready`] arranges it so that a
//! request finds everything without a look-up per step. Only a [`ReadyPlan`] can be published.

mod combo;
mod names;
pub mod pool;
mod ready;
mod strategy;

use std::collections::HashMap;
use std::sync::Arc;

pub use self::combo::{Combo, ComboState, SavedCombo, Step, StepTarget, ToolFilter};
pub use self::names::{Aliases, Mapping};
use self::pool::AccountState;
pub(super) use self::ready::{ComboRoute, Link, LinkTo, Pin, in_pool};
pub use self::ready::{ReadyPlan, Target};
pub use self::strategy::{AccountStrategy, Strategy};
use super::config::ComboConfig;
use super::facts::{Knowing, ModelFacts};
use super::policy::Policy;
use crate::connection::handle::ConnectionHandle;
use crate::ids::{ComboName, ModelName, ProviderId};

/// A provider as the plan knows it.
#[derive(Debug, Default, Clone)]
pub struct ProviderEntry {
    /// The models it is known to serve, and what is known about them.
    pub models: HashMap<ModelName, Arc<ModelFacts>>,
    /// Its connections.
    pub connections: Vec<Arc<ConnectionHandle>>,
    /// How it chooses among connections of the same priority.
    pub accounts: AccountStrategy,
    /// Requests in a row that stay with one connection under `round-robin`; 0 counts as 1.
    pub sticky_limit: u32,
    /// What it remembers; kept over new plans.
    pub state: Arc<AccountState>,
}

impl ProviderEntry {
    /// A provider of which only the models' names are known.
    pub fn of_models<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let models = names.into_iter().map(|name| (name.into(), Arc::default())).collect();
        Self { models, ..Self::default() }
    }
}

/// The plan as it is written.
#[derive(Debug, Default)]
pub struct RoutingPlan {
    /// Grows with every new plan.
    pub generation: u64,
    /// Providers by id.
    pub providers: HashMap<ProviderId, ProviderEntry>,
    /// What may stand before the slash: provider ids, aliases, node prefixes.
    pub prefixes: HashMap<String, ProviderId>,
    /// Combos by name.
    pub combos: HashMap<ComboName, Arc<Combo>>,
    /// How deep combos may nest.
    pub max_combo_depth: usize,
    /// Other names for models.
    pub aliases: Aliases,
    /// Patterns that combos serve.
    pub mappings: Vec<Mapping>,
    /// What serves a model string when its own candidates do not: by the string as it is asked for, or resolved.
    pub chains: HashMap<String, Vec<Step>>,
    /// Policies.
    pub policies: Vec<Policy>,
    /// How the virtual combo `auto` chooses.
    pub auto: ComboConfig,
    /// Who knows about models that the lists above do not name.
    pub knowledge: Knowing,
}

impl RoutingPlan {
    /// Put in a combo.
    pub fn add(&mut self, combo: Combo) {
        self.combos.insert(combo.name.clone(), Arc::new(combo));
    }

    /// Take over what combos and providers remember from the plan before.
    pub fn remember(&mut self, before: &Self) {
        for (name, combo) in &mut self.combos {
            if let Some(old) = before.combos.get(name)
                && !Arc::ptr_eq(&old.state, &combo.state)
            {
                Arc::make_mut(combo).state = Arc::clone(&old.state);
            }
        }
        for (id, entry) in &mut self.providers {
            if let Some(old) = before.providers.get(id) {
                entry.state = Arc::clone(&old.state);
            }
        }
    }

    /// Whether the provider has a connection that is switched on.
    pub fn serves(&self, provider: &ProviderId) -> bool {
        self.providers
            .get(provider)
            .is_some_and(|entry| entry.connections.iter().any(|handle| handle.config().is_active))
    }

    /// Providers with a connection whose model list names this bare model.
    pub fn providers_of(&self, model: &str) -> Vec<ProviderId> {
        let knows = |entry: &ProviderEntry| entry.models.contains_key(model);
        let found = self.providers.iter().filter(|(id, entry)| knows(entry) && self.serves(id));
        let mut found: Vec<_> = found.map(|(id, _)| id.clone()).collect();
        found.sort();
        found
    }

    /// Arrange it for use. Whatever is changed is changed before.
    pub fn ready(self) -> ReadyPlan {
        ReadyPlan::new(self)
    }
}
