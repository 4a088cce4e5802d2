//! The connections of a world: real handles, real decisions, and our books about them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::audit::Books;
use crate::clock::Moment;
use crate::connection::by_hand::ByHand;
use crate::connection::config::ConnectionConfig;
use crate::connection::handle::ConnectionHandle;
use crate::ids::ConnectionId;
use crate::ports::{Ports, StateRecord, StateStore};
use crate::resilience::retry_budget::RetryBudget;
use crate::supervisor::resumed;

/// One connection.
pub(super) struct Member {
    pub handle: Arc<ConnectionHandle>,
    pub actor: ByHand,
    pub books: Books,
    pub provider: usize,
    /// Requests that wait for it.
    pub waiting: Vec<usize>,
    /// When its queue's timer is set.
    pub timer: Option<Moment>,
    /// A turn is on its way to it.
    pub turn_is_coming: bool,
    /// When the provider's own window of this account began, and the calls in it.
    pub window_began: Moment,
    pub window_calls: u64,
}

impl Member {
    /// As the registry begins one: with what the store has of it.
    pub fn begin(
        config: ConnectionConfig,
        stored: Option<&StateRecord>,
        provider: usize,
        budget: Arc<RetryBudget>,
        ports: Ports,
        seed: u64,
    ) -> Self {
        let handle = Arc::new(resumed(config, stored, &ports, None));
        handle.join_budget(budget);
        let actor = ByHand::new(Arc::clone(&handle), ports, SmallRng::seed_from_u64(seed));
        let (books, waiting) = Default::default();
        let (window_began, window_calls) = (Moment::START, 0);
        Self { handle, actor, books, provider, waiting, timer: None, turn_is_coming: false, window_began, window_calls }
    }

    /// One more call reaches this account; how many did in the provider's window of that length.
    pub fn count(&mut self, window: Duration, now: Moment) -> u64 {
        if now.since(self.window_began) >= window {
            (self.window_began, self.window_calls) = (now, 0);
        }
        self.window_calls += 1;
        self.window_calls
    }
}

/// The store of a world: the last record of each connection, as the real one keeps them.
#[derive(Default)]
pub(super) struct Shelf(ArcSwap<HashMap<ConnectionId, StateRecord>>);

impl Shelf {
    pub fn get(&self, id: &ConnectionId) -> Option<StateRecord> {
        self.0.load().get(id).cloned()
    }
}

impl StateStore for Shelf {
    fn save(&self, record: StateRecord) {
        let mut all = (**self.0.load()).clone();
        all.insert(record.connection.clone(), record);
        self.0.store(Arc::new(all));
    }
}
