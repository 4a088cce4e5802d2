//! The connection actor: the only owner and writer of one connection's health.
//!
//! It is a thin shell. [`Health`] decides, the actor reads the clock, moves the gate, publishes, persists and
//! tells the observer.

#[cfg(test)]
#[cfg(not(feature = "loom"))]
pub(crate) mod by_hand;
pub mod config;
pub mod handle;
pub mod latency;
pub mod lease;
mod limits;
pub mod refusal;
pub mod renew;
pub mod report;
pub mod slots;
pub mod snapshot;
pub mod stats;
#[cfg(test)]
#[cfg(not(feature = "loom"))]
pub(crate) mod tests;
pub mod token;
pub mod traffic;
pub mod waiting;
#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod waiting_tests;

use std::cell::RefCell;
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Supervised};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use self::config::ConnectionConfig;
use self::handle::ConnectionHandle;
use self::renew::Minting;
use self::report::Report;
use self::snapshot::Snapshot;
use self::waiting::Waiting;
use crate::guard::{Crashed, Rebuild, guarded};
use crate::ports::{Ports, StateRecord};
use crate::resilience::backoff::Jitter;
use crate::resilience::gate::BreakerState;
use crate::resilience::health::{Cooldown, Health, ResetScope, Transition};

/// The actor.
pub struct Connection {
    handle: Arc<ConnectionHandle>,
    health: Health,
    minting: Minting,
    limits: limits::Limits,
    waiting: Waiting,
    ports: Ports,
    chance: RefCell<SmallRng>,
}

impl Connection {
    /// An actor that goes on with what its handle shows.
    pub fn new(handle: Arc<ConnectionHandle>, ports: Ports) -> Self {
        Self::with(handle, ports, SmallRng::from_rng(&mut rand::rng()))
    }

    /// The same with chances of the caller's choice.
    fn with(handle: Arc<ConnectionHandle>, ports: Ports, chance: SmallRng) -> Self {
        let health = Health::restore(handle.config().health, (*handle.remembered()).clone());
        let limits = limits::Limits::going_on(&handle);
        let mut waiting = Waiting::default();
        waiting.dismiss(&handle);
        let chance = RefCell::new(chance);
        let connection = Self { handle, health, minting: Minting::default(), limits, waiting, ports, chance };
        connection.plan_terminal_probe();
        connection
    }

    fn hear(&mut self, report: &Report) {
        let now = self.ports.clock.now();
        let jitter = self.jitter();
        let changes = self.health.hear(self.handle.gate().view(), &report.heard, now, jitter);
        self.carry_out(&changes);
        self.learn(report, now);
    }

    fn jitter(&self) -> Jitter {
        Jitter::new(self.chance.borrow_mut().random())
    }

    fn reset(&mut self, scope: &ResetScope) -> Vec<Transition> {
        let now = self.ports.clock.now();
        let mut changes = self.health.reset(scope, now);
        if matches!(scope, ResetScope::Breakers | ResetScope::All) {
            changes.extend(self.close_gate());
        }
        if matches!(scope, ResetScope::Limiters | ResetScope::All) {
            changes.extend(self.forget_limits(now));
        }
        self.carry_out(&changes);
        changes
    }

    /// The gate is forced: a probe that is out belongs to an older generation from here on.
    fn close_gate(&self) -> Option<Transition> {
        let from = self.handle.gate().view();
        (from.state != BreakerState::Closed).then(|| {
            let to = self.handle.gate().force(BreakerState::Closed, crate::clock::Moment::START);
            Transition::Breaker { from, to }
        })
    }

    /// Make changes true: move the gate, publish, persist, tell.
    fn carry_out(&self, changes: &[Transition]) {
        for change in changes {
            if let Transition::Breaker { from, to } = change {
                // A lost race means that a router took the probe meanwhile: the verdict was about an older
                // generation and changes nothing.
                let _ = self.handle.gate().exchange(*from, *to);
            }
            self.adjust_traffic(change);
        }
        self.handle.publish(self.health.remembered(self.ports.clock.now()));
        if changes.is_empty() {
            return;
        }
        self.ports.store.save(self.record());
        let now = self.ports.clock.now();
        for change in changes {
            tracing::info!(
                connection.id = %self.handle.id(), provider = %self.handle.provider(), change = %change.told(now),
                "the state of a connection changed"
            );
            self.ports.observer.changed(&self.handle, change);
        }
    }

