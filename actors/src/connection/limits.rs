//! What a connection's actor learns about limits, from refusals and from headers, and what it makes of a change of
//! health for the traffic: the ramp, and the probe of a connection that is out of service.

use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message};

use super::Connection;
use super::handle::ConnectionHandle;
use super::report::Report;
use crate::clock::Moment;
use crate::guard::guarded;
use crate::resilience::aimd::Aimd;
use crate::resilience::gate::BreakerState;
use crate::resilience::health::Transition;
use crate::resilience::learned::Learned;
use crate::resilience::outcome::Outcome;

/// What was learned is stored at most this often: it changes with every answer.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// What was learned.
#[derive(Debug, Default)]
pub(super) struct Limits {
    aimd: Aimd,
    learned: Learned,
    saved_at: Option<Moment>,
    fade_at: Option<Moment>,
}

impl Limits {
    /// Goes on with what the handle shows.
    pub(super) fn going_on(handle: &ConnectionHandle) -> Self {
        Self { learned: (*handle.traffic.learned()).clone(), ..Self::default() }
    }
}

impl Connection {
    /// Learn from one report.
    pub(super) fn learn(&mut self, report: &Report, now: Moment) {
        let (heard, aside) = (&report.heard, &report.aside);
        let most = self.handle.config().max_concurrent;
        let before = self.limits.aimd.limit();
        self.limits.aimd.hear(heard.outcome, heard.admitted_at, aside.running, most, now);
        if !aside.limits.is_empty() {
            self.limits.learned.hear(&aside.limits, heard.outcome == Outcome::RateLimited, now);
            self.show_limits(now);
            self.save_now_and_then(now);
        } else if before != self.limits.aimd.limit() {
            self.show_limits(now);
        }
    }

    /// Forget what was learned; whether there was anything to forget.
    pub(super) fn forget_limits(&mut self, now: Moment) -> Option<Transition> {
        let (aimd, learned) = (self.limits.aimd.forget(), self.limits.learned.forget());
        self.handle.traffic.clear_pace();
        self.show_limits(now);
        (aimd || learned).then_some(Transition::LimitsForgotten)
    }

    /// What a change of health means for the traffic.
    pub(super) fn adjust_traffic(&self, change: &Transition) {
        let ramp = self.handle.traffic.ramp();
        match change {
            Transition::Breaker { from, to } => match (from.state, to.state) {
                (BreakerState::HalfOpen, BreakerState::Closed) if self.health.returns_slowly() => {
                    ramp.begin(self.ports.clock.now());
                }
                (_, BreakerState::Open) => ramp.end(),
                _ => {}
            },
            Transition::BecameTerminal(_) => self.plan_terminal_probe(),
            Transition::TerminalCleared(_) => self.handle.traffic.set_terminal_probe(None),
            _ => {}
        }
    }

    /// A dead connection is tried by one request after the interval: not at once, and not all of them together.
    pub(super) fn plan_terminal_probe(&self) {
        let every = self.handle.config().health.terminal_probe;
        let wanted = self.health.terminal().is_some() && !every.is_zero();
        let at = wanted.then(|| self.ports.clock.now().after(self.jitter().lengthen(every)));
        self.handle.traffic.set_terminal_probe(at);
    }

    /// The timers that nobody else sets off.
    pub(super) fn set_timers(&mut self, ctx: &mut Context<Self>) {
        self.set_timer(ctx);
        let now = self.ports.clock.now();
        let next = self.limits.learned.fades_at(now);
        if next.is_some() && next != self.limits.fade_at {
            ctx.notify_later(Fade, next.map_or(Duration::ZERO, |at| at.until(now)) + Duration::from_millis(1));
        }
        self.limits.fade_at = next;
    }

    fn show_limits(&self, now: Moment) {
        let Limits { aimd, learned, .. } = &self.limits;
        self.handle.traffic.publish(learned, aimd.limit(), &self.handle.config(), now);
    }

    fn save_now_and_then(&mut self, now: Moment) {
        if self.limits.saved_at.is_none_or(|saved| now.since(saved) >= SAVE_EVERY) {
            self.limits.saved_at = Some(now);
            self.ports.store.save(self.record());
        }
    }
}

/// Something that was learned is no longer known: a window of the provider ended.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct Fade;

impl Handler<Fade> for Connection {
    type Result = ();

    fn handle(&mut self, _: Fade, ctx: &mut Self::Context) {
        let _ = guarded(self, ctx, "Fade", |connection| connection.show_limits(connection.ports.clock.now()));
        self.set_timers(ctx);
    }
}
