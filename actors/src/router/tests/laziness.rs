//! However many connections there are, few are looked at, each at most once, and what is remembered is bounded.

use proptest::{collection, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::router::plan::AccountStrategy;
use crate::router::skip::MOST_NAMED;

fn accounts(n: usize, is_active: impl Fn(usize) -> bool, accounts: AccountStrategy) -> RoutingPlan {
    let one = |i: usize| {
        handle(ConnectionConfig { provider: "openai".into(), is_active: is_active(i), ..config(&format!("o{i:05}")) })
    };
    let mut plan = plan((0..n).map(one).collect(), vec![]);
    plan.providers.get_mut("openai").unwrap().accounts = accounts;
    plan
}

fn shares(plan: RoutingPlan, times: usize) -> std::collections::HashMap<String, usize> {
    let mut router = router(plan);
    let mut shares = std::collections::HashMap::new();
    (0..times).for_each(|_| *shares.entry(id(&route(&mut router, "openai/x").unwrap())).or_default() += 1);
    shares
}

#[test]
fn a_walk_over_thousands_of_refusals_names_a_few_and_counts_the_rest() {
    let mut plan = accounts(5_000, |i| i == 0, AccountStrategy::P2c);
    plan.providers.get_mut("openai").unwrap().connections.remove(0);
    plan.providers.get_mut("openai").unwrap().connections.push(connection("openai", "last", 9));
    let mut router = router(plan);

    let lease = route(&mut router, "openai/x").unwrap();

    assert_eq!(id(&lease), "last");
    assert_eq!((lease.skipped.named().len(), lease.skipped.len()), (MOST_NAMED, 4_999));
}

#[test]
fn the_neighbour_of_one_that_is_down_gets_no_more_than_the_others() {
    let shares = shares(accounts(10, |i| i != 4, AccountStrategy::Random), 9_000);

    assert_eq!(shares.len(), 9);
    assert!(shares.values().all(|share| (600..1_500).contains(share)), "{shares:?}");
}

#[test]
fn account_strategies_keep_what_they_promise() {
    let of = |strategy| shares(accounts(4, |_| true, strategy), 400);

    assert_eq!(of(AccountStrategy::FillFirst), [("o00000".to_owned(), 400)].into());
    assert!(of(AccountStrategy::RoundRobin).values().all(|share| *share == 100));
    assert!(of(AccountStrategy::StrictRandom).values().all(|share| *share == 100));
    assert!(of(AccountStrategy::Random).values().all(|share| (60..140).contains(share)));
    assert!(of(AccountStrategy::P2c).values().all(|share| (60..140).contains(share)));
}

#[test]
fn the_last_good_connection_comes_first_under_lkgp() {
    let mut router = router(accounts(50, |_| true, AccountStrategy::Lkgp));
    let good = route(&mut router, "openai/x").unwrap();
    good.answered();

    assert!((0..20).all(|_| id(&route(&mut router, "openai/x").unwrap()) == id(&good)));
}

#[test]
fn the_least_used_connection_of_a_few_comes_first() {
    let mut router = router(accounts(3, |_| true, AccountStrategy::LeastUsed));

    let held: Vec<_> = (0..9).map(|_| route(&mut router, "openai/x").unwrap()).collect();

    assert!(held.iter().all(|lease| lease.permit.handle().in_flight() == 3));
}

#[test]
fn round_robin_over_accounts_sticks_as_long_as_it_is_told() {
    let mut plan = accounts(3, |_| true, AccountStrategy::RoundRobin);
    plan.providers.get_mut("openai").unwrap().sticky_limit = 2;
    let mut router = router(plan);

    let ids: Vec<_> = (0..6).map(|_| id(&route(&mut router, "openai/x").unwrap())).collect();

    assert_eq!(ids, ["o00000", "o00000", "o00001", "o00001", "o00002", "o00002"]);
}

proptest! {
    #[test]
    fn every_connection_that_can_serve_is_found_once_and_no_other(
        active in collection::vec(proptest::bool::ANY, 1..90), priorities in collection::vec(0i32..3, 90),
        which in 0usize..AccountStrategy::ALL.len(), seed: u64, session in proptest::option::of(0u64..),
    ) {
        let one = |(i, is_active): (usize, &bool)| handle(ConnectionConfig {
            provider: "openai".into(), is_active: *is_active, priority: priorities[i], ..config(&format!("o{i:02}"))
        });
        let mut plan = plan(active.iter().enumerate().map(one).collect(), vec![]);
        plan.providers.get_mut("openai").unwrap().accounts = AccountStrategy::ALL[which];
        let wanted = active.iter().filter(|active| **active).count();
        let clock = Arc::new(ManualClock::at(Moment::from_millis(1_000)));
        let mut router = Router::seeded(Arc::new(ArcSwap::from_pointee(plan.ready())), clock, seed);
        let features = Arc::new(RequestFeatures { affinity: session, ..Default::default() });
        let mut ask = Route::of("openai/x", features, Only::default());
        let mut found: Vec<Lease> = Vec::new();

        loop {
            match router.route(ask) {
                Ok(lease) => {
                    ask = lease.next(Only::default());
                    found.push(lease);
                }
                Err(NoRoute::Exhausted { skipped, .. }) => {
                    prop_assert_eq!(skipped.len(), active.len() - wanted);
                    break;
                }
                Err(other) => panic!("{other:?}"),
            }
        }

        let ids: HashSet<_> = found.iter().map(id).collect();
        prop_assert_eq!((found.len(), ids.len()), (wanted, wanted));
        let tried: Vec<_> = found.iter().map(|lease| lease.config.priority).collect();
        prop_assert!(tried.is_sorted());
    }
}
