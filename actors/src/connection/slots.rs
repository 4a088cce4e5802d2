//! How many requests a connection carries at a time: an explicit counter, because a mailbox is no bound. Beside it
//! stands how many wait for a slot, so that whoever gives one back knows whether to tell the actor.

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicU32, Ordering, fence};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// The counter.
#[derive(Debug)]
pub struct Slots {
    taken: AtomicU32,
    waiting: AtomicU32,
}

impl Default for Slots {
    fn default() -> Self {
        Self { taken: AtomicU32::new(0), waiting: AtomicU32::new(0) }
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

    /// Give one back; whether somebody waits for it. Each taken slot is given back exactly once, by the permit's drop.
    pub fn give_back(&self) -> bool {
        self.taken.fetch_sub(1, Ordering::AcqRel);
        // Either this sees the waiter, or the waiter's next look at the slots sees this one free.
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// How many wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The actor's own: this many wait. To be said before it looks for a free slot.
    pub fn set_waiting(&self, count: u32) {
        self.waiting.store(count, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
#[cfg(feature = "loom")]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn a_waiter_gets_the_freed_slot_or_its_giver_knows_of_it() {
        loom::model(|| {
            let slots = Arc::new(Slots::default());
            assert!(slots.take(1));
            let giver = {
                let slots = Arc::clone(&slots);
                thread::spawn(move || slots.give_back())
            };

            slots.set_waiting(1);
            let got = slots.take(1);

            assert!(giver.join().unwrap() || got);
        });
    }

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
