//! From what is stored, found and built in to the plan that routing reads. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use omniroute_actors::connection::config::Source;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::ids::{ComboName, ProviderId};
use omniroute_actors::router::facts::Knowing;
use omniroute_actors::router::plan::{
    AccountStrategy, Aliases, Mapping, ProviderEntry, RoutingPlan, Step, StepTarget, Strategy,
};
use serde_json::{Map, Value};

use super::assemble::demo_combo;
use super::combo_plan::{self, combo};
use super::combo_settings::ComboSettings;
use super::directory::Listed;
use super::model_knowledge::Knowledge;
use super::policy_rows::{policy, with_ids};
use super::routing_rows::RoutingRows;
use crate::demo;
use crate::providers::Catalog;
use crate::store::{ComboRow, FallbackChainRow, MappingRow, NodeRow};

/// What a plan is made from.
pub struct Materials<'a> {
    /// Every connection.
    pub listed: &'a [Arc<Listed>],
    /// The operator's own endpoints.
    pub nodes: &'a [NodeRow],
    /// Stored combos.
    pub combos: &'a [ComboRow],
    /// What holds for all combos.
    pub combo_settings: &'a ComboSettings,
    /// Aliases, mappings, chains, policies and facts.
    pub routing: &'a RoutingRows,
    /// How deep combos may nest.
    pub max_combo_depth: usize,
    /// Whether the demo provider runs.
    pub with_demo: bool,
}

/// Draw the plan over these connections.
pub fn draw(from: &Materials<'_>, handles: Vec<Arc<ConnectionHandle>>) -> RoutingPlan {
    let mut plan = RoutingPlan { max_combo_depth: from.max_combo_depth, ..RoutingPlan::default() };
    add_catalogue(&mut plan);
    add_nodes(&mut plan, from.nodes);
    for handle in handles {
        plan.providers.entry(handle.provider().clone()).or_default().connections.push(handle);
    }
    add_told_models(&mut plan, from);
    add_own_models(&mut plan, from.listed);
    for row in &from.routing.models {
        let entry = plan.providers.entry(ProviderId::from(row.provider.as_str())).or_default();
        entry.models.entry(row.model.as_str().into()).or_default();
    }
    let knowledge = Arc::new(Knowledge::of(from.listed, from.routing));
    add_facts(&mut plan, &knowledge);
    add_accounts(&mut plan, from.combo_settings);
    add_combos(&mut plan, from, &knowledge);
    add_names(&mut plan, from, &knowledge);
    plan.knowledge = Knowing::of(knowledge);
    let policies = from.routing.policies.iter().filter_map(policy);
    plan.policies = policies.map(|policy| with_ids(policy, &plan.prefixes)).collect();
    plan.auto = combo_plan::config(&from.combo_settings.for_all(), Strategy::Auto);
    plan
}

fn add_catalogue(plan: &mut RoutingPlan) {
    for spec in Catalog::builtin().iter() {
        let id = ProviderId::from(spec.id.as_str());
        plan.prefixes.insert(spec.id.clone(), id.clone());
        plan.prefixes.insert(spec.alias.clone(), id.clone());
        plan.providers.insert(id, ProviderEntry::of_models(spec.models.iter().map(String::as_str)));
    }
}

fn add_nodes(plan: &mut RoutingPlan, nodes: &[NodeRow]) {
    for node in nodes {
        let id = ProviderId::from(node.id.as_str());
        plan.prefixes.insert(node.id.clone(), id.clone());
        plan.prefixes.insert(node.prefix.clone(), id.clone());
        plan.providers.entry(id).or_default();
    }
}

/// What providers told of themselves stands in the place of the catalogue's snapshot; of several accounts each may know
/// more.
fn add_told_models(plan: &mut RoutingPlan, from: &Materials<'_>) {
    if from.routing.synced.is_empty() {
        return;
    }
    let providers: HashMap<&str, &str> =
        from.listed.iter().map(|entry| (entry.row.id.as_str(), entry.row.provider.as_str())).collect();
    let mut told: HashMap<&str, HashSet<&str>> = HashMap::new();
    for row in &from.routing.synced {
        if let Some(provider) = providers.get(row.connection_id.as_str()) {
            told.entry(provider).or_default().extend(row.names());
        }
    }
    for (provider, names) in told.into_iter().filter(|(_, names)| !names.is_empty()) {
        let entry = plan.providers.entry(ProviderId::from(provider)).or_default();
        entry.models = names.into_iter().map(|name| (name.into(), Arc::default())).collect();
    }
}

