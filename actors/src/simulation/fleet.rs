//! The connections of a world: real handles, real decisions, and our books about them.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::audit::Books;
use crate::clock::Moment;
use crate::connection::by_hand::ByHand;
use crate::connection::config::ConnectionConfig;
use crate::connection::handle::ConnectionHandle;
use crate::ports::Ports;
use crate::resilience::gate::GateView;
use crate::resilience::health::Remembered;
use crate::resilience::retry_budget::RetryBudget;

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
}

impl Member {
    pub fn new(config: ConnectionConfig, provider: usize, budget: Arc<RetryBudget>, ports: Ports, seed: u64) -> Self {
        let was = Remembered { since: ports.clock.now(), ..Remembered::default() };
        let handle = Arc::new(ConnectionHandle::new(config, GateView::CLOSED, was, None));
        handle.join_budget(budget);
        let actor = ByHand::new(Arc::clone(&handle), ports, SmallRng::seed_from_u64(seed));
        let (books, waiting) = Default::default();
        Self { handle, actor, books, provider, waiting, timer: None, turn_is_coming: false }
    }
}
