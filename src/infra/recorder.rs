//! Puts usage records where they are safe, and from there into the store.
//!
//! ```text
//! worker: append to its own journal file (one write, about a microsecond)
//! replay: tail all files -> batches into the store (idempotent by request id) -> delete what is stored
//! ```
//! Stated policy when the disk refuses a record: with `spool`, up to [`KEPT`] records wait in memory and are
//! written as soon as the disk takes them, the oldest are dropped (and counted) beyond that; with `refuse`, new
//! requests get 503 until the disk takes records again. A store that does not answer delays nothing: the
//! journal grows, with `refuse` up to `spool_max_bytes`, then as with a full disk.

mod replay;

pub use replay::{Replay, ReplayError};

use std::cell::RefCell;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use omniroute_actors::usage::journal::{self, JournalWriter};
use omniroute_actors::usage::record::UsageRecord;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::Notify;

/// Records of all workers that wait in memory while the disk refuses them.
pub const KEPT: usize = 10_000;

/// What the recorder needs to know.
#[derive(Debug, Clone)]
pub struct RecorderOptions {
    /// Directory of the journal.
    pub dir: PathBuf,
    /// Size of one file.
    pub segment_bytes: u64,
    /// Size of all files together beyond which the disk counts as full.
    pub spool_max_bytes: u64,
    /// Whether requests are refused while records cannot be kept.
    pub refuse: bool,
    /// Longest time a record stays in the page cache only; zero forces each one to the disk.
    pub fsync: Duration,
}

/// Shared by all workers.
#[derive(Debug)]
pub struct Recorder {
    /// Held as long as the process lives: stored files are deleted, and another process's are not ours to delete.
    _lock: File,
    options: RecorderOptions,
    start: String,
    workers: AtomicU64,
    written: Notify,
    dirty: AtomicBool,
    /// What the disk refused, oldest first. Shared, for the worker that met the refusal may have no next request.
    waiting: ArcSwap<Vec<Arc<UsageRecord>>>,
    refused: AtomicBool,
    overfull: AtomicBool,
    recorded: AtomicU64,
    dropped: AtomicU64,
    stored: AtomicU64,
}

struct WorkerJournal {
    /// The recorder it belongs to.
    start: String,
    /// Opened with the first record that the disk takes.
    writer: Option<JournalWriter>,
}

impl WorkerJournal {
    const fn new(start: String) -> Self {
        Self { start, writer: None }
    }
}

thread_local! {
    static JOURNAL: RefCell<Option<WorkerJournal>> = const { RefCell::new(None) };
}

impl Recorder {
    /// A recorder in that directory, which is made if need be.
    ///
    /// # Errors
    /// When the directory cannot be made or written to.
    pub fn new(options: RecorderOptions) -> io::Result<Arc<Self>> {
        let lock = occupy(&options.dir)?;
        Ok(Arc::new(Self {
            _lock: lock,
            options,
            // Version 7 ids sort by time: files of an earlier start sort before ours.
            start: uuid::Uuid::now_v7().simple().to_string(),
            workers: AtomicU64::new(0),
            written: Notify::new(),
            dirty: AtomicBool::new(false),
            waiting: ArcSwap::default(),
            refused: AtomicBool::new(false),
            overfull: AtomicBool::new(false),
            recorded: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            stored: AtomicU64::new(0),
        }))
    }

    /// Keep a record. When this returns without an error, a `kill -9` does not lose it.
    ///
    /// # Errors
    /// When the disk refused it; it then waits in memory.
    pub fn record(&self, record: UsageRecord) -> io::Result<()> {
        let kept = self.with_journal(|journal| {
            self.write_waiting(journal)?;
            self.append(journal, &record)
        });
        self.refused.store(kept.is_err(), Ordering::Relaxed);
        if let Err(error) = &kept {
            tracing::error!(%error, "the disk refuses usage records");
            self.hold(&[], vec![Arc::new(record)]);
        }
        self.dirty.store(true, Ordering::Release);
        self.written.notify_one();
        kept
    }

    /// Whether a request must be refused because its usage could not be kept.
    pub fn refuses(&self) -> bool {
        self.options.refuse && self.in_trouble()
    }

