//! How many calls a second one worker takes, learned from how late its event loop is, and shared fairly between keys.
//! Pure: lateness and length of a window are arguments.
//!
//! Calls in flight are no measure of load here: a thousand slow streams cost less than a hundred short answers. What
//! tells is the delay of the event loop: while even the best sample of a window is late, there is a queue that does not
//! drain (as CoDel has it), and fewer calls are taken; then, window by window, a little more again.

use std::collections::HashMap;
use std::time::Duration;

use super::share::level;

/// Length of a window.
pub const WINDOW: Duration = Duration::from_millis(100);
/// A worker takes as many calls per window however late it is: lateness may have another cause than calls.
const FLOOR: f64 = 10.0;
/// After a late window this share of what was taken is taken.
const LESS: f64 = 0.8;
/// After a window in time so much more.
const MORE: f64 = 1.1;
/// Windows in a row with twice as much room as calls, after which nothing is limited.
const CALM: u32 = 10;

/// One key in one window.
#[derive(Debug, Default, Clone, Copy)]
struct Use {
    asked: u32,
    taken: u32,
}

/// The valve of one worker.
#[derive(Debug)]
pub struct Valve {
    /// Calls per window, while they are limited.
    budget: Option<f64>,
    /// What each key may have of it.
    level: u32,
    uses: HashMap<usize, Use>,
    calm: u32,
}

impl Default for Valve {
    fn default() -> Self {
        Self { budget: None, level: u32::MAX, uses: HashMap::new(), calm: 0 }
    }
}

impl Valve {
    /// Whether a call of this key is taken.
    pub fn takes(&mut self, key: usize) -> bool {
        let one = self.uses.entry(key).or_default();
        one.asked = one.asked.saturating_add(1);
        let takes = one.taken < self.level;
        one.taken += u32::from(takes);
        takes
    }

    /// Whether it limits at the moment.
    pub const fn limits(&self) -> bool {
        self.budget.is_some()
    }

    /// A window is over. `late`: even the best sample was later than allowed.
    pub fn close(&mut self, late: bool, length: Duration) {
        let sum = |pick: fn(&Use) -> u32| self.uses.values().map(|one| f64::from(pick(one))).sum::<f64>();
        let scale = WINDOW.as_secs_f64() / length.max(WINDOW).as_secs_f64();
        let (asked, taken) = (sum(|one| one.asked) * scale, sum(|one| one.taken) * scale);
        self.budget = match self.budget {
            _ if late => Some((taken.min(self.budget.unwrap_or(f64::MAX)) * LESS).max(FLOOR)),
            Some(budget) => self.more(budget, asked),
            None => None,
        };
        let mut demands: Vec<u32> = self.uses.values().map(|one| scaled(one.asked, scale)).collect();
        self.level = self.budget.map_or(u32::MAX, |budget| level(&mut demands, whole(budget)));
        self.uses.clear();
    }

    fn more(&mut self, budget: f64, asked: f64) -> Option<f64> {
        self.calm = if budget > asked * 2.0 { self.calm + 1 } else { 0 };
        if self.calm < CALM {
            return Some(budget * MORE + 1.0);
        }
        self.calm = 0;
        None
    }
}

fn scaled(count: u32, scale: f64) -> u32 {
    whole(f64::from(count) * scale)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of calls; a cast saturates")]
fn whole(count: f64) -> u32 {
    count.ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that can serve `capacity` calls per window: who asks for more makes it late.
    fn run(valve: &mut Valve, windows: u32, capacity: u32, demands: &[u32]) -> Vec<u32> {
        let mut taken = vec![0; demands.len()];
        for _ in 0..windows {
            taken = demands
                .iter()
                .enumerate()
                .map(|(key, asks)| (0..*asks).map(|_| u32::from(valve.takes(key))).sum())
                .collect();
            valve.close(taken.iter().sum::<u32>() > capacity, WINDOW);
        }
        taken
    }

    #[test]
    fn nothing_is_limited_while_the_loop_is_in_time() {
        let mut valve = Valve::default();

        assert_eq!(run(&mut valve, 20, 1_000, &[900]), [900]);
        assert!(!valve.limits());
    }

    #[test]
    fn ten_times_the_capacity_is_cut_to_about_the_capacity() {
        let mut valve = Valve::default();

        let taken = run(&mut valve, 100, 1_000, &[10_000]);

        assert!((700..=1_200).contains(&taken[0]), "{taken:?}");
    }

    #[test]
    fn a_noisy_key_takes_nothing_from_a_quiet_one() {
        let mut valve = Valve::default();

        let taken = run(&mut valve, 100, 1_000, &[10_000, 10, 50]);

        assert_eq!(taken[1..], [10, 50]);
    }

    #[test]
    fn when_the_flood_ends_everything_is_taken_again_within_some_seconds() {
        let mut valve = Valve::default();
        run(&mut valve, 50, 1_000, &[10_000]);

        let taken = run(&mut valve, 60, 1_000, &[400]);

        assert_eq!((taken, valve.limits()), (vec![400], false));
    }

    #[test]
    fn some_calls_are_taken_however_late_it_is() {
        let mut valve = Valve::default();

        let taken = run(&mut valve, 200, 0, &[500]);

        assert_eq!(taken, [10]);
    }

    #[test]
    fn a_window_that_took_longer_counts_for_what_it_was() {
        let mut valve = Valve::default();
        (0..1_000).for_each(|_| assert!(valve.takes(0)));

        valve.close(true, WINDOW * 10);

        assert_eq!((0..1_000).filter(|_| valve.takes(0)).count(), 80);
    }
}
