//! What a model string means, in which order, and how the answer says that it was found.

use super::*;
use crate::router::facts::{ModelFacts, Tier};
use crate::router::plan::{Aliases, Mapping};
use crate::router::resolve::Resolved;

fn known() -> RoutingPlan {
    let combos = vec![
        combo("team", Strategy::Priority, &["groq/x"]),
        combo("auto/special", Strategy::Priority, &["groq/x"]),
        combo("catch", Strategy::Priority, &["groq/x"]),
    ];
    let mut plan = plan(vec![connection("openai", "o", 1), connection("groq", "g", 1)], combos);
    plan.aliases = Aliases::new([
        ("fast", "groq/llama"),
        ("smart", "team"),
        ("hop", "fast"),
        ("self", "self"),
        ("gpt-*", "openai/gpt-any"),
        ("gpt-5*", "openai/gpt-five"),
        ("gpt-5?", "openai/gpt-one-letter"),
    ]);
    let mapping =
        |glob: &str, priority, created| Mapping { glob: glob.into(), combo: "catch".into(), priority, created };
    plan.mappings = vec![
        mapping("old-*", 1, 5),
        Mapping { combo: "team".into(), ..mapping("OLD-model*", 9, 9) },
        Mapping { combo: "gone".into(), ..mapping("*", 99, 1) },
    ];
    plan
}

fn meaning(plan: &ReadyPlan, asked: &str) -> String {
    plan.resolve(asked).map_or_else(|problem| format!("{problem:?}"), |found| found.resolved.to_string())
}

#[test]
fn the_order_of_resolution_is_combo_mapping_auto_alias_prefix_bare() {
    let plan = known().ready();
    let table = [
        ("team", "combo team"),
        ("combo/team", "combo team"),
        ("old-thing", "combo catch"),
        ("Old-Model-7", "combo team"),
        ("auto", "auto"),
        ("auto/coding", "auto/coding"),
        ("auto/coding:pro", "auto/coding:pro"),
        ("auto/special", "combo auto/special"),
        ("fast", "groq/llama"),
        ("smart", "combo team"),
        ("gpt-4", "openai/gpt-any"),
        ("gpt-55x", "openai/gpt-five"),
        ("gpt-55", "openai/gpt-one-letter"),
        ("gq/any", "groq/any"),
        ("openai/a/b", "openai/a/b"),
        ("openai-only", "openai/openai-only"),
        ("hop", "Unknown"),
        ("self", "Unknown"),
        ("auto/", "Unknown"),
        ("auto/coding:best", "Unknown"),
        ("empty/x", "NoConnection(\"empty\")"),
    ];

    for (asked, expected) in table {
        assert_eq!(meaning(&plan, asked), expected, "{asked}");
        assert_eq!(
            meaning(&plan, asked),
            known().resolve(asked).map_or_else(|p| format!("{p:?}"), |f| f.resolved.to_string())
        );
    }
}

#[test]
fn the_way_is_told_and_the_extended_context_is_no_part_of_the_name() {
    let plan = known().ready();
    let way = |asked: &str| plan.resolve(asked).unwrap();

    assert_eq!(way("fast").steps(), ["alias fast -> groq/llama", "prefix of provider groq"]);
    assert_eq!(way("gpt-55x").steps()[0], "wildcard alias gpt-5* -> openai/gpt-five");
    assert_eq!(way("old-x").steps(), ["mapping old-* -> combo catch"]);
    let extended = way("openai/gpt[1m]");
    assert!(extended.extended && extended.steps()[0].contains("extended context"));
    assert_eq!(extended.resolved, Resolved::Direct { provider: "openai".into(), model: "gpt".into() });
    assert!(!way("fast").extended);
}

#[test]
fn auto_is_over_everything_that_is_switched_on_and_a_category_narrows_it() {
    let mut plan = known();
    let facts = |words: &[&str], tier| {
        Arc::new(ModelFacts {
            categories: words.iter().map(|word| Arc::from(*word)).collect(),
            tier,
            ..Default::default()
        })
    };
    let openai = plan.providers.get_mut("openai").unwrap();
    openai.models.insert("coder".into(), facts(&["coding"], Some(Tier::Pro)));
    openai.models.insert("cheap-coder".into(), facts(&["coding"], Some(Tier::Free)));
    let mut router = router(plan);
    let legs = |router: &mut Router, model: &str| {
        let lease = route(router, model).unwrap();
        let mut models: Vec<_> = lease.itinerary.legs.iter().map(|leg| leg.target.model.to_string()).collect();
        models.sort();
        models
    };

    assert_eq!(legs(&mut router, "auto"), ["cheap-coder", "coder", "groq-only", "openai-only", "shared", "shared"]);
    assert_eq!(legs(&mut router, "auto/coding"), ["cheap-coder", "coder"]);
    assert_eq!(legs(&mut router, "auto/coding:pro"), ["coder"]);
    assert_eq!(legs(&mut router, "auto/poetry").len(), 6, "nobody is known for it, so that it is only a wish");
}

#[test]
fn a_chain_serves_when_the_models_own_candidates_do_not() {
    let mut plan = known();
    plan.chains.insert("openai/gpt".into(), vec![Step::model("groq", "spare"), Step::model("openai", "gpt")]);
    let mut router = router(plan);

    let first = route(&mut router, "openai/gpt").unwrap();
    let second = router.route(first.next(Only::default())).unwrap();
    let end = router.route(second.next(Only::default()));

    assert_eq!([id(&first), id(&second)], ["o", "g"]);
    assert_eq!(second.decision().leg, "fallback_chain");
    assert!(matches!(end, Err(NoRoute::Exhausted { .. })), "the chain's own model is not tried twice");
}
