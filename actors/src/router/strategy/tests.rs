//! Every strategy: each step once, the promised shares, the same for the same seed.

use std::collections::HashSet;

use proptest::strategy::Strategy as _;
use proptest::{collection, option, prop_assert, prop_assert_eq, proptest};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::config::{AutoRule, ContextRule, Weights};
use super::super::features::Effort;
use super::*;

fn step(place: usize) -> StepView {
    StepView {
        place,
        hash: hash::of(&format!("step-{place}")),
        weight: 0,
        load: Load { available: true, cost: 50.0, in_flight: 0, headroom: None, health: 1.0, success: None },
        price: None,
        window: None,
        task: 0.5,
        tier: None,
        answered_last: false,
        has_session: false,
        may_hand_off: true,
    }
}

fn steps(n: usize, change: impl Fn(&mut StepView)) -> Vec<StepView> {
    let mut steps: Vec<_> = (0..n).map(step).collect();
    steps.iter_mut().for_each(change);
    steps
}

struct Bench {
    steps: Vec<StepView>,
    config: ComboConfig,
    schedule: Vec<usize>,
    all: usize,
    features: RequestFeatures,
}

impl Bench {
    fn over(steps: Vec<StepView>) -> Self {
        let schedule = schedule(&steps.iter().map(|step| step.weight).collect::<Vec<_>>());
        let all = steps.len();
        let config = ComboConfig { auto: AutoRule::default(), ..ComboConfig::default() };
        Self { steps, config, schedule, all, features: RequestFeatures::default() }
    }

    fn placed(&self, strategy: Strategy, turn: u64, seed: u64) -> Vec<Placed> {
        let (steps, schedule, config) = (&*self.steps, &*self.schedule, &self.config);
        let views = Views { steps, all: self.all, schedule, config, seed: 7, explore: true };
        order(strategy, &views, &self.features, turn, &mut StdRng::seed_from_u64(seed))
    }

    fn order(&self, strategy: Strategy, turn: u64, seed: u64) -> Vec<usize> {
        self.placed(strategy, turn, seed).into_iter().map(|placed| placed.index).collect()
    }

    fn firsts(&self, strategy: Strategy, times: u64) -> Vec<usize> {
        let mut counts = vec![0; self.steps.len()];
        (0..times).for_each(|turn| counts[self.order(strategy, turn, turn)[0]] += 1);
        counts
    }
}

fn costs(values: &[f64]) -> Vec<StepView> {
    let costed = |(place, cost): (usize, &f64)| StepView { load: Load { cost: *cost, ..step(0).load }, ..step(place) };
    values.iter().enumerate().map(costed).collect()
}

fn weights(values: &[u32]) -> Vec<StepView> {
    values.iter().enumerate().map(|(place, weight)| StepView { weight: *weight, ..step(place) }).collect()
}

#[test]
fn round_robin_gives_each_its_turn_and_sticks_as_long_as_it_is_told() {
    let mut bench = Bench::over(steps(3, |_| {}));
    assert_eq!(bench.firsts(Strategy::RoundRobin, 9), [3, 3, 3]);

    bench.config.sticky_limit = 2;

    let firsts: Vec<_> = (0..6).map(|turn| bench.order(Strategy::RoundRobin, turn, 0)[0]).collect();
    assert_eq!(firsts, [0, 0, 1, 1, 2, 2]);
}

#[test]
fn a_turn_of_a_step_that_fell_out_goes_to_the_next_and_the_others_keep_theirs() {
    let mut bench = Bench::over(steps(3, |_| {}));
    bench.steps.remove(1);

    let places: Vec<_> = (0..3).map(|turn| bench.steps[bench.order(Strategy::RoundRobin, turn, 0)[0]].place).collect();

    assert_eq!(places, [0, 2, 2]);
}

#[test]
fn weights_are_kept_and_a_zero_is_only_a_fallback() {
    let bench = Bench::over(weights(&[80, 20, 0]));

    let counts = bench.firsts(Strategy::Weighted, 10_000);

    assert!((7_700..8_300).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts[2], 0);
}

#[test]
fn smooth_weights_are_exact_in_each_round() {
    let bench = Bench::over(weights(&[50, 10, 20, 0]));

    assert_eq!(bench.firsts(Strategy::WeightedSmooth, 80), [50, 10, 20, 0]);
    assert_eq!(bench.order(Strategy::WeightedSmooth, 0, 0), [0, 2, 1, 3]);
}

#[test]
fn weights_of_zero_everywhere_count_as_equal() {
    let bench = Bench::over(weights(&[0, 0]));

    assert!(bench.firsts(Strategy::Weighted, 1_000).iter().all(|count| *count > 400));
    assert_eq!(bench.firsts(Strategy::WeightedSmooth, 10), [5, 5]);
}

