//! The usage record of one finished request.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;
use crate::ids::{ComboName, ConnectionId, KeyId, ModelName, ProviderId};

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

impl Tokens {
    /// These and those.
    #[must_use]
    pub const fn and(&self, more: &Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(more.prompt),
            completion: self.completion.saturating_add(more.completion),
            cached: self.cached.saturating_add(more.cached),
            reasoning: self.reasoning.saturating_add(more.reasoning),
            estimated: self.estimated || more.estimated,
        }
    }

    /// These, less a part of them.
    #[must_use]
    pub const fn without(&self, part: &Self) -> Self {
        Self {
            prompt: self.prompt.saturating_sub(part.prompt),
            completion: self.completion.saturating_sub(part.completion),
            cached: self.cached.saturating_sub(part.cached),
            reasoning: self.reasoning.saturating_sub(part.reasoning),
            estimated: self.estimated,
        }
    }
}

/// The outcome of a candidate that was passed over: nothing was sent to it, `reason` says why.
pub const SKIPPED: &str = "skipped";

/// One candidate of a request: tried, or passed over. What a record of an older version does not say is left open.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttemptRecord {
    /// The connection; empty where there was none to name.
    pub connection: ConnectionId,
    /// Its provider.
    pub provider: ProviderId,
    /// The model it was asked for.
    pub model: ModelName,
    /// How it ended; [`SKIPPED`] when nothing was sent.
    pub outcome: String,
    /// Why it was chosen, or passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it was for, where it was not the client's answer as such: a call of a panel, a judge, a step, a summary, the rest
    /// of a broken stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The upstream's status, 0 when there was none.
    pub status: u16,
    /// What the provider may know of it, by the retry class: `not_sent`, `maybe_accepted`, `answered` or `started`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// From the start of the request, milliseconds.
    pub started_ms: u64,
    /// How long the request waited for it before, milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub waited_ms: u64,
    /// Until the request was on its way, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    /// Until its first content, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_content_ms: Option<u64>,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// It ran beside another one.
    #[serde(skip_serializing_if = "is_false")]
    pub hedged: bool,
    /// What it used, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// What it cost by the prices that were known then, in nano-USD; always an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_nano_usd: Option<u64>,
}

impl AttemptRecord {
    /// Whether something was tried.
    pub fn was_tried(&self) -> bool {
        self.outcome != SKIPPED
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it asks about by reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it asks about by reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
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
    pub key_id: Option<KeyId>,
    /// The connection that answered.
    pub connection: Option<ConnectionId>,
    /// Its provider.
    pub provider: Option<ProviderId>,
    /// The model that answered.
    pub model: Option<ModelName>,
    /// The model that was asked for.
    pub requested_model: String,
    /// The combo.
    pub combo: Option<ComboName>,
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
    /// The session it was taken for, hashed.
    #[serde(default)]
    pub session: Option<String>,
    /// Every candidate that was tried or passed over, in order.
    #[serde(with = "attempts_as_json")]
    pub attempts: Vec<AttemptRecord>,
}

/// The attempts are JSON in compact forms, too: that is how the store keeps them, so nobody has to read them on the way.
mod attempts_as_json {
    use serde::de::{Deserialize, Deserializer, Error as _};
    use serde::ser::{Error as _, Serialize, Serializer};

    use super::AttemptRecord;

    pub(super) fn serialize<S: Serializer>(attempts: &[AttemptRecord], to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return attempts.serialize(to);
        }
        to.serialize_str(&serde_json::to_string(attempts).map_err(S::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<AttemptRecord>, D::Error> {
        if from.is_human_readable() {
            return Vec::deserialize(from);
        }
        serde_json::from_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl UsageRecord {
    /// The attempts: candidates that were passed over are none.
    pub fn tried(&self) -> impl DoubleEndedIterator<Item = &AttemptRecord> {
        self.attempts.iter().filter(|attempt| attempt.was_tried())
    }
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_of_an_older_version_can_still_be_read() {
        let old = r#"{"connection":"c","provider":"p","model":"m","outcome":"success","status":200,"startedMs":1,"tookMs":2}"#;

        let attempt: AttemptRecord = serde_json::from_str(old).unwrap();

        assert!(attempt.was_tried());
        assert_eq!((attempt.took_ms, attempt.waited_ms, attempt.class), (2, 0, None));
        assert_eq!(serde_json::to_string(&AttemptRecord { class: None, ..attempt }).unwrap(), old);
    }
}
