//! What an operator says about a connection, and where its requests go.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::ids::{ConnectionId, ProviderId};
use crate::resilience::settings::HealthSettings;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Created through the management API.
    Database,
    /// Found as a key in the environment.
    Environment,
    /// The built-in demo provider.
    Demo,
}

impl Source {
    /// The words for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Database => "from database",
            Self::Environment => "from environment",
            Self::Demo => "built-in demo",
        }
    }
}

/// Where and how requests of a connection are sent. Built by the provider catalogue; opaque to the actors.
#[derive(Clone)]
pub struct UpstreamTarget {
    /// The whole URL of a call; `{model}` in it stands for the model.
    pub chat_url: String,
    /// The URL of a streamed call, where it is another one.
    pub stream_url: Option<String>,
    /// The whole URL of the model list, if the provider has one.
    pub models_url: Option<String>,
    /// The header that carries the credential.
    pub auth_header: Option<(String, SecretString)>,
    /// Fixed headers of this provider.
    pub headers: Vec<(String, String)>,
    /// The provider's oddities, as the catalogue numbers them.
    pub quirks: u32,
    /// The format that it speaks, as the catalogue numbers it.
    pub wire: u8,
}

impl fmt::Debug for UpstreamTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTarget").field("chat_url", &self.chat_url).finish_non_exhaustive()
    }
}

/// What bounds the traffic through a connection, beside its slots and its requests per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most tokens per minute; 0 = no limit.
    pub tokens_per_minute: u64,
    /// Smallest gap between two requests.
    pub min_gap: Duration,
    /// Most requests that wait for a turn; 0 = nobody waits.
    pub queue_depth: u32,
    /// Longest wait for a turn.
    pub max_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tokens_per_minute: 0, min_gap: Duration::ZERO, queue_depth: 64, max_wait: Duration::from_secs(120) }
    }
}

/// One connection as configured.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// Its id.
    pub id: ConnectionId,
    /// Its provider.
    pub provider: ProviderId,
    /// Its name for people.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// Lower is tried first among the connections of one provider.
    pub priority: i32,
    /// Whether it may be used at all.
    pub is_active: bool,
    /// Most requests at a time; 0 = no limit.
    pub max_concurrent: u32,
    /// Most requests per minute; 0 = no limit.
    pub requests_per_minute: u32,
    /// Its other bounds.
    pub limits: Limits,
    /// The resilience numbers of its class.
    pub health: HealthSettings,
    /// Where its requests go.
    pub target: Arc<UpstreamTarget>,
    /// Its tags: requests, steps and policies may ask for them.
    pub tags: Arc<[Arc<str>]>,
    /// Where it answers from, such as `eu`.
    pub region: Option<Arc<str>>,
    /// Changes whenever the credential does.
    pub credential_version: u64,
}
