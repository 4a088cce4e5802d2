//! Books of our own about what was promised, kept beside the engine and compared with it after every event.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Broken;
use crate::clock::Moment;
use crate::connection::handle::ConnectionHandle;
use crate::connection::lease::Permit;
use crate::connection::report::Report;
use crate::resilience::backoff::{LONGEST_HINT, LONGEST_QUOTA_HINT, SHORTEST};
use crate::resilience::gate::{BreakerState, Generation};
use crate::resilience::health::{Heard, Remembered, ResetScope};
use crate::resilience::learned::LONGEST_REST;
use crate::resilience::outcome::Outcome;
use crate::resilience::retry_budget::Terms;

/// Half of the numbers that a generation can be: a step of more is a step back.
const HALF_ROUND: u32 = 1 << 19;
const MINUTE: Duration = Duration::from_secs(60);

pub(super) type Verdict = Result<(), Broken>;

/// Complain unless it holds.
pub(super) fn holds(promise: bool, told: impl FnOnce() -> String) -> Verdict {
    if promise { Ok(()) } else { Err(Broken(told())) }
}

/// What is known about one connection from outside.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Calls that run: their number, the gate's generation, whether it is a probe.
    live: Vec<(usize, Generation, bool)>,
    /// What a provider's hint forbids.
    no_call_before: Moment,
    /// What a provider forbids by saying that nothing is left.
    empty_until: Moment,
    /// What an open breaker forbids.
    open_until: Moment,
    generation: Generation,
    /// The health as it was published when somebody last had a right to change it.
    published: Option<*const Remembered>,
    calls: VecDeque<Moment>,
    /// The deepest queue that was allowed since it was last empty.
    depth: u32,
    /// For each key that waits, how often each other key went since.
    passed: HashMap<usize, HashMap<usize, u32>>,
}

impl Books {
    /// Somebody was let in.
    pub fn granted(&mut self, permit: &Permit, run: usize, from_queue: bool, now: Moment) -> Verdict {
        let handle = permit.handle();
        let told = |what: &str| format!("{what}: run {run} at {} of {handle:?}", now.as_millis());
        let view = handle.gate().view();
        let excused = permit.is_terminal_probe();
        holds(now >= self.no_call_before, || told("a call before the provider's own time"))?;
        holds(now >= self.empty_until, || told("a call although the provider said that nothing is left"))?;
        holds(now >= self.open_until, || told("a call while the breaker is open"))?;
        let right = if permit.is_probe() { BreakerState::HalfOpen == view.state } else { view.state.flows() };
        holds(right && view.generation == permit.generation(), || told("a call against the gate"))?;
        let was = handle.remembered();
        let rests = was.cooldown.is_some_and(|cooldown| cooldown.until > now);
        let locked = was.lockouts.until(permit.model().as_str(), now).is_some();
        holds(!rests && !locked, || told("a call during a rest"))?;
        holds(was.terminal.is_none() || excused, || told("a call out of service"))?;
        let most = handle.most_at_once();
        holds(most == 0 || handle.in_flight() <= most, || told("more at a time than allowed"))?;
        holds(from_queue || handle.queued() == 0 || permit.is_probe(), || told("a newcomer overtook the queue"))?;
        self.live.push((run, permit.generation(), permit.is_probe()));
        let probes = self.live.iter().filter(|(_, generation, probe)| *probe && *generation == view.generation);
        holds(probes.count() <= 1, || told("two probes at a time"))
    }

    /// A call goes out.
    pub fn called(&mut self, handle: &ConnectionHandle, now: Moment) -> Verdict {
        let limit = handle.config().requests_per_minute as usize;
        self.calls.push_back(now);
        while self.calls.front().is_some_and(|at| now.since(*at) >= MINUTE) {
            self.calls.pop_front();
        }
        holds(limit == 0 || self.calls.len() <= 2 * limit, || format!("{} calls a minute of {limit}", self.calls.len()))
    }

    /// The limit of calls changed, or was forgotten: what was before says nothing any more.
    pub fn limits_changed(&mut self) {
        self.calls.clear();
    }

    /// A call ended.
    pub fn ended(&mut self, run: usize) {
        self.live.retain(|(running, ..)| *running != run);
    }

    /// The actor heard a report.
    pub fn heard(&mut self, handle: &ConnectionHandle, heard: &Heard, now: Moment) {
        let hints = handle.config().health.cooldown.use_hints;
        let longest = if heard.outcome == Outcome::QuotaExhausted { LONGEST_QUOTA_HINT } else { LONGEST_HINT };
        let rests = matches!(heard.outcome, Outcome::RateLimited | Outcome::QuotaExhausted);
        if let Some(hint) = heard.retry_after.filter(|_| rests && hints) {
            self.no_call_before = self.no_call_before.max(now.after(hint.clamp(SHORTEST, longest)));
        }
        let view = handle.gate().view();
        self.open_until = if view.state == BreakerState::Open { view.not_before } else { Moment::START };
    }

    /// The actor heard what the headers of an answer said: the last word counts. Whether nothing is left.
    pub fn heard_limits(&mut self, report: &Report, now: Moment) -> bool {
        let refused = report.heard.outcome == Outcome::RateLimited;
        for said in &report.aside.limits {
            let believed = refused || said.limit.is_some_and(|limit| limit > 1);
            let rest = said.reset.filter(|reset| said.remaining == Some(0) && believed && !reset.is_zero());
            self.empty_until = rest.map_or(Moment::START, |reset| now.after(reset.min(LONGEST_REST)));
        }
        !report.aside.limits.is_empty() && self.empty_until > now
    }

