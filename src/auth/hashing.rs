//! The threads that hash passwords: one for whatever time nobody else wants, and one for whoever waited too long for that.
//!
//! A hash takes 19 MiB and tens of milliseconds of a core that requests need. So each thread does one at a time, a request
//! that wants the core of the first gets it at once, and whoever finds all places taken is sent away, which costs next to
//! nothing. On a machine without any time left over operators get in all the same: the second thread has a share of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc as answers};
use tokio::time::timeout;

use super::AdminError;
use crate::infra::crypto::CryptoError;

/// Who is being served and who waits: together they are done in about a second.
const PLACES: usize = 16;
/// Longest wait for time that is left over.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait after that. A machine that has nothing left for the second thread either is too busy to let anybody in.
const DONE_WITHIN: Duration = Duration::from_secs(28);
/// The second thread gets a third of what a request's thread gets where both want a core.
const NICENESS: i32 = 5;

/// Something to do, by whichever thread is first.
type Job = Arc<dyn Fn() + Send + Sync>;

/// Hands work to the threads, which end with it.
pub(super) struct Hashing {
    modest: mpsc::SyncSender<Job>,
    insistent: mpsc::SyncSender<Job>,
    places: Arc<Semaphore>,
    patience: Duration,
}

/// The right to have something hashed. Take it before doing anything else that costs.
pub(super) struct Place<'a> {
    hashing: &'a Hashing,
    _permit: OwnedSemaphorePermit,
}

impl Hashing {
    /// Start the threads.
    pub(super) fn start() -> Self {
        let (modest, insistent) = (thread("passwords", use_what_is_left), thread("passwords-now", step_back));
        Self { modest, insistent, places: Arc::new(Semaphore::new(PLACES)), patience: PATIENCE }
    }

    /// Take a place, if there is one.
    pub(super) fn place(&self) -> Result<Place<'_>, AdminError> {
        let _permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| AdminError::Busy)?;
        Ok(Place { hashing: self, _permit })
    }
}

/// What its queue holds is bounded, because those who hung up stand in it until their turn.
fn thread(name: &str, begin: fn()) -> mpsc::SyncSender<Job> {
    let (jobs, queue) = mpsc::sync_channel::<Job>(PLACES);
    let work = move || {
        begin();
        queue.iter().for_each(|job| job());
    };
    // Without the thread its queue is closed, which is the same as full to whoever comes.
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        tracing::error!(%error, name, "a thread for passwords does not start");
    }
    jobs
}

impl Place<'_> {
    /// Do it when its turn comes, for as long as somebody waits. It may be done twice, at the same time.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl Fn() -> Result<T, CryptoError> + Send + Sync + 'static,
    ) -> Result<T, AdminError> {
        let (job, mut answer) = job(work);
        let in_time = match self.hashing.modest.try_send(Arc::clone(&job)) {
            Ok(()) => timeout(self.hashing.patience, answer.recv()).await.ok(),
            Err(_) => None,
        };
        let done = match in_time {
            Some(done) => done,
            None => {
                self.hashing.insistent.try_send(job).map_err(|_| AdminError::Busy)?;
                timeout(DONE_WITHIN, answer.recv()).await.map_err(|_| AdminError::Busy)?
            }
        };
        Ok(done.unwrap_or_else(|| Err(gone()))?)
    }
}

/// Work that answers once, and is not begun for nobody.
fn job<T: Send + 'static>(
    work: impl Fn() -> Result<T, CryptoError> + Send + Sync + 'static,
) -> (Job, answers::Receiver<Result<T, CryptoError>>) {
    let (reply, answer) = answers::channel(1);
    let job = move || {
        if !reply.is_closed() {
            // Work that panics loses its own answer; the next one is served all the same.
            let done = catch_unwind(AssertUnwindSafe(&work)).unwrap_or_else(|_| Err(gone()));
            drop(reply.try_send(done));
        }
    };
    (Arc::new(job), answer)
}

fn gone() -> CryptoError {
    CryptoError::Password("the thread for passwords is gone".to_owned())
}

