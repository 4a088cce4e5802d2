//! What bounds the traffic of one connection at this moment, published beside its health: the pace, the limits that
//! were learned, the ramp after a breaker closed, the place of a probe for a dead connection, and its statistics.
//!
//! The actor decides and publishes here; callers read, spend and count without a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::config::ConnectionConfig;
use super::handle::ConnectionHandle;
use super::refusal::{Refusal, Refused};
use super::stats::Stats;
use crate::clock::{Moment, millis};
use crate::ids::ModelName;
use crate::resilience::learned::Learned;
use crate::resilience::limiter::{Limiter, Pace, Ticket};
use crate::resilience::ramp::Ramp;
use crate::resilience::retry_budget::RetryBudget;

/// No probe is due.
const NEVER: u64 = u64::MAX;

/// What is asked of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The model.
    pub model: &'a ModelName,
    /// The tokens it will use, both ways, as far as that can be guessed; trued up when it ends.
    pub tokens: u64,
}

impl<'a> From<&'a ModelName> for Ask<'a> {
    /// Nothing is known of its size: all of it is charged when it ends.
    fn from(model: &'a ModelName) -> Self {
        Self { model, tokens: 0 }
    }
}

/// The state.
#[derive(Debug)]
pub(crate) struct Traffic {
    pace: ArcSwapOption<Pace>,
    limiter: Limiter,
    learned: ArcSwap<Learned>,
    rest_until: AtomicU64,
    /// A share as bits; not a number = unknown.
    headroom: AtomicU32,
    /// Learned from refusals; 0 = none.
    most_at_once: AtomicU32,
    ramp: Ramp,
    terminal_probe_at: AtomicU64,
    stats: Stats,
    budget: ArcSwap<RetryBudget>,
    turn_asked: AtomicBool,
}

impl Traffic {
    pub(crate) fn new(config: &ConnectionConfig) -> Self {
        let traffic = Self {
            pace: ArcSwapOption::empty(),
            limiter: Limiter::default(),
            learned: ArcSwap::default(),
            rest_until: AtomicU64::new(0),
            headroom: AtomicU32::new(f32::NAN.to_bits()),
            most_at_once: AtomicU32::new(0),
            ramp: Ramp::default(),
            terminal_probe_at: AtomicU64::new(NEVER),
            stats: Stats::default(),
            budget: ArcSwap::default(),
            turn_asked: AtomicBool::new(false),
        };
        traffic.repace(config);
        traffic
    }

    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(crate) const fn ramp(&self) -> &Ramp {
        &self.ramp
    }

    pub(crate) fn budget(&self) -> Arc<RetryBudget> {
        self.budget.load_full()
    }

    pub(crate) fn learned(&self) -> Arc<Learned> {
        self.learned.load_full()
    }

    /// The limit that was learned from refusals; 0 when there is none.
    pub(crate) fn learned_limit(&self) -> u32 {
        self.most_at_once.load(Ordering::Relaxed)
    }

    /// Requests at a time: the configured or the learned limit, whichever is lower; 0 = no limit.
    pub(crate) fn most_at_once(&self, config: &ConnectionConfig) -> u32 {
        match (config.max_concurrent, self.learned_limit()) {
            (0, learned) => learned,
            (configured, 0) => configured,
            (configured, learned) => configured.min(learned),
        }
    }

    pub(crate) fn headroom(&self) -> Option<f32> {
        let share = f32::from_bits(self.headroom.load(Ordering::Relaxed));
        (!share.is_nan()).then_some(share)
    }

    /// The provider said that nothing is left.
    pub(crate) fn rests(&self, now: Moment) -> Result<(), Refused> {
        let until = Moment::from_millis(self.rest_until.load(Ordering::Acquire));
        if now < until {
            return Err(Refused { why: Refusal::LocalRateLimit, retry_at: Some(until) });
        }
        Ok(())
    }