/// The models that connections name themselves, and those of the demo.
fn add_own_models(plan: &mut RoutingPlan, listed: &[Arc<Listed>]) {
    for Listed { row, source, .. } in listed.iter().map(AsRef::as_ref) {
        let provider = ProviderId::from(row.provider.as_str());
        let named = row.provider_specific_data.get("models").and_then(Value::as_object).into_iter().flatten();
        let own = row.default_model.as_deref().into_iter().chain(named.map(|(name, _)| name.as_str()));
        let demo = demo::MODELS.into_iter().filter(|_| *source == Source::Demo);
        let entry = plan.providers.entry(provider.clone()).or_default();
        for model in own.chain(demo) {
            entry.models.entry(model.into()).or_default();
        }
        plan.prefixes.entry(row.provider.clone()).or_insert(provider);
    }
}

fn add_facts(plan: &mut RoutingPlan, knowledge: &Knowledge) {
    for (provider, entry) in &mut plan.providers {
        for (model, facts) in &mut entry.models {
            *facts = knowledge.facts(provider.as_str(), model.as_str());
        }
    }
}

/// How each provider chooses among its accounts.
fn add_accounts(plan: &mut RoutingPlan, settings: &ComboSettings) {
    for (provider, entry) in &mut plan.providers {
        let settings = settings.effective(Some(provider.as_str()), &Map::new());
        let word = settings.get("fallbackStrategy").and_then(Value::as_str);
        entry.accounts = word.and_then(AccountStrategy::parse).unwrap_or_default();
        let sticky = settings.get("stickyRoundRobinLimit").and_then(Value::as_u64);
        entry.sticky_limit = sticky.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(1);
    }
}

fn add_combos(plan: &mut RoutingPlan, from: &Materials<'_>, knowledge: &Knowledge) {
    let active = from.combos.iter().filter(|row| row.is_active);
    let stored: Vec<_> = active.map(|row| combo(row, plan, from.combos, from.combo_settings)).collect();
    for mut combo in from.with_demo.then(demo_combo).into_iter().chain(stored) {
        combo.steps.iter_mut().for_each(|step| tell(step, knowledge));
        plan.add(combo);
    }
}

/// A step may lead to a model that its provider's entry does not list.
fn tell(step: &mut Step, knowledge: &Knowledge) {
    if let StepTarget::Model { provider, model, .. } = &step.target {
        step.facts = Some(knowledge.facts(provider.as_str(), model.as_str()));
    }
}

/// Aliases, mappings and chains. A mapping to a combo that is switched off counts as none.
fn add_names(plan: &mut RoutingPlan, from: &Materials<'_>, knowledge: &Knowledge) {
    let pairs = from.routing.aliases.iter().map(|row| (row.alias.as_str(), row.target.as_str()));
    plan.aliases = Aliases::new(pairs);
    let name_of = |id: &str| from.combos.iter().find(|row| row.id == id && row.is_active).map(|row| row.name.as_str());
    let mapping = |row: &MappingRow| {
        let combo = ComboName::from(name_of(&row.combo_id).filter(|_| row.enabled)?);
        let (glob, priority, created) = (row.pattern.as_str().into(), row.priority, row.created_at);
        Some(Mapping { glob, combo, priority, created })
    };
    plan.mappings = from.routing.mappings.iter().filter_map(mapping).collect();
    for row in &from.routing.chains {
        let mut steps = links(plan, row);
        steps.iter_mut().for_each(|step| tell(step, knowledge));
        plan.chains.insert(row.model.clone(), steps);
    }
}

