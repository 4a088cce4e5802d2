//! The settings of a combo as a caller sends them: every name with its range.
//!
//! Some names mean something to the original only (health checks, compression). They are checked and kept like the
//! others, so that its clients can read back what they wrote. A name that nobody knows and that looks like a known one is
//! a mistake; any other belongs to another version: it is kept, and the answer says that it has no effect.

use omniroute_actors::router::config::Weights;
use serde_json::{Map, Value, json};

use crate::routes::{Detail, Form};

/// What a setting may be.
enum Kind {
    Whole(i64, i64),
    Number(f64, f64),
    Flag,
    Text(usize),
    Words(&'static [&'static str]),
    Texts(usize, usize),
    Part(&'static [(&'static str, Kind)]),
    Tiers,
}

use Kind::{Flag, Number, Part, Text, Texts, Tiers, Whole, Words};

const REQUIREMENTS: &[(&str, Kind)] = &[
    ("minContextWindow", Whole(1, 10_000_000)),
    ("preferLargeContext", Flag),
    ("contextFilterMode", Words(&["strict", "lenient"])),
];

const WEIGHTS: &[(&str, Kind)] = &[
    ("quota", Number(0.0, 1.0)),
    ("health", Number(0.0, 1.0)),
    ("costInv", Number(0.0, 1.0)),
    ("latencyInv", Number(0.0, 1.0)),
    ("taskFit", Number(0.0, 1.0)),
    ("stability", Number(0.0, 1.0)),
    ("tierPriority", Number(0.0, 1.0)),
];

const HEDGING: &[(&str, Kind)] =
    &[("enabled", Flag), ("afterMs", Whole(1, 600_000)), ("afterQuantile", Number(0.5, 0.999))];

const FUSION: &[(&str, Kind)] = &[
    ("minAnswers", Whole(1, 20)),
    ("maxPanel", Whole(1, 20)),
    ("panelTimeoutMs", Whole(1_000, 600_000)),
    ("judgePrompt", Text(10_000)),
];

/// How a provider chooses among its accounts; two words of the original mean the same as `fill-first`.
pub(super) const ACCOUNT_STRATEGIES: &[&str] = &[
    "p2c",
    "fill-first",
    "round-robin",
    "random",
    "strict-random",
    "least-used",
    "headroom",
    "lkgp",
    "cost-optimized",
    "priority",
];

/// Every setting, in the order in which a form would show them.
const FIELDS: &[(&str, Kind)] = &[
    ("maxRetries", Whole(0, 10)),
    ("retryDelayMs", Whole(0, 60_000)),
    ("maxAttempts", Whole(1, 30)),
    ("timeoutMs", Whole(1_000, 3_600_000)),
    ("concurrencyPerModel", Whole(1, 20)),
    ("queueTimeoutMs", Whole(1_000, 120_000)),
    ("maxComboDepth", Whole(1, 10)),
    ("fallbackStrategy", Words(ACCOUNT_STRATEGIES)),
    ("stickyRoundRobinLimit", Whole(1, 1_000)),
    ("stickyWeightedLimit", Whole(1, 1_000)),
    ("sessionStickiness", Flag),
    ("contextRequirements", Part(REQUIREMENTS)),
    ("hedging", Part(HEDGING)),
    ("continuation", Flag),
    ("tagMatchMode", Words(&["any", "all"])),
    ("tagFilterMode", Words(&["strict", "lenient"])),
    ("candidatePool", Texts(500, 512)),
    ("weights", Part(WEIGHTS)),
    ("modePack", Words(&Weights::PACKS)),
    ("budgetCap", Number(0.000_000_001, 1_000_000.0)),
    ("budgetFallback", Words(&["strict", "cheapest"])),
    ("explorationRate", Number(0.0, 1.0)),
    ("routerStrategy", Words(&["rules", "cost", "eco", "latency", "fast", "lkgp"])),
    ("compositeTiers", Tiers),
    ("handoffThreshold", Number(0.5, 0.94)),
    ("handoffModel", Text(512)),
    ("handoffProviders", Texts(50, 100)),
    ("maxMessagesForSummary", Whole(5, 100)),
    ("judgeModel", Text(512)),
    ("fusionTuning", Part(FUSION)),
    ("connectionAwareExpansion", Flag),
    ("trackMetrics", Flag),
    ("evalRouting", Flag),
    ("compressionMode", Words(&["", "off", "lite", "standard", "aggressive", "ultra", "rtk", "stacked"])),
    ("healthCheckEnabled", Flag),
    ("healthCheckTimeoutMs", Whole(100, 30_000)),
];

