//! A connection as an operator sees it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::config::Source;
use super::handle::ConnectionHandle;
use crate::clock::{Now, UnixMillis};
use crate::ids::{ConnectionId, ProviderId};
use crate::ports::LockoutRecord;
use crate::resilience::gate::BreakerState;
use crate::resilience::health::{ConnectionState, ErrorNote, Remembered};
use crate::resilience::learned::LearnedRecord;
use crate::resilience::outcome::{Outcome, Terminal};

/// Everything about one connection at one moment, in wall time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its id.
    pub id: ConnectionId,
    /// Its provider.
    pub provider: ProviderId,
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// The one word that matters most now.
    pub state: ConnectionState,
    /// The breaker's state; an open one whose time is up shows as half open.
    pub breaker: BreakerState,
    /// The gate's generation.
    pub generation: u32,
    /// Since when.
    pub since: UnixMillis,
    /// Until when, if that is known.
    pub until: Option<UnixMillis>,
    /// Why.
    pub reason: Option<String>,
    /// The last error and when.
    pub last_error: Option<(UnixMillis, ErrorNote)>,
    /// What a person has to look at, and since when.
    pub needs_attention: Option<(UnixMillis, ErrorNote)>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Calls in the rolling window.
    pub window_calls: u32,
    /// Failures in the rolling window.
    pub window_failures: u32,
    /// Times it opened in a row.
    pub open_cycles: u32,
    /// The cooldown in force.
    pub cooldown: Option<(UnixMillis, Outcome)>,
    /// The step of the cooldown ladder.
    pub backoff_level: u32,
    /// The terminal state.
    pub terminal: Option<Terminal>,
    /// The locked models.
    pub lockouts: Vec<LockoutRecord>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Peak EWMA of the time to first content, milliseconds.
    pub latency_ms: f64,
    /// Requests admitted since the start.
    pub admitted: u64,
    /// Whole answers since the start.
    pub succeeded: u64,
    /// Other ends since the start.
    pub failed: u64,
    /// Most requests at a time, configured or learned; 0 = no limit.
    pub most_at_once: u32,
    /// The limit that was learned from refusals; 0 = none.
    pub learned_most_at_once: u32,
    /// Requests that wait for a turn.
    pub queued: u32,
    /// The share of its pace that could be spent at once; `None` when it is not paced.
    pub room: Option<f32>,
    /// The share that the provider says is left; `None` = unknown.
    pub headroom: Option<f32>,
    /// What the provider said about its limits.
    pub learned: Vec<LearnedRecord>,
    /// The share of calls that succeeded in the last minutes; `None` when there were none.
    pub success_rate: Option<f32>,
    /// How long a call holds its slot on average.
    pub service_time: Option<Duration>,
    /// Traffic comes back step by step.
    pub ramping: bool,
    /// The actor did not answer in time: this is what it last published.
    pub stale: bool,
}

/// What sums over all connections are made of: a snapshot that costs next to nothing.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its provider.
    pub provider: ProviderId,
    /// The one word that matters most now.
    pub state: ConnectionState,
    /// The breaker's state; an open one whose time is up shows as half open.
    pub breaker: BreakerState,
    /// Until when, if that is known.
    pub until: Option<UnixMillis>,
    /// When the last error was.
    pub last_error: Option<UnixMillis>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Requests in flight.
    pub in_flight: u32,
}

impl Standing {
    /// As the connection last published itself.
    pub fn published(handle: &ConnectionHandle, now: Now) -> Self {
        Self::of(handle, &handle.remembered(), now)
    }

    fn of(handle: &ConnectionHandle, was: &Remembered, now: Now) -> Self {
        let view = handle.gate().view();
        let cooling = was.cooldown.filter(|cooldown| cooldown.until > now.moment);
        let breaker = match view.state {
            BreakerState::Open if now.moment >= view.not_before => BreakerState::HalfOpen,
            state => state,
        };
        let state = state(handle.config().is_active, was.terminal, breaker, cooling.is_some());
        let until = match state {
            ConnectionState::Breaker(BreakerState::Open) => Some(view.not_before),
            ConnectionState::CoolingDown => cooling.map(|cooldown| cooldown.until),
            _ => None,
        };
        Self {
            provider: handle.provider().clone(),
            state,
            breaker,
            until: until.map(|moment| now.to_wall(moment)),
            last_error: was.last_error.as_ref().map(|(at, _)| now.to_wall(*at)),
            consecutive_failures: was.consecutive,
            in_flight: handle.in_flight(),
        }
    }
}

