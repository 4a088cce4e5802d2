//! A connection's actor without a mailbox: whoever drives it says what it hears, and when. The simulation does.

use std::sync::Arc;

use rand::rngs::SmallRng;
use tokio::sync::oneshot;

use super::Connection;
use super::config::ConnectionConfig;
use super::handle::ConnectionHandle;
use super::report::Report;
use super::traffic::Ask;
use super::waiting::{Place, Turned};
use crate::clock::Moment;
use crate::guard::Rebuild;
use crate::ports::Ports;
use crate::resilience::health::{Cooldown, ResetScope};
use crate::resilience::queue::{Key, Waiter};

/// The actor's decisions, one method for each of its messages.
pub(crate) struct ByHand(Connection);

impl ByHand {
    pub(crate) fn new(handle: Arc<ConnectionHandle>, ports: Ports, chance: SmallRng) -> Self {
        Self(Connection::with(handle, ports, chance))
    }

    pub(crate) fn outcomes(&mut self, reports: &[Report]) {
        reports.iter().for_each(|report| self.0.hear(report));
        self.0.serve();
    }

    pub(crate) fn reset(&mut self, scope: &ResetScope) {
        self.0.reset(scope);
        self.0.serve();
    }

    pub(crate) fn set_cooldown(&mut self, cooldown: Option<Cooldown>) {
        let changes = self.0.health.set_cooldown(cooldown, self.0.ports.clock.now());
        self.0.carry_out(&changes);
        self.0.serve();
    }

    pub(crate) fn configure(&mut self, config: ConnectionConfig) {
        self.0.configure(config);
    }

    pub(crate) fn wait(&mut self, ask: Ask<'_>, key: Key, deadline: Moment) -> oneshot::Receiver<Turned> {
        let (answer, turned) = oneshot::channel();
        self.0.queue_up(Waiter { key, deadline, item: Place::new(ask, answer) });
        turned
    }

    pub(crate) fn turn(&mut self) {
        self.0.serve();
    }

    /// What the timer would wake it for.
    pub(crate) fn next_turn(&self) -> Option<Moment> {
        self.0.next_turn()
    }

    /// Whether somebody told it that a turn may be possible.
    pub(crate) fn turn_is_asked(&self) -> bool {
        self.0.handle.traffic.turn_is_asked()
    }

    /// A panic met one of its messages.
    pub(crate) fn crash(&mut self) {
        self.0.rebuild();
    }
}
