//! The caller of a request and what it may do.

use std::collections::HashSet;
use std::sync::Arc;

use omniroute_actors::clock::Clock;
use omniroute_actors::ids::ConnectionId;
use omniroute_actors::resilience::retry_budget::RetryBudget;
use serde_json::Value;

use super::limits::{LimitReached, Limits};
use super::role::Role;
use super::sessions::Session;
use crate::infra::overload::KeyLoad;
use crate::store::ApiKeyRow;

/// What kind of caller it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A client key from the store.
    Key {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
    /// A person in a browser.
    Session {
        /// The stored hash of the session's id.
        id_hash: String,
        /// Who signed in.
        subject: String,
    },
    /// The key from the configuration.
    Service,
    /// Nobody in particular; only where no key is required.
    Anonymous,
}

/// Which planes a caller may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes {
    /// The data plane.
    pub inference: bool,
    /// The management API, and how far.
    pub management: Option<Role>,
}

impl Scopes {
    /// The words that a key may carry; none of them means inference only.
    pub const WORDS: [&'static str; 5] = ["inference", "manage", "viewer", "operator", "admin"];

    /// From the words of a key. A word of another version grants nothing.
    pub fn of(words: &Value) -> Self {
        let words: Vec<&str> = words.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        Self {
            inference: words.is_empty() || words.contains(&"inference"),
            management: words.iter().filter_map(|word| Role::of(word)).max(),
        }
    }
}

/// The models that a key may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelPatterns {
    /// Every model.
    All,
    /// These ids, and what starts with these prefixes (which end in a slash).
    Only {
        /// Whole ids.
        exact: HashSet<String>,
        /// Prefixes with their slash.
        under: Vec<String>,
    },
}

impl ModelPatterns {
    /// From the list of a key; an empty list allows everything. Entries that are no pattern match nothing.
    pub fn of(list: &Value) -> Self {
        let entries: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if entries.is_empty() && list.as_array().is_none_or(Vec::is_empty) || entries.contains(&"*") {
            return Self::All;
        }
        let (under, exact): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.ends_with("/*"));
        let prefix = |entry: &str| entry.strip_suffix('*').unwrap_or(entry).to_owned();
        Self::Only {
            exact: exact.into_iter().map(ToOwned::to_owned).collect(),
            under: under.into_iter().map(prefix).collect(),
        }
    }

    /// Whether `text` can stand in the list: an id, `prefix/*` or `*`.
    pub fn is_pattern(text: &str) -> bool {
        let stem = text.strip_suffix("/*").unwrap_or(text);
        text == "*" || (!stem.is_empty() && !stem.contains('*'))
    }

    fn matches(&self, model: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only { exact, under } => {
                exact.contains(model) || under.iter().any(|prefix| model.starts_with(prefix.as_str()))
            }
        }
    }
}

/// An authenticated caller.
pub struct Principal {
    /// What kind of caller it is.
    pub kind: Kind,
    /// Whose answers, seals and records are whose: a key's own, or the administrator's (empty).
    pub owner: Arc<str>,
    /// Which planes it may use.
    pub scopes: Scopes,
    /// Which models it may use.
    pub allowed_models: ModelPatterns,
    /// Which connections may serve it; `None` is all.
    pub allowed_connections: Option<Arc<HashSet<ConnectionId>>>,
    /// Whether its requests stay out of the request log.
    pub no_log: bool,
    /// Whether a request that does not say `stream` streams.
    pub stream_default_legacy: bool,
    /// The extra attempts that its requests may cause.
    pub retries: Arc<RetryBudget>,
    /// When it ends, in milliseconds since the epoch.
    pub expires_at: Option<i64>,
    /// What its secret hashes to; empty for callers without one.
    pub(super) hash: String,
    /// Whether it may be used at all.
    pub(super) usable: bool,
    pub(super) limits: Arc<Limits>,
    /// Its calls in flight.
    pub load: Arc<KeyLoad>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principal").field("kind", &self.kind).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl Principal {
    /// A caller without limits.
    pub(super) fn free(kind: Kind, scopes: Scopes, clock: Arc<dyn Clock>) -> Self {
        let owner = match &kind {
            Kind::Key { id, .. } => id.as_str(),
            Kind::Service => "service",
            Kind::Session { .. } | Kind::Anonymous => "",
        };
        Self {
            owner: owner.into(),
            kind,
            scopes,
            allowed_models: ModelPatterns::All,
            allowed_connections: None,
            no_log: false,
            stream_default_legacy: false,
            retries: Arc::default(),
            expires_at: None,
            hash: String::new(),
            usable: true,
            limits: Arc::default(),
            load: Arc::default(),
            clock,
        }
    }

