//! Going away without anybody noticing, in steps:
//!
//! ```text
//! SIGTERM        delay over            a second before the end        end
//!   |-- Accept ------|-- Finish ----------------|-- Cut ------------------|-- Over
//!   readiness 503,   no new connections,        every stream that still    flush and leave
//!   still serving    what runs may end          runs gets its error event
//! ```
//! `Over` comes as soon as nothing is in flight after the delay, but not before the connections that were accepted last had
//! the time to say what they want.

use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::clock::{Clock, Moment};

use super::lifecycle::Lifecycle;
use super::notify::ServiceManager;

/// The time that streams have to write their error event.
pub const LAST_WORDS: Duration = Duration::from_secs(1);
/// The time that an accepted connection has to be read: nobody counts it as in flight until then.
const LAST_ACCEPTED: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How much longer the service manager must wait than we plan to take.
const FLUSHING: Duration = Duration::from_secs(15);

/// How long each step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    began: Moment,
    /// New calls are accepted for that long.
    pub delay: Duration,
    /// What runs may take that long afterwards.
    pub timeout: Duration,
    settle: Duration,
    hurry: bool,
}

/// Where a drain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Still serving, so that load balancers notice first.
    Accept,
    /// Nothing new; what runs may end.
    Finish,
    /// What still runs ends now, with an error event.
    Cut,
    /// Nothing is left, or no time.
    Over,
}

impl Schedule {
    /// A drain that begins now. With nothing to wait for (a person at a terminal, no call in flight) the delay is left
    /// out.
    pub const fn new(began: Moment, delay: Duration, timeout: Duration, hurry: bool) -> Self {
        let [delay, settle] = if hurry { [Duration::ZERO; 2] } else { [delay, LAST_ACCEPTED] };
        Self { began, delay, timeout, settle, hurry }
    }

    /// Whether it ends at once, because nothing is to be waited for.
    pub const fn is_hurried(&self) -> bool {
        self.hurry
    }

    /// The step of this moment.
    pub fn step(&self, now: Moment, in_flight: u64) -> Step {
        let passed = now.since(self.began);
        let cut_at = self.delay.saturating_add(self.timeout.saturating_sub(LAST_WORDS));
        let idle = in_flight == 0 && passed >= self.delay.saturating_add(self.settle);
        match passed {
            _ if passed < self.delay => Step::Accept,
            _ if idle || passed >= cut_at.saturating_add(LAST_WORDS) => Step::Over,
            _ if passed >= cut_at => Step::Cut,
            _ => Step::Finish,
        }
    }

    /// The longest it can take.
    pub fn longest(&self) -> Duration {
        self.delay.saturating_add(self.timeout.max(LAST_WORDS))
    }
}

/// Walk through the steps. `stop_accepting` is called once, before `Finish`.
pub async fn run(schedule: Schedule, lifecycle: &Lifecycle, clock: &Arc<dyn Clock>, stop_accepting: impl FnOnce()) {
    ServiceManager.stopping(schedule.longest() + FLUSHING);
    follow(schedule, lifecycle, clock, stop_accepting).await;
}

