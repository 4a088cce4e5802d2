//! The connections of one provider, arranged once per plan so that a request looks at a handful of them, however many
//! there are.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::hash;
use super::strategy::AccountStrategy;
use crate::connection::handle::ConnectionHandle;
use crate::ids::{ConnectionId, ProviderId};

/// Up to so many a session finds its connection by looking at each; beyond by a ring.
pub const SMALL_GROUP: usize = 64;
/// Points on the ring per connection: enough that shares differ by a quarter, few enough to build in milliseconds.
const POINTS: u64 = 16;

/// What a provider remembers from request to request; kept over new plans.
#[derive(Debug, Default)]
pub struct AccountState {
    turn: AtomicU64,
    last_good: AtomicU64,
}

impl AccountState {
    /// Take a turn.
    pub fn take_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Whose turn it is, without taking it.
    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// The connection that answered last, hashed; 0 = none.
    pub fn last_good(&self) -> u64 {
        self.last_good.load(Ordering::Relaxed)
    }

    /// A connection answered.
    pub fn answered(&self, connection: u64) {
        if self.last_good() != connection {
            self.last_good.store(connection, Ordering::Relaxed);
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Member {
    /// Its handle.
    pub handle: Arc<ConnectionHandle>,
    /// The hash of its id.
    pub hash: u64,
    /// Which of the pool's profiles is its.
    pub profile: usize,
}

/// What policies and tags go by; connections of a provider share few of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The tags.
    pub tags: Arc<[Arc<str>]>,
    /// The region.
    pub region: Option<Arc<str>>,
}

/// Connections of the same priority.
#[derive(Debug)]
pub struct Group {
    range: Range<usize>,
    /// Points in ascending order and whose they are; empty in a small group.
    ring: Vec<(u64, usize)>,
}

impl Group {
    /// Their places in the pool.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The points of its ring from a session's own on, once round; nothing in a small group.
    pub fn clockwise(&self, session: u64) -> impl Iterator<Item = usize> + '_ {
        let start = self.ring.partition_point(|(point, _)| *point < session);
        let (before, after) = self.ring.split_at_checked(start).unwrap_or_default();
        after.iter().chain(before).map(|(_, place)| *place)
    }
}

/// The connections of a provider.
#[derive(Debug)]
pub struct Pool {
    /// The provider.
    pub provider: ProviderId,
    /// Its connections, the preferred first.
    pub members: Vec<Member>,
    /// By priority.
    pub groups: Vec<Group>,
    /// The profiles there are.
    pub profiles: Vec<Profile>,
    /// How it chooses in a group.
    pub accounts: AccountStrategy,
    /// Requests in a row that stay with one connection under `round-robin`.
    pub sticky_limit: u32,
    /// What it remembers.
    pub state: Arc<AccountState>,
    /// Whether one of them is switched on.
    pub is_active: bool,
    places: HashMap<ConnectionId, usize>,
    /// Only where the last good one is looked for.
    by_hash: HashMap<u64, usize>,
}

impl Pool {
    /// Arrange the connections of a provider.
    pub fn new(provider: ProviderId, entry: &super::ProviderEntry) -> Self {
        let mut configured: Vec<_> = entry.connections.iter().map(|handle| (handle.config(), handle)).collect();
        configured.sort_by(|(a, _), (b, _)| (a.priority, &a.name, &a.id).cmp(&(b.priority, &b.name, &b.id)));
        let mut profiles = Profiles::default();
        let mut members = Vec::with_capacity(configured.len());
        for (config, handle) in &configured {
            let profile = profiles.place(&config.tags, config.region.as_ref());
            members.push(Member { handle: Arc::clone(handle), hash: hash::of(config.id.as_str()), profile });
        }
        let mut groups = Vec::new();
        for equals in configured.chunk_by(|(a, _), (b, _)| a.priority == b.priority) {
            let start = groups.last().map_or(0, |group: &Group| group.range.end);
            groups.push(group(start..start + equals.len(), &members));
        }
        let places = members.iter().enumerate().map(|(place, member)| (member.handle.id().clone(), place)).collect();
        let remembers = entry.accounts == AccountStrategy::Lkgp;
        let hashed = members.iter().enumerate().filter(|_| remembers).map(|(place, member)| (member.hash, place));
        Self {
            by_hash: hashed.collect(),
            provider,
            groups,
            profiles: profiles.list,
            accounts: entry.accounts,
            sticky_limit: entry.sticky_limit.max(1),
            state: Arc::clone(&entry.state),
            is_active: configured.iter().any(|(config, _)| config.is_active),
            places,
            members,
        }
    }

