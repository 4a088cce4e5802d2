//! The gate: one word that says whether a connection may be used, read and changed without a lock.
//!
//! ```text
//!             trip                       time is up: one caller wins the CAS
//!  Closed ----------> Open ------------------------------------------> HalfOpen (probe leased)
//!  Degraded --'         ^                                               |  |  |
//!    ^                  '------------- probe failed --------------------'  |  | lease ran out, or the probe
//!    '------------------------------- enough probes succeeded -------------'  '-> ended without a verdict:
//!                                                                               the place is free again
//! ```
//! The connection actor moves the word for every verdict; a router moves it only to take a probe, a
//! permit only to give one back. The generation counts those moves, so a result that belongs to an older
//! one changes nothing.

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicU64, Ordering};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// The state of a breaker: Closed means that traffic flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Traffic flows.
    Closed,
    /// Traffic flows, but failures add up.
    Degraded,
    /// Nothing passes until the time is up.
    Open,
    /// One probe at a time passes.
    HalfOpen,
}

impl BreakerState {
    /// The word of the store, the metrics and the API (there in upper case).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Degraded => "degraded",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// Whether traffic flows.
    pub const fn flows(self) -> bool {
        matches!(self, Self::Closed | Self::Degraded)
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Closed, Self::Degraded, Self::Open, Self::HalfOpen].into_iter().find(|state| state.as_str() == word)
    }

    const fn bits(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Degraded => 1,
            Self::Open => 2,
            Self::HalfOpen => 3,
        }
    }

    const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Closed,
            1 => Self::Degraded,
            2 => Self::Open,
            _ => Self::HalfOpen,
        }
    }
}

/// Counts the moves of a gate, modulo 2^20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Generation(u32);

const GENERATION_BITS: u32 = 20;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
const MOMENT_BITS: u32 = 42;
const MOMENT_MASK: u64 = (1 << MOMENT_BITS) - 1;

impl Generation {
    /// The number, for snapshots and logs.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// From a stored number.
    pub const fn from_number(number: u32) -> Self {
        Self(number & GENERATION_MASK as u32)
    }

    /// The next one.
    pub const fn next(self) -> Self {
        Self::from_number(self.0.wrapping_add(1))
    }
}

/// What the word holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateView {
    /// The breaker's state.
    pub state: BreakerState,
    /// Open: closed to everybody before this. HalfOpen: the running probe's lease ends then.
    pub not_before: Moment,
    /// Counts the moves.
    pub generation: Generation,
}

impl GateView {
    /// A gate that lets everything pass.
    pub const CLOSED: Self = Self { state: BreakerState::Closed, not_before: Moment::START, generation: Generation(0) };

    /// The next view in line, with a new generation.
    pub const fn moved(self, state: BreakerState, not_before: Moment) -> Self {
        Self { state, not_before, generation: self.generation.next() }
    }

    /// What a caller gets at this moment.
    pub fn ask(self, now: Moment, probe_lease: Duration) -> Answer {
        match self.state {
            BreakerState::Closed | BreakerState::Degraded => Answer::Pass,
            BreakerState::Open | BreakerState::HalfOpen if now < self.not_before => Answer::Refuse,
            BreakerState::Open | BreakerState::HalfOpen => {
                Answer::Probe(self.moved(BreakerState::HalfOpen, now.after(probe_lease)))
            }
        }
    }

    const fn pack(self) -> u64 {
        self.state.bits()
            | (self.not_before.as_millis() & MOMENT_MASK) << 2
            | (self.generation.0 as u64) << (2 + MOMENT_BITS)
    }

    const fn unpack(word: u64) -> Self {
        Self {
            state: BreakerState::from_bits(word),
            not_before: Moment::from_millis(word >> 2 & MOMENT_MASK),
            generation: Generation((word >> (2 + MOMENT_BITS) & GENERATION_MASK) as u32),
        }
    }
}

/// What [`GateView::ask`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go.
    Pass,
    /// Go as the probe, once the word has moved to this view.
    Probe(GateView),
    /// Not now.
    Refuse,
}

/// A pass through the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// The generation it belongs to.
    pub generation: Generation,
    /// Whether it is a probe, whose place must come back.
    pub probe: bool,
}

/// The shared word.
#[derive(Debug)]
pub struct Gate {
    word: AtomicU64,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(GateView::CLOSED)
    }
}

impl Gate {
    /// A gate in that state.
    pub fn new(view: GateView) -> Self {
        Self { word: AtomicU64::new(view.pack()) }
    }

    /// What it says now.
    pub fn view(&self) -> GateView {
        GateView::unpack(self.word.load(Ordering::Acquire))
    }

    /// Ask to pass. The refused learn what they met.
    ///
    /// # Errors
    /// The view that refused.
    pub fn admit(&self, now: Moment, probe_lease: Duration) -> Result<Admission, GateView> {
        let mut view = self.view();
        loop {
            match view.ask(now, probe_lease) {
                Answer::Pass => return Ok(Admission { generation: view.generation, probe: false }),
                Answer::Refuse => return Err(view),
                Answer::Probe(taken) => match self.exchange(view, taken) {
                    Ok(()) => return Ok(Admission { generation: taken.generation, probe: true }),
                    Err(newer) => view = newer,
                },
            }
        }
    }

