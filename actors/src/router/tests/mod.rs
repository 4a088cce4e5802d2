//! The router replica over handles without actors: what it resolves, orders, takes and explains.

mod affinity;
mod filters;
mod laziness;
mod resolution;
mod routing;

use std::collections::HashSet;

use super::plan::{Combo, ProviderEntry, RoutingPlan, Step, StepTarget, Strategy};
use super::*;
use crate::clock::{ManualClock, Moment};
use crate::connection::config::ConnectionConfig;
use crate::connection::handle::ConnectionHandle;
use crate::guard::fault;
use crate::ids::ComboName;
use crate::testing::{config, handle};

fn connection(provider: &str, id: &str, priority: i32) -> Arc<ConnectionHandle> {
    handle(ConnectionConfig { provider: provider.into(), priority, ..config(id) })
}

fn plan(connections: Vec<Arc<ConnectionHandle>>, combos: Vec<Combo>) -> RoutingPlan {
    let mut plan = RoutingPlan { max_combo_depth: 5, ..RoutingPlan::default() };
    for id in ["openai", "groq", "empty", "meta-llama"] {
        plan.prefixes.insert(id.into(), id.into());
        let own = format!("{id}-only");
        let models = if id == "empty" { vec![] } else { vec!["shared", &own] };
        plan.providers.insert(id.into(), ProviderEntry::of_models(models));
    }
    plan.prefixes.insert("gq".into(), "groq".into());
    for handle in connections {
        plan.providers.entry(handle.provider().clone()).or_default().connections.push(handle);
    }
    combos.into_iter().for_each(|combo| plan.add(combo));
    plan
}

fn combo(name: &str, strategy: Strategy, steps: &[&str]) -> Combo {
    let step = |text: &&str| match text.split_once('/') {
        Some((provider, model)) => Step::model(provider, model),
        None => Step::to(StepTarget::Combo(ComboName::from(*text))),
    };
    Combo::new(name, strategy, steps.iter().map(step).collect())
}

fn router(plan: RoutingPlan) -> Router {
    let clock = Arc::new(ManualClock::at(Moment::from_millis(1_000)));
    Router::seeded(Arc::new(ArcSwap::from_pointee(plan.ready())), clock, 1)
}

fn route(router: &mut Router, model: &str) -> Result<Lease, NoRoute> {
    router.route(Route::first(model, Only::default()))
}

fn id(lease: &Lease) -> String {
    lease.permit.handle().id().to_string()
}