    /// A person in a browser. A viewer calls no models: that costs money.
    pub fn session(session: Session, clock: Arc<dyn Clock>) -> Self {
        let Session { id_hash, subject, role, .. } = session;
        let scopes = Scopes { inference: role >= Role::Operator, management: Some(role) };
        Self::free(Kind::Session { id_hash, subject }, scopes, clock)
    }

    /// The owner of a stored key. `before` is the same key as it was: its counters go on.
    pub(super) fn of_key(row: &ApiKeyRow, before: Option<&Self>, clock: Arc<dyn Clock>) -> Self {
        let kind = Kind::Key { id: row.id.clone(), name: row.name.clone() };
        let connections = row.allowed_connections.as_array().filter(|list| !list.is_empty());
        Self {
            allowed_models: ModelPatterns::of(&row.allowed_models),
            allowed_connections: connections
                .map(|list| Arc::new(list.iter().filter_map(Value::as_str).map(ConnectionId::from).collect())),
            no_log: row.no_log,
            stream_default_legacy: row.extra.get("streamDefaultMode").and_then(Value::as_str) == Some("legacy"),
            retries: before.map_or_else(Arc::default, |before| Arc::clone(&before.retries)),
            expires_at: row.expires_at,
            hash: row.secret_hash.clone(),
            usable: row.is_active && row.revoked_at.is_none(),
            limits: Limits::of(row, before.map(|before| &before.limits)),
            load: before.map_or_else(Arc::default, |before| Arc::clone(&before.load)),
            ..Self::free(kind, Scopes::of(&row.scopes), clock)
        }
    }

    /// Whether it may use this model, by the name it asked for.
    pub fn may_use_model(&self, model: &str) -> bool {
        self.allowed_models.matches(model)
    }

    /// Count one request against the limits of the key. A refused one is not counted.
    ///
    /// # Errors
    /// Which limit is reached, and how long to wait.
    pub fn check_rate(&self) -> Result<(), LimitReached> {
        self.limits.check(self.clock.wall().0)
    }

    /// Who it is, for the audit log: never a secret.
    pub fn label(&self) -> String {
        match &self.kind {
            Kind::Key { id, name } => format!("key:{name} ({id})"),
            Kind::Session { subject, .. } => subject.clone(),
            Kind::Service => "service".to_owned(),
            Kind::Anonymous => "anonymous".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_prefix_pattern_needs_its_slash() {
        let patterns = ModelPatterns::of(&json!(["openai/*", "team", "groq/llama"]));

        let asked = ["openai/gpt", "openai-foo/gpt", "openai", "team", "team2", "groq/llama", "groq/other"];

        let verdicts = asked.map(|model| patterns.matches(model));
        assert_eq!(verdicts, [true, false, false, true, false, true, false]);
    }

    #[test]
    fn an_empty_list_and_a_star_allow_everything_and_broken_entries_nothing() {
        assert_eq!(ModelPatterns::of(&json!([])), ModelPatterns::All);
        assert_eq!(ModelPatterns::of(&json!(["a", "*"])), ModelPatterns::All);
        assert!(!ModelPatterns::of(&json!([7])).matches("a"));
        let words = ["*", "a/*", "a", "a*", "*/a", "", "/*", "a/*/*"];
        assert_eq!(words.map(ModelPatterns::is_pattern), [true, true, true, false, false, false, false, false]);
    }

    #[test]
    fn a_key_without_scopes_infers_and_a_manage_key_only_manages() {
        let of = |words: Value| Scopes::of(&words);

        assert_eq!(of(json!([])), Scopes { inference: true, management: None });
        assert_eq!(of(json!(["manage"])), Scopes { inference: false, management: Some(Role::Admin) });
        assert_eq!(of(json!(["inference", "admin"])), Scopes { inference: true, management: Some(Role::Admin) });
        assert_eq!(of(json!(["viewer", "operator"])), Scopes { inference: false, management: Some(Role::Operator) });
        assert_eq!(of(json!(["self:usage"])), Scopes::default());
    }
}