/// [`run`] for a part of the process: the service manager need not know.
pub async fn follow(schedule: Schedule, lifecycle: &Lifecycle, clock: &Arc<dyn Clock>, stop_accepting: impl FnOnce()) {
    lifecycle.drain();
    let mut stop_accepting = Some(stop_accepting);
    let (mut at, mut told) = (Step::Accept, clock.now());
    tracing::info!(in_flight = lifecycle.in_flight(), delay_ms = millis(schedule.delay), "going away");
    loop {
        let (now, in_flight) = (clock.now(), lifecycle.in_flight());
        let step = schedule.step(now, in_flight);
        if step > Step::Accept
            && let Some(stop) = stop_accepting.take()
        {
            stop();
        }
        if step >= Step::Cut && at < Step::Cut && in_flight > 0 {
            tracing::warn!(in_flight, "the time to drain is over, streams are cut");
            lifecycle.cut();
        }
        if step == Step::Over {
            return;
        }
        if now.since(told) >= TELL_EVERY {
            ServiceManager.status(&format!("going away, {in_flight} requests in flight"));
            told = now;
        }
        at = step;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn millis(duration: Duration) -> u64 {
    omniroute_actors::clock::millis(duration)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;
    use omniroute_actors::clock::ManualClock;

    use super::*;

    const START: Moment = Moment::from_millis(1_000);

    fn schedule(delay_ms: u64, timeout_ms: u64) -> Schedule {
        Schedule::new(START, Duration::from_millis(delay_ms), Duration::from_millis(timeout_ms), false)
    }

    fn steps(schedule: Schedule, in_flight: u64, after_ms: &[u64]) -> Vec<Step> {
        let at = |ms: &u64| schedule.step(START.after(Duration::from_millis(*ms)), in_flight);
        after_ms.iter().map(at).collect()
    }

    #[test]
    fn calls_are_accepted_during_the_delay_whether_or_not_any_runs() {
        let schedule = schedule(5_000, 10_000);

        assert_eq!(steps(schedule, 0, &[0, 4_999]), [Step::Accept, Step::Accept]);
        assert_eq!(steps(schedule, 9, &[0, 4_999]), [Step::Accept, Step::Accept]);
    }

    #[test]
    fn it_is_over_as_soon_as_nothing_runs_after_the_delay() {
        assert_eq!(steps(schedule(5_000, 10_000), 0, &[5_249, 5_250]), [Step::Finish, Step::Over]);
    }

    #[test]
    fn what_runs_is_cut_one_second_before_the_end() {
        let steps = steps(schedule(5_000, 10_000), 1, &[5_000, 13_999, 14_000, 14_999, 15_000]);

        assert_eq!(steps, [Step::Finish, Step::Finish, Step::Cut, Step::Cut, Step::Over]);
    }

    #[test]
    fn even_without_any_time_streams_get_their_error_event() {
        assert_eq!(steps(schedule(0, 0), 1, &[0, 999, 1_000]), [Step::Cut, Step::Cut, Step::Over]);
        assert_eq!(schedule(0, 0).longest(), LAST_WORDS);
    }

    #[test]
    fn in_a_hurry_there_is_no_delay() {
        let schedule = Schedule::new(START, Duration::from_secs(5), Duration::from_secs(9), true);

        assert_eq!(schedule.step(START, 0), Step::Over);
    }

    #[tokio::test]
    async fn a_stream_that_never_ends_is_cut_and_left_behind() {
        let manual = Arc::new(ManualClock::at(START));
        let clock: Arc<dyn Clock> = manual.clone();
        let lifecycle = Arc::new(Lifecycle::new(START));
        lifecycle.ready();
        let _stream = lifecycle.enter();
        let (mut cut, stopped) = (lifecycle.watch_cut(), Cell::new(0));
        let drive = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                manual.advance(Duration::from_millis(500));
            }
        };

        tokio::select! {
            () = run(schedule(2_000, 5_000), &lifecycle, &clock, || stopped.set(stopped.get() + 1)) => {}
            () = drive => {}
        }

        std::future::poll_fn(|context| cut.poll(context)).await;
        assert_eq!(stopped.get(), 1);
        assert_eq!(lifecycle.phase(), super::super::lifecycle::Phase::Draining);
    }

    #[tokio::test]
    async fn nothing_is_cut_when_everything_ends_in_time() {
        let manual = Arc::new(ManualClock::at(START));
        let clock: Arc<dyn Clock> = manual.clone();
        let lifecycle = Arc::new(Lifecycle::new(START));
        let mut cut = lifecycle.watch_cut();
        let request = lifecycle.enter();

        let ends = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(request);
            manual.advance(LAST_ACCEPTED);
        };
        let ((), ()) = tokio::join!(run(schedule(0, 9_000), &lifecycle, &clock, || {}), ends);

        assert!(std::future::poll_fn(|context| cut.poll(context)).now_or_never().is_none());
    }
}
