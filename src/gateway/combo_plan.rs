//! Stored combos as routing knows them. Pure.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::ids::{ComboName, ConnectionId, ProviderId};
use omniroute_actors::router::config::{
    AutoRule, ComboConfig, ContextRule, Ensemble, Handoff, HedgeAfter, Hedging, OverBudget, Strictness, Timeouts,
    Weights,
};
use omniroute_actors::router::plan::{Combo, RoutingPlan, Step, StepTarget, Strategy, ToolFilter};
use omniroute_actors::router::resolve::Resolved;
use serde_json::{Map, Value};

use super::combo_settings::ComboSettings;
use super::combo_wish::tool_filter;
use crate::store::ComboRow;

/// Nano-USD in one USD.
const NANO: f64 = 1e9;

/// A stored combo. Steps that lead nowhere any more, and a strategy of another version, are told loudly.
pub fn combo(row: &ComboRow, plan: &RoutingPlan, all: &[ComboRow], settings: &ComboSettings) -> Combo {
    let strategy = Strategy::parse(&row.strategy).unwrap_or_else(|| {
        tracing::warn!(combo.name = row.name, strategy = row.strategy, "an unknown strategy counts as priority");
        Strategy::Priority
    });
    let steps = steps(row, plan, all);
    let none = Map::new();
    let own = row.data.get("config").and_then(Value::as_object).unwrap_or(&none);
    let effective = settings.effective(only_provider(&steps), own);
    let text = |name: &str| row.data.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(Arc::from);
    let context_length = row.data.get("context_length").and_then(Value::as_u64);
    Combo {
        id: row.id.as_str().into(),
        config: config(&effective, strategy),
        system_message: text("system_message"),
        tool_filter: text("tool_filter_regex").and_then(|pattern: Arc<str>| filter(&row.name, &pattern)),
        context_length: context_length.and_then(|length| u32::try_from(length).ok()),
        ..Combo::new(row.name.as_str(), strategy, steps)
    }
}

/// A filter was checked when it was saved; one that cannot be any more is told loudly, and lets everything through.
fn filter(combo: &str, pattern: &str) -> Option<ToolFilter> {
    tool_filter(pattern).inspect_err(|problem| tracing::warn!(combo.name = combo, problem, "no filter of tools")).ok()
}

fn steps(row: &ComboRow, plan: &RoutingPlan, all: &[ComboRow]) -> Vec<Step> {
    let allowed = row.data.get("allowedProviders").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let allowed: Vec<&ProviderId> =
        allowed.iter().filter_map(Value::as_str).filter_map(|name| plan.prefixes.get(name)).collect();
    let may = |step: &Step| match &step.target {
        StepTarget::Model { provider, .. } => allowed.is_empty() || allowed.contains(&provider),
        StepTarget::Combo(_) => true,
    };
    let entries = row.data.get("models").and_then(Value::as_array).into_iter().flatten();
    let steps = entries.filter_map(|entry| {
        let step = step(entry, plan, all).filter(may);
        if step.is_none() {
            tracing::warn!(combo.name = row.name, %entry, "a step of a combo leads nowhere and is left out");
        }
        step
    });
    by_tiers(steps.collect(), row.data.pointer("/config/compositeTiers"))
}

/// The provider that all model steps lead to, if it is one.
fn only_provider(steps: &[Step]) -> Option<&str> {
    let mut providers = steps.iter().filter_map(|step| match &step.target {
        StepTarget::Model { provider, .. } => Some(provider.as_str()),
        StepTarget::Combo(_) => None,
    });
    let first = providers.next()?;
    providers.all(|provider| provider == first).then_some(first)
}

/// Tiers put the steps they name first: the default one, what it falls back to, and so on.
fn by_tiers(steps: Vec<Step>, tiers: Option<&Value>) -> Vec<Step> {
    let Some(tiers) = tiers else { return steps };
    let mut order: Vec<&str> = Vec::new();
    let mut seen = HashSet::new();
    let mut tier = tiers.get("defaultTier").and_then(Value::as_str);
    while let Some(name) = tier.filter(|name| seen.insert(*name)) {
        let of = tiers.get("tiers").and_then(|all| all.get(name));
        order.extend(of.and_then(|of| of.get("stepId")).and_then(Value::as_str));
        tier = of.and_then(|of| of.get("fallbackTier")).and_then(Value::as_str);
    }
    let place = |step: &Step| order.iter().position(|id| **id == *step.id).unwrap_or(usize::MAX);
    let mut steps = steps;
    steps.sort_by_key(place);
    steps
}

