//! Which calls one worker takes: no more than it can serve in time ([`Pace`]), shared fairly between keys.
//! Pure: the time and what was measured are arguments.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::pace::{Pace, SATURATED, Shown, WINDOW};
use super::share::level;

/// While the loop is held up for so long, what comes in no longer fits. Hundreds of calls at once are a burst that passes.
const FLOOD: Duration = Duration::from_millis(100);

/// One key in one window.
#[derive(Debug, Default, Clone, Copy)]
struct Use {
    asked: u32,
    taken: u32,
    /// It asked for more than its share in the window before.
    greedy: bool,
}

/// One look at the event loop.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When.
    pub now: Instant,
    /// By how much a timer was late.
    pub late: Duration,
    /// How long the loop had work, since it began.
    pub busy: Duration,
}

/// What is known about the window that runs.
#[derive(Debug)]
struct Window {
    first: Sample,
    last: Sample,
    best: Duration,
}

/// The valve of one worker.
#[derive(Debug)]
pub struct Valve {
    pace: Pace,
    /// What each key may have in a window.
    level: u32,
    uses: HashMap<usize, Use>,
    /// Calls that ended in this window.
    ended: u32,
    window: Option<Window>,
}

impl Default for Valve {
    fn default() -> Self {
        Self { pace: Pace::default(), level: u32::MAX, uses: HashMap::new(), ended: 0, window: None }
    }
}

impl Valve {
    /// Whether a call of this key is taken.
    pub fn takes(&mut self, key: usize, now: Instant) -> bool {
        let level = if self.uses.len() > 1 { self.level } else { u32::MAX };
        let one = self.uses.entry(key).or_default();
        one.asked = one.asked.saturating_add(1);
        let takes = one.taken < level && self.pace.takes(now, !one.greedy);
        one.taken += u32::from(takes);
        takes
    }

    /// A call that was taken is over.
    pub const fn end(&mut self) {
        self.ended = self.ended.saturating_add(1);
    }

    /// Whether it limits at the moment.
    pub const fn limits(&self) -> bool {
        self.pace.limit().is_some()
    }

    /// Whether nobody has asked lately.
    pub fn is_unused(&self) -> bool {
        self.uses.is_empty() && !self.limits()
    }

    /// Look at the loop, which may be late by `most`.
    pub fn see(&mut self, sample: Sample, most: Duration) {
        let Some(window) = &mut self.window else {
            self.window = Some(Window { first: sample, last: sample, best: Duration::MAX });
            return;
        };
        // Who is held up without work is starved by others.
        let working = share(window.last, sample) >= SATURATED;
        self.pace.hold(working && sample.late > most);
        if working && sample.late > FLOOD {
            self.pace.brace();
        }
        window.last = sample;
        window.best = window.best.min(sample.late);
        let length = sample.now.duration_since(window.first.now);
        if length >= WINDOW {
            let (busy, best) = (share(window.first, sample), window.best);
            *window = Window { first: sample, last: sample, best: Duration::MAX };
            self.close(length, best.as_secs_f64() / most.as_secs_f64().max(f64::EPSILON), busy);
        }
    }

    /// Forget the window that runs: nobody looks at the loop for a while.
    pub fn rest(&mut self) {
        self.window = None;
    }

    fn close(&mut self, length: Duration, lateness: f64, busy: f64) {
        let (asked, taken) = (self.sum(|one| one.asked), self.sum(|one| one.taken));
        let ended = std::mem::take(&mut self.ended);
        self.pace.learn(&Shown { length, lateness, busy, asked, taken, ended });
        let scale = WINDOW.as_secs_f64() / length.max(WINDOW).as_secs_f64();
        let mut demands: Vec<u32> = self.uses.values().map(|one| whole(f64::from(one.asked) * scale)).collect();
        let budget = self.pace.limit().map(|limit| whole(limit * WINDOW.as_secs_f64()));
        self.level = budget.map_or(u32::MAX, |budget| level(&mut demands, budget));
        let level = f64::from(self.level);
        self.uses.retain(|_, one| {
            let was = std::mem::take(one);
            one.greedy = f64::from(was.asked) * scale > level;
            was.asked > 0
        });
    }

    fn sum(&self, pick: fn(&Use) -> u32) -> u32 {
        self.uses.values().map(pick).fold(0, u32::saturating_add)
    }
}

/// The busy share of the time between two looks.
fn share(from: Sample, to: Sample) -> f64 {
    let (busy, all) = (to.busy.saturating_sub(from.busy), to.now.saturating_duration_since(from.now));
    busy.as_secs_f64() / all.as_secs_f64().max(f64::EPSILON)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of calls; a cast saturates")]
fn whole(count: f64) -> u32 {
    count.ceil() as u32
}

#[cfg(test)]
mod tests;
