//! A plan arranged for use: pools built, steps linked to what they lead to, names indexed.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

use super::super::facts::ModelFacts;
use super::super::policy::Policy;
use super::super::{hash, strategy};
use super::pool::Pool;
use super::{Combo, Mapping, ProviderEntry, RoutingPlan, Step, StepTarget, Strategy};
use crate::ids::{ComboName, ConnectionId, ModelName, ProviderId};

/// Targets of the virtual combo `auto`.
const MOST_AUTO: usize = 1_000;

/// Which connections of a pool a target means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Pin {
    /// Any.
    Any,
    /// The one at this place.
    At(usize),
    /// One that is not there any more.
    Gone,
}

/// A model at a provider, on any of its connections or on one.
#[derive(Debug)]
pub struct Target {
    /// The connections.
    pub pool: Arc<Pool>,
    /// The model as the provider calls it.
    pub model: ModelName,
    /// What is known about it.
    pub facts: Arc<ModelFacts>,
    /// The step's id.
    pub step: Arc<str>,
    /// The step's tags.
    pub tags: Arc<[Arc<str>]>,
    pub(in super::super) pin: Pin,
    /// The same for targets that mean the same.
    pub(in super::super) identity: u64,
}

impl Target {
    /// The provider.
    pub fn provider(&self) -> &ProviderId {
        &self.pool.provider
    }
}

/// A step, linked.
#[derive(Debug, Clone)]
pub(in super::super) struct Link {
    pub id: Arc<str>,
    pub hash: u64,
    pub weight: u32,
    pub to: LinkTo,
}

#[derive(Debug, Clone)]
pub(in super::super) enum LinkTo {
    Target(Arc<Target>),
    Combo(ComboName),
}

/// A combo, linked.
#[derive(Debug)]
pub(in super::super) struct ComboRoute {
    pub combo: Arc<Combo>,
    pub links: Vec<Link>,
    /// Whose turn it is when, under `weighted-smooth`.
    pub schedule: Vec<usize>,
    /// Tells it from others that shuffle decks.
    pub seed: u64,
    /// No step is a combo, and no two mean the same.
    pub is_plain: bool,
}

/// The plan, ready for use.
#[derive(Debug)]
pub struct ReadyPlan {
    plan: RoutingPlan,
    pools: HashMap<ProviderId, Arc<Pool>>,
    routes: HashMap<ComboName, ComboRoute>,
    chains: HashMap<String, Vec<Link>>,
    bare: HashMap<ModelName, Vec<ProviderId>>,
    auto: ComboRoute,
    policies: Vec<Arc<Policy>>,
}

impl Deref for ReadyPlan {
    type Target = RoutingPlan;

    fn deref(&self) -> &RoutingPlan {
        &self.plan
    }
}

impl Default for ReadyPlan {
    fn default() -> Self {
        Self::new(RoutingPlan::default())
    }
}

impl ReadyPlan {
    pub(super) fn new(mut plan: RoutingPlan) -> Self {
        plan.mappings.sort_by_key(Mapping::rank);
        plan.policies.sort_by(|a, b| a.priority.cmp(&b.priority).then_with(|| a.id.cmp(&b.id)));
        let linker = Linker { pools: pools(&plan.providers), providers: &plan.providers };
        let routes = plan.combos.iter().map(|(name, combo)| (name.clone(), linker.combo(Arc::clone(combo)))).collect();
        let chains = plan.chains.iter().map(|(model, steps)| (model.clone(), linker.chain(steps))).collect();
        let auto = linker.auto(&plan);
        let bare = linker.bare();
        let pools = linker.pools;
        let policies = plan.policies.iter().cloned().map(Arc::new).collect();
        Self { plan, pools, routes, chains, bare, auto, policies }
    }

    /// The connections of a provider.
    pub fn pool(&self, provider: &str) -> Option<&Arc<Pool>> {
        self.pools.get(provider)
    }

    /// Whether the provider has a connection that is switched on.
    pub fn serves(&self, provider: &ProviderId) -> bool {
        self.pools.get(provider).is_some_and(|pool| pool.is_active)
    }

    /// Providers with a connection whose model list names this bare model.
    pub fn providers_of(&self, model: &str) -> &[ProviderId] {
        self.bare.get(model).map_or(&[], Vec::as_slice)
    }

    pub(in super::super) fn route(&self, combo: &ComboName) -> Option<&ComboRoute> {
        self.routes.get(combo)
    }

    pub(in super::super) const fn auto_route(&self) -> &ComboRoute {
        &self.auto
    }

    pub(in super::super) fn chain(&self, model: &str) -> Option<&[Link]> {
        if self.chains.is_empty() { None } else { self.chains.get(model).map(Vec::as_slice) }
    }

    pub(in super::super) fn shared_policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// A target for a model that was asked for directly.
    pub(in super::super) fn direct(&self, provider: &ProviderId, model: &ModelName) -> Option<Arc<Target>> {
        let facts = self.plan.providers.get(provider).and_then(|entry| entry.models.get(model)).cloned();
        let (pool, step) = (Arc::clone(self.pools.get(provider)?), Arc::from(model.as_str()));
        let (tags, facts) = (Arc::from([]), facts.unwrap_or_else(|| self.plan.knowledge.facts(provider, model)));
        Some(Arc::new(Target {
            pool,
            model: model.clone(),
            facts,
            step,
            tags,
            pin: Pin::Any,
            identity: identity(provider, model, None),
        }))
    }
}

fn identity(provider: &ProviderId, model: &ModelName, connection: Option<&ConnectionId>) -> u64 {
    let named = hash::pair(hash::of(provider.as_str()), hash::of(model.as_str()));
    hash::pair(named, connection.map_or(0, |id| hash::of(id.as_str())))
}