/// One entry of a combo: a string, a model step or a reference to another combo.
pub fn step(entry: &Value, plan: &RoutingPlan, all: &[ComboRow]) -> Option<Step> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let is_combo = |name: &str| all.iter().any(|row| row.name == name) || plan.combos.contains_key(name);
    let target = match text("comboName").or_else(|| entry.as_str().filter(|name| is_combo(name))) {
        Some(name) => is_combo(name).then(|| StepTarget::Combo(ComboName::from(name)))?,
        None => {
            let model = entry.as_str().or_else(|| text("model"))?;
            let (provider, model) = split(model, text("providerId").or_else(|| text("provider")), plan)?;
            let connection = text("connectionId").map(ConnectionId::from);
            StepTarget::Model { provider, model: model.as_str().into(), connection }
        }
    };
    let weight = entry.get("weight").and_then(Value::as_u64).and_then(|weight| u32::try_from(weight).ok());
    let tags = entry.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    Some(Step {
        id: text("id").unwrap_or_default().into(),
        weight: weight.unwrap_or(0),
        label: text("label").map(Arc::from),
        tags: tags.map(Arc::from).collect(),
        ..Step::to(target)
    })
}

/// Provider and model of a step; a provider named beside the model wins over a prefix.
pub fn split(model: &str, provider: Option<&str>, plan: &RoutingPlan) -> Option<(ProviderId, String)> {
    let prefixed = model.split_once('/').and_then(|(prefix, rest)| Some((plan.prefixes.get(prefix)?.clone(), rest)));
    match (provider.and_then(|name| plan.prefixes.get(name)), prefixed) {
        (Some(provider), Some((prefix, rest))) if *provider == prefix => Some((prefix, rest.to_owned())),
        (Some(provider), _) => Some((provider.clone(), model.to_owned())),
        (None, Some((provider, rest))) if !rest.is_empty() => Some((provider, rest.to_owned())),
        (None, _) => match plan.resolve(model).ok()?.resolved {
            Resolved::Direct { provider, model } => Some((provider, model.as_str().to_owned())),
            Resolved::Combo(_) | Resolved::Auto { .. } => None,
        },
    }
}

/// The settings in force, as routing knows them. What is not said is as built in.
pub fn config(settings: &Map<String, Value>, strategy: Strategy) -> ComboConfig {
    let read = Reader(settings);
    let usual = ComboConfig::default();
    let tuning = read.part("fusionTuning");
    let sticky = if strategy == Strategy::WeightedSmooth { "stickyWeightedLimit" } else { "stickyRoundRobinLimit" };
    ComboConfig {
        max_attempts: read.small("maxAttempts"),
        max_retries: read.small("maxRetries").and_then(|times| u8::try_from(times).ok()).unwrap_or(0),
        retry_delay: read.millis("retryDelayMs").unwrap_or(usual.retry_delay),
        sticky_limit: read.small(sticky).unwrap_or(1),
        hedging: hedging(read.part("hedging")),
        continuation: read.flag("continuation").unwrap_or(false),
        context: context(read.part("contextRequirements")),
        tags: read.text("tagFilterMode").and_then(Strictness::parse).unwrap_or_default(),
        budget: read.number("budgetCap").map(nano),
        over_budget: read.text("budgetFallback").and_then(OverBudget::parse).unwrap_or_default(),
        handoff: handoff(read),
        auto: auto(read),
        ensemble: Ensemble {
            judge: read.text("judgeModel").map(Arc::from),
            prompt: tuning.text("judgePrompt").map(Arc::from),
            quorum: tuning.small("minAnswers").unwrap_or(0),
            panel: tuning.small("maxPanel"),
            patience: tuning.millis("panelTimeoutMs"),
        },
        timeouts: Timeouts { total: read.millis("timeoutMs"), queue: read.millis("queueTimeoutMs"), ..usual.timeouts },
        concurrency: read.small("concurrencyPerModel"),
        track_metrics: read.flag("trackMetrics").unwrap_or(true),
    }
}

fn hedging(read: Reader<'_>) -> Hedging {
    let usual = Hedging::default();
    let fixed = read.millis("afterMs").map(HedgeAfter::Fixed);
    let learned = read.number("afterQuantile").map(|share| HedgeAfter::Quantile(narrow(share)));
    Hedging { enabled: read.flag("enabled").unwrap_or(false), after: fixed.or(learned).unwrap_or(usual.after), ..usual }
}

fn context(read: Reader<'_>) -> ContextRule {
    ContextRule {
        min_window: read.small("minContextWindow"),
        prefer_large: read.flag("preferLargeContext").unwrap_or(false),
        mode: read.text("contextFilterMode").and_then(Strictness::parse).unwrap_or_default(),
    }
}

