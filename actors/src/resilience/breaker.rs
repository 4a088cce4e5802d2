//! The breaker of one connection: it opens on failures in a row *or* on the share of failures in a rolling
//! window with a minimum volume.
//!
//! Why both: a run of failures opens quickly on a dead upstream even when traffic is thin, but a brown-out
//! that fails every third call never makes a run. The window sees it; the minimum volume keeps two unlucky
//! calls after an idle night from opening anything.
//!
//! The state itself lives in the [`Gate`](super::gate::Gate); this struct holds the counts and says where the
//! gate moves next. Results of an older generation say nothing.

use super::backoff::{Jitter, open_for};
use super::gate::{Admission, BreakerState, GateView};
use super::outcome::Signal;
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
    pub fn hear(
        &mut self,
        gate: GateView,
        admission: Admission,
        signal: Signal,
        now: Moment,
        jitter: Jitter,
    ) -> Option<GateView> {
        if admission.generation != gate.generation {
            return None;
        }
        match gate.state {
            BreakerState::Closed | BreakerState::Degraded => self.hear_closed(gate, signal, now, jitter),
            BreakerState::HalfOpen if admission.probe => self.hear_probe(gate, signal, now, jitter),
            BreakerState::Open | BreakerState::HalfOpen => None,
        }
    }

    /// Forget every failure, as an operator's reset does.
    pub fn reset(&mut self, now: Moment) {
        self.close(now);
        self.cycles = 0;
    }

    fn hear_closed(&mut self, gate: GateView, signal: Signal, now: Moment, jitter: Jitter) -> Option<GateView> {
        match signal {
            Signal::Silent => None,
            Signal::Alive => {
                self.consecutive = 0;
                self.window.record(false, now);
                self.label(gate)
            }
            Signal::Failure => {
                self.consecutive = self.consecutive.saturating_add(1);
                self.window.record(true, now);
                if self.trips(now) { Some(self.open(gate, now, jitter)) } else { self.label(gate) }
            }
        }
    }

    fn hear_probe(&mut self, gate: GateView, signal: Signal, now: Moment, jitter: Jitter) -> Option<GateView> {
        match signal {
            // The place goes to the next caller at once.
            Signal::Silent => Some(gate.moved(BreakerState::HalfOpen, Moment::START)),
            Signal::Failure => Some(self.open(gate, now, jitter)),
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
        let Counts { calls, failures } = self.window.counts(now);
        let share_reached =
            u64::from(failures) * 100 >= u64::from(calls) * u64::from(self.settings.failure_rate_percent);
        self.consecutive >= self.settings.failure_threshold || (calls >= self.settings.minimum_calls && share_reached)
    }

    fn open(&mut self, gate: GateView, now: Moment, jitter: Jitter) -> GateView {
        // One that stayed closed for long starts its ladder anew; one that flaps climbs on.
        if gate.state != BreakerState::HalfOpen && now.since(self.closed_at) > self.settings.reset_timeout * 10 {
            self.cycles = 0;
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
    use std::time::Duration;

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
            let view = self.gate.view();
            if let Some(to) = self.breaker.hear(view, admission, signal, self.now, Jitter::NONE) {
                self.gate.exchange(view, to).unwrap();
            }
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
        fn any_history_keeps_the_promises(events in prop::collection::vec((0u8..4, 0u64..40_000), 1..200)) {
            let mut rig = Rig::new(SETTINGS);
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
                    rig.hear(admission, [Signal::Alive, Signal::Failure, Signal::Silent][kind as usize]);
                }
            }

            rig.now = rig.now.after(Duration::from_secs(700));
            prop_assert!(rig.call(Signal::Alive));
            prop_assert!(matches!(rig.state(), BreakerState::Closed));
        }
    }
}