    /// Whether records cannot be kept as they should.
    pub fn in_trouble(&self) -> bool {
        self.refused.load(Ordering::Relaxed) || self.overfull.load(Ordering::Relaxed)
    }

    /// Records kept, dropped and stored since the start.
    pub fn counts(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.recorded), read(&self.dropped), read(&self.stored))
    }

    fn open(&self) -> io::Result<JournalWriter> {
        let worker = self.workers.fetch_add(1, Ordering::Relaxed);
        let stem = format!("{}-{worker:03}", self.start);
        let writer = JournalWriter::new(&self.options.dir, stem, self.options.segment_bytes)?;
        Ok(writer.syncing(self.options.fsync.is_zero()))
    }

    /// Force what was written to the disk, again and again: it bounds what a power cut takes. A `kill -9` takes
    /// nothing in any case.
    async fn keep_synced(self: Arc<Self>) {
        // Zero means that each record was forced already.
        while !self.options.fsync.is_zero() {
            tokio::time::sleep(self.options.fsync).await;
            if self.dirty.swap(false, Ordering::AcqRel) {
                let recorder = Arc::clone(&self);
                let synced = tokio::task::spawn_blocking(move || recorder.sync()).await;
                if let Ok(Err(error)) = synced {
                    tracing::error!(%error, "the journal cannot be forced to the disk");
                }
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        let ours = journal::files(&self.options.dir)?.into_iter().filter(|path| is_of(path, &self.start));
        for path in ours {
            match File::open(path) {
                Ok(file) => file.sync_data()?,
                // Stored and deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// While the disk refuses, requests may be refused too, and nobody would ever notice that there is room again.
    fn look_for_room(&self) {
        if !self.refused.load(Ordering::Relaxed) {
            return;
        }
        let path = self.options.dir.join("room");
        let room = std::fs::create_dir_all(&self.options.dir).and_then(|()| std::fs::write(&path, [0; 4096]));
        if room.and_then(|()| std::fs::remove_file(&path)).is_ok() {
            tracing::info!("the disk takes usage records again");
            self.refused.store(false, Ordering::Relaxed);
        }
    }

    fn with_journal<T>(&self, work: impl FnOnce(&mut WorkerJournal) -> T) -> T {
        JOURNAL.with_borrow_mut(|slot| {
            work(match slot {
                Some(journal) if journal.start == self.start => journal,
                _ => slot.insert(WorkerJournal::new(self.start.clone())),
            })
        })
    }

    fn append(&self, journal: &mut WorkerJournal, record: &UsageRecord) -> io::Result<()> {
        let writer = match &mut journal.writer {
            Some(writer) => writer,
            None => journal.writer.insert(self.open()?),
        };
        writer.append(record)?;
        self.recorded.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Write what waits in memory, from whichever thread has the occasion.
    fn write_waiting(&self, journal: &mut WorkerJournal) -> io::Result<()> {
        if self.waiting.load().is_empty() {
            return Ok(());
        }
        let taken = self.waiting.swap(Arc::default());
        for (written, record) in taken.iter().enumerate() {
            if let Err(error) = self.append(journal, record) {
                self.hold(taken.get(written..).unwrap_or_default(), Vec::new());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Keep records in memory, `older` before and `newer` after those that wait already; the oldest give way.
    fn hold(&self, older: &[Arc<UsageRecord>], newer: Vec<Arc<UsageRecord>>) {
        let before = self.waiting.rcu(|waiting| {
            let all = [older, waiting, &newer].concat();
            all.get(all.len().saturating_sub(KEPT)..).unwrap_or_default().to_vec()
        });
        let dropped = (older.len() + before.len() + newer.len()).saturating_sub(KEPT);
        self.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
    }
}

/// Make the directory and take it for this process alone. The kernel lets go of the lock when the process dies.
fn occupy(dir: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        let message = format!("another gateway uses {}; each needs a data directory of its own", dir.display());
        io::Error::new(io::ErrorKind::AddrInUse, message)
    })?;
    Ok(lock)
}

fn is_of(path: &Path, start: &str) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start))
}

#[cfg(test)]
mod tests;
