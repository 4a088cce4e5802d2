//! Quantiles of a list of numbers, exact: a question sorts what a window holds.

/// Count, mean and the usual quantiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Quantiles {
    /// How many there are.
    pub count: usize,
    /// The mean.
    pub avg: u64,
    /// Half of them are not above.
    pub p50: u64,
    /// 95 of 100 are not above.
    pub p95: u64,
    /// 99 of 100 are not above.
    pub p99: u64,
}

impl Quantiles {
    /// Of these numbers.
    pub fn of(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        let count = numbers.len();
        let sum: u64 = numbers.iter().fold(0, |sum, number| sum.saturating_add(*number));
        let at = |percent: usize| {
            let rank = (count * percent).div_ceil(100).max(1);
            numbers.get(rank - 1).copied().unwrap_or(0)
        };
        Self { count, avg: sum.checked_div(count as u64).unwrap_or(0), p50: at(50), p95: at(95), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_members_of_the_list() {
        let found = Quantiles::of((1..=100).rev().collect());

        assert_eq!(found, Quantiles { count: 100, avg: 50, p50: 50, p95: 95, p99: 99 });
        assert_eq!(Quantiles::of(vec![7]), Quantiles { count: 1, avg: 7, p50: 7, p95: 7, p99: 7 });
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }
}
