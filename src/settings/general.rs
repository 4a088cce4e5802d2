//! What concerns the gateway as a whole, under `/api/settings`. Where the configuration has the same thing, what is set
//! here lies over it.

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::config::Overlay;

/// Bytes of a megabyte.
const MEGABYTE: usize = 1024 * 1024;

/// The stored settings; what is absent is as the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct General {
    /// What operators call this gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// Origins of web pages that may call the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors_origins: Option<Vec<String>>,
    /// Providers that are asked nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_providers: Vec<String>,
    /// How a provider's accounts are chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_strategy: Option<String>,
    /// How many requests in turn an account gets under `round-robin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky_round_robin_limit: Option<i64>,
    /// How often a request waits for a cooldown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_retry: Option<u32>,
    /// And how long at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retry_interval_sec: Option<u64>,
    /// The largest request body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size_mb: Option<usize>,
}

impl Stored for General {
    const KEY: &'static str = "general";
}

impl General {
    /// What of it lies over the configuration.
    pub fn overlay(&self) -> Overlay {
        Overlay {
            cors_allowed_origins: self.cors_origins.clone(),
            max_body_bytes: self.max_body_size_mb.map(|size| size.saturating_mul(MEGABYTE)),
            wait_retries: self.request_retry,
            wait_longest_s: self.max_retry_interval_sec,
        }
    }

    /// Whether nothing may be asked of this provider.
    pub fn blocks(&self, provider: &str) -> bool {
        self.blocked_providers.iter().any(|blocked| blocked == provider)
    }
}