    /// A probe ended without a verdict: its place is free again at once. Nothing happens when the gate
    /// has moved on.
    pub fn release(&self, admission: Admission) {
        let view = self.view();
        if admission.probe && view.state == BreakerState::HalfOpen && view.generation == admission.generation {
            // A lost race means that somebody newer decided: then there is nothing to give back.
            let _ = self.exchange(view, view.moved(BreakerState::HalfOpen, Moment::START));
        }
    }

    /// Move from one view to another.
    ///
    /// # Errors
    /// The view that was found instead.
    pub fn exchange(&self, from: GateView, to: GateView) -> Result<(), GateView> {
        self.word
            .compare_exchange(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(GateView::unpack)
    }

    /// Put it into a state whatever it was; the new view.
    pub fn force(&self, state: BreakerState, not_before: Moment) -> GateView {
        let mut view = self.view();
        loop {
            let to = view.moved(state, not_before);
            match self.exchange(view, to) {
                Ok(()) => return to,
                Err(newer) => view = newer,
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn open_until(ms: u64) -> Gate {
        Gate::new(GateView::CLOSED.moved(BreakerState::Open, Moment::from_millis(ms)))
    }

    #[test]
    fn an_open_gate_refuses_everybody_and_then_admits_exactly_one_probe() {
        let gate = open_until(1_000);

        let early = (0..200).filter(|_| gate.admit(Moment::from_millis(999), LEASE).is_ok()).count();
        let later = (0..200).filter(|_| gate.admit(Moment::from_millis(1_000), LEASE).is_ok()).count();

        assert_eq!((early, later), (0, 1));
    }

    #[test]
    fn a_probe_that_hangs_frees_its_place_when_its_lease_ends() {
        let gate = open_until(0);
        gate.admit(Moment::from_millis(0), LEASE).unwrap();

        assert!(gate.admit(Moment::from_millis(29_999), LEASE).is_err());
        assert!(gate.admit(Moment::from_millis(30_000), LEASE).is_ok_and(|admission| admission.probe));
    }

    #[test]
    fn an_abandoned_probe_frees_its_place_at_once_and_a_late_one_changes_nothing() {
        let gate = open_until(0);
        let first = gate.admit(Moment::from_millis(0), LEASE).unwrap();
        gate.release(first);
        let second = gate.admit(Moment::from_millis(1), LEASE).unwrap();

        gate.release(first);

        assert!(second.probe);
        assert!(gate.admit(Moment::from_millis(2), LEASE).is_err(), "the second probe still holds the place");
    }

    proptest! {
        #[test]
        fn the_word_keeps_every_field(state in 0u64..4, ms in 0u64..=MOMENT_MASK, number in 0u32..1 << 20) {
            let view = GateView {
                state: BreakerState::from_bits(state),
                not_before: Moment::from_millis(ms),
                generation: Generation::from_number(number),
            };

            prop_assert_eq!(GateView::unpack(view.pack()), view);
        }
    }
}

#[cfg(test)]
#[cfg(feature = "loom")]
mod model {
    //! Every interleaving of callers, an expiring lease and a deciding actor. `scripts/check` runs it.
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn half_way() -> Arc<Gate> {
        Arc::new(Gate::new(GateView::CLOSED.moved(BreakerState::Open, Moment::START)))
    }

    #[test]
    fn of_concurrent_callers_exactly_one_becomes_the_probe() {
        loom::model(|| {
            let gate = half_way();
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let gate = Arc::clone(&gate);
                    thread::spawn(move || gate.admit(Moment::START, LEASE).is_ok())
                })
                .collect();
            let here = gate.admit(Moment::START, LEASE).is_ok();

            let won = callers.into_iter().map(|caller| caller.join().unwrap()).filter(|won| *won).count();

            assert_eq!(won + usize::from(here), 1);
        });
    }

    #[test]
    fn a_probe_given_back_while_the_actor_decides_never_reopens_a_closed_gate() {
        loom::model(|| {
            let gate = half_way();
            let probe = gate.admit(Moment::START, LEASE).unwrap();
            let actor = {
                let gate = Arc::clone(&gate);
                thread::spawn(move || gate.force(BreakerState::Closed, Moment::START))
            };

            gate.release(probe);
            let closed = actor.join().unwrap();

            let view = gate.view();
            assert_eq!(view.state, BreakerState::Closed);
            assert_eq!(view, closed);
        });
    }

    #[test]
    fn a_given_back_place_is_taken_by_one_of_two() {
        loom::model(|| {
            let gate = half_way();
            let probe = gate.admit(Moment::START, LEASE).unwrap();
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let gate = Arc::clone(&gate);
                    thread::spawn(move || gate.admit(Moment::START, LEASE).is_ok())
                })
                .collect();

            gate.release(probe);
            let won = callers.into_iter().map(|caller| caller.join().unwrap()).filter(|won| *won).count();
            let late = usize::from(gate.admit(Moment::START, LEASE).is_ok());

            assert_eq!(won + late, 1);
        });
    }
}
