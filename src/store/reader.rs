//! Reads: a small pool of read-only connections, used on the blocking pool only.
//!
//! A permit is taken before a blocking thread is: a database that hangs holds as many threads as there are readers,
//! and every further caller waits without a thread and is refused after a bounded time.

use std::sync::Arc;
use std::time::Duration;

use diesel::r2d2::{ManageConnection, NopErrorHandler, Pool, R2D2Connection};
use tokio::sync::Semaphore;

use super::db::{Access, Db, Target};
use super::{StoreError, Timing};

/// The pool; clones share it.
#[derive(Clone)]
pub(crate) struct Readers {
    pool: Pool<Manager>,
    permits: Arc<Semaphore>,
    wait: Duration,
    timeout: Duration,
}

struct Manager(Target);

impl ManageConnection for Manager {
    type Connection = Db;
    type Error = StoreError;

    fn connect(&self) -> Result<Db, StoreError> {
        self.0.connect(Access::Read)
    }

    fn is_valid(&self, db: &mut Db) -> Result<(), StoreError> {
        Ok(db.ping()?)
    }

    fn has_broken(&self, db: &mut Db) -> bool {
        std::thread::panicking() || db.is_broken()
    }
}

impl Readers {
    pub(crate) fn new(target: Target, size: u32, timing: Timing) -> Self {
        let size = size.max(1);
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(1))
            .connection_timeout(timing.pool_wait)
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(Manager(target));
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1)));
        Self { pool, permits, wait: timing.pool_wait, timeout: timing.call_timeout }
    }

    pub(crate) async fn run<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = tokio::time::timeout(self.wait, self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| StoreError::unavailable("every reader is in use"))?;
        let permit = permit.map_err(|_| StoreError::unavailable("the readers are gone"))?;
        let pool = self.pool.clone();
        let work = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by the future: an abandoned call still occupies its reader until it ends.
            let _permit = permit;
            let mut db = pool.get().map_err(|error| StoreError::Unavailable(Box::new(error)))?;
            query(&mut db)
        });
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Other("a read job panicked".into())),
            Err(_) => Err(StoreError::unavailable("no answer in time")),
        }
    }
}
