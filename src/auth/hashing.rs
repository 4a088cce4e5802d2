//! The thread that hashes passwords: one, of lower priority, with few places to wait.
//!
//! A hash takes 19 MiB and tens of milliseconds of a core that requests need. So at most one runs at a time, the system gives it
//! what requests leave over, and whoever finds all places taken is sent away at once, which costs next to nothing.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::AdminError;
use crate::infra::crypto::CryptoError;

/// Who is being served and who waits: together they are done in about a second.
const PLACES: usize = 16;
/// Longest wait for the end. A machine that has nothing left for this thread is too busy to let anybody in.
const DONE_WITHIN: Duration = Duration::from_secs(30);
/// A third of what a request's thread gets where both want a core: requests go first, and an operator gets in all the same
/// when the machine is saturated.
const NICENESS: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// Hands work to the thread, which ends with it.
pub(super) struct Hashing {
    jobs: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
}

/// The right to have something hashed. Take it before doing anything else that costs.
pub(super) struct Place<'a> {
    hashing: &'a Hashing,
    permit: OwnedSemaphorePermit,
}

impl Hashing {
    /// Start the thread.
    pub(super) fn start() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let work = move || {
            step_back();
            // A job that panics loses its own answer; the next one is served all the same.
            queue.iter().for_each(|job| drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))));
        };
        // Without the thread the channel is closed, and that is what everybody is told who comes.
        if let Err(error) = std::thread::Builder::new().name("passwords".into()).spawn(work) {
            tracing::error!(%error, "no thread for passwords: nobody can sign in with one");
        }
        Self { jobs, places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Take a place, if there is one.
    pub(super) fn place(&self) -> Result<Place<'_>, AdminError> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| AdminError::Busy)?;
        Ok(Place { hashing: self, permit })
    }
}

impl Place<'_> {
    /// Do it when its turn comes.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, CryptoError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let (reply, answer) = oneshot::channel();
        let permit = self.permit;
        let job = move || {
            // Whoever hung up meanwhile keeps the place until its turn, and costs no more than that.
            if !reply.is_closed() {
                drop(reply.send(work()));
            }
            drop(permit);
        };
        let gone = || CryptoError::Password("the thread for passwords is gone".to_owned());
        self.hashing.jobs.send(Box::new(job)).map_err(|_| gone())?;
        match tokio::time::timeout(DONE_WITHIN, answer).await {
            Ok(done) => Ok(done.map_err(|_| gone())??),
            Err(_) => Err(AdminError::Busy),
        }
    }
}

/// On Linux this is about the calling thread alone. Where it is refused, one thread is still the bound.
fn step_back() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "passwords are hashed at the usual priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that occupies the thread until it is let go.
    fn held() -> (mpsc::Sender<()>, impl FnOnce() -> Result<(), CryptoError> + Send + 'static) {
        let (go, wait) = mpsc::channel::<()>();
        (go, move || {
            wait.recv().ok();
            Ok(())
        })
    }

    #[actix_web::test]
    async fn who_finds_all_places_taken_is_sent_away_and_a_place_comes_back_when_its_work_is_done() {
        let hashing = Hashing::start();
        let (go, blocked) = held();
        let first = hashing.place().unwrap().run(blocked);
        let others: Vec<_> = (1..PLACES).map(|_| hashing.place().unwrap().run(|| Ok(()))).collect();

        let turned_away = matches!(hashing.place(), Err(AdminError::Busy));
        go.send(()).unwrap();
        let (first, others) = futures_util::join!(first, futures_util::future::join_all(others));

        assert!(turned_away && first.is_ok() && others.iter().all(Result::is_ok));
        // The last permit is dropped behind its answer.
        while hashing.places.available_permits() < PLACES {
            tokio::task::yield_now().await;
        }
        assert!(hashing.place().is_ok());
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
        let first = actix_rt::spawn({
            let place = hashing.place().unwrap().permit;
            let (reply, answer) = oneshot::channel();
            hashing
                .jobs
                .send(Box::new(move || {
                    drop(reply.send(blocked()));
                    drop(place);
                }))
                .unwrap();
            answer
        });
        let (ran, told) = mpsc::channel();
        let gone = hashing.place().unwrap().run(move || {
            ran.send(()).ok();
            Ok(())
        });
        let mut gone = Box::pin(gone);
        let _ = futures_util::poll!(gone.as_mut());
        drop(gone);

        go.send(()).unwrap();
        first.await.unwrap().unwrap().unwrap();
        hashing.place().unwrap().run(|| Ok(())).await.unwrap();

        assert!(told.try_recv().is_err(), "it was hashed for nobody");
    }
}
