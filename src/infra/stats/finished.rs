//! What is counted of a request that is over. Its names are shared with the plan: nothing is copied for the keeper, and
//! the record itself stays with the worker, whose memory it came from.

use std::fmt;
use std::sync::Arc;

use omniroute_actors::ids::{ComboName, ConnectionId, KeyId, ModelName, ProviderId};
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::usage::record::{AttemptRecord, UsageRecord};
use smallvec::SmallVec;

/// A request that is over.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The combo that served it.
    pub combo: Option<ComboName>,
    /// The client key.
    pub key: Option<KeyId>,
    /// Its session.
    pub session: Option<SessionName>,
    /// The way of the target that answered, or was asked last: step ids joined with `>`.
    pub target: Option<Arc<str>>,
    /// Who answered, or was asked last.
    pub provider: Option<ProviderId>,
    /// Where and by what it was answered.
    pub answered: Option<(ConnectionId, Option<ModelName>)>,
    /// What was tried, where a combo served it.
    pub attempts: SmallVec<[FinishedAttempt; 1]>,
    /// How it ended.
    pub end: End,
    /// All of its time.
    pub total_ms: u64,
    /// Time that no upstream had it.
    pub own_ms: u64,
    /// Time to its first content.
    pub first_content_ms: Option<u64>,
}

/// One of its attempts.
#[derive(Debug, Clone)]
pub struct FinishedAttempt {
    /// The provider.
    pub provider: ProviderId,
    /// The model.
    pub model: ModelName,
    /// How it ended.
    pub end: End,
    /// How long it took.
    pub took_ms: u64,
}

/// How a request or an attempt ended, as far as these numbers care. Whoever left blames nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an answer.
    Success,
    /// Without one.
    Failure,
    /// Its client left.
    Cancelled,
}

/// What a session is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionName {
    /// Its client names it.
    Named(Arc<str>),
    /// Nobody does: by its hash.
    Hash(u64),
}

impl Finished {
    /// What is counted of this record.
    pub fn of(record: &UsageRecord, own_ms: u64) -> Self {
        let last = || record.tried().next_back().map(|attempt| attempt.provider.clone());
        let tried = record.tried().filter(|_| record.combo.is_some());
        Self {
            combo: record.combo.clone(),
            key: record.key_id.clone(),
            session: None,
            target: None,
            provider: record.provider.clone().or_else(last),
            answered: record.connection.clone().map(|connection| (connection, record.model.clone())),
            attempts: tried.map(FinishedAttempt::of).collect(),
            end: End::of(&record.outcome),
            total_ms: record.total_ms,
            own_ms,
            first_content_ms: record.first_content_ms,
        }
    }
}

impl FinishedAttempt {
    fn of(attempt: &AttemptRecord) -> Self {
        Self {
            provider: attempt.provider.clone(),
            model: attempt.model.clone(),
            end: End::of(&attempt.outcome),
            took_ms: attempt.took_ms,
        }
    }
}

impl End {
    fn of(outcome: &str) -> Self {
        if outcome == Outcome::Success.as_str() {
            Self::Success
        } else if outcome == Outcome::ClientGone.as_str() {
            Self::Cancelled
        } else {
            Self::Failure
        }
    }

    /// The word of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "ok",
            Self::Failure => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Hash(hash) => write!(f, "{hash:016x}"),
        }
    }
}
