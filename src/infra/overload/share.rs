//! Max-min fairness: how much each may have so that nobody gets more than it asks for and nobody more than another that
//! asks for as much.

/// The most that one may have of `budget`, given what each asks for: whoever asks for less gets all of it, and what it
/// leaves is shared by the others. `u32::MAX` when there is enough for everybody.
pub fn level(demands: &mut [u32], budget: u32) -> u32 {
    demands.sort_unstable();
    let mut left = budget;
    for (served, demand) in demands.iter().enumerate() {
        let sharers = u32::try_from(demands.len() - served).unwrap_or(u32::MAX).max(1);
        let even = left / sharers;
        if *demand > even {
            return even.max(1);
        }
        left -= demand;
    }
    u32::MAX
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prop_assert, proptest};

    use super::level;

    #[test]
    fn who_asks_for_little_gets_it_and_the_rest_is_shared_evenly() {
        assert_eq!(level(&mut [1_000, 5, 1_000], 105), 50);
    }

    #[test]
    fn nobody_is_limited_while_there_is_enough() {
        assert_eq!(level(&mut [10, 20, 30], 60), u32::MAX);
        assert_eq!(level(&mut [], 0), u32::MAX);
    }

    #[test]
    fn everybody_may_have_one_however_little_there_is() {
        assert_eq!(level(&mut [7; 100], 3), 1);
    }

    proptest! {
        #[test]
        fn all_together_get_no_more_than_there_is_beyond_one_each(
            mut demands in collection::vec(0u32..5_000, 0..50), budget in 0u32..20_000,
        ) {
            let level = level(&mut demands, budget);

            let granted: u64 = demands.iter().map(|demand| u64::from((*demand).min(level))).sum();
            prop_assert!(granted <= u64::from(budget).max(demands.len() as u64));
        }
    }
}
