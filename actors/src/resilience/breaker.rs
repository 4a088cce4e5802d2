//! The breaker of one connection: it opens on failures in a row *or* on the share of failures in a rolling
//! window with a minimum volume.
//!
//! Why both: a run of failures opens quickly on a dead upstream even when traffic is thin, but a brown-out
//! that fails every third call never makes a run. The window sees it; the minimum volume keeps two unlucky
//! calls after an idle night from opening anything. Slowness is a second share over the same window, off by default:
//! an upstream that answers everything after two minutes is as good as away for whoever waits.
//!
//! The state itself lives in the [`Gate`](super::gate::Gate); this struct holds the counts and says where the
//! gate moves next. Results of an older generation say nothing.

use std::time::Duration;

use super::backoff::{Jitter, open_for};
use super::gate::{Admission, BreakerState, GateView};
use super::outcome::Signal;
use super::ramp::BUSY_PER_SECOND;
use super::settings::BreakerSettings;
use super::window::{Counts, Window};
use crate::clock::Moment;

/// The counts behind the gate.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: BreakerSettings,
    window: Window,
    consecutive: u32,
    probes_passed: u32,
    cycles: u32,
    closed_at: Moment,
    /// It carried much when it opened.
    was_busy: bool,
}

/// How a call ended, as the breaker sees it.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// The pass it ran under.
    pub admission: Admission,
    /// What it says about the provider.
    pub signal: Signal,
    /// How long its first content took, or all of it when none came.
    pub took: Option<Duration>,
}

