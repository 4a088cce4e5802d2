//! Hashes that mean the same in every process and after every restart: the rendezvous of a session with a connection
//! must not move because a gateway was restarted, and two instances must agree on it.

/// FNV-1a, stirred: good for names, not for secrets.
pub fn of(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    stir(text.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Two hashes made one; the order matters.
pub const fn pair(a: u64, b: u64) -> u64 {
    stir(a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b)
}

/// The finaliser of splitmix64: each bit of the input reaches each bit of the output.
pub const fn stir(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A hash as an index below `n`; 0 for none.
pub fn below(hash: u64, n: usize) -> usize {
    usize::try_from((u128::from(hash) * n as u128) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_hash_in_every_build() {
        assert_eq!((of("openai"), of("")), (of("openai"), stir(0xcbf2_9ce4_8422_2325)));
        assert_ne!(of("openai"), of("openaj"));
    }

    #[test]
    fn an_index_is_always_below_its_bound() {
        for n in [1, 2, 3, 64, 10_000] {
            assert!((0..1_000).all(|x| below(stir(x), n) < n));
        }
        assert_eq!((below(u64::MAX, 7), below(u64::MAX, 0)), (6, 0));
    }
}
