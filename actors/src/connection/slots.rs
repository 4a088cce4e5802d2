//! How many requests a connection carries at a time: an explicit counter, because a mailbox is no bound.

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicU32, Ordering};

/// The counter.
#[derive(Debug)]
pub struct Slots {
    taken: AtomicU32,
}

impl Default for Slots {
    fn default() -> Self {
        Self { taken: AtomicU32::new(0) }
    }
}

impl Slots {
    /// How many are taken.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Take one, if fewer than `limit` are taken; 0 means no limit.
    pub fn take(&self, limit: u32) -> bool {
        let limit = if limit == 0 { u32::MAX } else { limit };
        let mut taken = self.taken.load(Ordering::Relaxed);
        while taken < limit {
            match self.taken.compare_exchange_weak(taken, taken + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => taken = now,
            }
        }
        false
    }

    /// Give one back. Each taken slot is given back exactly once, by the permit's drop.
    pub fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[cfg(feature = "loom")]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn never_more_than_the_limit_and_back_to_zero() {
        loom::model(|| {
            let slots = Arc::new(Slots::default());
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let slots = Arc::clone(&slots);
                    thread::spawn(move || {
                        let got = slots.take(1);
                        if got {
                            assert_eq!(slots.taken(), 1);
                            slots.give_back();
                        }
                    })
                })
                .collect();
            callers.into_iter().for_each(|caller| caller.join().unwrap());

            assert_eq!(slots.taken(), 0);
        });
    }
}
