//! What a connection actor publishes: a read-only view that routers and handlers read without a lock and
//! without a message. The actor is its only writer, except for three counters that callers move themselves:
//! the gate (to take a probe), the slots and the latency average.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use actix::Addr;
use arc_swap::{ArcSwap, ArcSwapOption};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::config::ConnectionConfig;
use super::latency::PeakEwma;
use super::lease::Permit;
use super::slots::Slots;
use super::{Connection, Outcomes};
use crate::clock::{Clock, Moment};
use crate::connection::report::Report;
use crate::ids::{ConnectionId, ModelName, ProviderId};
use crate::resilience::gate::{BreakerState, Gate, GateView};
use crate::resilience::health::Remembered;
use crate::resilience::lockout::Lockouts;
use crate::resilience::outcome::{Outcome, Terminal};
use crate::supervisor::{Registry, Revive};

/// Why a connection does not take a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Switched off.
    Disabled,
    /// Out of service until somebody acts.
    Terminal(Terminal),
    /// Resting; the outcome that caused it.
    CoolingDown(Option<Outcome>),
    /// Its breaker is open.
    Open,
    /// Its breaker is half open and the probe is out.
    Probing,
    /// It does not serve this model for now.
    ModelLocked,
    /// As many requests in flight as it may carry.
    Saturated,
    /// As many requests per minute as it may carry.
    LocalRateLimit,
}

impl Refusal {
    /// The word for headers, logs and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Terminal(terminal) => terminal.as_str(),
            Self::CoolingDown(_) => "cooling_down",
            Self::Open => "breaker_open",
            Self::Probing => "breaker_probing",
            Self::ModelLocked => "model_locked",
            Self::Saturated => "saturated",
            Self::LocalRateLimit => "local_rate_limit",
        }
    }
}

/// A refusal and when to come back, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// When it may be different.
    pub retry_at: Option<Moment>,
}

/// Totals since the process started.
#[derive(Debug, Default)]
pub struct Totals {
    /// Requests admitted.
    pub admitted: AtomicU64,
    /// Whole answers.
    pub succeeded: AtomicU64,
    /// Attempts that ended otherwise, whoever was to blame.
    pub failed: AtomicU64,
}

/// The published view.
pub struct ConnectionHandle {
    id: ConnectionId,
    provider: ProviderId,
    config: ArcSwap<ConnectionConfig>,
    gate: Gate,
    cooldown_until: AtomicU64,
    terminal: AtomicU8,
    lockouts: ArcSwap<Lockouts>,
    limiter: ArcSwapOption<DefaultDirectRateLimiter>,
    slots: Slots,
    latency: PeakEwma,
    totals: Totals,
    published: ArcSwap<Remembered>,
    address: ArcSwapOption<Addr<Connection>>,
    registry: Option<Addr<Registry>>,
}

impl std::fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionHandle")
            .field("id", &self.id)
            .field("gate", &self.gate.view())
            .finish_non_exhaustive()
    }
}

impl ConnectionHandle {
    /// A handle for a connection that starts in the given state.
    pub fn new(config: ConnectionConfig, gate: GateView, was: Remembered, registry: Option<Addr<Registry>>) -> Self {
        let handle = Self {
            id: config.id.clone(),
            provider: config.provider.clone(),
            limiter: ArcSwapOption::new(limiter(config.requests_per_minute)),
            config: ArcSwap::from_pointee(config),
            gate: Gate::new(gate),
            cooldown_until: AtomicU64::new(0),
            terminal: AtomicU8::new(0),
            lockouts: ArcSwap::default(),
            slots: Slots::default(),
            latency: PeakEwma::default(),
            totals: Totals::default(),
            published: ArcSwap::default(),
            address: ArcSwapOption::empty(),
            registry,
        };
        handle.publish(was);
        handle
    }

    /// Its id.
    pub const fn id(&self) -> &ConnectionId {
        &self.id
    }

    /// Its provider.
    pub const fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// Its configuration now.
    pub fn config(&self) -> Arc<ConnectionConfig> {
        self.config.load_full()
    }

