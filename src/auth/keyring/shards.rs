//! The map of the keys in parts: a change copies the part that it is in and shares the others with the map before.

use std::collections::HashMap;
use std::sync::Arc;

use super::Principal;

/// With a hundred thousand keys a part has four hundred.
const PARTS: usize = 256;

type Part = HashMap<String, Arc<Principal>>;

/// Callers by the hash of their keys.
#[derive(Clone)]
pub(super) struct Shards(Vec<Arc<Part>>);

impl Default for Shards {
    fn default() -> Self {
        Self(vec![Arc::default(); PARTS])
    }
}

impl Shards {
    /// A map of these.
    pub(super) fn of(entries: impl Iterator<Item = (String, Arc<Principal>)>) -> Self {
        let mut parts = vec![Part::new(); PARTS];
        for (hash, owner) in entries {
            if let Some(part) = parts.get_mut(place(&hash)) {
                part.insert(hash, owner);
            }
        }
        Self(parts.into_iter().map(Arc::new).collect())
    }

    /// The owner of a key.
    pub(super) fn get(&self, hash: &str) -> Option<&Arc<Principal>> {
        self.0.get(place(hash))?.get(hash)
    }

    /// Put one in the place of what was there.
    pub(super) fn put(&mut self, hash: String, owner: Arc<Principal>) {
        if let Some(part) = self.0.get_mut(place(&hash)) {
            Arc::make_mut(part).insert(hash, owner);
        }
    }

    /// Take one out.
    pub(super) fn remove(&mut self, hash: &str) {
        if let Some(part) = self.0.get_mut(place(hash)) {
            Arc::make_mut(part).remove(hash);
        }
    }

    /// Everybody.
    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<Principal>> {
        self.0.iter().flat_map(|part| part.values())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|part| part.len()).sum()
    }
}

/// The hash of a key is as good as any number drawn by lot: its first digits say which part it is in.
fn place(hash: &str) -> usize {
    hash.bytes().take(4).fold(0, |sum, byte| (sum * 31 + usize::from(byte)) % PARTS)
}

#[cfg(test)]
mod tests {
    use omniroute_actors::clock::{Clock, ManualClock, Moment};

    use super::super::{Kind, Scopes};
    use super::*;

    fn owner(name: &str) -> Arc<Principal> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Moment::START));
        let kind = Kind::Key { id: name.into(), name: name.into() };
        Arc::new(Principal::free(kind, Scopes { inference: true, management: None }, clock))
    }

    #[test]
    fn a_change_is_seen_in_the_copy_and_not_in_the_map_it_was_copied_from() {
        let hashes = (0..1_000).map(|n: u32| (format!("{:08x}", n.wrapping_mul(2_654_435_761)), owner(&n.to_string())));
        let before = Shards::of(hashes);
        let known = format!("{:08x}", 7_u32.wrapping_mul(2_654_435_761));

        let mut after = before.clone();
        after.put("feed".into(), owner("new"));
        after.remove(&known);

        assert_eq!((before.len(), after.len(), after.values().count()), (1_000, 1_000, 1_000));
        assert!(before.get("feed").is_none() && before.get(&known).is_some());
        assert!(after.get("feed").is_some() && after.get(&known).is_none());
    }

    #[test]
    fn keys_are_spread_over_the_parts() {
        let hashes = (0..10_000).map(|n: u32| (format!("{:08x}", n.wrapping_mul(2_654_435_761)), owner("k")));

        let largest = Shards::of(hashes).0.iter().map(|part| part.len()).max().unwrap();

        assert!(largest < 200, "{largest}");
    }
}
