//! Reading the configuration again while the process runs, for SIGHUP and for `POST /api/config/reload`.

use std::sync::Arc;

use crate::config::{ConfigHandle, ConfigProblems, Loader, ReloadReport};
use crate::infra::telemetry::LogControl;
use crate::providers::oauth::{Oauth, OauthBook};
use crate::routes::Reloader;
use crate::upstream::ClientFactory;

/// Knows what a new configuration changes at once.
pub struct LiveReload {
    config: ConfigHandle,
    loader: Loader,
    clients: ClientFactory,
    web: ClientFactory,
    demo: Option<std::net::SocketAddr>,
    log: LogControl,
    oauth: Option<Arc<Oauth>>,
}

impl LiveReload {
    /// For this process, with its ways to providers and to what clients name by URL.
    pub fn new(
        config: ConfigHandle,
        loader: Loader,
        [clients, web]: [ClientFactory; 2],
        demo: Option<std::net::SocketAddr>,
        log: LogControl,
    ) -> Self {
        Self { config, loader, clients, web, demo, log, oauth: None }
    }

    /// With the servers that accounts are signed in with: their file is read again, too.
    #[must_use]
    pub fn with_sign_ins(mut self, oauth: Arc<Oauth>) -> Self {
        self.oauth = Some(oauth);
        self
    }
}

/// Keys as a person lists them.
fn named(keys: &[String]) -> String {
    if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
}

impl Reloader for LiveReload {
    fn check(&self) -> Result<(), ConfigProblems> {
        self.loader.load().map(drop)
    }

    fn reload(&self) -> Result<ReloadReport, ConfigProblems> {
        let report = self.config.reload(&self.loader)?;
        let config = self.config.load_full();
        // What passed the checks of the loader is only refused here by a defect of ours: say so, keep the old.
        if let Err(error) = self.log.set(&config.logging.level) {
            tracing::error!(%error, "the new level of the log is not in force");
        }
        let providers = self.clients.reconfigure(super::upstream_settings(&config.upstream, self.demo));
        if let Err(error) = providers.and_then(|()| self.web.reconfigure(super::web_settings(&config))) {
            tracing::error!(%error, "the new settings of the way out are not in force");
        }
        if let Some(oauth) = &self.oauth {
            match OauthBook::read(&config.oauth.file, self.loader.environment()) {
                Ok(book) => oauth.reconfigure(book),
                Err(error) => tracing::error!(%error, "the new servers for sign-ins are not in force"),
            }
        }
        tracing::info!(applied = %named(&report.applied), needs_restart = %named(&report.needs_restart), "the configuration was read again");
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_as_a_person_would() {
        let keys = ["logging.level", "auth.service_key"].map(str::to_owned);

        assert_eq!((named(&keys), named(&[])), ("logging.level, auth.service_key".to_owned(), "nothing".to_owned()));
    }
}