    pub(crate) fn take_pace(&self, tokens: u64, now: Moment) -> Result<Ticket, Refused> {
        let pace = self.pace.load();
        let Some(pace) = pace.as_ref() else { return Ok(Ticket::default()) };
        let refused = |until| Refused { why: Refusal::LocalRateLimit, retry_at: Some(until) };
        self.limiter.take(pace, tokens, now).map_err(refused)
    }

    pub(crate) fn give_back(&self, ticket: &Ticket, now: Moment) {
        if !ticket.is_free() {
            self.limiter.give_back(ticket, now);
        }
    }

    pub(crate) fn true_up(&self, ticket: &Ticket, tokens: u64, now: Moment) {
        self.limiter.true_up(ticket, tokens, now);
    }

    /// The share of the pace that could be spent at once.
    pub(crate) fn room(&self, now: Moment) -> Option<f32> {
        self.pace.load().as_ref().and_then(|pace| self.limiter.room(pace, now))
    }

    /// When the pace and the provider let the next call pass.
    pub(crate) fn free_at(&self, tokens: u64, now: Moment) -> Moment {
        let rest = Moment::from_millis(self.rest_until.load(Ordering::Acquire));
        let paced = self.pace.load().as_ref().map_or(now, |pace| self.limiter.free_at(pace, tokens, now));
        paced.max(rest).max(now)
    }

    /// How much later each further call passes.
    pub(crate) fn spacing(&self) -> Duration {
        self.pace.load().as_ref().map_or(Duration::ZERO, |pace| pace.spacing())
    }

    /// Become the one that tries a dead connection.
    pub(crate) fn take_terminal_probe(&self, every: Duration, now: Moment) -> bool {
        let due = self.terminal_probe_at.load(Ordering::Acquire);
        let next = now.after(every).as_millis();
        let taken = || self.terminal_probe_at.compare_exchange(due, next, Ordering::AcqRel, Ordering::Relaxed);
        !every.is_zero() && due <= now.as_millis() && taken().is_ok()
    }

    pub(crate) fn terminal_probe_is_due(&self, every: Duration, now: Moment) -> bool {
        !every.is_zero() && self.terminal_probe_at.load(Ordering::Acquire) <= now.as_millis()
    }

    /// The next one tries a dead connection then; `None` = nobody does.
    pub(crate) fn set_terminal_probe(&self, at: Option<Moment>) {
        self.terminal_probe_at.store(at.map_or(NEVER, Moment::as_millis), Ordering::Release);
    }

    /// Whether this is the first to ask for a turn of the queue since the last one.
    pub(crate) fn ask_for_turn(&self) -> bool {
        !self.turn_asked.swap(true, Ordering::AcqRel)
    }

    /// Whether a turn was asked for and did not begin yet.
    #[cfg(test)]
    #[cfg(not(feature = "loom"))]
    pub(super) fn turn_is_asked(&self) -> bool {
        self.turn_asked.load(Ordering::Acquire)
    }

    /// The actor's own: turns asked for from here on need another one.
    pub(crate) fn begin_turn(&self) {
        self.turn_asked.store(false, Ordering::Release);
    }

    /// The actor's own: show what was learned.
    pub(crate) fn publish(&self, learned: &Learned, most_at_once: u32, config: &ConnectionConfig, now: Moment) {
        let share = learned.headroom(now).unwrap_or(f32::NAN);
        self.headroom.store(share.to_bits(), Ordering::Relaxed);
        self.rest_until.store(learned.rest_until().as_millis(), Ordering::Release);
        self.most_at_once.store(most_at_once, Ordering::Relaxed);
        if **self.learned.load() != *learned {
            self.learned.store(Arc::new(learned.clone()));
            self.repace(config);
        }
    }

    /// Begin with an empty account.
    pub(crate) fn clear_pace(&self) {
        self.limiter.clear();
        self.ramp.end();
    }

