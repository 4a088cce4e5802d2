//! Sessions and their connections.

use super::*;
use crate::router::plan::AccountStrategy;

fn many(n: usize) -> Vec<Arc<ConnectionHandle>> {
    (0..n).map(|i| connection("openai", &format!("o{i:05}"), 1)).collect()
}

fn of(session: u64) -> Arc<RequestFeatures> {
    Arc::new(RequestFeatures { affinity: Some(hash::stir(session)), ..Default::default() })
}

fn ask(router: &mut Router, session: u64) -> Lease {
    router.route(Route::of("openai/x", of(session), Only::default())).unwrap()
}

fn places(handles: Vec<Arc<ConnectionHandle>>, sessions: u64) -> Vec<String> {
    let mut router = router(plan(handles, vec![]));
    (0..sessions).map(|session| id(&ask(&mut router, session))).collect()
}

#[test]
fn a_session_stays_with_its_connection_in_small_and_large_groups() {
    for n in [5, 64, 65, 500] {
        let (before, after) = (places(many(n), 300), places(many(n), 300));

        assert_eq!(before, after, "{n}");
        let used: HashSet<_> = before.iter().collect();
        assert!(used.len() >= n.min(300) / 3, "{n}: {} used", used.len());
    }
}

#[test]
fn when_one_of_n_goes_only_its_own_sessions_move() {
    for n in [10, 60, 200] {
        let before = places(many(n), 4_000);
        let gone = before[0].clone();
        let left = many(n).into_iter().filter(|handle| handle.id().as_str() != gone).collect();
        let after = places(left, 4_000);

        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        let own = before.iter().filter(|id| **id == gone).count();
        assert_eq!(moved, own, "{n}");
        assert!(own < 3 * 4_000 / n, "{n}: {own}");
    }
}

#[test]
fn health_beats_the_pin_and_the_session_comes_back() {
    let narrow = |id: &str| handle(ConnectionConfig { provider: "openai".into(), max_concurrent: 1, ..config(id) });
    let mut router = router(plan((0..4).map(|i| narrow(&format!("o{i}"))).collect(), vec![]));

    let first = ask(&mut router, 1);
    let elsewhere = ask(&mut router, 1);
    let own = id(&first);
    drop(first);
    let again = ask(&mut router, 1);

    assert_ne!(id(&elsewhere), own);
    assert_eq!(id(&again), own);
    assert!(again.decision().is_affine());
}

#[test]
fn an_overloaded_pin_yields_to_one_that_is_far_less_loaded() {
    let mut router = router(plan(many(2), vec![]));
    let own = id(&ask(&mut router, 3));
    let mut held = Vec::new();

    let moved = (0..20).map(|_| ask(&mut router, 3)).find_map(|lease| {
        let elsewhere = (id(&lease) != own).then(|| lease.decision().pick);
        held.push(lease);
        elsewhere
    });

    assert_eq!(moved, Some("affinity_overloaded"));
    assert_eq!(held.len(), 5, "four requests wait there before one goes elsewhere");
}

#[test]
fn a_connection_that_has_never_answered_is_no_reason_to_move() {
    let handles = many(2);
    let mut router = router(plan(handles.clone(), vec![]));
    let own = id(&ask(&mut router, 3));
    let slow = handles.iter().find(|handle| handle.id().as_str() == own).unwrap();
    slow.latency().observe(Duration::from_secs(9), Moment::from_millis(1_000));
    slow.totals().succeeded.fetch_add(1, std::sync::atomic::Ordering::Relaxed);

    let held: Vec<_> = (0..3).map(|_| ask(&mut router, 3)).collect();

    assert!(held.iter().all(|lease| id(lease) == own));
}

#[test]
fn an_account_strategy_that_draws_is_not_pinned() {
    for accounts in [AccountStrategy::RoundRobin, AccountStrategy::Random, AccountStrategy::StrictRandom] {
        let mut plan = plan(many(4), vec![]);
        plan.providers.get_mut("openai").unwrap().accounts = accounts;
        let mut router = router(plan);

        let used: HashSet<_> = (0..40).map(|_| id(&ask(&mut router, 3))).collect();

        assert_eq!(used.len(), 4, "{accounts:?}");
    }
}

#[test]
fn a_session_is_pinned_inside_a_step_even_where_steps_are_drawn() {
    let combos = vec![combo("team", Strategy::Random, &["openai/x", "openai/y"])];
    let mut router = router(plan(many(6), combos));

    let used: HashSet<_> =
        (0..30).map(|_| id(&router.route(Route::of("team", of(8), Only::default())).unwrap())).collect();

    assert_eq!(used.len(), 1);
}

#[test]
fn a_relayed_session_stays_with_the_step_that_served_it() {
    let combos = vec![combo("relay", Strategy::ContextRelay, &["openai/x", "groq/y"])];
    let mut router = router(plan(vec![connection("openai", "o", 1), connection("groq", "g", 1)], combos));
    let mut ask = |session| router.route(Route::of("relay", of(session), Only::default())).unwrap();
    let first = ask(1);
    let onward = first.next(Only::default());
    drop(first);
    let second = router.route(onward).unwrap();
    second.answered();

    let later = router.route(Route::of("relay", of(1), Only::default())).unwrap();
    let other = router.route(Route::of("relay", of(2), Only::default())).unwrap();

    assert_eq!([id(&second), id(&later), id(&other)], ["g", "g", "o"]);
    assert_eq!(later.decision().leg, "session");
}