impl Snapshot {
    /// As the connection last published itself, without a question to its actor.
    pub fn published(handle: &ConnectionHandle, now: Now) -> Self {
        Self { stale: handle.address().is_none(), ..Self::of(handle, &handle.remembered(), now) }
    }

    /// Of this connection, from what is remembered about it.
    pub fn of(handle: &ConnectionHandle, was: &Remembered, now: Now) -> Self {
        let (config, traffic) = (handle.config(), &handle.traffic);
        let cooling = was.cooldown.filter(|cooldown| cooldown.until > now.moment);
        let Standing { state, breaker, until, .. } = Standing::of(handle, was, now);
        Self {
            id: handle.id().clone(),
            provider: handle.provider().clone(),
            name: config.name.clone(),
            source: config.source,
            state,
            breaker,
            generation: handle.gate().view().generation.get(),
            since: now.to_wall(was.since),
            until,
            reason: reason(state, was, cooling.map(|cooldown| cooldown.reason)),
            last_error: was.last_error.clone().map(|(at, note)| (now.to_wall(at), note)),
            needs_attention: was.attention.clone().map(|(at, note)| (now.to_wall(at), note)),
            consecutive_failures: was.consecutive,
            window_calls: was.counts.calls,
            window_failures: was.counts.failures,
            open_cycles: was.cycles,
            cooldown: cooling.map(|cooldown| (now.to_wall(cooldown.until), cooldown.reason)),
            backoff_level: was.level,
            terminal: was.terminal,
            lockouts: lockouts(was, now),
            in_flight: handle.in_flight(),
            latency_ms: handle.latency().millis(),
            admitted: handle.totals().admitted.load(Ordering::Relaxed),
            succeeded: handle.totals().succeeded.load(Ordering::Relaxed),
            failed: handle.totals().failed.load(Ordering::Relaxed),
            most_at_once: traffic.most_at_once(&config),
            learned_most_at_once: traffic.learned_limit(),
            queued: handle.queued(),
            room: traffic.room(now.moment),
            headroom: handle.headroom_at(now.moment),
            learned: traffic.learned().records(now),
            success_rate: handle.success_rate(now.moment),
            service_time: handle.service_time(),
            ramping: traffic.ramp().runs(),
            stale: false,
        }
    }
}

/// The locked models that are still locked, in wall time.
pub fn lockouts(was: &Remembered, now: Now) -> Vec<LockoutRecord> {
    was.lockouts
        .iter()
        .filter(|(_, lockout)| lockout.until > now.moment)
        .map(|(model, lockout)| LockoutRecord {
            model: model.clone(),
            until: now.to_wall(lockout.until),
            since: now.to_wall(lockout.since),
            failures: lockout.failures,
        })
        .collect()
}

fn state(is_active: bool, terminal: Option<Terminal>, breaker: BreakerState, cooling: bool) -> ConnectionState {
    match (is_active, terminal, breaker) {
        (false, ..) => ConnectionState::Disabled,
        (true, Some(terminal), _) => ConnectionState::Terminal(terminal),
        (true, None, BreakerState::Open | BreakerState::HalfOpen) => ConnectionState::Breaker(breaker),
        (true, None, _) if cooling => ConnectionState::CoolingDown,
        (true, None, BreakerState::Degraded) => ConnectionState::Breaker(BreakerState::Degraded),
        (true, None, BreakerState::Closed) => ConnectionState::Ready,
    }
}

fn reason(state: ConnectionState, was: &Remembered, cooling: Option<Outcome>) -> Option<String> {
    match state {
        ConnectionState::Ready => None,
        ConnectionState::Disabled => Some("switched off".into()),
        ConnectionState::Terminal(terminal) => Some(terminal.as_str().into()),
        ConnectionState::CoolingDown => cooling.map(|outcome| outcome.as_str().into()),
        ConnectionState::Breaker(_) => was.last_error.as_ref().map(|(_, note)| note.outcome.as_str().into()),
    }
}