    /// An operator reset something.
    pub fn resets(&mut self, scope: &ResetScope) {
        if matches!(scope, ResetScope::Breakers | ResetScope::All) {
            self.breaker_closed();
        }
        if matches!(scope, ResetScope::Cooldowns | ResetScope::All) {
            self.cooldowns_cleared();
        }
        if matches!(scope, ResetScope::Limiters | ResetScope::All) {
            self.limits_changed();
            self.empty_until = Moment::START;
        }
    }

    /// Another process begins: calls and queues are gone, what was forbidden stays so. Headers are stored now and then
    /// only, so that they may be forgotten.
    pub fn after_restart(self) -> Self {
        let Self { no_call_before, open_until, .. } = self;
        Self { no_call_before, open_until, ..Self::default() }
    }

    /// An operator cleared cooldowns, or another credential came.
    pub fn cooldowns_cleared(&mut self) {
        self.no_call_before = Moment::START;
    }

    /// An operator closed the breaker.
    fn breaker_closed(&mut self) {
        self.open_until = Moment::START;
    }

    /// The actor had a right to publish: what it shows now is the health.
    pub fn may_publish(&mut self, handle: &ConnectionHandle) {
        self.published = Some(std::sync::Arc::as_ptr(&handle.remembered()));
    }

    /// Somebody waits from now on.
    pub fn waits(&mut self, key: usize) {
        self.passed.entry(key).or_default();
    }

    /// A waiter of this key got its turn; `still` are the keys that go on waiting.
    pub fn turned(&mut self, key: usize, still: &[usize]) -> Verdict {
        self.passed.retain(|waiting, _| still.contains(waiting));
        if still.contains(&key) {
            self.passed.insert(key, HashMap::new());
        }
        for (waiting, passed) in self.passed.iter_mut().filter(|(waiting, _)| **waiting != key) {
            let times = passed.entry(key).or_default();
            *times += 1;
            holds(*times <= 1, || format!("key {key} went {times} times while key {waiting} waited"))?;
        }
        Ok(())
    }

    /// A waiter of this key had its turn, and the connection did not take it.
    pub fn had_its_turn(&mut self, key: usize) {
        self.passed.entry(key).or_default().clear();
    }

    /// The queue is gone; whoever waited begins anew.
    pub fn queue_lost(&mut self) {
        self.passed.clear();
    }

    /// Nobody but these waits any more.
    pub fn stopped_waiting(&mut self, still: &[usize]) {
        self.passed.retain(|waiting, _| still.contains(waiting));
    }

    /// What holds at any moment.
    pub fn check(&mut self, handle: &ConnectionHandle) -> Verdict {
        let (taken, live) = (handle.in_flight() as usize, self.live.len());
        holds(taken == live, || format!("{taken} slots are taken for {live} calls of {handle:?}"))?;
        let generation = handle.gate().view().generation;
        let step = generation.get().wrapping_sub(self.generation.get()) & ((1 << 20) - 1);
        holds(step < HALF_ROUND, || format!("the generation went back to {generation:?} from {:?}", self.generation))?;
        self.generation = generation;
        let config = handle.config();
        let queued = handle.queued();
        self.depth = if queued == 0 { config.limits.queue_depth } else { self.depth.max(config.limits.queue_depth) };
        holds(queued <= self.depth, || format!("{queued} wait where {} may", self.depth))?;
        let (most, configured) = (handle.most_at_once(), config.max_concurrent);
        holds(configured == 0 || (1..=configured).contains(&most), || format!("{most} at a time of {configured}"))?;
        let now = std::sync::Arc::as_ptr(&handle.remembered());
        let mine = self.published.get_or_insert(now);
        holds(*mine == now, || format!("the health of {handle:?} changed, and nothing was heard"))
    }

    /// How many calls run.
    pub fn running(&self) -> usize {
        self.live.len()
    }
}

/// The extra attempts that one provider saw.
#[derive(Debug, Default)]
pub(super) struct Extras {
    requests: VecDeque<Moment>,
    extra: VecDeque<Moment>,
}

impl Extras {
    /// The first attempt of a request.
    pub fn first(&mut self, now: Moment) {
        self.requests.push_back(now);
    }

    /// A later one: a fifth of the requests of ten seconds, and the floor.
    pub fn another(&mut self, now: Moment) -> Verdict {
        self.extra.push_back(now);
        let forget = |list: &mut VecDeque<Moment>, window: u64| {
            while list.front().is_some_and(|at| now.since(*at) > Duration::from_secs(window)) {
                list.pop_front();
            }
        };
        // The budget's seconds are whole ones: nine of them are surely in its window, never more than ten.
        forget(&mut self.requests, 10);
        forget(&mut self.extra, 9);
        let terms = Terms::default();
        let allowed = self.requests.len() * terms.percent as usize / 100 + terms.floor_per_s as usize * 10;
        holds(self.extra.len() <= allowed, || {
            format!("{} extra attempts for {} requests", self.extra.len(), self.requests.len())
        })
    }
}
