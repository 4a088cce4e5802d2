//! How far an answer is that is made in the background.

/// The states; they are spelled as clients read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// Nobody has begun.
    Queued,
    /// Somebody works on it.
    InProgress,
    /// It is there.
    Completed,
    /// It is there as far as it came.
    Incomplete,
    /// There will be none.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

/// Somebody may still change what becomes of it.
pub(super) const RUNNING: [&str; 2] = [RunStatus::Queued.as_str(), RunStatus::InProgress.as_str()];

impl RunStatus {
    const ALL: [Self; 6] =
        [Self::Queued, Self::InProgress, Self::Completed, Self::Incomplete, Self::Failed, Self::Cancelled];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether somebody works on it, or will.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Queued | Self::InProgress)
    }
}