    /// Where a connection is in it.
    pub fn place(&self, id: &ConnectionId) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// Where the connection with this hash is, if the pool remembers what answered last.
    pub fn place_of(&self, hash: u64) -> Option<usize> {
        self.by_hash.get(&hash).copied()
    }

    /// The connection at a place.
    pub fn member(&self, place: usize) -> Option<&Member> {
        self.members.get(place)
    }

    /// What policies see of a connection.
    pub fn profile(&self, member: &Member) -> Option<&Profile> {
        self.profiles.get(member.profile)
    }
}

#[derive(Default)]
struct Profiles {
    list: Vec<Profile>,
    known: HashMap<(Arc<[Arc<str>]>, Option<Arc<str>>), usize>,
}

impl Profiles {
    fn place(&mut self, tags: &Arc<[Arc<str>]>, region: Option<&Arc<str>>) -> usize {
        let key = (Arc::clone(tags), region.cloned());
        *self.known.entry(key).or_insert_with_key(|(tags, region)| {
            self.list.push(Profile { tags: Arc::clone(tags), region: region.clone() });
            self.list.len() - 1
        })
    }
}

fn group(range: Range<usize>, members: &[Member]) -> Group {
    let mut ring = Vec::new();
    if range.len() > SMALL_GROUP {
        let own = members.iter().enumerate().take(range.end).skip(range.start);
        ring = own.flat_map(|(place, one)| (0..POINTS).map(move |k| (hash::pair(one.hash, k), place))).collect();
        ring.sort_unstable();
    }
    Group { range, ring }
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests {
    use super::super::ProviderEntry;
    use super::*;
    use crate::connection::config::ConnectionConfig;
    use crate::testing::{config, handle};

    fn pool(configs: Vec<ConnectionConfig>) -> Pool {
        let connections = configs.into_iter().map(handle).collect();
        Pool::new("p".into(), &ProviderEntry { connections, ..ProviderEntry::default() })
    }

    #[test]
    fn connections_are_grouped_by_priority_and_ordered_by_name() {
        let at = |id: &str, priority| ConnectionConfig { priority, ..config(id) };
        let pool = pool(vec![at("z", 1), at("b", 2), at("a", 1), at("c", -1)]);

        let names: Vec<_> = pool.members.iter().map(|member| member.handle.id().as_str().to_owned()).collect();
        let groups: Vec<_> = pool.groups.iter().map(Group::range).collect();

        assert_eq!(names, ["c", "a", "z", "b"]);
        assert_eq!(groups, [0..1, 1..3, 3..4]);
        assert_eq!((pool.place(&"z".into()), pool.place(&"none".into())), (Some(2), None));
    }

    #[test]
    fn connections_with_the_same_tags_share_a_profile() {
        let tagged = |id: &str, tag: &str| ConnectionConfig { tags: Arc::from([Arc::from(tag)]), ..config(id) };
        let pool = pool(vec![tagged("a", "eu"), tagged("b", "us"), tagged("c", "eu"), config("d")]);

        assert_eq!(pool.profiles.len(), 3);
        assert_eq!(pool.members[0].profile, pool.members[2].profile);
    }

    #[test]
    fn a_large_group_has_a_ring_that_names_everyone_and_a_small_one_has_none() {
        let many = |n: usize| pool((0..n).map(|i| config(&format!("c{i}"))).collect());

        let (small, large) = (many(SMALL_GROUP), many(SMALL_GROUP + 1));

        assert_eq!(small.groups[0].clockwise(7).count(), 0);
        let mut places: Vec<_> = large.groups[0].clockwise(hash::of("session")).collect();
        assert_eq!(places.len(), (SMALL_GROUP + 1) * 16);
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), SMALL_GROUP + 1);
    }
}