fn pools(providers: &HashMap<ProviderId, ProviderEntry>) -> HashMap<ProviderId, Arc<Pool>> {
    providers.iter().map(|(id, entry)| (id.clone(), Arc::new(Pool::new(id.clone(), entry)))).collect()
}

struct Linker<'a> {
    pools: HashMap<ProviderId, Arc<Pool>>,
    providers: &'a HashMap<ProviderId, ProviderEntry>,
}

impl Linker<'_> {
    fn combo(&self, combo: Arc<Combo>) -> ComboRoute {
        let named = |(index, step): (usize, &Step)| {
            let id = if step.id.is_empty() { id_of(&combo.name, index, step) } else { Arc::clone(&step.id) };
            self.link(step, id)
        };
        let links: Vec<Link> = combo.steps.iter().enumerate().map(named).collect();
        let schedule = match combo.strategy {
            Strategy::WeightedSmooth => strategy::schedule(&combo.steps.iter().map(|s| s.weight).collect::<Vec<_>>()),
            _ => Vec::new(),
        };
        if matches!(combo.strategy, Strategy::ContextRelay | Strategy::CostOptimized) {
            combo.state.remember_sessions();
        }
        let mut seen = HashSet::new();
        let is_plain = links.iter().all(|link| match &link.to {
            LinkTo::Target(target) => seen.insert(target.identity),
            LinkTo::Combo(_) => false,
        });
        ComboRoute { seed: hash::of(combo.name.as_str()), combo, links, schedule, is_plain }
    }

    fn chain(&self, steps: &[Step]) -> Vec<Link> {
        let chain = ComboName::from("chain");
        let id = |index: usize, step: &Step| {
            if step.id.is_empty() { id_of(&chain, index, step) } else { Arc::clone(&step.id) }
        };
        steps.iter().enumerate().map(|(index, step)| self.link(step, id(index, step))).collect()
    }

    fn link(&self, step: &Step, id: Arc<str>) -> Link {
        let to = match &step.target {
            StepTarget::Combo(name) => LinkTo::Combo(name.clone()),
            StepTarget::Model { provider, model, connection } => {
                LinkTo::Target(Arc::new(self.target(step, &id, (provider, model, connection.as_ref()))))
            }
        };
        Link { hash: hash::of(&id), id, weight: step.weight, to }
    }

    fn target(
        &self,
        step: &Step,
        id: &Arc<str>,
        (provider, model, connection): (&ProviderId, &ModelName, Option<&ConnectionId>),
    ) -> Target {
        let pool = self.pools.get(provider).cloned();
        let pool = pool.unwrap_or_else(|| Arc::new(Pool::new(provider.clone(), &ProviderEntry::default())));
        let pin = match connection {
            None => Pin::Any,
            Some(id) => pool.place(id).map_or(Pin::Gone, Pin::At),
        };
        let known = || self.providers.get(provider).and_then(|entry| entry.models.get(model)).cloned();
        Target {
            pool,
            model: model.clone(),
            facts: step.facts.clone().or_else(known).unwrap_or_default(),
            step: Arc::clone(id),
            tags: Arc::clone(&step.tags),
            pin,
            identity: identity(provider, model, connection),
        }
    }

    /// Every model of every provider that is switched on; those of which nothing is known come last, and fall out
    /// first when there are too many.
    fn auto(&self, plan: &RoutingPlan) -> ComboRoute {
        let active = self.providers.iter().filter(|(id, _)| self.pools.get(*id).is_some_and(|pool| pool.is_active));
        let models = active.flat_map(|(id, entry)| entry.models.iter().map(move |(model, facts)| (id, model, facts)));
        let mut models: Vec<_> = models.filter(|(id, model, _)| in_pool(&plan.auto.auto.pool, id, model)).collect();
        let unknown = |facts: &ModelFacts| *facts == ModelFacts::default();
        models.sort_by(|(a, x, f), (b, y, g)| (unknown(f), a, x).cmp(&(unknown(g), b, y)));
        models.truncate(MOST_AUTO);
        let step = |(id, model, _): &(&ProviderId, &ModelName, _)| Step {
            id: Arc::from(format!("{id}/{model}")),
            ..Step::model((*id).clone(), (*model).clone())
        };
        let steps = models.iter().map(step).collect();
        self.combo(Arc::new(Combo { config: plan.auto.clone(), ..Combo::new("auto", Strategy::Auto, steps) }))
    }

    fn bare(&self) -> HashMap<ModelName, Vec<ProviderId>> {
        let mut bare: HashMap<ModelName, Vec<ProviderId>> = HashMap::new();
        for (id, entry) in self.providers {
            if self.pools.get(id).is_some_and(|pool| pool.is_active) {
                entry.models.keys().for_each(|model| bare.entry(model.clone()).or_default().push(id.clone()));
            }
        }
        bare.values_mut().for_each(|providers| providers.sort());
        bare
    }
}

/// Whether a candidate is in the pool that an `auto` combo names; an empty pool means all.
pub(in super::super) fn in_pool(pool: &[super::super::glob::Glob], provider: &ProviderId, model: &ModelName) -> bool {
    pool.is_empty()
        || pool.iter().any(|glob| {
            glob.matches(provider.as_str())
                || glob.matches(model.as_str())
                || glob.matches(&format!("{provider}/{model}"))
        })
}

/// A step's id when none was given: stable while its combo is not rearranged.
fn id_of(combo: &ComboName, index: usize, step: &Step) -> Arc<str> {
    let (kind, name) = match &step.target {
        StepTarget::Model { model, .. } => ("model", model.as_str()),
        StepTarget::Combo(name) => ("ref", name.as_str()),
    };
    let slug: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    Arc::from(format!("{combo}-{kind}-{}-{slug}", index + 1))
}