/// The calling thread works while its core has nothing else to do, and stops at once when it has (`SCHED_IDLE`, sched(7)).
/// A thread that is only nicer is first let finish its slice: 200 logins at once moved the p99 of calls by 18 % then, and by
/// 6 % so (measured with `scripts/bench`).
#[cfg(target_os = "linux")]
fn use_what_is_left() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
        tracing::debug!(%error, "passwords are hashed at the usual priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn use_what_is_left() {}

/// On Linux this is about the calling thread alone. Where it is refused, one thread is still the bound.
fn step_back() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "passwords are hashed at the usual priority");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// Something that occupies a thread until somebody meets it.
    fn held() -> (Arc<Barrier>, impl Fn() -> Result<(), CryptoError> + Send + Sync + 'static) {
        let meeting = Arc::new(Barrier::new(2));
        let there = Arc::clone(&meeting);
        (meeting, move || {
            there.wait();
            Ok(())
        })
    }

    #[actix_web::test]
    async fn who_finds_all_places_taken_is_sent_away_and_a_place_comes_back_when_its_work_is_done() {
        let hashing = Hashing::start();
        let (go, blocked) = held();
        let mut first = Box::pin(hashing.place().unwrap().run(blocked));
        let _ = futures_util::poll!(first.as_mut());
        let others: Vec<_> = (1..PLACES).map(|_| hashing.place().unwrap().run(|| Ok(()))).collect();

        let turned_away = matches!(hashing.place(), Err(AdminError::Busy));
        go.wait();
        let (first, others) = futures_util::join!(first, futures_util::future::join_all(others));

        assert!(turned_away && first.is_ok() && others.iter().all(Result::is_ok));
        assert_eq!(hashing.places.available_permits(), PLACES);
    }

    #[actix_web::test]
    async fn what_panics_costs_its_caller_an_error_and_nobody_else_the_thread() {
        let hashing = Hashing::start();

        let lost = hashing.place().unwrap().run(|| -> Result<(), CryptoError> { panic!("on purpose") }).await;
        let next = hashing.place().unwrap().run(|| Ok(7)).await;

        assert!(matches!(lost, Err(AdminError::Crypto(_))));
        assert_eq!(next.unwrap(), 7);
    }

    #[actix_web::test]
    async fn nobody_waits_for_who_hung_up() {
        let hashing = Hashing::start();
        let (go, blocked) = held();
        let mut first = Box::pin(hashing.place().unwrap().run(blocked));
        let _ = futures_util::poll!(first.as_mut());
        let (ran, told) = mpsc::channel();
        let gone = hashing.place().unwrap().run(move || {
            ran.send(()).ok();
            Ok(())
        });
        let mut gone = Box::pin(gone);
        let _ = futures_util::poll!(gone.as_mut());
        drop(gone);

        go.wait();
        first.await.unwrap();
        hashing.place().unwrap().run(|| Ok(())).await.unwrap();

        assert!(told.try_recv().is_err(), "it was hashed for nobody");
    }

    #[actix_web::test]
    async fn those_who_hung_up_neither_pile_up_nor_keep_anybody_out() {
        let hashing = Hashing { patience: Duration::ZERO, ..Hashing::start() };
        let (go, blocked) = held();
        hashing.modest.send(Arc::new(move || drop(blocked()))).unwrap();
        let password = Arc::new(());
        for _ in 0..PLACES * 10 {
            let held = Arc::clone(&password);
            let mut gone = Box::pin(hashing.place().unwrap().run(move || {
                let _ = &held;
                Ok(())
            }));
            let _ = futures_util::poll!(gone.as_mut());
        }
        let (reached, end) = held();
        hashing.insistent.send(Arc::new(move || drop(end()))).unwrap();
        reached.wait();
        let waiting = Arc::strong_count(&password) - 1;

        let served = hashing.place().unwrap().run(|| Ok(7)).await;
        go.wait();

        assert!(waiting <= PLACES + 1, "{waiting} passwords of nobody are kept");
        assert_eq!(served.unwrap(), 7);
    }

    #[actix_web::test]
    async fn who_gets_no_time_that_is_left_over_is_served_all_the_same() {
        let hashing = Hashing { patience: Duration::ZERO, ..Hashing::start() };
        let (go, blocked) = held();
        hashing.modest.send(Arc::new(move || drop(blocked()))).unwrap();

        let second = hashing.place().unwrap().run(|| Ok(7)).await;

        assert_eq!(second.unwrap(), 7);
        go.wait();
    }
}
