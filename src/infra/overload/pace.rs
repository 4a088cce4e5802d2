//! How many calls a second one worker takes, learned from how late and how busy its event loop is. Pure: the time, the
//! lateness and the busy share are arguments.
//!
//! Calls in flight are no measure of load here: a thousand slow streams cost less than a hundred short answers. What
//! tells is the delay of the event loop: while even the best sample of a window is late, there is a queue that does not
//! drain (as CoDel has it). A late loop that has idle time is not overloaded but starved by others, and taking fewer
//! calls would not help it.
//!
//! How many calls fit is told by those that ended while the loop was so busy. Not by those that were taken: most of what a
//! call costs comes with its answer, when the provider has thought, and who steers by what was just let in swings.

use std::time::Duration;

use tokio::time::Instant;

/// Length of a window.
pub const WINDOW: Duration = Duration::from_millis(50);
/// So many late windows in a row are no burst that passes.
const LASTING: u32 = 5;
/// So many calls a second are taken however late it is: lateness may have another cause than calls.
const FLOOR: f64 = 20.0;
/// Calls that may come at once at the slowest pace, and as a time at any other.
const BURST: (f64, Duration) = (4.0, Duration::from_millis(5));
/// Calls that may come when the limit begins: a burst has its stragglers.
const FIRST: f64 = 10.0;
/// From this share of busy time on a loop that is late is late because of its work.
pub const SATURATED: f64 = 0.9;
/// The share of busy time that is aimed at while calls are limited: near 1 everybody waits long.
const AIM: f64 = 0.7;
/// The most that a window adds to a pace that is below what was carried.
const GROWTH: f64 = 0.2;
/// The share of the pace that is kept while the loop is late.
const HELD: f64 = 0.1;
/// How a pace that was carried follows the busy share: slower than the costs of calls follow them.
const FOLLOW: f64 = 0.01;
/// The least and the most that a late loop takes of what it carries.
const CUT: (f64, f64) = (0.1, 0.95);
/// The weight of the newest window in what is usual: about a second is remembered.
const NEWEST: f64 = 0.05;
/// Windows in a row in which nothing was refused and there was idle time, after which nothing is limited.
const CALM: u32 = 20;

/// What one window has shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// How long it was.
    pub length: Duration,
    /// The smallest lateness over the most that is allowed.
    pub lateness: f64,
    /// The share of the time in which the loop had work.
    pub busy: f64,
    /// Calls that asked to be taken.
    pub asked: u32,
    /// Calls that were taken.
    pub taken: u32,
    /// Calls that ended.
    pub ended: u32,
}

impl Shown {
    fn per_second(&self, calls: u32) -> f64 {
        f64::from(calls) / self.length.max(WINDOW).as_secs_f64()
    }
}

/// The pace of one worker.
#[derive(Debug, Default)]
pub struct Pace {
    /// Calls a second, while they are limited.
    limit: Option<f64>,
    /// Calls a second that ended, as is usual lately.
    ended: f64,
    /// The share of busy time, likewise.
    busy: f64,
    tokens: f64,
    counted: Option<Instant>,
    /// The last look at the loop found it late.
    held: bool,
    late: u32,
    calm: u32,
}

impl Pace {
    /// Calls a second, while they are limited.
    pub const fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Whether there is room for a call. `owing`: it may use what comes in the window ahead.
    pub fn takes(&mut self, now: Instant, owing: bool) -> bool {
        let Some(limit) = self.limit else { return true };
        let since = self.counted.replace(now).map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
        let (few, time) = BURST;
        let most = (limit * time.as_secs_f64()).max(few);
        let pace = if self.held { (limit * HELD).max(FLOOR) } else { limit };
        self.tokens = pace.mul_add(since.as_secs_f64(), self.tokens).min(most.max(self.tokens));
        let least = if owing { -a_window(limit) } else { 0.0 };
        let takes = self.tokens - 1.0 >= least;
        self.tokens -= f64::from(u8::from(takes));
        takes
    }

    /// Whether the loop is late at the moment: while calls are limited hardly any more are taken then, so that what stands
    /// still for a moment is made up for at full speed and not with the little that is left free.
    pub const fn hold(&mut self, late: bool) {
        self.held = late;
    }

    /// The loop is held up far longer than allowed: until it is known whether that lasts, no more than is usual.
    pub fn brace(&mut self) {
        if self.limit.is_none() {
            self.begin(self.ended);
        }
    }

    fn begin(&mut self, limit: f64) {
        let limit = limit.max(FLOOR);
        (self.limit, self.tokens, self.counted, self.calm) = (Some(limit), a_window(limit).max(FIRST), None, 0);
    }

    /// A window is over.
    pub fn learn(&mut self, shown: &Shown) {
        self.ended += (shown.per_second(shown.ended) - self.ended) * NEWEST;
        self.busy += (shown.busy - self.busy) * NEWEST;
        let late = shown.lateness > 1.0 && shown.busy >= SATURATED;
        self.late = if late { self.late + 1 } else { 0 };
        let fits = self.carried() * less(shown.lateness);
        match self.limit {
            None if self.late >= LASTING => self.begin(fits),
            Some(limit) if late => self.limit = Some(fits.min(limit).max(FLOOR)),
            Some(limit) => self.limit = self.steer(limit, shown),
            None => {}
        }
    }

    /// Calls a second that the loop carries when it has no idle time.
    fn carried(&self) -> f64 {
        self.ended / self.busy.max(f64::EPSILON)
    }

    /// To what was carried, and beyond it slowly toward the busy share that is aimed at. A pace that nobody asked for
    /// proves nothing.
    fn steer(&mut self, limit: f64, shown: &Shown) -> Option<f64> {
        let refused = shown.asked > shown.taken;
        self.calm = if refused || shown.busy > AIM { 0 } else { self.calm + 1 };
        let proven = AIM * self.carried();
        let limit = match refused {
            true if limit < proven => proven.min(limit * (1.0 + GROWTH)),
            true if self.busy > AIM => proven.max(limit * (1.0 - FOLLOW)),
            true => limit * (1.0 + FOLLOW * (AIM - self.busy)),
            false => limit,
        };
        (self.calm < CALM).then_some(limit.max(FLOOR))
    }
}

/// The calls of one window at this pace.
fn a_window(limit: f64) -> f64 {
    limit * WINDOW.as_secs_f64()
}

/// What is left of the pace: the later, the less.
fn less(lateness: f64) -> f64 {
    let (least, most) = CUT;
    (1.0 - (lateness - 1.0) / 10.0).clamp(least, most)
}