    /// The gate.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.slots.taken()
    }

    /// The latency average.
    pub const fn latency(&self) -> &PeakEwma {
        &self.latency
    }

    /// The share of its quota that is left, 0 to 1, as far as its provider lets it be known.
    pub const fn headroom(&self) -> Option<f32> {
        None
    }

    /// The totals.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What the actor last published.
    pub fn remembered(&self) -> Arc<Remembered> {
        self.published.load_full()
    }

    /// Whether it would take a request for this model, without taking it.
    ///
    /// # Errors
    /// Why not.
    pub fn look(&self, model: &str, now: Moment) -> Result<(), Refused> {
        if !self.config.load().is_active {
            return Err(Refused { why: Refusal::Disabled, retry_at: None });
        }
        if let Some(terminal) = terminal_from(self.terminal.load(Ordering::Acquire)) {
            return Err(Refused { why: Refusal::Terminal(terminal), retry_at: None });
        }
        let until = Moment::from_millis(self.cooldown_until.load(Ordering::Acquire));
        if now < until {
            let why = Refusal::CoolingDown(self.published.load().cooldown.map(|cooldown| cooldown.reason));
            return Err(Refused { why, retry_at: Some(until) });
        }
        if let Some(until) = self.lockouts.load().until(model, now) {
            return Err(Refused { why: Refusal::ModelLocked, retry_at: Some(until) });
        }
        let view = self.gate.view();
        match view.state {
            BreakerState::Open | BreakerState::HalfOpen if now < view.not_before => Err(refused_by(view)),
            _ => Ok(()),
        }
    }

    /// Take a request: a slot, a cell of the limiter and a pass through the gate, or none of them.
    ///
    /// # Errors
    /// Why not.
    pub fn acquire(self: &Arc<Self>, model: &ModelName, clock: &Arc<dyn Clock>) -> Result<Permit, Refused> {
        let now = clock.now();
        self.look(model.as_str(), now)?;
        let config = self.config.load();
        if !self.slots.take(config.max_concurrent) {
            return Err(Refused { why: Refusal::Saturated, retry_at: None });
        }
        let passed = self
            .pass_limiter(now)
            .and_then(|()| self.gate.admit(now, config.health.breaker.probe_lease).map_err(refused_by));
        match passed {
            Ok(admission) => {
                self.totals.admitted.fetch_add(1, Ordering::Relaxed);
                Ok(Permit::new(Arc::clone(self), admission, model.clone(), Arc::clone(clock)))
            }
            Err(refused) => {
                self.slots.give_back();
                Err(refused)
            }
        }
    }

    /// Hand reports to the actor. A dead one is revived first: no report of a failure may vanish.
    pub(crate) fn deliver(&self, reports: Vec<Report>) {
        let address = self.address.load();
        match (address.as_ref().filter(|address| address.connected()), &self.registry) {
            (Some(address), _) => address.do_send(Outcomes(reports)),
            (None, Some(registry)) => registry.do_send(Revive { id: self.id.clone(), reports }),
            (None, None) => {}
        }
    }

    /// The actor behind it, if it lives.
    pub fn address(&self) -> Option<Addr<Connection>> {
        self.address.load().as_ref().filter(|address| address.connected()).map(|address| address.as_ref().clone())
    }

    pub(crate) fn set_address(&self, address: Addr<Connection>) {
        self.address.store(Some(Arc::new(address)));
    }

    pub(crate) fn give_back(&self) {
        self.slots.give_back();
    }

    /// The actor's own: show the health to everybody.
    pub(crate) fn publish(&self, remembered: Remembered) {
        let until = remembered.cooldown.map_or(0, |cooldown| cooldown.until.as_millis());
        self.cooldown_until.store(until, Ordering::Release);
        self.terminal.store(terminal_to(remembered.terminal), Ordering::Release);
        if **self.lockouts.load() != remembered.lockouts {
            self.lockouts.store(Arc::new(remembered.lockouts.clone()));
        }
        self.published.store(Arc::new(remembered));
    }

    /// The actor's own: show a new configuration.
    pub(crate) fn configure(&self, config: ConnectionConfig) {
        if self.config.load().requests_per_minute != config.requests_per_minute {
            self.limiter.store(limiter(config.requests_per_minute));
        }
        self.config.store(Arc::new(config));
    }

    fn pass_limiter(&self, now: Moment) -> Result<(), Refused> {
        let limiter = self.limiter.load();
        let Some(limiter) = limiter.as_ref() else { return Ok(()) };
        limiter.check().map_err(|not_until| Refused {
            why: Refusal::LocalRateLimit,
            retry_at: Some(now.after(not_until.wait_time_from(DefaultClock::default().now()))),
        })
    }
}

fn refused_by(view: GateView) -> Refused {
    let why = if view.state == BreakerState::HalfOpen { Refusal::Probing } else { Refusal::Open };
    Refused { why, retry_at: Some(view.not_before) }
}

fn limiter(per_minute: u32) -> Option<Arc<DefaultDirectRateLimiter>> {
    std::num::NonZeroU32::new(per_minute).map(|rate| Arc::new(RateLimiter::direct(Quota::per_minute(rate))))
}

const fn terminal_to(terminal: Option<Terminal>) -> u8 {
    match terminal {
        None => 0,
        Some(Terminal::Expired) => 1,
        Some(Terminal::Banned) => 2,
        Some(Terminal::CreditsExhausted) => 3,
    }
}

const fn terminal_from(byte: u8) -> Option<Terminal> {
    match byte {
        1 => Some(Terminal::Expired),
        2 => Some(Terminal::Banned),
        3 => Some(Terminal::CreditsExhausted),
        _ => None,
    }
}