fn handoff(read: Reader<'_>) -> Handoff {
    let usual = Handoff::default();
    Handoff {
        threshold: read.number("handoffThreshold").map_or(usual.threshold, narrow),
        model: read.text("handoffModel").map(Arc::from),
        providers: read.texts("handoffProviders").map(Arc::from).collect(),
        max_messages: read.small("maxMessagesForSummary").unwrap_or(usual.max_messages),
    }
}

/// A word for the way to choose stands for a mode pack where neither a pack nor weights are named.
fn auto(read: Reader<'_>) -> AutoRule {
    let by_word = match read.text("routerStrategy") {
        Some("cost" | "eco") => Some("cost-saver"),
        Some("latency" | "fast") => Some("ship-fast"),
        _ => None,
    };
    let usual = ComboConfig::default().auto;
    AutoRule {
        weights: read.0.get("weights").and_then(Value::as_object).map(|_| weights(read.part("weights"))),
        mode: read.text("modePack").or(by_word).map(Arc::from),
        exploration: read.number("explorationRate").map_or(usual.exploration, narrow),
        pool: read.texts("candidatePool").map(Into::into).collect(),
    }
}

fn weights(read: Reader<'_>) -> Weights {
    let usual = Weights::default();
    let of = |name: &str, usual: f32| read.number(name).map_or(usual, narrow);
    Weights {
        quota: of("quota", usual.quota),
        health: of("health", usual.health),
        cost: of("costInv", usual.cost),
        latency: of("latencyInv", usual.latency),
        task: of("taskFit", usual.task),
        stability: of("stability", usual.stability),
        tier: of("tierPriority", usual.tier),
    }
}

/// Reads settings; what is of another type counts as not said.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Map<String, Value>);

static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

impl<'a> Reader<'a> {
    fn part(self, name: &str) -> Self {
        Self(self.0.get(name).and_then(Value::as_object).unwrap_or(&NOTHING))
    }

    fn small(self, name: &str) -> Option<u32> {
        self.0.get(name)?.as_u64().and_then(|number| u32::try_from(number).ok())
    }

    fn millis(self, name: &str) -> Option<Duration> {
        self.0.get(name)?.as_u64().map(Duration::from_millis)
    }

    fn number(self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    fn flag(self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn texts(self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "shares and weights between 0 and 1")]
fn narrow(number: f64) -> f32 {
    number as f32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; the form refuses what is negative"
)]
fn nano(usd: f64) -> u64 {
    (usd * NANO).round() as u64
}

#[cfg(test)]
mod tests {
    use omniroute_actors::router::plan::ProviderEntry;
    use serde_json::json;

    use super::*;

    fn plan() -> RoutingPlan {
        let mut plan = RoutingPlan::default();
        for id in ["openai", "groq"] {
            plan.prefixes.insert(id.into(), id.into());
            plan.providers.insert(id.into(), ProviderEntry::default());
        }
        plan
    }

    fn row(strategy: &str, data: Value) -> ComboRow {
        ComboRow {
            id: "c1".into(),
            name: "team".into(),
            strategy: strategy.into(),
            is_active: true,
            sort_order: 1,
            data,
            created_at: 1,
            updated_at: 1,
        }
    }

    fn drawn(strategy: &str, data: Value) -> Combo {
        let row = row(strategy, data);
        combo(&row, &plan(), std::slice::from_ref(&row), &ComboSettings::default())
    }

    fn ids(combo: &Combo) -> Vec<&str> {
        combo.steps.iter().map(|step| &*step.id).collect()
    }

    #[test]
    fn a_step_keeps_its_id_weight_label_tags_and_connection() {
        let combo = drawn(
            "weighted",
            json!({"models": [{"id": "s1", "model": "openai/x", "weight": 30, "label": "main", "tags": ["eu"],
                               "connectionId": "c9"}]}),
        );

        let step = &combo.steps[0];
        assert_eq!((&*step.id, step.weight, step.label.as_deref(), &*step.tags[0]), ("s1", 30, Some("main"), "eu"));
        assert!(matches!(&step.target, StepTarget::Model { connection: Some(id), .. } if id.as_str() == "c9"));
    }

    #[test]
    fn what_is_stored_for_the_whole_combo_reaches_routing() {
        let combo = drawn(
            "usage",
            json!({"models": ["openai/x"], "system_message": "Be brief.", "tool_filter_regex": "^read",
                   "context_length": 9_000}),
        );

        assert_eq!((combo.strategy, combo.context_length, &*combo.id), (Strategy::LeastUsed, Some(9_000), "c1"));
        assert_eq!(
            (combo.system_message.as_deref(), combo.tool_filter.as_ref().map(ToolFilter::pattern)),
            (Some("Be brief."), Some("^read"))
        );
    }

