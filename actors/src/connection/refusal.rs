//! Why a connection does not take a request, and when it may be different.

use crate::clock::Moment;
use crate::resilience::outcome::{Outcome, Terminal};

/// Why a connection does not take a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Switched off.
    Disabled,
    /// Out of service until somebody acts.
    Terminal(Terminal),
    /// Resting; the outcome that caused it.
    CoolingDown(Option<Outcome>),
    /// Its breaker is open.
    Open,
    /// Its breaker is half open and the probe is out.
    Probing,
    /// It does not serve this model for now.
    ModelLocked,
    /// As many requests in flight as it may carry.
    Saturated,
    /// As many requests or tokens per minute as it may carry, or as its provider says are left.
    LocalRateLimit,
    /// Others wait for it already.
    Queued,
    /// As many wait for it as may.
    QueueFull,
    /// Waiting for it would take longer than the request has.
    WaitTooLong,
    /// Its breaker closed a moment ago: traffic comes back step by step.
    Ramping,
}

impl Refusal {
    /// The word for headers, logs and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Terminal(terminal) => terminal.as_str(),
            Self::CoolingDown(_) => "cooling_down",
            Self::Open => "breaker_open",
            Self::Probing => "breaker_probing",
            Self::ModelLocked => "model_locked",
            Self::Saturated => "saturated",
            Self::LocalRateLimit => "local_rate_limit",
            Self::Queued => "queued",
            Self::QueueFull => "local_queue_full",
            Self::WaitTooLong => "wait_too_long",
            Self::Ramping => "ramping_up",
        }
    }

    /// Whether it is our own bound and says nothing against the connection: worth waiting for.
    pub const fn is_local(self) -> bool {
        matches!(
            self,
            Self::Saturated | Self::LocalRateLimit | Self::Queued | Self::QueueFull | Self::WaitTooLong | Self::Ramping
        )
    }
}

/// A refusal and when to come back, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// When it may be different.
    pub retry_at: Option<Moment>,
}
