//! How much time this thread lost itself: while it stood still, nobody it waits for can have been late.
//!
//! A provider's answer may lie in a socket for seconds when the machine is starved or the thread is held up, and a
//! deadline that passed meanwhile says nothing about the provider. Each worker measures by how much its naps are too
//! long ([`nap`]); a wait for a [`Deadline`] gets the time back that was lost during it, at most as much again.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

/// Shorter delays are a busy loop's usual manner: they are shed elsewhere, and acquit nobody.
const STANDSTILL: Duration = Duration::from_millis(25);

thread_local! {
    static LOST: Cell<Meter> = const { Cell::new(Meter { total: Duration::ZERO, due: None }) };
}

/// What one thread lost.
#[derive(Clone, Copy)]
struct Meter {
    total: Duration,
    /// When the nap that runs should end.
    due: Option<Instant>,
}

impl Meter {
    /// The loss up to `now`, the nap included that should have ended by then.
    fn at(self, now: Instant) -> Duration {
        self.total + self.due.map_or(Duration::ZERO, |due| standstill(now.saturating_duration_since(due)))
    }
}

const fn standstill(late: Duration) -> Duration {
    if late.as_millis() < STANDSTILL.as_millis() { Duration::ZERO } else { late }
}

/// Sleep until then and note by how much it was too long; the answer is that.
pub async fn nap(until: Instant) -> Duration {
    LOST.set(Meter { due: Some(until), ..LOST.get() });
    sleep_until(until).await;
    let late = until.elapsed();
    LOST.set(Meter { total: LOST.get().total + standstill(late), due: None });
    late
}

/// All that this thread has lost so far.
pub fn lost() -> Duration {
    LOST.get().at(Instant::now())
}

/// A wait that begins now.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    lost: Duration,
}

impl Wait {
    /// From here on.
    pub fn begin() -> Self {
        Self { lost: lost() }
    }

    /// What was lost since it began.
    pub fn lost(self) -> Duration {
        lost().saturating_sub(self.lost)
    }
}

/// A wait that was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Whoever was waited for had all the time that was meant for it.
    Theirs,
    /// This thread lost so much that nobody can tell.
    Ours,
}

/// A deadline that gives back what this thread lost: at most as much again as was meant at first, never past its end.
#[derive(Debug)]
pub struct Deadline {
    until: Cell<Instant>,
    end: Instant,
    meant: Duration,
    given: Cell<Duration>,
    wait: Wait,
}

impl Deadline {
    /// Whatever comes until `at` is in time, and until `end` what the thread itself held up.
    pub fn new(at: Instant, end: Instant) -> Self {
        let (meant, wait) = (at.saturating_duration_since(Instant::now()), Wait::begin());
        Self { until: Cell::new(at), end: end.max(at), meant, given: Cell::default(), wait }
    }

    /// One that gives nothing back: for waits that judge nobody.
    pub fn firm(at: Instant) -> Self {
        Self::new(at, at)
    }

    /// When it is over, as far as is known now.
    pub fn until(&self) -> Instant {
        self.until.get()
    }

    /// When it is over, whatever is lost.
    pub const fn end(&self) -> Instant {
        self.end
    }

    /// What this thread lost since it was set.
    pub fn lost(&self) -> Duration {
        self.wait.lost()
    }

    /// Wait for this. It is looked at before the clock, so that what came while the thread stood still has come.
    ///
    /// # Errors
    /// Whose fault the delay is.
    pub async fn wait_for<F: Future>(&self, wanted: F) -> Result<F::Output, Late> {
        let mut wanted = pin!(wanted);
        loop {
            if let Ok(came) = timeout_at(self.until.get(), wanted.as_mut()).await {
                return Ok(came);
            }
            self.prolong()?;
        }
    }

    fn prolong(&self) -> Result<(), Late> {
        let (now, lost, given) = (Instant::now(), self.wait.lost(), self.given.get());
        if lost <= given || now >= self.end {
            return Err(Late::Theirs);
        }
        let back = lost.min(self.meant).saturating_sub(given);
        if back.is_zero() {
            return Err(Late::Ours);
        }
        self.given.set(given + back);
        self.until.set((now + back).min(self.end));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const HOUR: Duration = Duration::from_secs(3600);

    fn deadline(ms: u64) -> Deadline {
        Deadline::new(Instant::now() + MS(ms), Instant::now() + HOUR)
    }

    /// As a worker does while calls are in flight.
    fn watch() {
        actix_rt::spawn(async {
            loop {
                nap(Instant::now() + MS(5)).await;
            }
        });
    }

    #[actix_rt::test]
    async fn time_that_the_thread_lost_is_given_back() {
        watch();
        let slow = async {
            tokio::time::sleep(MS(20)).await;
            std::thread::sleep(MS(400));
            tokio::time::sleep(MS(30)).await;
        };

        let came = deadline(300).wait_for(slow).await;

        assert_eq!(came, Ok(()));
        assert!(lost() >= MS(300), "{:?}", lost());
    }

    #[actix_rt::test]
    async fn whoever_had_all_its_time_is_late_and_no_wait_is_endless() {
        let begin = Instant::now();

        let late = deadline(300).wait_for(std::future::pending::<()>()).await;

        assert!(late == Err(Late::Theirs) && begin.elapsed() >= MS(300));
    }

    #[actix_rt::test]
    async fn no_more_is_given_back_than_was_meant_and_then_it_is_our_own_fault() {
        watch();
        let never = async {
            loop {
                tokio::time::sleep(MS(1)).await;
                std::thread::sleep(MS(120));
            }
        };

        let late = deadline(200).wait_for(never).await;

        assert_eq!(late, Err(Late::Ours));
    }

    #[actix_rt::test]
    async fn nothing_is_given_back_past_the_end() {
        watch();
        let begin = Instant::now();
        let held_up = async {
            tokio::time::sleep(MS(20)).await;
            std::thread::sleep(MS(200));
            std::future::pending::<()>().await;
        };

        let late = Deadline::firm(begin + MS(100)).wait_for(held_up).await;

        assert_eq!(late, Err(Late::Theirs));
    }

    #[test]
    fn a_nap_that_is_overdue_counts_before_it_ends_and_a_busy_loop_does_not() {
        let due = Instant::now();
        let meter = Meter { total: MS(100), due: Some(due) };

        let seen = [0, 10, 24, 25, 500].map(|late| meter.at(due + MS(late)).as_millis());

        assert_eq!(seen, [100, 100, 100, 125, 600]);
    }
}
