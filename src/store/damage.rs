//! Damage that is met while the gateway runs.
//!
//! At the start the whole file is looked through and a damaged one is refused. A page that breaks later is found by the
//! call that needs it. From then on nothing is written: what went into a damaged file would be lost with it when a backup
//! takes its place, while usage that stays in the journal is stored there after the restart. Reads go on as far as they
//! come.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::StoreError;

/// What was found, shared by all clones of the store.
#[derive(Clone, Default)]
pub(super) struct Damage(Arc<ArcSwapOption<String>>);

impl Damage {
    /// What was found first.
    pub(super) fn found(&self) -> Option<Arc<String>> {
        self.0.load_full()
    }

    /// The refusal of every write, and of readiness, after damage was met.
    pub(super) fn refuse(&self) -> Result<(), StoreError> {
        self.found().map_or(Ok(()), |finding| Err(StoreError::Corrupt(finding.to_string())))
    }

    /// Remember what a call met.
    pub(super) fn watch<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Corrupt(finding)) = &result
            && self.0.compare_and_swap(&None::<Arc<String>>, Some(Arc::new(finding.clone()))).is_none()
        {
            tracing::error!(
                finding,
                "the database is damaged: nothing is written into it any more, usage stays in the journal; restore a \
                 backup and restart"
            );
        }
        result
    }
}