    #[test]
    fn a_strategy_of_another_version_counts_as_priority() {
        assert_eq!(drawn("from-the-future", json!({"models": ["openai/x"]})).strategy, Strategy::Priority);
    }

    #[test]
    fn providers_that_are_not_allowed_are_left_out() {
        let models = json!([{"id": "a", "model": "openai/x"}, {"id": "b", "model": "groq/y"}]);

        let combo = drawn("priority", json!({"models": models, "allowedProviders": ["groq"]}));

        assert_eq!(ids(&combo), ["b"]);
    }

    #[test]
    fn tiers_put_their_steps_first_and_a_circle_of_tiers_ends() {
        let models = json!([{"id": "a", "model": "openai/1"}, {"id": "b", "model": "openai/2"}, {"id": "c", "model": "openai/3"}]);
        let tiers = json!({"defaultTier": "best", "tiers": {
            "best": {"stepId": "c", "fallbackTier": "next"}, "next": {"stepId": "b", "fallbackTier": "best"},
        }});

        let combo = drawn("priority", json!({"models": models, "config": {"compositeTiers": tiers}}));

        assert_eq!(ids(&combo), ["c", "b", "a"]);
    }

    #[test]
    fn settings_become_what_routing_goes_by() {
        let settings = json!({
            "maxAttempts": 4, "maxRetries": 2, "retryDelayMs": 50, "stickyRoundRobinLimit": 3, "stickyWeightedLimit": 9,
            "hedging": {"enabled": true, "afterMs": 700}, "continuation": true, "tagFilterMode": "strict",
            "contextRequirements": {"minContextWindow": 5_000, "preferLargeContext": true, "contextFilterMode": "strict"},
            "budgetCap": 0.5, "budgetFallback": "strict", "handoffThreshold": 0.6, "handoffModel": "a/b",
            "weights": {"health": 0.9}, "explorationRate": 0.0, "candidatePool": ["openai/*"], "judgeModel": "a/j",
            "fusionTuning": {"minAnswers": 2, "maxPanel": 5, "panelTimeoutMs": 7_000, "judgePrompt": "Choose."},
            "routerStrategy": "eco", "timeoutMs": 9_000, "queueTimeoutMs": 1_000, "concurrencyPerModel": 3,
        });
        let settings = settings.as_object().unwrap();

        let found = config(settings, Strategy::RoundRobin);

        assert_eq!((found.max_attempts, found.max_retries, found.sticky_limit), (Some(4), 2, 3));
        assert_eq!(config(settings, Strategy::WeightedSmooth).sticky_limit, 9);
        assert_eq!((found.hedging.enabled, found.hedging.after), (true, HedgeAfter::Fixed(Duration::from_millis(700))));
        assert_eq!((found.budget, found.over_budget), (Some(500_000_000), OverBudget::Strict));
        let rule = ContextRule { min_window: Some(5_000), prefer_large: true, mode: Strictness::Strict };
        assert_eq!((found.context, found.tags), (rule, Strictness::Strict));
        let weights = found.auto.weights.unwrap();
        assert_eq!((weights.health, weights.quota), (0.9, Weights::default().quota));
        assert_eq!((found.auto.mode.as_deref(), found.auto.exploration), (Some("cost-saver"), 0.0));
        assert_eq!((found.timeouts.total, found.concurrency), (Some(Duration::from_secs(9)), Some(3)));
        let ensemble = Ensemble {
            judge: Some("a/j".into()),
            prompt: Some("Choose.".into()),
            quorum: 2,
            panel: Some(5),
            patience: Some(Duration::from_secs(7)),
        };
        assert_eq!((found.ensemble, found.continuation), (ensemble, true));
        assert_eq!(config(&Map::new(), Strategy::Priority), ComboConfig::default());
    }

    #[test]
    fn a_provider_has_its_settings_where_a_combo_leads_to_it_alone() {
        let settings = ComboSettings::of(Some(&json!({"providerOverrides": {"openai": {"maxRetries": 5}}})));
        let of = |models: Value| {
            let row = row("priority", json!({ "models": models }));
            combo(&row, &plan(), std::slice::from_ref(&row), &settings).config.max_retries
        };

        assert_eq!(of(json!(["openai/x", "openai/y"])), 5);
        assert_eq!(of(json!(["openai/x", "groq/y"])), 0);
    }
}
