//! What goes over from one start to the next in the same process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Arbiter, Supervisor};
use omniroute_actors::background::BackgroundRuns;

use super::BootError;
use crate::config::{Config, LedgerUnavailable};
use crate::infra::recorder::{Recorder, RecorderOptions};

/// What goes over from one start to the next in the same process, because there can only be one of it: the journal's
/// directory is locked, and runs in the background must stay within reach of who cancels them.
#[derive(Clone)]
pub struct Heirloom {
    pub(super) recorder: Arc<Recorder>,
    pub(super) journal: PathBuf,
    pub(super) runs: Addr<BackgroundRuns>,
}

impl Heirloom {
    /// Of the first start, or of one that keeps another journal than the one before.
    pub(super) fn first_of_its_kind(journal: RecorderOptions) -> Result<Self, BootError> {
        let dir = journal.dir.clone();
        let recorder = Recorder::new(journal).map_err(BootError::Journal)?;
        // A thread of its own: the control arbiter goes with its start, runs outlive it.
        let runs = Supervisor::start_in_arbiter(&Arbiter::new().handle(), |_| BackgroundRuns::default());
        Ok(Self { recorder, journal: dir, runs })
    }
}

/// The journal that the configuration wants.
pub(super) fn recorder_options(config: &Config) -> RecorderOptions {
    let (usage, storage) = (&config.usage, &config.storage);
    let named = Some(&usage.journal_dir).filter(|dir| !dir.as_os_str().is_empty());
    let dir: PathBuf = named.cloned().unwrap_or_else(|| storage.data_dir.join("journal"));
    RecorderOptions {
        dir,
        segment_bytes: usage.segment_bytes,
        spool_max_bytes: storage.spool_max_bytes,
        refuse: storage.ledger_unavailable == LedgerUnavailable::Refuse,
        fsync: Duration::from_millis(usage.fsync_ms),
    }
}
