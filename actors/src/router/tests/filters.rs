//! What falls out before the order, with which reason, and what comes back when it was only a wish.

use super::*;
use crate::clock::UnixMillis;
use crate::router::config::{OverBudget, Strictness};
use crate::router::facts::{ModelFacts, Price};
use crate::router::features::{Needs, TagMatch};
use crate::router::glob::Glob;
use crate::router::policy::{Effect, Policy, What, When};

fn facts(context: u32, can: Needs, price: u64) -> ModelFacts {
    let price = Price { input: price, output: price, ..Price::default() };
    ModelFacts { context: Some(context), can: Some(can), price: Some(price), ..ModelFacts::default() }
}

fn known_step(provider: &str, model: &str, facts: ModelFacts) -> Step {
    Step { facts: Some(Arc::new(facts)), ..Step::model(provider, model) }
}

/// `small` (8k, tools, 1 USD per million), `large` (1M, tools and vision, 10 USD), `unknown`.
fn team(change: impl FnOnce(&mut Combo)) -> Vec<Combo> {
    let usd = 1_000_000_000;
    let mut team = Combo::new(
        "team",
        Strategy::Priority,
        vec![
            known_step("openai", "small", facts(8_000, Needs::TOOLS, usd)),
            known_step("groq", "large", facts(1_000_000, Needs::TOOLS.and(Needs::VISION), 10 * usd)),
            Step::model("groq", "unknown"),
        ],
    );
    change(&mut team);
    vec![team]
}

fn bed(change: impl FnOnce(&mut Combo)) -> RoutingPlan {
    let tagged = |provider: &str, id: &str, tag: &str, region: &str| {
        let tags = Arc::from([Arc::from(tag)]);
        handle(ConnectionConfig { provider: provider.into(), tags, region: Some(region.into()), ..config(id) })
    };
    let connections = vec![
        tagged("openai", "o-eu", "gdpr", "eu"),
        tagged("openai", "o-us", "fast", "us"),
        tagged("groq", "g-us", "fast", "us"),
    ];
    plan(connections, team(change))
}