fn problem(router: &mut Router, model: &str) -> Unresolved {
    match route(router, model) {
        Err(NoRoute::Unresolved(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_model_string_resolves_by_combo_prefix_alias_or_bare_name() {
    let combos = vec![combo("team", Strategy::Priority, &["groq/x"])];
    let mut router = router(plan(vec![connection("openai", "o", 1), connection("groq", "g", 1)], combos));

    let ids = ["team", "combo/team", "groq/any", "gq/any", "openai-only", "openai/a/b"]
        .map(|model| id(&route(&mut router, model).unwrap()));

    assert_eq!(ids, ["g", "g", "g", "g", "o", "o"]);
}

#[test]
fn what_cannot_be_resolved_says_why() {
    let mut router = router(plan(vec![connection("openai", "o", 1), connection("groq", "g", 1)], vec![]));

    let candidates = vec!["groq/shared".to_owned(), "openai/shared".to_owned()];
    assert_eq!(problem(&mut router, "shared"), Unresolved::Ambiguous(candidates));
    assert_eq!(problem(&mut router, "empty/x"), Unresolved::NoConnection("empty".into()));
    assert_eq!(problem(&mut router, "nobody-knows"), Unresolved::Unknown);
    for malformed in ["", "a/../b", "a\nb", "openai/", &"x".repeat(600)] {
        assert_eq!(problem(&mut router, malformed), Unresolved::Malformed, "{malformed:?}");
    }
}

#[test]
fn a_fallback_goes_to_the_next_candidate_and_never_back() {
    let combos = vec![combo("team", Strategy::Priority, &["openai/x", "groq/x"])];
    let mut router = router(plan(
        vec![connection("openai", "o1", 1), connection("openai", "o2", 2), connection("groq", "g", 1)],
        combos,
    ));

    let first = route(&mut router, "team").unwrap();
    let second = router.route(first.next(Only::default())).unwrap();
    let third = router.route(second.next(Only::default())).unwrap();
    let end = router.route(third.next(Only::default()));

    assert_eq!([id(&first), id(&second), id(&third)], ["o1", "o2", "g"]);
    assert!(matches!(end, Err(NoRoute::Exhausted { tried, .. }) if tried.len() == 3));
}

#[test]
fn nested_combos_keep_their_own_strategy_and_a_cycle_ends() {
    let combos = vec![
        combo("outer", Strategy::Priority, &["inner", "openai/last"]),
        combo("inner", Strategy::RoundRobin, &["groq/a", "groq/b"]),
        combo("loop", Strategy::Priority, &["loop", "groq/a"]),
    ];
    let mut router = router(plan(vec![connection("openai", "o", 1), connection("groq", "g", 1)], combos));

    let models: Vec<_> = (0..3).map(|_| route(&mut router, "outer").unwrap().model().to_string()).collect();

    assert_eq!(models, ["a", "b", "a"]);
    assert_eq!(id(&route(&mut router, "loop").unwrap()), "g");
}

#[test]
fn refusals_are_listed_with_the_earliest_time_to_come_back() {
    let busy = handle(ConnectionConfig { provider: "openai".into(), max_concurrent: 1, ..config("o") });
    let off = handle(ConnectionConfig { provider: "groq".into(), is_active: false, ..config("g") });
    let combos = vec![combo("team", Strategy::Priority, &["openai/x", "groq/x"])];
    let mut router = router(plan(vec![busy, off], combos));
    let _held = route(&mut router, "team").unwrap();

    let Err(NoRoute::Exhausted { skipped, .. }) = route(&mut router, "team") else { panic!("nothing is free") };

    let reasons: Vec<_> = skipped.reasons().map(SkipReason::as_str).collect();
    assert_eq!(reasons, ["saturated", "disabled"]);
}

#[test]
fn a_key_that_may_use_one_connection_gets_no_other() {
    let mut router = router(plan(vec![connection("openai", "o1", 1), connection("openai", "o2", 1)], vec![]));
    let only = Only { allowed: Some(Arc::new(HashSet::from(["o2".into()]))), forced: None };

    for _ in 0..20 {
        let lease = router.route(Route::first("openai/x", only.clone())).unwrap();
        assert_eq!(id(&lease), "o2");
    }
}

#[test]
fn an_explanation_uses_up_nothing() {
    let combos = vec![combo("team", Strategy::RoundRobin, &["openai/x"])];
    let connection = connection("openai", "o", 1);
    let plan = plan(vec![Arc::clone(&connection)], combos).ready();

    let explained = explain(&plan, "team", &Arc::default(), &Only::default(), Moment::from_millis(1)).unwrap();

    assert!(explained.would_serve().is_some_and(|(leg, _)| leg.why == "its_turn"));
    assert_eq!(plan.combos["team"].state.turn(), 0);
    assert_eq!(connection.in_flight(), 0);
}

#[actix::test]
async fn a_panic_in_the_router_loses_one_request_and_returns_every_slot() {
    let connection = connection("openai", "o", 1);
    let clock = Arc::new(ManualClock::at(Moment::from_millis(1_000)));
    let published = Arc::new(ArcSwap::from_pointee(plan(vec![Arc::clone(&connection)], vec![]).ready()));
    let address = actix::Supervisor::start(move |_| Router::seeded(published, clock, 1));
    fault::arm("Route");

    let lost = address.send(Route::first("openai/x", Only::default())).await.unwrap();
    let next = address.send(Route::first("openai/x", Only::default())).await.unwrap();

    assert!(matches!(lost, Err(NoRoute::Crashed)));
    assert!(next.is_ok());
    drop(next);
    assert_eq!(connection.in_flight(), 0);
}

#[actix::test]
async fn a_panic_in_an_explanation_loses_that_one_and_the_next_is_answered() {
    let clock = Arc::new(ManualClock::at(Moment::from_millis(1_000)));
    let published = Arc::new(ArcSwap::from_pointee(plan(vec![connection("openai", "o", 1)], vec![]).ready()));
    let address = actix::Supervisor::start(move |_| Router::seeded(published, clock, 1));
    let ask = || address.send(Explain { model: "openai/x".into(), features: Arc::default(), only: Only::default() });
    fault::arm("Explain");

    let lost = ask().await.unwrap();
    let next = ask().await.unwrap();

    assert!(lost.is_err());
    assert!(next.unwrap().would_serve().is_some());
    assert!(address.send(Route::first("openai/x", Only::default())).await.unwrap().is_ok());
}

#[actix::test]
async fn a_lease_that_nobody_waits_for_any_more_gives_its_slot_back() {
    let connection = connection("openai", "o", 1);
    let clock = Arc::new(ManualClock::at(Moment::from_millis(1_000)));
    let published = Arc::new(ArcSwap::from_pointee(plan(vec![Arc::clone(&connection)], vec![]).ready()));
    let address = Router::seeded(published, clock, 1).start();

    let asked = address.send(Route::first("openai/x", Only::default()));
    let given_up = tokio::time::timeout(std::time::Duration::ZERO, asked).await;
    crate::testing::settle().await;

    assert!(given_up.is_err() || given_up.is_ok_and(|lease| lease.is_ok()));
    assert_eq!(connection.in_flight(), 0);
}
