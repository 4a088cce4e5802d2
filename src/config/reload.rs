//! The published configuration, and what changes when it is read again.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use serde::Serialize;

use super::Config;
use super::Overlay;
use super::loader::Loader;
use super::outline;
use super::problems::ConfigProblems;
use super::section::Node;

/// Sections and keys that are read once, at the start: sockets, pools, directories, subscribers.
const READ_AT_START: [&str; 12] = [
    "server.host",
    "server.port",
    "server.workers",
    "server.max_connections",
    "server.keep_alive_s",
    "auth.initial_password",
    "storage",
    "providers",
    "logging.format",
    "demo",
    "usage",
    "evals.max_running",
];

/// Whether a changed key waits for the next start.
pub fn needs_restart(key: &str) -> bool {
    let covers = |path: &str| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    READ_AT_START.into_iter().any(covers)
}

/// When a change comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It already has.
    Applied,
    /// At the next start.
    NeedsRestart,
}

/// One key that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Dotted path of the key.
    pub key: String,
    /// When the change comes into force.
    pub effect: Effect,
}

/// Every key whose values differ, secrets included (by name only).
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut keys = Vec::new();
    old.changed(new, "", &mut keys);
    let change = |key: String| {
        let effect = if needs_restart(&key) { Effect::NeedsRestart } else { Effect::Applied };
        Change { key, effect }
    };
    keys.into_iter().map(change).collect()
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReloadReport {
    /// Keys that changed and are in force.
    pub applied: Vec<String>,
    /// How many keys are as they were.
    pub unchanged: usize,
    /// Keys that differ from what the process was started with and wait for a restart.
    pub needs_restart: Vec<String>,
}

/// The configuration that everyone reads; clones share it.
#[derive(Clone, Debug)]
pub struct ConfigHandle {
    started_with: Arc<Config>,
    /// As it was read.
    base: Arc<ArcSwap<Config>>,
    /// What operators set over it.
    overlay: Arc<ArcSwap<Overlay>>,
    current: Arc<ArcSwap<Config>>,
}

impl ConfigHandle {
    /// Publish the configuration the process starts with.
    pub fn new(config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            started_with: Arc::clone(&config),
            base: Arc::new(ArcSwap::new(Arc::clone(&config))),
            overlay: Arc::default(),
            current: Arc::new(ArcSwap::new(config)),
        }
    }

    /// Lay what operators set over what was read.
    pub fn lay_over(&self, overlay: Overlay) {
        if **self.overlay.load() != overlay {
            self.overlay.store(Arc::new(overlay));
            self.publish();
        }
    }

    /// What is read and what is set may change at the same moment: the last one to publish has seen both.
    fn publish(&self) {
        self.current.rcu(|_| self.overlay.load().over(&self.base.load()));
    }

    /// The configuration of this moment; cheap, and not to be held across an await.
    pub fn load(&self) -> Guard<Arc<Config>> {
        self.current.load()
    }

    /// The configuration of this moment, to keep.
    pub fn load_full(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// Read everything again and publish it, or keep the old configuration when the new one has problems.
    ///
    /// A key that needs a restart is compared with what the process was started with: it is reported by every reload
    /// until the restart, and no longer once it has been set back. Reads files, so not for a worker thread.
    pub fn reload(&self, loader: &Loader) -> Result<ReloadReport, ConfigProblems> {
        let new = Arc::new(loader.load()?.config);
        let old = self.base.swap(Arc::clone(&new));
        self.publish();
        let with = |changes: Vec<Change>, effect| {
            let keys = changes.into_iter().filter(move |change| change.effect == effect);
            keys.map(|change| change.key).collect::<Vec<_>>()
        };
        let applied = with(diff(&old, &new), Effect::Applied);
        let needs_restart = with(diff(&self.started_with, &new), Effect::NeedsRestart);
        let unchanged = outline::keys().len().saturating_sub(applied.len() + needs_restart.len());
        Ok(ReloadReport { applied, unchanged, needs_restart })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Environment, Secret};
    use super::*;

    fn write(path: &Path, text: &str) -> Loader {
        std::fs::write(path, text).unwrap();
        Loader::new(Some(path.to_owned()), Environment::default())
    }

    fn running_with(text: &str) -> (tempfile::NamedTempFile, ConfigHandle) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let loaded = write(file.path(), text).load().unwrap();
        (file, ConfigHandle::new(loaded.config))
    }

    #[test]
    fn a_reload_tells_what_applies_and_what_waits_for_a_restart() {
        let (file, handle) = running_with("");
        let loader = write(file.path(), "[server]\nport = 8080\n[routing]\nmax_attempts = 2\n");

        let report = handle.reload(&loader).unwrap();

        assert_eq!(report.applied, ["routing.max_attempts"]);
        assert_eq!(report.needs_restart, ["server.port"]);
        assert_eq!(report.unchanged, outline::keys().len() - 2);
        assert_eq!(handle.load().routing.max_attempts, 2);
    }

    #[test]
    fn what_waits_for_a_restart_is_reported_until_it_is_set_back() {
        let (file, handle) = running_with("");
        let changed = write(file.path(), "[server]\nport = 8080\n");
        handle.reload(&changed).unwrap();

        let again = handle.reload(&changed).unwrap();
        let back = handle.reload(&write(file.path(), "")).unwrap();

        assert_eq!(again.needs_restart, ["server.port"]);
        assert_eq!(back.needs_restart, Vec::<String>::new());
    }

    #[test]
    fn an_invalid_file_keeps_the_old_configuration() {
        let (file, handle) = running_with("[routing]\nmax_attempts = 2\n");
        let loader = write(file.path(), "[routing]\nmax_attempts = 4\nmax_atempts = 5\n");

        let problems = handle.reload(&loader).unwrap_err();

        assert!(problems.to_string().contains("routing.max_atempts"), "{problems}");
        assert_eq!(handle.load().routing.max_attempts, 2);
    }

    #[test]
    fn what_was_set_at_run_time_outlives_a_reload() {
        let (file, handle) = running_with("");
        handle.lay_over(Overlay { max_body_bytes: Some(4_096), ..Overlay::default() });

        let report = handle.reload(&write(file.path(), "[routing]\nmax_attempts = 2\n")).unwrap();

        assert_eq!(report.applied, ["routing.max_attempts"]);
        assert_eq!((handle.load().server.max_body_bytes, handle.load().routing.max_attempts), (4_096, 2));
    }

    #[test]
    fn a_changed_secret_is_noticed_although_it_is_never_shown() {
        let mut old = Config::default();
        old.auth.service_key = Secret::new("first");
        let mut new = old.clone();
        new.auth.service_key = Secret::new("second");

        let changes = diff(&old, &new);

        assert_eq!(changes, [Change { key: "auth.service_key".to_owned(), effect: Effect::Applied }]);
    }

    #[test]
    fn every_place_of_the_restart_list_covers_a_key() {
        let keys = outline::keys();

        for place in READ_AT_START {
            let inside = format!("{place}.");
            let known = keys.iter().any(|key| key.path == place || key.path.starts_with(&inside));
            assert!(known, "{place} is no key and no section");
        }
    }
}
