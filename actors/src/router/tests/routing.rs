//! Turns, memory and attempts over whole combos.

use super::*;

fn two() -> Vec<Arc<ConnectionHandle>> {
    vec![connection("openai", "o", 1), connection("groq", "g", 1)]
}

fn firsts(router: &mut Router, model: &str, times: usize) -> Vec<String> {
    (0..times).map(|_| route(router, model).unwrap().model().to_string()).collect()
}

#[test]
fn a_nested_turn_is_used_up_only_when_it_is_reached() {
    let combos = vec![
        combo("outer", Strategy::RoundRobin, &["inner", "openai/x"]),
        combo("inner", Strategy::RoundRobin, &["groq/a", "groq/b"]),
    ];
    let mut router = router(plan(two(), combos));

    let models = firsts(&mut router, "outer", 8);

    assert_eq!(models, ["a", "x", "b", "x", "a", "x", "b", "x"]);
}

#[test]
fn a_nested_combo_that_is_only_a_fallback_still_gives_each_its_turn() {
    let off = handle(ConnectionConfig { provider: "openai".into(), is_active: false, ..config("o") });
    let combos = vec![
        combo("outer", Strategy::Priority, &["openai/x", "inner"]),
        combo("inner", Strategy::RoundRobin, &["groq/a", "groq/b"]),
    ];
    let mut router = router(plan(vec![off, connection("groq", "g", 1)], combos));

    assert_eq!(firsts(&mut router, "outer", 4), ["a", "b", "a", "b"]);
}

#[test]
fn turns_and_the_last_good_step_live_on_over_plans() {
    let make = || {
        let combos = vec![
            combo("turns", Strategy::RoundRobin, &["groq/a", "groq/b"]),
            combo("last", Strategy::Lkgp, &["groq/a", "openai/b"]),
        ];
        plan(two(), combos)
    };
    let clock = Arc::new(ManualClock::at(Moment::from_millis(1_000)));
    let published = Arc::new(ArcSwap::from_pointee(make().ready()));
    let mut router = Router::seeded(Arc::clone(&published), clock, 1);
    firsts(&mut router, "turns", 3);
    let failed = route(&mut router, "last").unwrap();
    router.route(failed.next(Only::default())).unwrap().answered();

    let mut next = make();
    next.remember(&published.load());
    published.store(Arc::new(next.ready()));

    assert_eq!(firsts(&mut router, "turns", 1), ["b"]);
    assert_eq!(firsts(&mut router, "last", 1), ["b"]);
}

#[test]
fn the_last_good_step_is_remembered_in_every_combo_on_the_way() {
    let combos = vec![
        combo("outer", Strategy::Lkgp, &["openai/x", "inner"]),
        combo("inner", Strategy::Lkgp, &["groq/a", "groq/b"]),
    ];
    let mut router = router(plan(two(), combos));
    let mut lease = route(&mut router, "outer").unwrap();
    while lease.model().as_str() != "b" {
        lease = router.route(lease.next_leg(Only::default())).unwrap();
    }
    assert_eq!(lease.leg().unwrap().key(), "outer-ref-2-inner>inner-model-2-b");
    lease.answered();

    assert_eq!(firsts(&mut router, "outer", 1), ["b"]);
    assert_eq!(route(&mut router, "outer").unwrap().decision().leg, "answered_last");
}

#[test]
fn the_same_place_is_tried_again_as_often_as_the_combo_says() {
    let mut retried = combo("team", Strategy::Priority, &["openai/x", "groq/y"]);
    retried.config.max_retries = 2;
    let mut router = router(plan(two(), vec![retried]));

    let mut lease = route(&mut router, "team").unwrap();
    let mut places = vec![id(&lease)];
    while let Some(again) = lease.again(Only::default()) {
        lease = router.route(again).unwrap();
        places.push(id(&lease));
    }

    assert_eq!(places, ["o", "o", "o"]);
    assert_eq!(id(&router.route(lease.next(Only::default())).unwrap()), "g");
    let direct = route(&mut router, "openai/x").unwrap();
    assert!(direct.again(Only::default()).is_none());
}

#[test]
fn a_place_that_refuses_its_second_try_is_left_for_the_next() {
    let mut retried = combo("team", Strategy::Priority, &["openai/x", "groq/y"]);
    retried.config.max_retries = 1;
    let narrow = handle(ConnectionConfig { provider: "openai".into(), max_concurrent: 1, ..config("o") });
    let mut router = router(plan(vec![narrow, connection("groq", "g", 1)], vec![retried]));

    let held = route(&mut router, "team").unwrap();
    let next = router.route(held.again(Only::default()).unwrap()).unwrap();

    assert_eq!(id(&next), "g");
    assert_eq!(next.skipped.reasons().map(SkipReason::as_str).collect::<Vec<_>>(), ["saturated"]);
}

