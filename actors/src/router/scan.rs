//! Orders over `n` places that need no list of them: each place exactly once.

use super::hash;

/// Primes above any number of connections: one of them, taken modulo `n`, is a stride that meets each place.
const STRIDES: [u64; 4] = [2_654_435_761, 4_294_967_291, 3_266_489_917, 2_246_822_519];

/// The order.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    next: u64,
    stride: u64,
    n: u64,
    left: u64,
}

impl Scan {
    /// One after the other, from a turn on, once round.
    pub const fn from(turn: u64, n: usize) -> Self {
        let n = n as u64;
        let next = if n == 0 { 0 } else { turn % n };
        Self { next, stride: 1, n, left: n }
    }

    /// As if shuffled: whoever stands beside one that is down gets no more than the others.
    pub fn shuffled(seed: u64, n: usize) -> Self {
        let start = hash::below(hash::stir(seed), n) as u64;
        Self { next: start, stride: stride(seed, n as u64), n: n as u64, left: n as u64 }
    }

    /// Shuffled decks, from a turn on: each place once per deck, never one twice in a row. A deck begins at its own
    /// number; the one before would end there only with a stride of minus one, which is not taken.
    pub fn deck(turn: u64, n: usize) -> Self {
        let places = n as u64;
        if places < 3 {
            return Self::from(turn, n);
        }
        let (deck, position) = (turn / places, turn % places);
        let mut stride = stride(deck, places);
        if stride == places - 1 {
            stride = 1;
        }
        let next = ((deck % places) + position * stride) % places;
        Self { next, stride, n: places, left: places }
    }
}

fn stride(seed: u64, n: u64) -> u64 {
    let drawn = STRIDES.get(hash::below(hash::stir(seed ^ 0x51ed), STRIDES.len())).copied().unwrap_or(1);
    if n == 0 { 1 } else { drawn % n }
}

impl Iterator for Scan {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.next;
        self.next = (self.next + self.stride) % self.n;
        usize::try_from(place).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn once_each(scan: Scan, n: usize) -> bool {
        let mut places: Vec<usize> = scan.collect();
        places.sort_unstable();
        places == (0..n).collect::<Vec<_>>()
    }

    #[test]
    fn the_strides_are_primes_so_that_every_place_is_met() {
        let is_prime = |n: u64| (2..).take_while(|d| d * d <= n).all(|d| n % d != 0);

        assert!(STRIDES.into_iter().all(is_prime));
    }

    #[test]
    fn decks_name_each_place_once_and_never_one_twice_in_a_row() {
        for n in [2_usize, 3, 4, 5, 7, 10, 100] {
            let drawn: Vec<usize> = (0..n as u64 * 50).map(|turn| Scan::deck(turn, n).next().unwrap()).collect();

            assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]), "{n}");
            for deck in drawn.chunks(n) {
                let mut deck = deck.to_vec();
                deck.sort_unstable();
                assert_eq!(deck, (0..n).collect::<Vec<_>>());
            }
        }
    }

    proptest! {
        #[test]
        fn every_scan_meets_every_place_once(seed: u64, n in 0usize..2_000) {
            prop_assert!(once_each(Scan::from(seed, n), n));
            prop_assert!(once_each(Scan::shuffled(seed, n), n));
            prop_assert!(once_each(Scan::deck(seed >> 20, n), n));
        }

        #[test]
        fn the_same_seed_scans_in_the_same_order(seed: u64, n in 1usize..500) {
            let order = || Scan::shuffled(seed, n).collect::<Vec<_>>();

            prop_assert_eq!(order(), order());
        }
    }
}
