//! What a caller of the management API may do, in three steps.

/// A step; each may do what the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Resets, tests, switches on and off; changes no secret, no key and nobody's rights.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// From a word of a key or a session; `manage` is the older word for everything.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "viewer" => Some(Self::Viewer),
            "operator" => Some(Self::Operator),
            "admin" | "manage" => Some(Self::Admin),
            _ => None,
        }
    }
}