    fn record(&self) -> StateRecord {
        let now = self.ports.clock.both();
        let was = self.health.remembered(now.moment);
        let view = self.handle.gate().view();
        StateRecord {
            connection: self.handle.id().clone(),
            breaker: view.state,
            open_until: (view.state == BreakerState::Open).then(|| now.to_wall(view.not_before)),
            cycles: was.cycles,
            consecutive: was.consecutive,
            generation: view.generation.get(),
            cooldown: was.cooldown.map(|cooldown| (now.to_wall(cooldown.until), cooldown.reason)),
            level: was.level,
            terminal: was.terminal,
            since: now.to_wall(was.since),
            lockouts: snapshot::lockouts(&was, now),
            attention: was.attention.map(|(at, note)| (now.to_wall(at), note)),
            last_error: was.last_error.map(|(at, note)| (now.to_wall(at), note)),
            learned: self.handle.traffic.learned().records(now),
        }
    }

    fn configure(&mut self, config: ConnectionConfig) {
        let renewed = self.handle.config().credential_version != config.credential_version;
        self.health.configure(config.health);
        self.handle.configure(config);
        if renewed {
            self.handle.publish_token(None);
        }
        let changes = if renewed { self.health.forgive_credential(self.ports.clock.now()) } else { Vec::new() };
        self.carry_out(&changes);
        self.plan_terminal_probe();
        self.serve();
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Reports queue here when the control thread is busy; slots, not the mailbox, bound the work.
        ctx.set_mailbox_capacity(0);
        self.handle.set_address(ctx.address());
    }
}

impl Supervised for Connection {}

impl Rebuild for Connection {
    fn rebuild(&mut self) {
        self.health = Health::restore(self.handle.config().health, (*self.handle.remembered()).clone());
        self.limits = limits::Limits::going_on(&self.handle);
        self.waiting.dismiss(&self.handle);
    }

    fn label(&self) -> String {
        format!("connection {}", self.handle.id())
    }
}

/// These attempts ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Outcomes(pub Vec<Report>);

impl Handler<Outcomes> for Connection {
    type Result = ();

    fn handle(&mut self, Outcomes(reports): Outcomes, ctx: &mut Self::Context) {
        let _ = guarded(self, ctx, "Outcomes", |connection| {
            reports.iter().for_each(|report| connection.hear(report));
            connection.serve();
        });
        self.set_timers(ctx);
    }
}

/// Clear what keeps this connection from serving, and say what was cleared.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<Transition>, Crashed>")]
pub struct Reset(pub ResetScope);

impl Handler<Reset> for Connection {
    type Result = MessageResult<Reset>;

    fn handle(&mut self, Reset(scope): Reset, ctx: &mut Self::Context) -> Self::Result {
        let changes = guarded(self, ctx, "Reset", |connection| {
            let changes = connection.reset(&scope);
            connection.serve();
            changes
        });
        self.set_timers(ctx);
        MessageResult(changes)
    }
}

/// Rest until then, or stop resting: an operator's word.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Crashed>")]
pub struct SetCooldown(pub Option<Cooldown>);

impl Handler<SetCooldown> for Connection {
    type Result = Result<(), Crashed>;

    fn handle(&mut self, SetCooldown(cooldown): SetCooldown, ctx: &mut Self::Context) -> Self::Result {
        guarded(self, ctx, "SetCooldown", |connection| {
            let changes = connection.health.set_cooldown(cooldown, connection.ports.clock.now());
            connection.carry_out(&changes);
            connection.serve();
        })
    }
}

/// Work with this configuration from now on.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Crashed>")]
pub struct ApplyConfig(pub ConnectionConfig);

impl Handler<ApplyConfig> for Connection {
    type Result = Result<(), Crashed>;

    fn handle(&mut self, ApplyConfig(config): ApplyConfig, ctx: &mut Self::Context) -> Self::Result {
        let applied = guarded(self, ctx, "ApplyConfig", |connection| connection.configure(config));
        self.set_timers(ctx);
        applied
    }
}

/// How are you?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Snapshot, Crashed>")]
pub struct GetSnapshot;

impl Handler<GetSnapshot> for Connection {
    type Result = MessageResult<GetSnapshot>;

    fn handle(&mut self, _: GetSnapshot, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(guarded(self, ctx, "GetSnapshot", |connection| {
            let now = connection.ports.clock.both();
            Snapshot::of(&connection.handle, &connection.health.remembered(now.moment), now)
        }))
    }
}