#[test]
fn a_strict_deck_names_each_once_and_never_one_twice_in_a_row() {
    for n in [2, 3, 5, 8] {
        let bench = Bench::over(steps(n, |_| {}));
        let firsts: Vec<_> = (0..n as u64 * 200).map(|turn| bench.order(Strategy::StrictRandom, turn, 0)[0]).collect();

        assert!(firsts.windows(2).all(|pair| pair[0] != pair[1]), "{n}: {firsts:?}");
        assert!(firsts.chunks(n).all(|deck| deck.iter().collect::<HashSet<_>>().len() == n), "{n}");
        let decks: HashSet<_> = firsts.chunks(n).collect();
        assert!(n == 2 || decks.len() > 1, "{n}");
    }
}

#[test]
fn p2c_avoids_the_slow_one_and_never_picks_the_worst_of_all() {
    let counts = Bench::over(costs(&[10.0, 20.0, 900.0])).firsts(Strategy::P2c, 3_000);

    assert_eq!(counts[2], 0);
    assert!(counts[0] > counts[1]);
}

#[test]
fn what_takes_nothing_is_no_choice_while_something_else_does() {
    let mut bench = Bench::over(costs(&[10.0, 20.0, 30.0]));
    bench.steps[0].load = Load::NONE;

    for strategy in [Strategy::P2c, Strategy::LeastUsed, Strategy::Auto, Strategy::Headroom] {
        assert_eq!(bench.firsts(strategy, 200)[0], 0, "{strategy:?}");
    }
}

#[test]
fn least_used_goes_by_requests_in_flight_and_idle_ones_share() {
    let mut bench = Bench::over(steps(3, |_| {}));
    bench.steps[0].load.in_flight = 5;

    let counts = bench.firsts(Strategy::LeastUsed, 1_000);

    assert!(counts[0] == 0 && counts[1] > 400 && counts[2] > 400, "{counts:?}");
}

#[test]
fn the_cheapest_comes_first_and_the_unknown_last() {
    let mut bench = Bench::over(steps(3, |_| {}));
    (bench.steps[1].price, bench.steps[2].price) = (Some(500), Some(20));

    assert_eq!(bench.order(Strategy::CostOptimized, 0, 0), [2, 1, 0]);
    assert_eq!(bench.placed(Strategy::CostOptimized, 0, 0)[2].why, "unknown_price");
}

#[test]
fn the_smallest_window_that_fits_comes_first() {
    let mut bench = Bench::over(steps(5, |_| {}));
    for (step, window) in bench.steps.iter_mut().zip([Some(8_000), Some(1_000_000), None, Some(200_000), Some(4_000)]) {
        step.window = window;
    }
    bench.features = RequestFeatures { prompt_tokens: 90_000, output_tokens: 4_000, ..Default::default() };
    assert_eq!(bench.order(Strategy::ContextOptimized, 0, 0), [3, 1, 2, 0, 4]);

    bench.config.context = ContextRule { prefer_large: true, ..ContextRule::default() };

    assert_eq!(bench.order(Strategy::ContextOptimized, 0, 0), [1, 3, 2, 0, 4]);
}

#[test]
fn the_last_good_one_comes_first_and_the_others_stay_in_order() {
    let mut bench = Bench::over(steps(4, |_| {}));
    bench.steps[2].answered_last = true;

    assert_eq!(bench.order(Strategy::Lkgp, 0, 0), [2, 0, 1, 3]);
}

#[test]
fn headroom_orders_by_quota_left_and_unknown_comes_last() {
    let mut bench = Bench::over(steps(3, |_| {}));
    (bench.steps[1].load.headroom, bench.steps[2].load.headroom) = (Some(0.2), Some(0.9));

    assert_eq!(bench.order(Strategy::Headroom, 0, 0), [2, 1, 0]);
}

#[test]
fn a_relayed_session_stays_until_its_quota_runs_out_and_is_then_handed_over() {
    let mut bench = Bench::over(steps(3, |_| {}));
    bench.steps[1].has_session = true;
    bench.steps[1].load.headroom = Some(0.5);
    assert_eq!(bench.placed(Strategy::ContextRelay, 0, 0)[0].why, "session");
    assert_eq!(bench.order(Strategy::ContextRelay, 0, 0), [1, 0, 2]);

    bench.steps[1].load.headroom = Some(0.1);
    assert_eq!(bench.order(Strategy::ContextRelay, 0, 0), [0, 2, 1]);
    assert_eq!(bench.placed(Strategy::ContextRelay, 0, 0)[0].why, "handoff");

    bench.steps[1].may_hand_off = false;
    assert_eq!(bench.order(Strategy::ContextRelay, 0, 0), [1, 0, 2]);
}

