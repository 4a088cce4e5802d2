//! Who waits for a connection, and who is next.
//!
//! Fair between client keys: the keys take turns, and inside a key the first to come is the first to go. The room is
//! bounded. As long as there is some, a key may use all of it; when it is full, a key that has less than its share
//! pushes out the youngest waiter of the key that holds most. So one busy key fills the room of an otherwise
//! idle connection, and none that comes later is locked out by it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Moment;

/// Whose request it is; callers without a key share the empty one.
pub type Key = Arc<str>;

/// One that waits.
#[derive(Debug)]
pub struct Waiter<T> {
    /// Whose.
    pub key: Key,
    /// Of no use to anybody after this.
    pub deadline: Moment,
    /// What it waits with.
    pub item: T,
}

#[derive(Debug)]
struct Lane<T> {
    key: Key,
    waiters: VecDeque<Waiter<T>>,
}

/// The queue. Keys with somebody waiting have a lane; the front lane has the turn.
#[derive(Debug)]
pub struct FairQueue<T> {
    lanes: VecDeque<Lane<T>>,
    len: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { lanes: VecDeque::new(), len: 0 }
    }
}

/// What became of a push.
#[derive(Debug)]
pub enum Pushed<T> {
    /// It waits.
    Waits,
    /// It waits, and this one lost its place for it.
    Displaced(Waiter<T>),
    /// There is no room for it.
    Full(Waiter<T>),
}

impl<T> FairQueue<T> {
    /// How many wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many would be served before the next waiter of this key.
    pub fn ahead_of(&self, key: &str) -> usize {
        let own = self.lane(key).map_or(0, |lane| lane.waiters.len());
        let others = self.lanes.iter().filter(|lane| &*lane.key != key);
        own + others.map(|lane| lane.waiters.len().min(own + 1)).sum::<usize>()
    }

    /// Put one at the end of its key's lane.
    pub fn push(&mut self, waiter: Waiter<T>, depth: usize) -> Pushed<T> {
        if self.len < depth {
            self.put(waiter);
            return Pushed::Waits;
        }
        let own = self.lane(&waiter.key).map_or(0, |lane| lane.waiters.len());
        let longest = self.lanes.iter_mut().max_by_key(|lane| lane.waiters.len());
        // Two more, so that both are no worse off afterwards than the other was.
        let Some(greedy) = longest.filter(|lane| depth > 0 && lane.waiters.len() >= own + 2) else {
            return Pushed::Full(waiter);
        };
        let Some(displaced) = greedy.waiters.pop_back() else { return Pushed::Full(waiter) };
        self.len -= 1;
        self.put(waiter);
        Pushed::Displaced(displaced)
    }

    /// Who is next; the turn passes on.
    pub fn pop(&mut self) -> Option<Waiter<T>> {
        let mut lane = self.lanes.pop_front()?;
        let waiter = lane.waiters.pop_front();
        self.len -= usize::from(waiter.is_some());
        if !lane.waiters.is_empty() {
            self.lanes.push_back(lane);
        }
        waiter
    }

    /// It was its turn, but it cannot go yet: it keeps its place at the very front.
    pub fn put_back(&mut self, waiter: Waiter<T>) {
        self.len += 1;
        let place = self.lanes.iter().position(|lane| lane.key == waiter.key);
        let lane = place.and_then(|place| self.lanes.remove(place));
        let mut lane = lane.unwrap_or_else(|| Lane { key: Arc::clone(&waiter.key), waiters: VecDeque::new() });
        lane.waiters.push_front(waiter);
        self.lanes.push_front(lane);
    }