fn legs(plan: RoutingPlan, features: RequestFeatures) -> Vec<String> {
    match router(plan).route(Route::of("team", Arc::new(features), Only::default())) {
        Ok(lease) => lease.itinerary.legs.iter().map(|leg| leg.target.model.to_string()).collect(),
        Err(NoRoute::NothingFits { itinerary }) => {
            itinerary.excluded.iter().map(|out| format!("{}:{}", out.target.model, out.why.as_str())).collect()
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn tokens(prompt: u32, output: u32) -> RequestFeatures {
    RequestFeatures { prompt_tokens: prompt, output_tokens: output, ..Default::default() }
}

#[test]
fn what_cannot_do_it_falls_out_and_what_is_unknown_stays() {
    let needs = |needs| RequestFeatures { needs, ..Default::default() };

    assert_eq!(legs(bed(|_| {}), needs(Needs::TOOLS)), ["small", "large", "unknown"]);
    assert_eq!(legs(bed(|_| {}), needs(Needs::VISION)), ["large", "unknown"]);
    let without_unknown = |team: &mut Combo| _ = team.steps.pop();
    assert_eq!(legs(bed(without_unknown), needs(Needs::AUDIO)), ["small:lacks_capability", "large:lacks_capability"]);
}

#[test]
fn a_prompt_that_is_too_long_falls_out_and_an_answer_that_may_be_is_a_wish() {
    let only_small = |team: &mut Combo| team.steps.truncate(1);

    assert_eq!(legs(bed(|_| {}), tokens(7_000, 4_000)), ["large", "unknown"]);
    assert_eq!(legs(bed(only_small), tokens(7_000, 4_000)), ["small"]);
    assert_eq!(legs(bed(only_small), tokens(8_500, 0)), ["small"], "an estimate may be a little too large");
    assert_eq!(legs(bed(only_small), tokens(9_000, 0)), ["small:context_window"]);
    let strict = |team: &mut Combo| {
        team.steps.truncate(1);
        team.config.context.mode = Strictness::Strict;
    };
    assert_eq!(legs(bed(strict), tokens(7_000, 4_000)), ["small:context_window"]);
}

#[test]
fn a_combo_may_ask_for_a_window_and_strictly_leaves_out_the_unknown() {
    let wants = |mode| {
        move |team: &mut Combo| {
            team.config.context.min_window = Some(100_000);
            team.config.context.mode = mode;
        }
    };

    assert_eq!(legs(bed(wants(Strictness::Lenient)), tokens(10, 10)), ["large", "unknown"]);
    assert_eq!(legs(bed(wants(Strictness::Strict)), tokens(10, 10)), ["large"]);
}

#[test]
fn tags_are_a_wish_unless_the_combo_is_strict() {
    let tagged = |tags: &[&str], tag_match| RequestFeatures {
        tags: tags.iter().map(|tag| Arc::from(*tag)).collect(),
        tag_match,
        ..Default::default()
    };
    let strict = |team: &mut Combo| team.config.tags = Strictness::Strict;

    assert_eq!(legs(bed(|_| {}), tagged(&["gdpr"], TagMatch::Any)), ["small"]);
    assert_eq!(legs(bed(|_| {}), tagged(&["gdpr", "fast"], TagMatch::Any)), ["small", "large", "unknown"]);
    assert_eq!(legs(bed(|_| {}), tagged(&["gdpr", "fast"], TagMatch::All)), ["small", "large", "unknown"]);
    assert_eq!(
        legs(bed(strict), tagged(&["gdpr", "fast"], TagMatch::All)),
        ["small:tags", "large:tags", "unknown:tags"]
    );
    let step_tagged = |team: &mut Combo| team.steps[2].tags = Arc::from([Arc::from("gdpr")]);
    assert_eq!(legs(bed(step_tagged), tagged(&["gdpr", "fast"], TagMatch::All)), ["unknown"]);
}

#[test]
fn of_a_leg_only_the_connections_with_the_tag_serve() {
    let features = Arc::new(RequestFeatures { tags: [Arc::from("fast")].into_iter().collect(), ..Default::default() });
    let mut router = router(bed(|_| {}));

    for _ in 0..20 {
        let lease = router.route(Route::of("openai/x", Arc::clone(&features), Only::default())).unwrap();
        assert_eq!(id(&lease), "o-us");
    }
}

#[test]
fn a_budget_leaves_out_what_is_dearer_and_the_cheapest_serves_when_all_are() {
    let features = |budget| RequestFeatures { budget: Some(budget), ..tokens(1_000, 1_000) };
    let priced = |team: &mut Combo| _ = team.steps.pop();
    let strict = |team: &mut Combo| {
        team.steps.pop();
        team.config.over_budget = OverBudget::Strict;
    };

    assert_eq!(legs(bed(priced), features(2_000_000)), ["small"]);
    assert_eq!(legs(bed(|_| {}), features(2_000_000)), ["small", "unknown"]);
    assert_eq!(legs(bed(priced), features(1_000)), ["small"]);
    assert_eq!(legs(bed(strict), features(1_000)), ["small:over_budget", "large:over_budget"]);
    let dear = RequestFeatures { max_input_price: Some(2_000_000_000), ..Default::default() };
    assert_eq!(legs(bed(|_| {}), dear), ["small", "unknown"]);
}

fn with_policy(effect: Effect, what: What, when: When) -> RoutingPlan {
    let mut plan = bed(|_| {});
    let policy = Policy { id: "1".into(), name: "rule".into(), enabled: true, priority: 0, effect, when, what };
    plan.policies.push(policy);
    plan
}

fn models(pattern: &str) -> What {
    What { models: vec![Glob::new(pattern)], ..What::default() }
}

#[test]
fn policies_allow_deny_require_and_prefer() {
    let plain = RequestFeatures::default;
    let of = |effect, what| with_policy(effect, what, When::default());

    assert_eq!(legs(of(Effect::Deny, models("groq/*")), plain()), ["small"]);
    assert_eq!(legs(of(Effect::Allow, models("l*")), plain()), ["large"]);
    assert_eq!(legs(of(Effect::Require, models("*a*")), plain()), ["small", "large"]);
    assert_eq!(legs(of(Effect::Prefer, models("unknown")), plain()), ["unknown", "small", "large"]);
    let all = ["small:policy", "large:policy", "unknown:policy"];
    assert_eq!(legs(of(Effect::Deny, models("*")), plain()), all);
    let none = ["small:policy_not_allowed", "large:policy_not_allowed", "unknown:policy_not_allowed"];
    assert_eq!(legs(of(Effect::Allow, models("nothing")), plain()), none);
}

#[test]
fn one_allowing_policy_of_several_is_enough() {
    let mut plan = with_policy(Effect::Allow, models("large"), When::default());
    let second = Policy { id: "2".into(), what: models("small"), ..plan.policies[0].clone() };
    plan.policies.push(second);

    assert_eq!(legs(plan, RequestFeatures::default()), ["small", "large"]);
}

#[test]
fn a_policy_of_a_key_binds_that_key_alone() {
    let plan = || with_policy(Effect::Deny, models("small"), When { keys: vec!["k1".into()], ..When::default() });
    let of = |key: &str| RequestFeatures { key: Some(key.into()), at: UnixMillis(0), ..Default::default() };

    assert_eq!(legs(plan(), of("k1")), ["large", "unknown"]);
    assert_eq!(legs(plan(), of("k2")), ["small", "large", "unknown"]);
}

#[test]
fn a_policy_on_regions_chooses_among_the_connections_of_a_leg() {
    let regions = |region: &str| What { regions: vec![region.into()], ..What::default() };
    let ids = |plan: RoutingPlan, times: usize| {
        let mut router = router(plan);
        (0..times).map(|_| id(&route(&mut router, "openai/x").unwrap())).collect::<HashSet<_>>()
    };
    let of = |effect, region| with_policy(effect, regions(region), When::default());

    assert_eq!(ids(of(Effect::Require, "eu"), 20), HashSet::from(["o-eu".into()]));
    assert_eq!(ids(of(Effect::Deny, "eu"), 20), HashSet::from(["o-us".into()]));
    assert_eq!(ids(of(Effect::Prefer, "us"), 20), HashSet::from(["o-us".into()]));
    let denied = router(of(Effect::Require, "mars")).route(Route::first("openai/x", Only::default()));
    assert!(matches!(denied, Err(NoRoute::NothingFits { .. })));
}

#[test]
fn preferred_connections_that_refuse_leave_the_request_to_the_others() {
    let plan = with_policy(Effect::Prefer, What { regions: vec!["us".into()], ..What::default() }, When::default());
    let mut router = router(plan);

    let first = route(&mut router, "openai/x").unwrap();
    let second = router.route(first.next(Only::default())).unwrap();

    assert_eq!([id(&first), id(&second)], ["o-us", "o-eu"]);
}

#[test]
fn among_many_connections_the_preferred_ones_come_first_and_none_is_lost() {
    let placed = |n: usize| {
        let region = Some(Arc::from(if n.is_multiple_of(2) { "us" } else { "eu" }));
        handle(ConnectionConfig { provider: "openai".into(), region, ..config(&format!("o{n}")) })
    };
    let mut plan = with_policy(Effect::Prefer, What { regions: vec!["us".into()], ..What::default() }, When::default());
    plan.providers.get_mut("openai").unwrap().connections = (0..6).map(placed).collect();
    let mut router = router(plan);
    let features = Arc::new(RequestFeatures { affinity: Some(7), ..Default::default() });

    let mut lease = router.route(Route::of("openai/x", features, Only::default())).unwrap();
    let mut ids = vec![id(&lease)];
    while let Ok(next) = router.route(lease.next(Only::default())) {
        ids.push(id(&next));
        lease = next;
    }

    let even = |id: &String| matches!(id.as_str(), "o0" | "o2" | "o4");
    assert!(ids.len() == 6 && ids[..3].iter().all(even) && !ids[3..].iter().any(even), "{ids:?}");
}

#[test]
fn a_policy_on_a_combo_holds_under_every_name_of_it() {
    let mut plan = with_policy(Effect::Deny, models("small"), When { models: vec!["team".into()], ..When::default() });
    plan.aliases = crate::router::plan::Aliases::new([("crew", "team")]);

    let lease = route(&mut router(plan), "crew").unwrap();

    assert_eq!(lease.model().as_str(), "large");
}
