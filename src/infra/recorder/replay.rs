//! The way of usage records from the journal into the store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use omniroute_actors::usage::journal::{self, Batch, JournalReader};
use omniroute_actors::usage::record::Tokens;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Recorder, is_of};
use crate::store::{Store, StoreError, UsageRow};

/// How soon after a record the store hears of it. Every transaction writes the last pages of each index anew and ends
/// with an fsync: the fewer there are, the less a record costs.
const SETTLE: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(1);

/// Carries the journal into the store until the process ends. Run it as a task of the main thread.
pub struct Replay {
    recorder: Arc<Recorder>,
    store: Store,
    readers: Vec<JournalReader>,
}

impl Replay {
    /// Files of earlier starts come first.
    pub fn new(recorder: Arc<Recorder>, store: Store) -> Self {
        Self { recorder, store, readers: Vec::new() }
    }

    /// Work for ever.
    pub async fn run(self) {
        let synced = Arc::clone(&self.recorder).keep_synced();
        futures_util::future::join(self.carry(), synced).await;
    }

    async fn carry(mut self) {
        loop {
            match self.pass().await {
                Ok(()) => self.wait().await,
                Err(error) => {
                    tracing::warn!(%error, "usage waits in the journal");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Until there is something to do: a record, or records that wait for a disk which has room again.
    async fn wait(&self) {
        while self.recorder.refused.load(Ordering::Relaxed) {
            tokio::time::sleep(RETRY).await;
            self.recorder.look_for_room();
        }
        if !self.recorder.waiting.load().is_empty() {
            return;
        }
        self.recorder.written.notified().await;
        tokio::time::sleep(SETTLE).await;
    }

    /// One pass over all files, until nothing is left to store.
    ///
    /// # Errors
    /// When the journal cannot be read or the store refuses; what was stored stays stored.
    pub async fn pass(&mut self) -> Result<(), ReplayError> {
        self.recorder.with_journal(|journal| self.recorder.write_waiting(journal))?;
        self.look_around()?;
        for index in 0..self.readers.len() {
            while self.step(index).await? {}
        }
        self.clear_away()
    }

    /// One batch of one file; whether there may be more.
    async fn step(&mut self, index: usize) -> Result<bool, ReplayError> {
        let Some(reader) = self.readers.get_mut(index) else { return Ok(false) };
        let Batch { records, next, .. } = reader.read::<Journaled>()?;
        if !records.is_empty() {
            let rows = records.into_iter().map(UsageRow::from).collect();
            let stored = self.store.usage().insert_batch(rows).await?;
            self.recorder.stored.fetch_add(stored as u64, Ordering::Relaxed);
        }
        Ok(reader.advance(next))
    }

    fn look_around(&mut self) -> io::Result<()> {
        let mut total = 0;
        for path in journal::files(&self.recorder.options.dir)? {
            total += std::fs::metadata(&path).map_or(0, |meta| meta.len());
            if !self.readers.iter().any(|reader| reader.path() == path) {
                self.readers.push(JournalReader::new(path));
            }
        }
        self.recorder.overfull.store(total > self.recorder.options.spool_max_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Stored files go, except the newest of each worker of this start: it is still written to.
    fn clear_away(&mut self) -> Result<(), ReplayError> {
        let start = self.recorder.start.clone();
        let in_use = |path: &Path, all: &[PathBuf]| {
            is_of(path, &start) && !all.iter().any(|other| stem(other) == stem(path) && other.as_path() > path)
        };
        let all: Vec<_> = self.readers.iter().map(|reader| reader.path().to_owned()).collect();
        let (keep, done): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.readers).into_iter().partition(|reader| in_use(reader.path(), &all));
        self.readers = keep;
        for reader in done {
            remove_stored(&reader)?;
        }
        Ok(())
    }
}

/// A torn end is a record that nobody was told of: it goes with the file, but not without a word.
fn remove_stored(reader: &JournalReader) -> Result<(), ReplayError> {
    let rest = reader.read::<Journaled>()?;
    if rest.rest > 0 && rest.records.is_empty() {
        tracing::warn!(bytes = rest.rest, "a journal file ended in the middle of a record");
    }
    std::fs::remove_file(reader.path())?;
    Ok(())
}

fn stem(path: &Path) -> Option<&str> {
    path.file_stem()?.to_str()?.rsplit_once('-').map(|(stem, _)| stem)
}

/// Why a pass stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The journal.
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] io::Error),
    /// The store.
    #[error("the store does not take usage: {0}")]
    Store(#[from] StoreError),
}

/// A record as the journal holds it, read for the store: its members in the order in which they are written, and the
/// attempts stay the text they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Journaled {
    request_id: String,
    at: i64,
    key_id: Option<String>,
    connection: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    requested_model: String,
    combo: Option<String>,
    status: i32,
    outcome: String,
    streamed: bool,
    tokens: Tokens,
    first_content_ms: Option<u64>,
    total_ms: u64,
    /// The store has no place for it.
    #[serde(default, rename = "session")]
    _session: IgnoredAny,
    attempts: JsonText,
}

/// A piece of JSON, as text.
struct JsonText(String);

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return Box::<RawValue>::deserialize(from).map(|raw| Self(Box::<str>::from(raw).into()));
        }
        String::deserialize(from).map(Self)
    }
}

impl From<Journaled> for UsageRow {
    fn from(record: Journaled) -> Self {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            request_id: record.request_id,
            at: record.at,
            key_id: record.key_id,
            connection_id: record.connection,
            provider: record.provider,
            model: record.model,
            requested_model: record.requested_model,
            combo: record.combo,
            status: record.status,
            outcome: record.outcome,
            streamed: record.streamed,
            prompt_tokens: number(record.tokens.prompt),
            completion_tokens: number(record.tokens.completion),
            cached_tokens: number(record.tokens.cached),
            reasoning_tokens: number(record.tokens.reasoning),
            estimated: record.tokens.estimated,
            ttft_ms: record.first_content_ms.map(number),
            total_ms: number(record.total_ms),
            attempts: record.attempts.0,
        }
    }
}
