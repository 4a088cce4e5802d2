//! Whether a stream is too slow to be of use. Some providers never stop sending and never finish either.
//!
//! `lost` is how long our own thread has stood still so far (see [`crate::infra::lateness`]): a window is as much longer, at
//! most twice as long; when more was lost, nobody can tell and nobody is judged.

use std::time::Duration;

use tokio::time::Instant;

/// A client that reads slower than this is what everybody waits for, and the provider is not judged by that time.
const SLOW_READER: Duration = Duration::from_secs(1);

/// The pace of one stream, looked at window by window.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Tokens that a window must bring.
    wanted: u64,
    window: Duration,
    since: Instant,
    tokens: u64,
    lost: Duration,
}

impl Pace {
    /// A stream that begins now must bring so many tokens per second over each window; 0 = none.
    pub fn new(per_second: u64, window: Duration, now: Instant, lost: Duration) -> Option<Self> {
        let wanted = u128::from(per_second).saturating_mul(window.as_millis()).div_ceil(1_000);
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        (wanted > 0).then_some(Self { wanted, window, since: now, tokens: 0, lost })
    }

    /// When to look again.
    pub fn alarm(&self, lost: Duration) -> Instant {
        self.since + self.window + lost.saturating_sub(self.lost).min(self.window)
    }

    /// The client came back for more after this pause, with so many tokens seen.
    pub fn resumed(&mut self, pause: Duration, tokens: u64, now: Instant, lost: Duration) {
        if pause > SLOW_READER {
            self.begin(tokens, now, lost);
        }
    }

    /// Whether a whole window has passed without enough.
    pub fn is_too_slow(&mut self, tokens: u64, now: Instant, lost: Duration) -> bool {
        if now < self.alarm(lost) {
            return false;
        }
        let came = tokens.saturating_sub(self.tokens);
        let anybody_can_tell = lost.saturating_sub(self.lost) <= self.window;
        self.begin(tokens, now, lost);
        anybody_can_tell && came < self.wanted
    }

    const fn begin(&mut self, tokens: u64, now: Instant, lost: Duration) {
        (self.since, self.tokens, self.lost) = (now, tokens, lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);
    const NONE: Duration = Duration::ZERO;

    #[test]
    fn a_stream_that_trickles_is_too_slow_and_one_that_flows_is_not() {
        let start = Instant::now();
        let mut pace = Pace::new(2, WINDOW, start, NONE).unwrap();

        assert!(!pace.is_too_slow(0, start + WINDOW / 2, NONE), "the window is not over");
        assert!(!pace.is_too_slow(20, start + WINDOW, NONE));
        assert!(pace.is_too_slow(39, start + WINDOW * 2, NONE));
    }

    #[test]
    fn the_time_in_which_a_client_does_not_read_is_not_the_providers() {
        let start = Instant::now();
        let mut pace = Pace::new(2, WINDOW, start, NONE).unwrap();

        pace.resumed(WINDOW, 5, start + WINDOW, NONE);

        assert!(!pace.is_too_slow(5, start + WINDOW, NONE));
        assert_eq!(pace.alarm(NONE), start + WINDOW * 2);
    }

    #[test]
    fn the_time_in_which_our_own_thread_stood_still_is_not_the_providers() {
        let (start, before) = (Instant::now(), Duration::from_secs(3));
        let mut pace = Pace::new(2, WINDOW, start, before).unwrap();
        let lost = before + WINDOW / 2;

        assert!(!pace.is_too_slow(0, start + WINDOW, lost), "half of the window was ours");
        assert_eq!(pace.alarm(lost), start + WINDOW + WINDOW / 2);
        assert!(!pace.is_too_slow(20, start + WINDOW + WINDOW / 2, lost), "what came late because of us counts");
        assert!(pace.is_too_slow(21, start + WINDOW * 3, lost), "the next window is the provider's alone");
        assert!(!pace.is_too_slow(21, start + WINDOW * 6, lost + WINDOW * 2), "nobody can tell");
    }

    #[test]
    fn without_a_floor_there_is_nothing_to_look_at() {
        assert!(Pace::new(0, WINDOW, Instant::now(), NONE).is_none());
    }
}
