//! Strategies: pure functions from what is known about the steps to an order with reasons.

use rand::{Rng, RngExt};

#[path = "strategy/smooth.rs"]
mod smooth;

use super::plan::Strategy;

/// What a strategy knows about one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepView {
    /// Its weight.
    pub weight: u32,
    /// What another request would cost there: latency times queue.
    pub cost: f64,
}

/// Order the steps: their indices, the first choice first.
pub fn order<R: Rng>(strategy: Strategy, steps: &[StepView], turn: u64, rng: &mut R) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..steps.len()).collect();
    match strategy {
        Strategy::RoundRobin | Strategy::StrictRandom => {
            let shift = usize::try_from(turn % steps.len().max(1) as u64).unwrap_or(0);
            indices.rotate_left(shift);
        }
        Strategy::Random => shuffle(&mut indices, rng),
        Strategy::Weighted => weighted(&mut indices, steps, rng),
        Strategy::P2c => two_choices(&mut indices, steps, rng),
        _ => {}
    }
    indices
}

/// Whose turn it is when, so that each step gets its share and the shares are evenly mixed; a weight of zero gets none,
/// unless all are zero.
pub(super) fn schedule(weights: &[u32]) -> Vec<usize> {
    smooth::schedule(weights)
}

fn shuffle<R: Rng>(indices: &mut [usize], rng: &mut R) {
    for last in (1..indices.len()).rev() {
        indices.swap(last, rng.random_range(0..=last));
    }
}

/// One is drawn by weight; the others follow by falling weight. All zero counts as all equal; a zero beside
/// others is never drawn but stays as a fallback.
fn weighted<R: Rng>(indices: &mut Vec<usize>, steps: &[StepView], rng: &mut R) {
    let weight = |index: usize| steps.get(index).map_or(0, |step| u64::from(step.weight));
    let total: u64 = indices.iter().map(|index| weight(*index)).sum();
    if total == 0 {
        return shuffle(indices, rng);
    }
    let mut ticket = rng.random_range(0..total);
    let drawn = indices.iter().position(|index| match ticket.checked_sub(weight(*index)) {
        Some(rest) => {
            ticket = rest;
            false
        }
        None => true,
    });
    let first = indices.remove(drawn.unwrap_or(0));
    indices.sort_by_key(|index| std::cmp::Reverse(weight(*index)));
    indices.insert(0, first);
}

/// The cheaper of two drawn ones first. Always taking the cheapest of all would send every replica to the
/// same place at the same moment.
fn two_choices<R: Rng>(indices: &mut Vec<usize>, steps: &[StepView], rng: &mut R) {
    let cost = |index: usize| steps.get(index).map_or(f64::MAX, |step| step.cost);
    if indices.len() < 2 {
        return;
    }
    shuffle(indices, rng);
    if let [first, second, ..] = indices.as_mut_slice()
        && cost(*second) < cost(*first)
    {
        std::mem::swap(first, second);
    }
    let rest = indices.split_off(1);
    let mut rest: Vec<usize> = rest;
    rest.sort_by(|a, b| cost(*a).total_cmp(&cost(*b)));
    indices.append(&mut rest);
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prop_assert_eq, proptest};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::plan::Strategy;
    use super::{StepView, order};

    fn steps(values: &[(u32, f64)]) -> Vec<StepView> {
        values.iter().map(|&(weight, cost)| StepView { weight, cost }).collect()
    }

    fn firsts(strategy: Strategy, steps: &[StepView], times: u64) -> Vec<usize> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut counts = vec![0; steps.len()];
        (0..times).for_each(|turn| counts[order(strategy, steps, turn, &mut rng)[0]] += 1);
        counts
    }

    #[test]
    fn round_robin_gives_each_its_turn() {
        assert_eq!(firsts(Strategy::RoundRobin, &steps(&[(0, 1.0); 3]), 9), [3, 3, 3]);
    }

    #[test]
    fn weights_are_kept_and_a_zero_is_only_a_fallback() {
        let counts = firsts(Strategy::Weighted, &steps(&[(80, 1.0), (20, 1.0), (0, 1.0)]), 10_000);

        assert!((7_700..8_300).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[2], 0);
    }

    #[test]
    fn weights_of_zero_everywhere_count_as_equal() {
        let counts = firsts(Strategy::Weighted, &steps(&[(0, 1.0), (0, 1.0)]), 1_000);

        assert!(counts.iter().all(|count| *count > 400), "{counts:?}");
    }

    #[test]
    fn p2c_avoids_the_slow_one_and_never_picks_the_worst_of_all() {
        let counts = firsts(Strategy::P2c, &steps(&[(0, 10.0), (0, 20.0), (0, 900.0)]), 3_000);

        assert_eq!(counts[2], 0);
        assert!(counts[0] > counts[1]);
    }

    proptest! {
        #[test]
        fn every_order_names_every_step_once(
            values in collection::vec((0u32..=100, 0.0f64..1e6), 0..20),
            which in 0usize..Strategy::ALL.len(), turn: u64, seed: u64,
        ) {
            let views = steps(&values);

            let mut ordered = order(Strategy::ALL[which], &views, turn, &mut StdRng::seed_from_u64(seed));

            ordered.sort_unstable();
            prop_assert_eq!(ordered, (0..views.len()).collect::<Vec<_>>());
        }
    }
}