/// The links of a chain that are switched on, in their order. A link without a model asks for the same one elsewhere.
fn links(plan: &RoutingPlan, row: &FallbackChainRow) -> Vec<Step> {
    let own = combo_plan::split(&row.model, None, plan).map_or_else(|| row.model.clone(), |(_, model)| model);
    let list = row.chain.as_array().map(Vec::as_slice).unwrap_or_default();
    let on = list.iter().filter(|link| link.get("enabled").and_then(Value::as_bool) != Some(false));
    on.filter_map(|link| {
        let text = |name: &str| link.get(name).and_then(Value::as_str);
        let provider = plan.prefixes.get(text("provider")?)?.clone();
        let model = text("model").unwrap_or(&own);
        Some(Step::model(provider, model))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::ModelAliasRow;

    fn combo_row(id: &str, name: &str, is_active: bool) -> ComboRow {
        ComboRow {
            id: id.into(),
            name: name.into(),
            strategy: "priority".into(),
            is_active,
            sort_order: 1,
            data: json!({"models": ["openai/gpt-5.5", {"model": "groq/unlisted"}]}),
            created_at: 1,
            updated_at: 1,
        }
    }

    fn mapping(pattern: &str, combo: &str, enabled: bool) -> MappingRow {
        MappingRow {
            id: pattern.into(),
            pattern: pattern.into(),
            combo_id: combo.into(),
            priority: 0,
            enabled,
            description: String::new(),
            created_at: 1,
            updated_at: 1,
        }
    }

    fn plan(routing: &RoutingRows, combos: &[ComboRow], settings: &ComboSettings) -> RoutingPlan {
        let materials = Materials {
            listed: &[],
            nodes: &[],
            combos,
            combo_settings: settings,
            routing,
            max_combo_depth: 5,
            with_demo: false,
        };
        draw(&materials, Vec::new())
    }

    #[test]
    fn names_lead_where_they_were_said_to_lead() {
        let routing = RoutingRows {
            aliases: vec![ModelAliasRow {
                alias: "fast".into(),
                target: "openai/x".into(),
                created_at: 1,
                updated_at: 1,
            }],
            mappings: vec![mapping("gpt-*", "1", true), mapping("o*", "1", false), mapping("x*", "2", true)],
            ..RoutingRows::default()
        };

        let plan =
            plan(&routing, &[combo_row("1", "on", true), combo_row("2", "off", false)], &ComboSettings::default());

        assert_eq!(plan.aliases.exact("fast").map(|to| &**to), Some("openai/x"));
        let mapped: Vec<_> = plan.mappings.iter().map(|mapping| mapping.glob.as_str()).collect();
        assert_eq!((mapped, plan.combos.len()), (vec!["gpt-*"], 1));
    }

    #[test]
    fn a_chain_asks_for_the_same_model_elsewhere_or_for_the_one_it_names() {
        let chain = json!([
            {"provider": "ds", "priority": 1, "enabled": true}, {"provider": "groq", "enabled": false},
            {"provider": "groq", "priority": 3, "enabled": true, "model": "other"}, {"provider": "nobody"},
        ]);
        let row = FallbackChainRow { model: "openai/gpt".into(), chain, created_at: 1, updated_at: 1 };
        let routing = RoutingRows { chains: vec![row], ..RoutingRows::default() };

        let plan = plan(&routing, &[], &ComboSettings::default());

        let targets: Vec<_> = plan.chains["openai/gpt"].iter().map(|step| step.target.clone()).collect();
        let model = |provider: &str, model: &str| Step::model(provider, model).target;
        assert_eq!(targets, [model("deepseek", "gpt"), model("groq", "other")]);
    }

    #[test]
    fn what_is_known_about_models_reaches_entries_and_steps() {
        let plan = plan(&RoutingRows::default(), &[combo_row("1", "on", true)], &ComboSettings::default());

        assert!(plan.providers["openai"].models["gpt-5.5"].context.is_some());
        let steps = &plan.combos["on"].steps;
        assert!(steps[0].facts.as_ref().unwrap().price.is_some());
        assert!(steps[1].facts.is_some());
    }

    #[test]
    fn a_provider_chooses_among_its_accounts_as_it_is_told() {
        let settings = ComboSettings::of(Some(&json!({
            "comboDefaults": {"fallbackStrategy": "round-robin", "stickyRoundRobinLimit": 3},
            "providerOverrides": {"groq": {"fallbackStrategy": "cost-optimized"}},
        })));

        let plan = plan(&RoutingRows::default(), &[], &settings);

        let of = |id: &str| (plan.providers[id].accounts, plan.providers[id].sticky_limit);
        assert_eq!(of("openai"), (AccountStrategy::RoundRobin, 3));
        assert_eq!(of("groq"), (AccountStrategy::FillFirst, 3));
    }
}