#[test]
fn sessions_spread_over_steps_and_stay_where_they_are() {
    let mut bench = Bench::over(steps(4, |_| {}));
    let mut counts = vec![0; 4];
    for session in 0..4_000 {
        bench.features.affinity = Some(hash::stir(session));
        let own = bench.order(Strategy::CacheOptimized, 0, session)[0];
        assert_eq!(own, bench.order(Strategy::CacheOptimized, 9, 1)[0]);
        counts[own] += 1;
    }

    assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

#[test]
fn a_session_stays_under_p2c_until_its_step_is_far_dearer() {
    let mut bench = Bench::over(costs(&[100.0, 100.0, 100.0]));
    bench.features.affinity = Some(42);
    let own = bench.order(Strategy::P2c, 0, 0)[0];
    assert!((0..50).all(|seed| bench.order(Strategy::P2c, 0, seed)[0] == own));

    bench.steps[own].load.cost = 300.0;
    assert!((0..50).all(|seed| bench.order(Strategy::P2c, 0, seed)[0] == own));

    bench.steps[own].load.cost = 500.0;
    assert!((0..50).all(|seed| bench.order(Strategy::P2c, 0, seed)[0] != own));
}

#[test]
fn auto_goes_by_what_the_mode_asks_for() {
    let mut bench = Bench::over(costs(&[2_000.0, 100.0]));
    (bench.steps[0].price, bench.steps[1].price) = (Some(10), Some(10_000));
    let first = |bench: &Bench| bench.order(Strategy::Auto, 0, 0)[0];

    bench.features.mode = Some("cost-saver".into());
    assert_eq!(first(&bench), 0);
    bench.features.mode = Some("ship-fast".into());
    assert_eq!(first(&bench), 1);
    bench.features.mode = None;
    let zero = Weights { quota: 0.0, health: 0.0, cost: 0.0, latency: 0.0, task: 0.0, stability: 0.0, tier: 1.0 };
    bench.config.auto.weights = Some(zero);
    (bench.steps[0].tier, bench.steps[1].tier) = (Some(1.0), Some(0.0));
    assert_eq!(first(&bench), 0);
    bench.features.effort = Some(Effort::High);
    let factors = bench.placed(Strategy::Auto, 0, 0)[0].factors.unwrap();
    assert!((factors.score - 1.0).abs() < 1e-6 && factors.latency < 0.5);
}

#[test]
fn auto_explores_the_share_it_is_told_and_not_in_an_incident() {
    let mut bench = Bench::over(costs(&[10.0, 5_000.0, 5_000.0]));
    bench.config.auto.exploration = 0.3;
    let counts = bench.firsts(Strategy::Auto, 3_000);
    assert!((500..700).contains(&(counts[1] + counts[2])), "{counts:?}");

    bench.steps[1].load = Load::NONE;
    bench.steps[2].load = Load::NONE;

    assert_eq!(bench.firsts(Strategy::Auto, 500), [500, 0, 0]);
}

fn any_steps() -> impl proptest::strategy::Strategy<Value = Vec<StepView>> {
    let load = (proptest::bool::ANY, 0.0f64..1e6, 0u32..100, option::of(0.0f32..1.0));
    let one = (load, 0u32..=100, option::of(0u64..1_000_000), option::of(0u32..1_000_000), 0u8..8);
    collection::vec(one, 0..25).prop_map(|all| {
        let view = |(place, ((available, cost, in_flight, headroom), weight, price, window, flags))| StepView {
            weight,
            price,
            window,
            load: Load { available, cost, in_flight, headroom, health: 1.0, success: None },
            answered_last: flags & 1 != 0,
            has_session: flags & 2 != 0,
            may_hand_off: flags & 4 != 0,
            ..step(place)
        };
        all.into_iter().enumerate().map(view).collect()
    })
}

proptest! {
    #[test]
    fn every_order_names_every_step_once_and_repeats_with_its_seed(
        steps in any_steps(), turn: u64, seed: u64, affinity in option::of(0u64..), dropped in collection::vec(0usize..25, 0..5),
    ) {
        let mut bench = Bench::over(steps);
        bench.steps.retain(|step| !dropped.contains(&step.place));
        bench.features.affinity = affinity;
        bench.config.auto.exploration = 0.5;
        for strategy in Strategy::ALL {
            let mut ordered = bench.order(strategy, turn, seed);

            prop_assert_eq!(&ordered, &bench.order(strategy, turn, seed));
            prop_assert!(bench.placed(strategy, turn, seed).iter().all(|placed| !placed.why.is_empty()));
            ordered.sort_unstable();
            prop_assert_eq!(ordered, (0..bench.steps.len()).collect::<Vec<_>>(), "{:?}", strategy);
        }
    }
}
