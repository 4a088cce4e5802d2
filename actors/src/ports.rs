//! What the actor system needs from outside: a place for its state and an ear for its events.

use std::pin::Pin;
use std::sync::Arc;

use secrecy::SecretString;
use serde::Serialize;

use crate::clock::UnixMillis;
use crate::connection::handle::ConnectionHandle;
use crate::connection::token::{Exchange, MintFailure, Minted};
use crate::ids::{ConnectionId, ModelName};
use crate::resilience::gate::BreakerState;
use crate::resilience::health::{ErrorNote, Transition};
use crate::resilience::learned::LearnedRecord;
use crate::resilience::outcome::{Outcome, Terminal};

/// The health of a connection in wall time, as it outlives the process.
#[derive(Debug, Clone, PartialEq)]
pub struct StateRecord {
    /// Whose.
    pub connection: ConnectionId,
    /// The breaker's state.
    pub breaker: BreakerState,
    /// Until when it is open.
    pub open_until: Option<UnixMillis>,
    /// Cycles of the breaker.
    pub cycles: u32,
    /// Failures in a row.
    pub consecutive: u32,
    /// The gate's generation.
    pub generation: u32,
    /// The cooldown in force.
    pub cooldown: Option<(UnixMillis, Outcome)>,
    /// The step of the cooldown ladder.
    pub level: u32,
    /// The terminal state.
    pub terminal: Option<Terminal>,
    /// Since when the state is as it is.
    pub since: UnixMillis,
    /// The last error and when.
    pub last_error: Option<(UnixMillis, ErrorNote)>,
    /// What a person has to look at, and since when.
    pub attention: Option<(UnixMillis, ErrorNote)>,
    /// The locked models.
    pub lockouts: Vec<LockoutRecord>,
    /// What the provider said about its limits.
    pub learned: Vec<LearnedRecord>,
}

/// One locked model in wall time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockoutRecord {
    /// The model.
    pub model: ModelName,
    /// Until then.
    pub until: UnixMillis,
    /// Since then.
    pub since: UnixMillis,
    /// How often in a row.
    pub failures: u32,
}

/// Keeps the state of connections. Must not block: it is called on the control arbiter.
pub trait StateStore: Send + Sync + 'static {
    /// Remember this; a later record of the same connection replaces an earlier one.
    fn save(&self, record: StateRecord);
}

/// Hears of every transition, once; the place for its metric and its broadcast.
pub trait Observer: Send + Sync + 'static {
    /// Something changed on this connection.
    fn changed(&self, connection: &ConnectionHandle, transition: &Transition);
}

/// Exchanges credentials for tokens; the only port that talks to providers. It runs on the control arbiter and must not
/// block it.
pub trait Minter: Send + Sync + 'static {
    /// Exchange this. One that replaces the credential stores the new one before it returns.
    fn mint<'a>(&'a self, wanted: Wanted<'a>, now: UnixMillis) -> Minting<'a>;
}

/// A token that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// For which connection.
    pub connection: &'a ConnectionId,
    /// From what.
    pub exchange: &'a Exchange,
    /// The value of the token that the connection has and that has served its time, or was refused: any other one is
    /// welcome, be it one that somebody else got meanwhile.
    pub spent: Option<&'a SecretString>,
}

/// An exchange that runs.
pub type Minting<'a> = Pin<Box<dyn Future<Output = Result<Minted, MintFailure>> + 'a>>;

/// The outside, as every connection actor sees it.
#[derive(Clone)]
pub struct Ports {
    /// The clocks.
    pub clock: Arc<dyn crate::clock::Clock>,
    /// The state store.
    pub store: Arc<dyn StateStore>,
    /// The observer.
    pub observer: Arc<dyn Observer>,
    /// Exchanges credentials.
    pub minter: Arc<dyn Minter>,
}

/// Ports that lead nowhere: for tests and tools.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nowhere;

impl StateStore for Nowhere {
    fn save(&self, _: StateRecord) {}
}

impl Minter for Nowhere {
    fn mint<'a>(&'a self, _: Wanted<'a>, _: UnixMillis) -> Minting<'a> {
        Box::pin(async { Err(MintFailure::own(Outcome::LocalNetwork, "there is no way out")) })
    }
}

impl Observer for Nowhere {
    fn changed(&self, _: &ConnectionHandle, _: &Transition) {}
}
