//! What a connection actor publishes: a read-only view that routers and handlers read without a lock and
//! without a message. The actor is its only writer, except for what callers move themselves: the gate (to
//! take a probe), the slots, the limiter's words and the statistics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use actix::Addr;
use arc_swap::{ArcSwap, ArcSwapOption};

use super::config::ConnectionConfig;
use super::latency::PeakEwma;
use super::lease::Permit;
use super::refusal::{Refusal, Refused};
use super::renew::{Renew, Renewed};
use super::slots::Slots;
use super::token::{MintFailure, Token};
use super::traffic::{Ask, Traffic};
use super::{Connection, Outcomes};
use crate::clock::{Clock, Moment};
use crate::connection::report::{self, Report};
use crate::ids::{ConnectionId, ProviderId};
use crate::resilience::gate::{Admission, BreakerState, Gate, GateView};
use crate::resilience::health::Remembered;
use crate::resilience::limiter::Ticket;
use crate::resilience::lockout::Lockouts;
use crate::resilience::outcome::Terminal;
use crate::supervisor::{Registry, Revive};

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
    pub(super) slots: Slots,
    pub(super) traffic: Traffic,
    latency: PeakEwma,
    totals: Totals,
    published: ArcSwap<Remembered>,
    token: ArcSwapOption<Token>,
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
            traffic: Traffic::new(&config),
            config: ArcSwap::from_pointee(config),
            gate: Gate::new(gate),
            cooldown_until: AtomicU64::new(0),
            terminal: AtomicU8::new(0),
            lockouts: ArcSwap::default(),
            slots: Slots::default(),
            latency: PeakEwma::default(),
            totals: Totals::default(),
            published: ArcSwap::default(),
            token: ArcSwapOption::empty(),
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

    /// The totals.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What the actor last published.
    pub fn remembered(&self) -> Arc<Remembered> {
        self.published.load_full()
    }

    /// The token in force, where the credential is exchanged for one; it may have ended.
    pub fn token(&self) -> Option<Arc<Token>> {
        self.token.load_full()
    }

    /// Whether it would take a request for this model, without taking it.
    ///
    /// # Errors
    /// Why not.
    pub fn look(&self, model: &str, now: Moment) -> Result<(), Refused> {
        let config = self.config.load();
        if !config.is_active {
            return Err(Refused { why: Refusal::Disabled, retry_at: None });
        }
        if let Some(terminal) = self.terminal()
            && !self.traffic.terminal_probe_is_due(config.health.terminal_probe, now)
        {
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
            _ => self.traffic.rests(now),
        }
    }

    /// Take a request: a slot, a cell of the limiter and a pass through the gate, or none of them.
    ///
    /// # Errors
    /// Why not.
    pub fn acquire<'a>(self: &Arc<Self>, ask: impl Into<Ask<'a>>, clock: &Arc<dyn Clock>) -> Result<Permit, Refused> {
        let (ask, now) = (ask.into(), clock.now());
        self.look(ask.model.as_str(), now)?;
        self.give_way(now)?;
        self.enter(ask, now, clock).inspect_err(|_| {
            // Its slot was taken for a moment, which the first in line may have met.
            if self.slots.waiting() > 0 {
                self.ask_for_turn();
            }
        })
    }

    /// The same for the first of those that wait: nobody is before it.
    pub(crate) fn acquire_in_turn(self: &Arc<Self>, ask: Ask<'_>, clock: &Arc<dyn Clock>) -> Result<Permit, Refused> {
        let now = clock.now();
        self.look(ask.model.as_str(), now)?;
        self.enter(ask, now, clock)
    }

    /// A newcomer does not overtake those that wait, and stays away while traffic comes back step by step. A probe does neither:
    /// it is what everybody waits for.
    fn give_way(&self, now: Moment) -> Result<(), Refused> {
        if !self.gate.view().state.flows() {
            return Ok(());
        }
        if self.slots.waiting() > 0 {
            return Err(Refused { why: Refusal::Queued, retry_at: None });
        }
        let length = || self.config.load().health.breaker.ramp;
        let ramping = |until| Refused { why: Refusal::Ramping, retry_at: Some(until) };
        if self.traffic.ramp().runs() { self.traffic.ramp().pass(length(), now).map_err(ramping) } else { Ok(()) }
    }

    fn enter(self: &Arc<Self>, ask: Ask<'_>, now: Moment, clock: &Arc<dyn Clock>) -> Result<Permit, Refused> {
        let config = self.config.load();
        if !self.slots.take(self.traffic.most_at_once(&config)) {
            return Err(Refused { why: Refusal::Saturated, retry_at: None });
        }
        match self.spend(ask, &config, now) {
            Ok((pass, ticket)) => {
                self.totals.admitted.fetch_add(1, Ordering::Relaxed);
                Ok(Permit::new(Arc::clone(self), pass, ask.model.clone(), Arc::clone(clock)).with(ticket))
            }
            Err(refused) => {
                self.slots.give_back();
                Err(refused)
            }
        }
    }

    /// A cell of the limiter, a pass through the gate and, at a dead connection, the place of the one that tries it.
    fn spend(&self, ask: Ask<'_>, config: &ConnectionConfig, now: Moment) -> Result<(Pass, Ticket), Refused> {
        let ticket = self.traffic.take_pace(ask.tokens, now)?;
        let passed =
            self.gate.admit(now, config.health.breaker.probe_lease).map_err(refused_by).and_then(|admission| {
                // After the gate: a probe of a dead connection is rare, and one that the gate keeps back would be lost.
                let terminal_probe = self.pass_terminal(config, now).inspect_err(|_| self.gate.release(admission))?;
                Ok(Pass { admission, terminal_probe })
            });
        passed.map(|pass| (pass, ticket)).inspect_err(|_| self.traffic.give_back(&ticket, now))
    }

    fn pass_terminal(&self, config: &ConnectionConfig, now: Moment) -> Result<bool, Refused> {
        match self.terminal() {
            None => Ok(false),
            Some(_) if self.traffic.take_terminal_probe(config.health.terminal_probe, now) => Ok(true),
            Some(terminal) => Err(Refused { why: Refusal::Terminal(terminal), retry_at: None }),
        }
    }

    fn terminal(&self) -> Option<Terminal> {
        terminal_from(self.terminal.load(Ordering::Acquire))
    }

    /// Hand reports to the actor. A dead one is revived first: no report of a failure may vanish.
    pub(crate) fn deliver(&self, reports: Vec<Report>) {
        let address = self.address.load();
        match (address.as_ref().filter(|address| address.connected()), &self.registry) {
            (Some(address), _) => address.do_send(Outcomes(reports)),
            (None, Some(registry)) => registry.do_send(Revive { id: self.id.clone(), reports }),
            (None, None) => report::lost(reports),
        }
    }

    /// Wait until the actor has heard every report of this thread so far, at most `within`: what a failure means for the
    /// next caller is decided there.
    pub async fn caught_up(&self, within: Duration) {
        report::flush();
        if let Some(address) = self.address() {
            let _ = tokio::time::timeout(within, address.send(Outcomes(Vec::new()))).await;
        }
    }

    /// A token to send in place of the credential: the one that is published, or else a new one. `seen` is one that the
    /// provider refused.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn fresh_token(&self, config: &ConnectionConfig, seen: Option<u64>, now: Moment) -> Renewed {
        let fits = |token: &Arc<Token>| token.credential_version == config.credential_version && token.is_valid(now);
        let ask = Renew { seen, credential_version: config.credential_version };
        let Some(token) = self.token().filter(fits).filter(|token| seen.is_none_or(|seen| token.version > seen)) else {
            return match self.living() {
                Some(address) => address.send(ask).await.unwrap_or_else(|_| Err(MintFailure::crashed())),
                None => Err(MintFailure::crashed()),
            };
        };
        if token.must_renew(now)
            && let Some(address) = self.living()
        {
            address.do_send(Renew { seen: Some(token.version), ..ask });
        }
        Ok(token)
    }

    /// The actor behind it; a dead one is revived for the next caller.
    fn living(&self) -> Option<Addr<Connection>> {
        let address = self.address();
        if let (None, Some(registry)) = (&address, &self.registry) {
            registry.do_send(Revive { id: self.id.clone(), reports: Vec::new() });
        }
        address
    }

    /// The actor behind it, if it lives.
    pub fn address(&self) -> Option<Addr<Connection>> {
        self.address.load().as_ref().filter(|address| address.connected()).map(|address| address.as_ref().clone())
    }

    pub(crate) fn set_address(&self, address: Addr<Connection>) {
        self.address.store(Some(Arc::new(address)));
    }

    /// A slot is free again; if somebody waits for it, the actor hears of it.
    pub(crate) fn give_back(&self) {
        if self.slots.give_back() {
            self.ask_for_turn();
        }
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

    /// The actor's own: show a token, or that there is none any more.
    pub(crate) fn publish_token(&self, token: Option<Arc<Token>>) {
        self.token.store(token);
    }

    /// The actor's own: show a new configuration.
    pub(crate) fn configure(&self, config: ConnectionConfig) {
        self.traffic.repace(&config);
        self.config.store(Arc::new(config));
    }
}

/// What a permit passed on its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    /// The gate.
    pub(crate) admission: Admission,
    /// It tries a connection that is out of service.
    pub(crate) terminal_probe: bool,
}

fn refused_by(view: GateView) -> Refused {
    let why = if view.state == BreakerState::HalfOpen { Refusal::Probing } else { Refusal::Open };
    Refused { why, retry_at: Some(view.not_before) }
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