    /// The configured pace, or a lower one that the provider told. What nobody paces is not paced by a header.
    pub(crate) fn repace(&self, config: &ConnectionConfig) {
        let learned = self.learned.load();
        let lower = |configured: u64, learned: Option<u64>| match configured {
            0 => 0,
            configured => learned.map_or(configured, |learned| configured.min(learned)),
        };
        let requests = lower(u64::from(config.requests_per_minute), learned.requests_per_minute().map(u64::from));
        let tokens = lower(config.limits.tokens_per_minute, learned.tokens_per_minute());
        let pace = Pace::new(u32::try_from(requests).unwrap_or(u32::MAX), config.limits.min_gap, tokens);
        if self.pace.load().as_deref() != Some(&pace) {
            self.pace.store((!pace.is_free()).then(|| Arc::new(pace)));
        }
    }
}

impl ConnectionHandle {
    /// The share that the provider says is left, in the emptiest of its buckets; `None` = unknown.
    pub fn headroom(&self) -> Option<f32> {
        self.traffic.headroom()
    }

    /// The same at a moment: what is known only until a reset is unknown after it, without waiting for the actor.
    pub fn headroom_at(&self, now: Moment) -> Option<f32> {
        self.traffic.learned.load().headroom(now)
    }

    /// The first content of this model comes within this time in `q` of all calls; `None` when too few were seen.
    pub fn first_content_quantile(&self, model: &str, q: f64) -> Option<Duration> {
        self.traffic.stats.quantile(model, q)
    }

    /// The same, from `enough` calls on.
    pub fn first_content_quantile_of(&self, model: &str, q: f64, enough: u64) -> Option<Duration> {
        self.traffic.stats.quantile_of(model, q, enough)
    }

    /// The share of calls that succeeded lately; `None` when there were none.
    pub fn success_rate(&self, now: Moment) -> Option<f32> {
        self.traffic.stats.success_rate(now)
    }

    /// Requests at a time, configured or learned; 0 = no limit.
    #[cfg(test)]
    #[cfg(not(feature = "loom"))]
    pub(crate) fn most_at_once(&self) -> u32 {
        self.traffic.most_at_once(&self.config())
    }

    /// How long a call holds its slot on average.
    pub fn service_time(&self) -> Option<Duration> {
        self.traffic.stats.service_time()
    }

    /// The extra attempts that its provider may cause; all connections of a provider share it.
    pub fn retry_budget(&self) -> Arc<RetryBudget> {
        self.traffic.budget()
    }

    pub(crate) fn join_budget(&self, shared: Arc<RetryBudget>) {
        self.traffic.budget.store(shared);
    }

    /// What another process learned, before the first request.
    pub(crate) fn remember_limits(&self, learned: Learned) {
        self.traffic.rest_until.store(learned.rest_until().as_millis(), Ordering::Release);
        self.traffic.learned.store(Arc::new(learned));
        self.traffic.repace(&self.config());
    }
}

/// How long one that comes as number `ahead` (0 first) waits for a slot.
pub(crate) fn slot_wait(ahead: u64, taken: u32, most: u32, service: Option<Duration>) -> Duration {
    // Before anything was measured a call counts as a second.
    let service = millis(service.unwrap_or(Duration::from_secs(1)));
    let free = u64::from(most.saturating_sub(taken));
    if most == 0 || ahead < free {
        return Duration::ZERO;
    }
    Duration::from_millis((ahead - free + 1).saturating_mul(service) / u64::from(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_a_slot_grows_with_the_place_and_shrinks_with_the_slots() {
        let wait = |ahead, taken, most| slot_wait(ahead, taken, most, Some(Duration::from_millis(800))).as_millis();

        assert_eq!([wait(0, 4, 4), wait(3, 4, 4), wait(3, 8, 8)], [200, 800, 400]);
        assert_eq!([wait(0, 3, 4), wait(9, 50, 0)], [0, 0], "a free slot, and no limit");
    }
}
