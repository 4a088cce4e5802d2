//! The usage record of one finished request.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;

/// Tokens in disjoint buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tokens {
    /// Prompt tokens, cached ones included.
    pub prompt: u64,
    /// Answer tokens, reasoning included.
    pub completion: u64,
    /// Of the prompt, read from the provider's cache.
    pub cached: u64,
    /// Of the answer, spent on reasoning.
    pub reasoning: u64,
    /// Counted by us because the provider did not say.
    pub estimated: bool,
}

/// One attempt of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// The connection.
    pub connection: String,
    /// Its provider.
    pub provider: String,
    /// The model it was asked for.
    pub model: String,
    /// How it ended.
    pub outcome: String,
    /// The upstream's status, 0 when there was none.
    pub status: u16,
    /// From the start of the request, milliseconds.
    pub started_ms: u64,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// How long the request waited for its turn at this connection before, milliseconds.
    #[serde(default)]
    pub waited_ms: u64,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRecord {
    /// The request's id; a record is stored once per id.
    pub request_id: String,
    /// When it started.
    pub at: UnixMillis,
    /// The client key.
    pub key_id: Option<String>,
    /// The connection that answered.
    pub connection: Option<String>,
    /// Its provider.
    pub provider: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// The model that was asked for.
    pub requested_model: String,
    /// The combo.
    pub combo: Option<String>,
    /// The status sent to the client.
    pub status: u16,
    /// How it ended.
    pub outcome: String,
    /// Whether it was a stream.
    pub streamed: bool,
    /// What was used.
    pub tokens: Tokens,
    /// Time to the first content, milliseconds.
    pub first_content_ms: Option<u64>,
    /// Total time, milliseconds.
    pub total_ms: u64,
    /// Every attempt.
    pub attempts: Vec<AttemptRecord>,
}
