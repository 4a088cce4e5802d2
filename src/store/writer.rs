//! The one writer: a thread that owns the only writing connection and runs jobs one after the other.
//!
//! Each job is one transaction that takes the write lock at its start: a transaction that starts reading and wants to
//! write later fails under contention no matter how long it is willing to wait. The queue is bounded, a job that
//! panics costs its own caller an error and the writer a connection, and a lost server is dialled again by the next job.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::r2d2::R2D2Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use super::db::{Access, Db, Target};

const QUEUE: usize = 1024;
/// How long a job apart may take, waiting included.
const LONGEST_APART: Duration = Duration::from_secs(300);

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// The sending side; the thread ends when the last clone is gone and the queue is empty.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    timeout: Duration,
}

impl Writer {
    /// Start the thread with a connection that is already open, so that start-up errors surface at start-up.
    pub(crate) fn start(target: Target, db: Db, timeout: Duration) -> Result<Self, StoreError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let mut session = Session { target, db: Some(db) };
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                // A job catches its body's panic itself; this one is for closing a connection in a bad state.
                if catch_unwind(AssertUnwindSafe(|| job(&mut session))).is_err() {
                    session.db = None;
                }
            }
        };
        let started = std::thread::Builder::new().name("store-writer".into()).spawn(work);
        started.map(|_| Self { jobs, timeout }).map_err(|error| StoreError::Other(Box::new(error)))
    }

    /// Run `body` inside one transaction and wait for the commit.
    ///
    /// When the wait runs out the job stays queued: the caller must treat the write as one that may have happened.
    pub(crate) async fn run<T, F>(&self, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        self.queued(self.timeout, |session| session.transaction(body)).await
    }

    /// Run `body` on the writing connection outside of any transaction, for what cannot be inside of one. It may take
    /// long: other writes wait.
    pub(crate) async fn run_apart<T, F>(&self, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        self.queued(LONGEST_APART, |session| session.apart(body)).await
    }

    async fn queued<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            // Nobody waits any more: what has not begun had better not happen.
            if !reply.is_closed() {
                drop(reply.send(work(session)));
            }
        });
        let enqueue = self.jobs.send_timeout(job, self.timeout).await;
        enqueue.map_err(|_| StoreError::Busy("the write queue is full".into()))?;

        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::unavailable("the writer gave the job up")),
            Err(_) => Err(StoreError::unavailable("no answer in time; the write may still happen")),
        }
    }
}

/// The writing connection and how to get it back.
pub(crate) struct Session {
    target: Target,
    db: Option<Db>,
}

impl Session {
    fn transaction<T>(&mut self, body: impl FnOnce(&mut Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut db = self.begin()?;
        match catch_unwind(AssertUnwindSafe(|| body(&mut db))) {
            Ok(Ok(value)) => self.settle(db, value),
            Ok(Err(error)) => Err(self.undo(db, error)),
            // Nobody knows what state the connection is in; dropping it rolls back.
            Err(_) => Err(StoreError::Other("a write job panicked".into())),
        }
    }

    fn apart<T>(&mut self, body: impl FnOnce(&mut Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut db = match self.db.take() {
            Some(db) => db,
            None => self.target.connect(Access::Write)?,
        };
        match catch_unwind(AssertUnwindSafe(|| body(&mut db))) {
            Ok(Ok(value)) => {
                self.db = Some(db);
                Ok(value)
            }
            // Nobody knows how far it came; a new connection has nothing of it.
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::Other("a write job panicked".into())),
        }
    }

    /// Nothing has been asked of the database before `BEGIN`, so a lost connection may be replaced once, silently.
    fn begin(&mut self) -> Result<Db, StoreError> {
        if let Some(mut db) = self.db.take() {
            match begin(&mut db) {
                Ok(()) => return Ok(db),
                Err(error) => {
                    let error = self.keep_if_usable(db, error);
                    if !error.is_connection_trouble() {
                        return Err(error);
                    }
                }
            }
        }
        let mut db = self.target.connect(Access::Write)?;
        begin(&mut db)?;
        Ok(db)
    }

    fn settle<T>(&mut self, mut db: Db, value: T) -> Result<T, StoreError> {
        match Db::commit_transaction(&mut db) {
            Ok(()) => {
                self.db = Some(db);
                Ok(value)
            }
            Err(error) => Err(self.undo(db, error.into())),
        }
    }

    fn undo(&mut self, mut db: Db, error: StoreError) -> StoreError {
        // A full disk or a lost server has already rolled back, and then this fails; the connection is replaced.
        let open = !matches!(Db::transaction_manager_status_mut(&mut db).transaction_depth(), Ok(None));
        if open && Db::rollback_transaction(&mut db).is_err() {
            return if matches!(db, Db::Postgres(_)) { error.unavailable_if_other() } else { error };
        }
        self.keep_if_usable(db, error)
    }

    /// An error without a name may be a connection that is gone: one round trip tells.
    fn keep_if_usable(&mut self, mut db: Db, error: StoreError) -> StoreError {
        let doubtful = matches!(error, StoreError::Other(_) | StoreError::Unavailable(_) | StoreError::Corrupt(_));
        if db.is_broken() || (doubtful && db.ping().is_err()) {
            return error.unavailable_if_other();
        }
        self.db = Some(db);
        error
    }
}

fn begin(db: &mut Db) -> Result<(), StoreError> {
    match db {
        Db::Sqlite(connection) => AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN IMMEDIATE")?,
        Db::Postgres(connection) => AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN")?,
    }
    Ok(())
}
