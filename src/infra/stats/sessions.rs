//! Sessions that clients name: where the last request went, how many there were. Each belongs to a client key, so that two
//! tenants with the same name for a session have two.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use omniroute_actors::ids::{ConnectionId, KeyId, ModelName};
use serde_json::{Value, json};

use super::finished::{Finished, SessionName};

/// A session that is idle this long is over.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// Sessions that are remembered.
pub const MOST: usize = 10_000;
/// Of so many that are idle the longest gives way, instead of all being looked through.
const LOOKED_AT: usize = 64;
/// Sessions of callers without a key.
const NOBODY: &str = "";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    created: i64,
    last_active: i64,
    requests: u64,
    connection: Option<ConnectionId>,
    model: Option<ModelName>,
}

fn shown(key: &Option<KeyId>) -> &str {
    key.as_ref().map_or(NOBODY, KeyId::as_str)
}

/// A session and the key that it belongs to.
type Name = (Option<KeyId>, SessionName);

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    by_name: HashMap<Name, Session>,
    looked: i64,
}

impl Sessions {
    /// Count a request, if it named a session.
    pub fn hear(&mut self, finished: &Finished, now: i64) {
        let Some(session) = &finished.session else { return };
        let name = (finished.key.clone(), session.clone());
        if self.by_name.len() >= MOST && !self.by_name.contains_key(&name) {
            self.make_room();
        }
        let session = self.by_name.entry(name).or_insert_with(|| Session {
            created: now,
            last_active: now,
            requests: 0,
            connection: None,
            model: None,
        });
        session.last_active = now;
        session.requests += 1;
        // A request that nobody answered leaves the session where it was.
        if let Some((connection, model)) = &finished.answered {
            session.connection = Some(connection.clone());
            session.model.clone_from(model);
        }
    }

    fn make_room(&mut self) {
        let some = self.by_name.iter().take(LOOKED_AT);
        let oldest = some.min_by_key(|(_, session)| session.last_active).map(|(name, _)| name.clone());
        oldest.map(|name| self.by_name.remove(&name));
    }

    /// End what is idle for too long; a minute is near enough.
    pub fn forget_idle(&mut self, now: i64) {
        if now.saturating_sub(self.looked) < 60_000 {
            return;
        }
        self.looked = now;
        let idle = i64::try_from(IDLE.as_millis()).unwrap_or(i64::MAX);
        self.by_name.retain(|_, session| now.saturating_sub(session.last_active) < idle);
    }

    /// How many are alive.
    pub fn alive(&self, now: i64) -> usize {
        self.living(now).count()
    }

    fn living(&self, now: i64) -> impl Iterator<Item = (&Name, &Session)> {
        let idle = i64::try_from(IDLE.as_millis()).unwrap_or(i64::MAX);
        self.by_name.iter().filter(move |(_, session)| now.saturating_sub(session.last_active) < idle)
    }

    /// As the API shows them, the latest first.
    pub fn to_json(&self, now: i64, most: usize) -> Value {
        let mut all: Vec<_> = self.living(now).collect();
        all.sort_by(|a, b| b.1.last_active.cmp(&a.1.last_active).then_with(|| a.0.cmp(b.0)));
        let mut by_key: BTreeMap<&str, usize> = BTreeMap::new();
        all.iter().for_each(|((key, _), _)| *by_key.entry(shown(key)).or_default() += 1);
        let line = |((key, name), session): &(&Name, &Session)| {
            json!({
                "sessionId": name.to_string(), "apiKeyId": shown(key), "createdAt": session.created, "lastActive": session.last_active,
                "requestCount": session.requests, "connectionId": session.connection, "model": session.model,
                "ageMs": now.saturating_sub(session.created),
            })
        };
        let sessions: Vec<_> = all.iter().take(most).map(line).collect();
        json!({"count": all.len(), "sessions": sessions, "byApiKey": by_key})
    }
}