/// What became of the given settings.
pub(super) struct Checked {
    /// Those that can be kept.
    pub(super) config: Map<String, Value>,
    /// Names that mean nothing here.
    pub(super) ignored: Vec<String>,
    /// What is wrong.
    pub(super) problems: Vec<Detail>,
}

/// Check settings; `path` is where they stand in the body. Null is "as elsewhere" and is kept out.
pub(super) fn check(fields: &Map<String, Value>, path: &str) -> Checked {
    let mut form = Form::lenient_part(fields.clone(), path);
    form.let_pass(["strategy"]);
    let mut config = read(&mut form, FIELDS, path);
    let ignored: Vec<_> = form.left_over().into_iter().take(50).collect();
    config.extend(ignored.iter().filter_map(|name| Some((name.clone(), fields.get(name)?.clone()))));
    Checked { config, ignored, problems: form.into_problems() }
}

fn read(form: &mut Form, fields: &[(&'static str, Kind)], path: &str) -> Map<String, Value> {
    let value = |(name, kind): &(&'static str, Kind)| Some(((*name).to_owned(), one(form, name, kind, path)?));
    fields.iter().filter_map(value).collect()
}

fn one(form: &mut Form, name: &str, kind: &Kind, path: &str) -> Option<Value> {
    if form.raw(name).is_some_and(Value::is_null) {
        form.any(name);
        return None;
    }
    match kind {
        Whole(least, most) => form.integer(name, *least..=*most).map(|number| json!(number)),
        Number(least, most) => form.number(name, *least..=*most).map(|number| json!(number)),
        Flag => form.flag(name).map(|flag| json!(flag)),
        Text(most) => form.text(name, 0..=*most).map(|text| json!(text)),
        Words(words) => form.word(name, words).map(|word| json!(word)),
        Texts(most, chars) => {
            form.raw(name).is_some().then(|| form.texts(name, *most, *chars)).flatten().map(|texts| json!(texts))
        }
        Part(fields) => {
            let place = format!("{path}.{name}");
            let mut part = Form::part(form.object(name)?, place.as_str());
            let read = read(&mut part, fields, &place);
            form.problems(part.into_problems());
            Some(Value::Object(read))
        }
        Tiers => tiers(form, name, path),
    }
}

/// `{defaultTier, tiers: {name: {stepId, fallbackTier?}}}`; whether the steps exist is looked at beside the steps.
fn tiers(form: &mut Form, name: &str, path: &str) -> Option<Value> {
    let place = format!("{path}.{name}");
    let mut part = Form::part(form.object(name)?, place.as_str());
    part.require("defaultTier");
    part.require("tiers");
    let (start, given) = (part.text("defaultTier", 1..=100), part.object("tiers").unwrap_or_default());
    let mut tiers = Map::new();
    for (tier, fields) in given.iter().take(200) {
        let fields = fields.as_object().cloned().unwrap_or_default();
        let mut one = Form::part(fields, format!("tiers.{tier}"));
        one.require("stepId");
        let (step, next) = (one.text("stepId", 1..=200), one.text("fallbackTier", 1..=100));
        for problem in one.into_problems() {
            part.problem(&problem.field, problem.message);
        }
        for reference in next.iter().filter(|next| !given.contains_key(*next)) {
            part.problem(&format!("tiers.{tier}.fallbackTier"), format!("There is no tier `{reference}`"));
        }
        tiers.insert(tier.clone(), json!({"stepId": step, "fallbackTier": next}));
    }
    if start.as_ref().is_some_and(|start| !given.contains_key(start)) {
        part.problem("defaultTier", "There is no such tier");
    }
    form.problems(part.into_problems());
    Some(json!({"defaultTier": start, "tiers": tiers}))
}

/// The names and ranges, for who makes a form.
pub(super) fn limits() -> Value {
    Value::Object(described(FIELDS))
}

fn described(fields: &[(&'static str, Kind)]) -> Map<String, Value> {
    let of = |kind: &Kind| match kind {
        Whole(least, most) => json!({"type": "integer", "min": least, "max": most}),
        Number(least, most) => json!({"type": "number", "min": least, "max": most}),
        Flag => json!({"type": "boolean"}),
        Text(most) => json!({"type": "string", "maxLength": most}),
        Words(words) => json!({"type": "string", "enum": words}),
        Texts(most, chars) => json!({"type": "array", "maxItems": most, "maxLength": chars}),
        Part(fields) => json!({"type": "object", "properties": described(fields)}),
        Tiers => json!({"type": "object"}),
    };
    fields.iter().map(|(name, kind)| ((*name).to_owned(), of(kind))).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn checked(config: Value) -> Checked {
        check(config.as_object().unwrap(), "config")
    }

    fn wrong(config: Value) -> Vec<String> {
        checked(config).problems.into_iter().map(|problem| problem.field).collect()
    }

    #[rstest]
    #[case::retries("maxRetries", json!(0), json!(10), json!(-1), json!(11))]
    #[case::delay("retryDelayMs", json!(0), json!(60_000), json!(-1), json!(60_001))]
    #[case::concurrency("concurrencyPerModel", json!(1), json!(20), json!(0), json!(21))]
    #[case::queue("queueTimeoutMs", json!(1_000), json!(120_000), json!(999), json!(120_001))]
    #[case::depth("maxComboDepth", json!(1), json!(10), json!(0), json!(11))]
    #[case::handoff("handoffThreshold", json!(0.5), json!(0.94), json!(0.49), json!(0.95))]
    #[case::summary("maxMessagesForSummary", json!(5), json!(100), json!(4), json!(101))]
    #[case::check("healthCheckTimeoutMs", json!(100), json!(30_000), json!(99), json!(30_001))]
    #[case::exploration("explorationRate", json!(0), json!(1), json!(-0.1), json!(1.1))]
    #[case::budget("budgetCap", json!(0.000_001), json!(5), json!(0), json!("5"))]
    #[case::timeout("timeoutMs", json!(1_000), json!(60_000), json!(999), json!(1.5))]
    #[case::budget_word("budgetFallback", json!("strict"), json!("cheapest"), json!("none"), json!(1))]
    #[case::flag("trackMetrics", json!(true), json!(false), json!("yes"), json!(1))]
    fn every_setting_has_its_range(
        #[case] name: &str,
        #[case] least: Value,
        #[case] most: Value,
        #[case] below: Value,
        #[case] above: Value,
    ) {
        for good in [least, most] {
            assert_eq!(wrong(json!({ name: good.clone() })), Vec::<String>::new(), "{name}: {good}");
        }
        for bad in [below, above] {
            assert_eq!(wrong(json!({ name: bad.clone() })), [format!("config.{name}")], "{name}: {bad}");
        }
    }

    #[test]
    fn every_word_for_accounts_is_known_to_routing() {
        use omniroute_actors::router::plan::AccountStrategy;

        assert!(ACCOUNT_STRATEGIES.iter().all(|word| AccountStrategy::parse(word).is_some()));
        assert!(AccountStrategy::ALL.iter().all(|known| ACCOUNT_STRATEGIES.contains(&known.as_str())));
    }

    #[test]
    fn null_is_as_elsewhere() {
        let checked = checked(json!({"maxRetries": null, "weights": null, "candidatePool": null, "retryDelayMs": 5}));

        assert!(checked.problems.is_empty());
        assert_eq!(Value::Object(checked.config), json!({"retryDelayMs": 5}));
    }

    #[test]
    fn parts_are_checked_inside() {
        let config = json!({
            "weights": {"health": 2}, "contextRequirements": {"contextFilterMode": "loose"}, "hedging": {"afterMS": 3},
        });

        assert_eq!(
            wrong(config),
            ["config.contextRequirements.contextFilterMode", "config.hedging.afterMS", "config.weights.health"]
        );
    }

    #[test]
    fn tiers_lead_to_tiers() {
        let tiers = |start: &str, next: &str| {
            json!({"compositeTiers": {"defaultTier": start, "tiers": {
                "one": {"stepId": "a", "fallbackTier": next}, "two": {"stepId": "b"},
            }}})
        };

        assert_eq!(wrong(tiers("one", "two")), Vec::<String>::new());
        assert_eq!(
            wrong(tiers("zero", "three")),
            ["config.compositeTiers.tiers.one.fallbackTier", "config.compositeTiers.defaultTier"]
        );
    }

    #[test]
    fn a_misspelt_name_is_a_mistake_and_a_foreign_one_is_kept_and_told() {
        let checked = checked(json!({"maxRetires": 1, "somethingQuiteDifferent": {"a": 1}}));

        let told: Vec<_> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(told, ["Unknown field; did you mean `maxRetries`?"]);
        assert!(checked.ignored.contains(&"somethingQuiteDifferent".to_owned()));
        assert_eq!(checked.config["somethingQuiteDifferent"], json!({"a": 1}));
    }
}