    /// Take out all for whom this holds.
    pub fn take_where(&mut self, gone: impl Fn(&Waiter<T>) -> bool) -> Vec<Waiter<T>> {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            let waiters = std::mem::take(&mut lane.waiters);
            let (out, stay): (Vec<_>, VecDeque<_>) =
                waiters.into_iter().fold((Vec::new(), VecDeque::new()), |(mut out, mut stay), waiter| {
                    if gone(&waiter) {
                        out.push(waiter)
                    } else {
                        stay.push_back(waiter)
                    }
                    (out, stay)
                });
            lane.waiters = stay;
            taken.extend(out);
        }
        self.lanes.retain(|lane| !lane.waiters.is_empty());
        self.len -= taken.len();
        taken
    }

    /// Take out everybody.
    pub fn drain(&mut self) -> Vec<Waiter<T>> {
        self.take_where(|_| true)
    }

    /// The first deadline of all.
    pub fn first_deadline(&self) -> Option<Moment> {
        self.lanes.iter().flat_map(|lane| &lane.waiters).map(|waiter| waiter.deadline).min()
    }

    fn lane(&self, key: &str) -> Option<&Lane<T>> {
        self.lanes.iter().find(|lane| &*lane.key == key)
    }

    fn put(&mut self, waiter: Waiter<T>) {
        self.len += 1;
        match self.lanes.iter_mut().find(|lane| lane.key == waiter.key) {
            Some(lane) => lane.waiters.push_back(waiter),
            None => {
                let key = Arc::clone(&waiter.key);
                self.lanes.push_back(Lane { key, waiters: VecDeque::from([waiter]) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waiter(key: &str, item: u32) -> Waiter<u32> {
        Waiter { key: key.into(), deadline: Moment::from_millis(u64::from(item)), item }
    }

    fn filled(entries: &[(&str, u32)]) -> FairQueue<u32> {
        let mut queue = FairQueue::default();
        for (key, item) in entries {
            assert!(matches!(queue.push(waiter(key, *item), 100), Pushed::Waits));
        }
        queue
    }

    fn order(mut queue: FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).map(|waiter| waiter.item).collect()
    }

    #[test]
    fn keys_take_turns_and_inside_a_key_the_first_goes_first() {
        let queue = filled(&[("a", 1), ("a", 2), ("a", 3), ("b", 10), ("c", 20), ("b", 11)]);

        assert_eq!(order(queue), [1, 10, 20, 2, 11, 3]);
    }

    #[test]
    fn one_that_cannot_go_yet_stays_at_the_front() {
        let mut queue = filled(&[("a", 1), ("a", 2), ("b", 10)]);
        let first = queue.pop().unwrap();

        queue.put_back(first);

        assert_eq!(order(queue), [1, 10, 2]);
    }

    #[test]
    fn a_greedy_key_makes_room_for_one_below_its_share_and_a_fair_room_stays_full() {
        let mut queue = filled(&[("a", 1), ("a", 2), ("a", 3), ("a", 4)]);

        let first = queue.push(waiter("b", 10), 4);
        let second = queue.push(waiter("b", 11), 4);
        let third = queue.push(waiter("b", 12), 4);

        assert!(matches!(first, Pushed::Displaced(Waiter { item: 4, .. })));
        assert!(matches!(second, Pushed::Displaced(Waiter { item: 3, .. })));
        assert!(matches!(third, Pushed::Full(Waiter { item: 12, .. })));
    }

    #[test]
    fn those_that_went_away_leave_no_hole() {
        let mut queue = filled(&[("a", 1), ("b", 10), ("a", 2), ("a", 3)]);

        let gone = queue.take_where(|waiter| waiter.item == 1 || waiter.item == 10);

        assert_eq!((gone.len(), queue.len(), queue.ahead_of("b")), (2, 2, 1));
        assert_eq!(order(queue), [2, 3]);
    }

    #[test]
    fn no_depth_is_no_waiting() {
        assert!(matches!(FairQueue::default().push(waiter("a", 1), 0), Pushed::Full(_)));
    }

    proptest! {
        /// Never more than the depth, nobody lost, nobody twice; the place foretold is the place taken; and a refused key had its share.
        #[test]
        fn any_history_is_bounded_fair_and_loses_nobody(
            events in prop::collection::vec((0u8..4, 0u8..5), 1..200), depth in 1usize..20,
        ) {
            let mut queue = FairQueue::default();
            let (mut inside, mut next) = (std::collections::BTreeSet::new(), 0u32);
            for (kind, key) in events {
                let key = key.to_string();
                match kind {
                    0 => {
                        let popped = queue.pop();
                        prop_assert_eq!(popped.is_some(), !inside.is_empty());
                        popped.iter().for_each(|waiter| assert!(inside.remove(&waiter.item)));
                    }
                    1 => if let Some(waiter) = queue.pop() {
                        queue.put_back(waiter);
                    },
                    _ => {
                        next += 1;
                        let own = queue.lane(&key).map_or(0, |lane| lane.waiters.len());
                        let ahead = queue.ahead_of(&key);
                        match queue.push(waiter(&key, next), depth) {
                            Pushed::Waits => {
                                inside.insert(next);
                                prop_assert!(ahead < depth);
                            }
                            Pushed::Displaced(other) => {
                                prop_assert!(*other.key != *key && inside.remove(&other.item));
                                inside.insert(next);
                            }
                            Pushed::Full(_) => prop_assert!((own + 1) * (queue.lanes.len() + 1) >= depth),
                        }
                    }
                }
                prop_assert!(queue.len() <= depth && queue.len() == inside.len());
                let counted: usize = queue.lanes.iter().map(|lane| lane.waiters.len()).sum();
                prop_assert_eq!(counted, queue.len());
            }
            prop_assert_eq!(order(queue).into_iter().collect::<std::collections::BTreeSet<_>>(), inside);
        }

        /// With a queue that nobody leaves, the newcomer is served after exactly those that were counted ahead of it,
        /// or sooner when it is its key's turn.
        #[test]
        fn nobody_waits_for_more_than_was_counted(keys in prop::collection::vec(0u8..4, 1..40), own in 0u8..4) {
            let mut queue = FairQueue::default();
            for (item, key) in keys.iter().enumerate() {
                queue.push(waiter(&key.to_string(), item as u32), 1_000);
            }
            let ahead = queue.ahead_of(&own.to_string());
            queue.push(waiter(&own.to_string(), 999), 1_000);

            let place = order(queue).into_iter().position(|item| item == 999).unwrap();

            prop_assert!(place <= ahead, "{place} > {ahead}");
        }
    }
}
