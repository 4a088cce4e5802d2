//! The shelf of backups: files in one directory, named by when and why they were made.
//!
//! A name is the only thing that a caller may say; it is looked up in a listing and never joined into a path unseen.

mod archive;

pub use archive::{Part, write as write_archive};

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use omniroute_actors::clock::Clock;

use crate::config::ConfigHandle;
use crate::store::{Contents, Store, StoreError, Take};

const FRONT: &str = "db_";
const END: &str = ".sqlite";
/// What is not finished yet; such a file is no backup.
const UNFINISHED: &str = ".part";
/// Year to millisecond in UTC: names sort by time.
const MOMENT: &str = "%Y%m%dT%H%M%S%3fZ";

/// A backup on the shelf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its name, which is its file's.
    pub id: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at: i64,
    /// Its size in bytes.
    pub size: u64,
    /// Why it was made: `manual`, `scheduled`, `pre-restore`, `pre-import`.
    pub reason: String,
}

impl Backup {
    fn of(path: &Path) -> Option<Self> {
        let id = path.file_name()?.to_str()?;
        let (moment, reason) = id.strip_prefix(FRONT)?.strip_suffix(END)?.split_once('_')?;
        let time = jiff::civil::DateTime::strptime(MOMENT, moment).ok()?;
        let created_at = time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond();
        Some(Self { id: id.to_owned(), created_at, size: fs::metadata(path).ok()?.len(), reason: reason.to_owned() })
    }
}

/// The shelf.
pub struct Shelf {
    config: ConfigHandle,
    store: Store,
    clock: Arc<dyn Clock>,
    /// One copy or restore at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Shelf {
    /// The shelf of this store.
    pub fn new(config: ConfigHandle, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { config, store, clock, turn: tokio::sync::Mutex::default() }
    }

    /// Where it is. It is made when it is first needed.
    pub fn directory(&self) -> PathBuf {
        let config = self.config.load();
        config.storage.data_dir.join(&config.backups.dir)
    }

    /// Every backup, the newest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn list(&self) -> Result<Vec<Backup>, StoreError> {
        let directory = self.directory();
        on_disk(move || listed(&directory)).await
    }

    /// Make one.
    ///
    /// # Errors
    /// Another engine than the embedded one, or the disk.
    pub async fn create(&self, reason: &str) -> Result<Backup, StoreError> {
        let _turn = self.turn.lock().await;
        self.create_now(reason).await
    }

    async fn create_now(&self, reason: &str) -> Result<Backup, StoreError> {
        let moment = Timestamp::from_millisecond(self.clock.wall().0).unwrap_or_default().strftime(MOMENT).to_string();
        let path = self.directory().join(format!("{FRONT}{moment}_{reason}{END}"));
        let unfinished = self.new_file().await?;
        let copied = self.store.backups().copy_to(unfinished.clone()).await;
        on_disk(move || {
            let kept = copied.and_then(|()| fs::rename(&unfinished, &path).map_err(StoreError::unavailable_io));
            if kept.is_err() {
                let _ = fs::remove_file(&unfinished);
            }
            kept.and_then(|()| Backup::of(&path).ok_or(StoreError::NotFound))
        })
        .await
    }

    /// A path on the shelf where nothing is yet, for a file that is no backup (yet). Whoever asks for it clears it away.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub async fn new_file(&self) -> Result<PathBuf, StoreError> {
        let directory = self.directory();
        on_disk(move || {
            DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(StoreError::unavailable_io)?;
            Ok(directory.join(format!("{}{UNFINISHED}", uuid::Uuid::new_v4())))
        })
        .await
    }

    /// The file of a backup.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn path_of(&self, id: &str) -> Result<PathBuf, StoreError> {
        let known = self.list().await?.into_iter().any(|backup| backup.id == id);
        if known { Ok(self.directory().join(id)) } else { Err(StoreError::NotFound) }
    }

    /// Put a backup back. What is there now is backed up before.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn restore(&self, id: &str) -> Result<Contents, StoreError> {
        let from = self.path_of(id).await?;
        let copy = self.new_file().await?;
        let to = copy.clone();
        on_disk(move || fs::copy(from, to).map(drop).map_err(StoreError::unavailable_io)).await?;
        self.take_in(copy, Take::All, "pre-restore").await
    }

    /// Take the rows of a file on the shelf, and clear the file away. What is there now is backed up before.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn take_in(&self, file: PathBuf, take: Take, reason: &str) -> Result<Contents, StoreError> {
        let _turn = self.turn.lock().await;
        let done = async {
            let contents = self.store.backups().make_ready(file.clone()).await?;
            self.create_now(reason).await?;
            self.store.backups().put_back(file.clone(), take).await?;
            Ok(contents)
        };
        let done = done.await;
        // A file that cannot be cleared away is no reason to say that nothing was taken.
        let _ = tokio::fs::remove_file(file).await;
        done
    }

    /// Throw away what is beyond the newest `keep`, and what is older than `days` (0: none is too old). The newest stays.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn prune(&self, keep: usize, days: u32) -> Result<usize, StoreError> {
        let oldest = match days {
            0 => i64::MIN,
            days => self.clock.wall().0 - i64::from(days) * 86_400_000,
        };
        let directory = self.directory();
        on_disk(move || {
            let backups = listed(&directory)?;
            let surplus = backups
                .iter()
                .enumerate()
                .skip(1)
                .filter(|(place, backup)| *place >= keep || backup.created_at < oldest);
            Ok(surplus.filter(|(_, backup)| fs::remove_file(directory.join(&backup.id)).is_ok()).count())
        })
        .await
    }

    /// Make the backup that is due, and throw away what is too much. To be called now and then.
    pub async fn keep_up(&self) {
        let settings = self.config.load().backups.clone();
        if settings.every_h == 0 || !self.store.is_file() {
            return;
        }
        let due = self.clock.wall().0 - i64::try_from(settings.every_h).unwrap_or(i64::MAX).saturating_mul(3_600_000);
        let newest = self.list().await.map(|backups| backups.first().map(|backup| backup.created_at));
        let made = match newest {
            Ok(Some(newest)) if newest > due => return,
            Ok(_) => self.create("scheduled").await.map(drop),
            Err(error) => Err(error),
        };
        let pruned = self.prune(settings.keep, settings.retention_days).await;
        if let Err(error) = made.and(pruned.map(drop)) {
            tracing::warn!(%error, "the scheduled backup could not be made");
        }
    }
}

fn listed(directory: &Path) -> Result<Vec<Backup>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::unavailable_io)?,
    };
    let mut backups: Vec<_> = entries.flatten().filter_map(|entry| Backup::of(&entry.path())).collect();
    backups.sort_by(|a, b| b.id.cmp(&a.id));
    Ok(backups)
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(StoreError::Other("a job on the backups panicked".into())))
}

/// How often it is looked whether a backup is due.
pub const LOOK_EVERY: Duration = Duration::from_secs(300);
