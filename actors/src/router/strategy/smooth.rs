//! Smooth weighted round-robin, drawn up once: a cursor over the schedule is all that a request needs.

/// The longest schedule. Shares of more than this many parts are rounded.
const LONGEST: u64 = 10_000;

/// Whose turn it is when: each step as often as its weight says, evenly mixed. A weight of zero gets no turn, unless
/// all are zero; then all are equal.
pub fn schedule(weights: &[u32]) -> Vec<usize> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let shares: Vec<u64> = match total {
        0 => vec![1; weights.len()],
        _ => reduced(weights, total),
    };
    let round: u64 = shares.iter().sum();
    let mut credit: Vec<i128> = vec![0; shares.len()];
    (0..round).filter_map(|_| turn(&shares, &mut credit, round)).collect()
}

/// Everybody earns its share; the richest has the turn and pays for the whole round.
fn turn(shares: &[u64], credit: &mut [i128], round: u64) -> Option<usize> {
    credit.iter_mut().zip(shares).for_each(|(credit, share)| *credit += i128::from(*share));
    let richest = (0..shares.len()).rev().max_by_key(|index| credit.get(*index))?;
    if let Some(credit) = credit.get_mut(richest) {
        *credit -= i128::from(round);
    }
    Some(richest)
}

fn reduced(weights: &[u32], total: u64) -> Vec<u64> {
    let common = weights.iter().fold(0, |common, weight| gcd(common, u64::from(*weight))).max(1);
    let scale = |weight: u64| match total / common {
        parts if parts <= LONGEST => weight / common,
        _ if weight == 0 => 0,
        _ => (weight * LONGEST / total).max(1),
    };
    weights.iter().map(|weight| scale(u64::from(*weight))).collect()
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_heavy_step_is_mixed_with_the_light_ones() {
        assert_eq!(schedule(&[50, 10, 10]), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn weights_of_zero_get_no_turn_unless_all_are_zero() {
        assert_eq!(schedule(&[3, 0, 3]), [0, 2]);
        assert_eq!(schedule(&[0, 0]), [0, 1]);
        assert!(schedule(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn shares_are_exact_and_the_schedule_is_bounded(weights in collection::vec(0u32..=100, 1..40)) {
            let total: u32 = weights.iter().sum();

            let schedule = schedule(&weights);

            prop_assert!(schedule.len() as u64 <= LONGEST + weights.len() as u64);
            for (index, weight) in weights.iter().enumerate().filter(|_| total > 0) {
                let turns = schedule.iter().filter(|turn| **turn == index).count() as u64;
                prop_assert_eq!(turns * u64::from(total), u64::from(*weight) * schedule.len() as u64);
            }
        }
    }
}