#[test]
fn an_earlier_leg_that_was_full_may_still_serve_when_the_later_ones_failed() {
    let narrow = handle(ConnectionConfig { provider: "openai".into(), max_concurrent: 1, ..config("o") });
    let combos = vec![combo("team", Strategy::Priority, &["openai/x", "groq/y"])];
    let mut router = router(plan(vec![narrow, connection("groq", "g", 1)], combos));
    let held = route(&mut router, "openai/other").unwrap();
    let failed = route(&mut router, "team").unwrap();
    drop(held);

    let last = router.route(failed.next(Only::default())).unwrap();

    assert_eq!([id(&failed), id(&last)], ["g", "o"]);
}

#[test]
fn what_is_pinned_and_what_is_forced_must_agree() {
    let pinned = |id: &str| {
        Step::to(StepTarget::Model { provider: "openai".into(), model: "x".into(), connection: Some(id.into()) })
    };
    let team = Combo::new("team", Strategy::Priority, vec![pinned("o2"), pinned("gone")]);
    let mut router = router(plan(vec![connection("openai", "o1", 1), connection("openai", "o2", 1)], vec![team]));
    let forced = |id: &str| Only { allowed: None, forced: Some(id.into()) };

    let lease = router.route(Route::first("team", forced("o2"))).unwrap();
    let refused = router.route(Route::first("team", forced("o1")));

    assert_eq!(id(&lease), "o2");
    assert_eq!(lease.itinerary.excluded[0].why.as_str(), "no_connection");
    let Err(NoRoute::Exhausted { skipped, .. }) = refused else { panic!("o1 is not pinned") };
    assert!(skipped.reasons().all(|reason| reason == SkipReason::NotAllowed) && !skipped.is_empty());
}

#[test]
fn an_explanation_shows_the_way_the_order_and_what_would_serve() {
    let combos = vec![
        combo("team", Strategy::Priority, &["inner", "openai/x"]),
        combo("inner", Strategy::RoundRobin, &["groq/a", "groq/b"]),
    ];
    let off = handle(ConnectionConfig { provider: "groq".into(), is_active: false, ..config("g0") });
    let many = (0..200).map(|n| connection("openai", &format!("o{n:03}"), 1));
    let plan = plan(many.chain([off]).collect(), combos).ready();

    let explained = explain(&plan, "combo/team", &Arc::default(), &Only::default(), Moment::from_millis(5)).unwrap();

    assert_eq!(explained.path, ["combo team"]);
    let keys: Vec<_> = explained.legs.iter().map(|leg| leg.key.as_str()).collect();
    assert_eq!(keys, ["team-ref-1-inner>inner-model-1-a", "team-ref-1-inner>inner-model-2-b", "team-model-2-x"]);
    assert_eq!(explained.legs[0].connections[0].skipped.unwrap().as_str(), "disabled");
    assert_eq!((explained.legs[2].connections.len(), explained.legs[2].more), (50, 150));
    assert_eq!(explained.would_serve().unwrap().0.model.as_str(), "x");
}

#[test]
fn a_combo_that_asks_all_of_its_steps_gives_each_of_them_in_its_order() {
    let combos = vec![
        combo("line", Strategy::Pipeline, &["groq/a", "inner", "groq/a"]),
        combo("inner", Strategy::Priority, &["openai/x", "groq/y"]),
    ];
    let mut router = router(plan(two(), combos));

    let Err(NoRoute::Ensemble { itinerary }) = route(&mut router, "line") else { panic!("no single candidate") };

    let parts = itinerary.parts();
    let models = |part: &Arc<Itinerary>| part.legs.iter().map(|leg| leg.target.model.to_string()).collect::<Vec<_>>();
    assert_eq!(parts.iter().map(models).collect::<Vec<_>>(), [vec!["a"], vec!["x", "y"], vec!["a"]]);
    let second = router.route(Route::along(Arc::clone(&parts[1]), Only::default())).unwrap();
    let fallback = router.route(second.next(Only::default())).unwrap();
    assert_eq!((id(&second), id(&fallback)), ("o".to_owned(), "g".to_owned()));
    assert!(itinerary.chain().is_none() && router.route(fallback.next(Only::default())).is_err());
}
