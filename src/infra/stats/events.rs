//! The last transitions of each connection, with what caused them.

use std::collections::{HashMap, VecDeque};

use omniroute_actors::clock::Now;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::resilience::gate::BreakerState;
use omniroute_actors::resilience::health::Transition;

/// Transitions kept of one connection.
pub const PER_CONNECTION: usize = 50;
/// Connections of which transitions are kept.
const CONNECTIONS: usize = 10_000;

/// One transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, Unix milliseconds.
    pub at: i64,
    /// The connection's id.
    pub connection: String,
    /// Its name.
    pub name: String,
    /// Its provider.
    pub provider: String,
    /// One word of a fixed list.
    pub kind: &'static str,
    /// In words.
    pub change: String,
    /// What caused it: an outcome, or an operator's word.
    pub cause: Option<&'static str>,
}

impl Event {
    /// A transition that just happened.
    pub fn of(connection: &ConnectionHandle, transition: &Transition, now: Now) -> Self {
        Self {
            at: now.wall.0,
            connection: connection.id().to_string(),
            name: connection.config().name.clone(),
            provider: connection.provider().to_string(),
            kind: kind(transition),
            change: transition.told(now.moment).to_string(),
            cause: cause(connection, transition),
        }
    }
}

const fn kind(transition: &Transition) -> &'static str {
    match transition {
        Transition::Breaker { to, .. } => match to.state {
            BreakerState::Open => "breaker_opened",
            BreakerState::HalfOpen => "breaker_probing",
            BreakerState::Degraded => "breaker_degraded",
            BreakerState::Closed => "breaker_closed",
        },
        Transition::CoolingDown { .. } => "cooldown_began",
        Transition::CooldownCleared => "cooldown_ended",
        Transition::ModelLocked { .. } => "model_locked",
        Transition::ModelsUnlocked(_) => "models_unlocked",
        Transition::BecameTerminal(_) => "out_of_service",
        Transition::TerminalCleared(_) => "back_in_service",
        Transition::LimitsForgotten => "limits_forgotten",
        Transition::NeedsAttention => "needs_attention",
        Transition::AttentionOver => "attention_over",
    }
}

/// What got worse was caused by the last error; what got better by a success, or by who reset it.
fn cause(connection: &ConnectionHandle, transition: &Transition) -> Option<&'static str> {
    match transition {
        Transition::CoolingDown { reason, .. } => Some(reason.as_str()),
        Transition::BecameTerminal(terminal) => Some(terminal.as_str()),
        Transition::Breaker { to, .. } if matches!(to.state, BreakerState::Closed | BreakerState::HalfOpen) => None,
        Transition::Breaker { .. } | Transition::ModelLocked { .. } | Transition::NeedsAttention => {
            connection.remembered().last_error.as_ref().map(|(_, note)| note.outcome.as_str())
        }
        _ => None,
    }
}

/// The transitions of all connections.
#[derive(Debug, Default)]
pub struct Events {
    by_connection: HashMap<String, VecDeque<Event>>,
}

impl Events {
    /// One more.
    pub fn hear(&mut self, event: Event) {
        if self.by_connection.len() >= CONNECTIONS && !self.by_connection.contains_key(&event.connection) {
            let last = |events: &VecDeque<Event>| events.back().map_or(0, |event| event.at);
            let quietest = self.by_connection.iter().min_by_key(|(_, events)| last(events)).map(|(id, _)| id.clone());
            quietest.map(|id| self.by_connection.remove(&id));
        }
        let events = self.by_connection.entry(event.connection.clone()).or_default();
        if events.len() >= PER_CONNECTION {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// The newest of all connections, or of one, newest first.
    pub fn newest(&self, connection: Option<&str>, most: usize) -> Vec<Event> {
        let wanted = self.by_connection.iter().filter(|(id, _)| connection.is_none_or(|wanted| wanted == id.as_str()));
        let mut all: Vec<_> = wanted.flat_map(|(_, events)| events).collect();
        all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.connection.cmp(&b.connection)));
        all.into_iter().take(most).cloned().collect()
    }
}
