//! What a provider may know of an attempt that failed: it decides whether trying elsewhere can cost twice.

use crate::upstream::Delivery;

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryClass {
    /// Nothing of the request was written: another attempt is free.
    NotSent,
    /// It was written, wholly or in part, and no complete answer came: the provider may have done the work, and billed it.
    MaybeAccepted,
    /// The provider answered, if only with an error.
    Answered,
    /// Content of its answer has reached the client: nothing is tried again.
    Started,
}

impl RetryClass {
    /// The word for the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::MaybeAccepted => "maybe_accepted",
            Self::Answered => "answered",
            Self::Started => "started",
        }
    }

    /// Whether the provider may have worked for it.
    pub const fn may_be_billed(self) -> bool {
        matches!(self, Self::MaybeAccepted | Self::Started)
    }
}

impl From<Delivery> for RetryClass {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::NotSent => Self::NotSent,
            Delivery::MaybeAccepted => Self::MaybeAccepted,
            Delivery::Answered => Self::Answered,
        }
    }
}
