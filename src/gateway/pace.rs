//! Whether a stream is too slow to be of use. Some providers never stop sending and never finish either.

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
}

impl Pace {
    /// A stream that begins now must bring so many tokens per second over each window; 0 = none.
    pub fn new(per_second: u64, window: Duration, now: Instant) -> Option<Self> {
        let wanted = u128::from(per_second).saturating_mul(window.as_millis()).div_ceil(1_000);
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        (wanted > 0).then_some(Self { wanted, window, since: now, tokens: 0 })
    }

    /// When to look again.
    pub fn alarm(&self) -> Instant {
        self.since + self.window
    }

    /// The client came back for more after this pause, with so many tokens seen.
    pub fn resumed(&mut self, pause: Duration, tokens: u64, now: Instant) {
        if pause > SLOW_READER {
            (self.since, self.tokens) = (now, tokens);
        }
    }

    /// Whether a whole window has passed without enough.
    pub fn is_too_slow(&mut self, tokens: u64, now: Instant) -> bool {
        if now < self.alarm() {
            return false;
        }
        let came = tokens.saturating_sub(self.tokens);
        (self.since, self.tokens) = (now, tokens);
        came < self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[test]
    fn a_stream_that_trickles_is_too_slow_and_one_that_flows_is_not() {
        let start = Instant::now();
        let mut pace = Pace::new(2, WINDOW, start).unwrap();

        assert!(!pace.is_too_slow(0, start + WINDOW / 2), "the window is not over");
        assert!(!pace.is_too_slow(20, start + WINDOW));
        assert!(pace.is_too_slow(39, start + WINDOW * 2));
    }

    #[test]
    fn the_time_in_which_a_client_does_not_read_is_not_the_providers() {
        let start = Instant::now();
        let mut pace = Pace::new(2, WINDOW, start).unwrap();

        pace.resumed(WINDOW, 5, start + WINDOW);

        assert!(!pace.is_too_slow(5, start + WINDOW));
        assert_eq!(pace.alarm(), start + WINDOW * 2);
    }

    #[test]
    fn without_a_floor_there_is_nothing_to_look_at() {
        assert!(Pace::new(0, WINDOW, Instant::now()).is_none());
    }
}