impl Breaker {
    /// A fresh breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            window: Window::new(settings.window),
            settings,
            consecutive: 0,
            probes_passed: 0,
            cycles: 0,
            closed_at: Moment::START,
            was_busy: false,
        }
    }

    /// A breaker that goes on where another process stopped.
    pub fn restore(settings: BreakerSettings, consecutive: u32, cycles: u32) -> Self {
        Self { consecutive, cycles, ..Self::new(settings) }
    }

    /// Failures in a row.
    pub const fn consecutive(&self) -> u32 {
        self.consecutive
    }

    /// How often it opened without staying closed for long in between.
    pub const fn cycles(&self) -> u32 {
        self.cycles
    }

    /// Whether traffic should come back step by step, because there was much of it.
    pub const fn returns_slowly(&self) -> bool {
        self.was_busy && !self.settings.ramp.is_zero()
    }

    /// The window's counts.
    pub fn counts(&self, now: Moment) -> Counts {
        self.window.counts(now)
    }

    /// New numbers; the counts stay.
    pub fn configure(&mut self, settings: BreakerSettings) {
        if settings.window != self.settings.window {
            self.window = Window::new(settings.window);
        }
        self.settings = settings;
    }

    /// Hear how a call ended. Says where the gate moves, if it moves.
    pub fn hear(&mut self, gate: GateView, ended: Ended, now: Moment, jitter: Jitter) -> Option<GateView> {
        if ended.admission.generation != gate.generation {
            return None;
        }
        match gate.state {
            BreakerState::Closed | BreakerState::Degraded => self.hear_closed(gate, ended, now, jitter),
            BreakerState::HalfOpen if ended.admission.probe => self.hear_probe(gate, ended, now, jitter),
            BreakerState::Open | BreakerState::HalfOpen => None,
        }
    }

    /// Forget every failure, as an operator's reset does.
    pub fn reset(&mut self, now: Moment) {
        self.close(now);
        self.cycles = 0;
        self.was_busy = false;
    }

    fn hear_closed(&mut self, gate: GateView, ended: Ended, now: Moment, jitter: Jitter) -> Option<GateView> {
        let slow = self.is_slow(ended);
        match ended.signal {
            Signal::Silent => None,
            Signal::Alive => {
                self.consecutive = 0;
                self.window.record(false, slow, now);
                if slow && self.trips(now) { Some(self.open(gate, now, jitter)) } else { self.label(gate) }
            }
            Signal::Failure => {
                self.consecutive = self.consecutive.saturating_add(1);
                self.window.record(true, slow, now);
                if self.trips(now) { Some(self.open(gate, now, jitter)) } else { self.label(gate) }
            }
        }
    }

    fn hear_probe(&mut self, gate: GateView, ended: Ended, now: Moment, jitter: Jitter) -> Option<GateView> {
        match ended.signal {
            // The place goes to the next caller at once.
            Signal::Silent => Some(gate.moved(BreakerState::HalfOpen, Moment::START)),
            Signal::Failure => Some(self.open(gate, now, jitter)),
            Signal::Alive if self.is_slow(ended) => Some(self.open(gate, now, jitter)),
            Signal::Alive => {
                self.probes_passed = self.probes_passed.saturating_add(1);
                if self.probes_passed < self.settings.half_open_successes {
                    return Some(gate.moved(BreakerState::HalfOpen, Moment::START));
                }
                self.close(now);
                Some(gate.moved(BreakerState::Closed, Moment::START))
            }
        }
    }

    fn trips(&self, now: Moment) -> bool {
        let Counts { calls, failures, slow } = self.window.counts(now);
        let reached = |count: u32, percent: u32| u64::from(count) * 100 >= u64::from(calls) * u64::from(percent);
        let slowed = self.settings.slow_call_rate_percent > 0 && reached(slow, self.settings.slow_call_rate_percent);
        let share_reached = slowed || reached(failures, self.settings.failure_rate_percent);
        self.consecutive >= self.settings.failure_threshold || (calls >= self.settings.minimum_calls && share_reached)
    }

    fn is_slow(&self, ended: Ended) -> bool {
        let slow = ended.took.is_some_and(|took| took > self.settings.slow_call);
        slow && self.settings.slow_call_rate_percent > 0
    }

    fn open(&mut self, gate: GateView, now: Moment, jitter: Jitter) -> GateView {
        // One that stayed closed for long starts its ladder anew; one that flaps climbs on.
        if gate.state != BreakerState::HalfOpen && now.since(self.closed_at) > self.settings.reset_timeout * 10 {
            self.cycles = 0;
        }
        if gate.state != BreakerState::HalfOpen {
            let calls = u64::from(self.window.counts(now).calls);
            self.was_busy = calls > u64::from(BUSY_PER_SECOND) * self.settings.window.as_secs().max(1);
        }
        let wait = open_for(self.settings.reset_timeout, self.settings.max_open, self.cycles, jitter);
        self.cycles = self.cycles.saturating_add(1);
        self.probes_passed = 0;
        gate.moved(BreakerState::Open, now.after(wait))
    }

    fn close(&mut self, now: Moment) {
        self.consecutive = 0;
        self.probes_passed = 0;
        self.window.clear();
        self.closed_at = now;
    }

    /// Degraded is a label on flowing traffic: the generation stays, results in flight still count.
    fn label(&self, gate: GateView) -> Option<GateView> {
        let degraded = self.consecutive >= self.settings.degradation_threshold;
        let state = if degraded { BreakerState::Degraded } else { BreakerState::Closed };
        (state != gate.state).then_some(GateView { state, ..gate })
    }
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests {
    use proptest::prelude::*;

    use super::super::gate::Gate;
    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings {
        failure_threshold: 5,
        degradation_threshold: 3,
        reset_timeout: Duration::from_secs(30),
        max_open: Duration::from_secs(300),
        window: Duration::from_secs(30),
        minimum_calls: 10,
        failure_rate_percent: 50,
        half_open_successes: 1,
        probe_lease: Duration::from_secs(30),
        slow_call: Duration::from_secs(5),
        slow_call_rate_percent: 0,
        ramp: Duration::from_secs(10),
    };

    /// A gate and its breaker, driven as the actor drives them.
    struct Rig {
        gate: Gate,
        breaker: Breaker,
        now: Moment,
    }

    impl Rig {
        fn new(settings: BreakerSettings) -> Self {
            Self { gate: Gate::default(), breaker: Breaker::new(settings), now: Moment::from_millis(1) }
        }

        fn admit(&self) -> Option<Admission> {
            self.gate.admit(self.now, SETTINGS.probe_lease).ok()
        }

        fn hear(&mut self, admission: Admission, signal: Signal) {
            self.hear_after(admission, signal, None);
        }

        fn hear_after(&mut self, admission: Admission, signal: Signal, took: Option<Duration>) {
            let view = self.gate.view();
            if let Some(to) = self.breaker.hear(view, Ended { admission, signal, took }, self.now, Jitter::NONE) {
                self.gate.exchange(view, to).unwrap();
            }
        }

        fn slow_call(&mut self) {
            let admission = self.admit().unwrap();
            self.hear_after(admission, Signal::Alive, Some(Duration::from_secs(6)));
        }

        fn call(&mut self, signal: Signal) -> bool {
            self.admit().map(|admission| self.hear(admission, signal)).is_some()
        }

        fn fail_five_times(&mut self) {
            (0..5).for_each(|_| {
                self.call(Signal::Failure);
            });
        }

        fn state(&self) -> BreakerState {
            self.gate.view().state
        }
    }

    #[test]
    fn failures_in_a_row_degrade_and_then_open() {
        let mut rig = Rig::new(SETTINGS);

        let states: Vec<_> = (0..5)
            .map(|_| {
                rig.call(Signal::Failure);
                rig.state()
            })
            .collect();

        use BreakerState::{Closed, Degraded, Open};
        assert_eq!(states, [Closed, Closed, Degraded, Degraded, Open]);
    }

    #[test]
    fn a_brown_out_that_never_fails_in_a_row_opens_by_its_share() {
        let mut rig = Rig::new(SETTINGS);

        for n in 0..10 {
            rig.call(if n % 2 == 1 { Signal::Failure } else { Signal::Alive });
        }

        assert_eq!(rig.state(), BreakerState::Open);
    }

    #[test]
    fn two_unlucky_calls_after_a_quiet_night_open_nothing() {
        let mut rig = Rig::new(SETTINGS);

        rig.call(Signal::Failure);
        rig.call(Signal::Failure);

        assert_eq!(rig.state(), BreakerState::Closed);
    }

    #[test]
    fn a_late_result_from_before_the_trip_changes_nothing() {
        let mut rig = Rig::new(SETTINGS);
        let early = rig.admit().unwrap();
        rig.fail_five_times();

        rig.hear(early, Signal::Alive);

        assert_eq!(rig.state(), BreakerState::Open);
    }

    #[test]
    fn a_probe_that_succeeds_closes_and_one_that_fails_opens_for_longer() {
        let mut rig = Rig::new(SETTINGS);
        rig.fail_five_times();
        rig.now = rig.now.after(Duration::from_secs(30));
        assert!(rig.call(Signal::Failure));
        assert_eq!(rig.gate.view().not_before.since(rig.now), Duration::from_secs(60));

        rig.now = rig.now.after(Duration::from_secs(60));
        assert!(rig.call(Signal::Alive));

        assert_eq!(rig.state(), BreakerState::Closed);
        assert!(rig.call(Signal::Failure), "traffic flows again");
    }

    #[test]
    fn slowness_opens_nothing_unless_it_is_asked_for_and_then_by_its_share() {
        let (mut patient, mut strict) =
            (Rig::new(SETTINGS), Rig::new(BreakerSettings { slow_call_rate_percent: 80, ..SETTINGS }));

        (0..10).for_each(|n| {
            patient.slow_call();
            if n < 2 { assert!(strict.call(Signal::Alive)) } else { strict.slow_call() }
        });

        assert_eq!((patient.state(), strict.state()), (BreakerState::Closed, BreakerState::Open));
    }

    #[test]
    fn a_probe_that_answers_too_late_opens_again() {
        let mut rig = Rig::new(BreakerSettings { slow_call_rate_percent: 80, ..SETTINGS });
        rig.fail_five_times();
        rig.now = rig.now.after(Duration::from_secs(30));

        rig.slow_call();

        assert_eq!(rig.state(), BreakerState::Open);
    }

    #[test]
    fn only_one_that_carried_much_comes_back_slowly() {
        let (mut busy, mut quiet) = (Rig::new(SETTINGS), Rig::new(SETTINGS));
        (0..301).for_each(|_| assert!(busy.call(Signal::Alive)));

        for rig in [&mut busy, &mut quiet] {
            rig.fail_five_times();
            rig.now = rig.now.after(Duration::from_secs(30));
            assert!(rig.call(Signal::Alive));
        }

        assert_eq!((busy.breaker.returns_slowly(), quiet.breaker.returns_slowly()), (true, false));
        busy.breaker.reset(busy.now);
        assert!(!busy.breaker.returns_slowly());
    }

    #[test]
    fn a_probe_that_says_nothing_hands_its_place_on() {
        let mut rig = Rig::new(SETTINGS);
        rig.fail_five_times();
        rig.now = rig.now.after(Duration::from_secs(30));

        assert!(rig.call(Signal::Silent));

        assert!(rig.admit().is_some_and(|admission| admission.probe));
    }

    #[test]
    fn several_probes_may_be_asked_for_and_come_one_at_a_time() {
        let mut rig = Rig::new(BreakerSettings { half_open_successes: 3, ..SETTINGS });
        rig.fail_five_times();
        rig.now = rig.now.after(Duration::from_secs(30));

        let states: Vec<_> = (0..3)
            .map(|_| {
                let probe = rig.admit().unwrap();
                assert!(rig.admit().is_none());
                rig.hear(probe, Signal::Alive);
                rig.state()
            })
            .collect();

        use BreakerState::{Closed, HalfOpen};
        assert_eq!(states, [HalfOpen, HalfOpen, Closed]);
    }

    proptest! {
        /// Whatever happens in whatever order: an open gate lets nothing pass before its time, there is
        /// never more than one live probe, and once all calls succeed it closes.
        #[test]
        fn any_history_keeps_the_promises(
            events in prop::collection::vec((0u8..4, 0u64..40_000), 1..200), slow_rate in prop_oneof![Just(0u32), 1u32..=100],
        ) {
            let mut rig = Rig::new(BreakerSettings { slow_call_rate_percent: slow_rate, ..SETTINGS });
            let mut live: Vec<Admission> = Vec::new();
            for (kind, ms) in events {
                rig.now = rig.now.after(Duration::from_millis(ms));
                let before = rig.gate.view();
                let admitted = rig.admit();
                if before.state == BreakerState::Open && rig.now < before.not_before {
                    prop_assert!(admitted.is_none());
                }
                live.extend(admitted);
                let current = rig.gate.view().generation;
                prop_assert!(live.iter().filter(|a| a.probe && a.generation == current).count() <= 1);
                let index = (ms as usize) % live.len().max(1);
                if kind < 3 && index < live.len() {
                    let admission = live.swap_remove(index);
                    let signal = [Signal::Alive, Signal::Failure, Signal::Silent][kind as usize];
                    rig.hear_after(admission, signal, Some(Duration::from_millis(ms)));
                }
            }

            rig.now = rig.now.after(Duration::from_secs(700));
            prop_assert!(rig.call(Signal::Alive));
            prop_assert!(matches!(rig.state(), BreakerState::Closed));
        }
    }
}
