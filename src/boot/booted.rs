//! A gateway that is built: how it greets, reloads, is succeeded and ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::banner::{SignIn, Welcome};
use super::upkeep::Upkeep;
use super::{BootError, Booted, build};
use crate::config::Loader;
use crate::demo;
use crate::infra::recorder::Replay;
use crate::providers::Catalog;

/// How long the last records may take on their way into the store; the journal has them anyway.
const LAST_PASS: Duration = Duration::from_secs(5);
/// Reports of the last answers wait in the workers' buffers at most this long.
const LAST_REPORTS: Duration = Duration::from_millis(100);

impl Booted {
    /// What to print for the person who started it. Secrets are handed out once.
    pub fn welcome(&mut self, address: SocketAddr) -> Welcome {
        let sign_in = std::mem::replace(&mut self.sign_in, SignIn::Password { unused: None });
        let demo = self.demo.is_some();
        let model = if demo { Some(demo::COMBO_NAME.to_owned()) } else { self.some_model() };
        let provider_keys = std::mem::take(&mut self.provider_keys);
        Welcome { address, sign_in, first_key: self.first_key.take(), provider_keys, model, demo }
    }

    /// The first model of the first connection that can be used.
    fn some_model(&self) -> Option<String> {
        let plan = self.app.plan.load();
        let listed = self.app.directory.listed();
        listed.iter().find_map(|listed| {
            let row = Some(&listed.row).filter(|row| row.is_active && listed.problem.is_none())?;
            let entry = plan.providers.iter().find(|(id, _)| id.as_str() == row.provider)?.1;
            let named = row.default_model.as_deref();
            // The catalogue lists the model that stands for a provider first.
            let listed = || Catalog::builtin().get(&row.provider)?.models.first().map(String::as_str);
            let any = || entry.models.keys().map(|model| model.as_str()).min();
            let model = named.or_else(listed).or_else(any)?;
            Some(format!("{}/{model}", row.provider))
        })
    }

    /// Read the configuration again and put into force what can be.
    pub async fn reload(&self) {
        let reloader = Arc::clone(&self.management.reloader);
        match tokio::task::spawn_blocking(move || reloader.reload()).await {
            Ok(Ok(_)) => {}
            Ok(Err(problems)) => {
                return tracing::error!(%problems, "the new configuration is refused, the old one stays");
            }
            Err(error) => return tracing::error!(%error, "the configuration could not be read"),
        }
        if let Err(error) = self.app.directory.refresh().await {
            tracing::error!(%error, "the directory could not be rebuilt, the old one stays");
        }
        if let Err(error) = self.app.keys.reload(&self.app.store).await {
            tracing::error!(%error, "the client keys could not be read, the old ones stay");
        }
    }

    /// Build the next start while this one still serves.
    ///
    /// # Errors
    /// Why the next one does not start; this one goes on.
    pub async fn successor(&self, loader: &Loader) -> Result<Self, BootError> {
        let reread = loader.clone();
        let loaded = tokio::task::spawn_blocking(move || reread.load()).await?.map_err(BootError::Configuration)?;
        self.saver.flush().await;
        self.app.directory.keep(self.app.clock.wall().0).await?;
        build(loader.clone(), loaded, self.log.clone(), Some(self.heirloom.clone())).await
    }

    /// Carry usage from the journal into the store. Only one start at a time may do so with the same journal.
    pub fn carry_usage(&mut self) {
        self.replay = Some(actix_rt::spawn(Replay::new(Arc::clone(&self.app.recorder), self.app.store.clone()).run()));
    }

    /// The next start serves: from now on this one only ends what it carries. It tells nobody about itself any more, and
    /// its usage reaches the store by the next one.
    pub async fn hand_over(&mut self, next: &mut Self) {
        self.upkeep = Upkeep::default();
        self.succeeded = true;
        self.app.evals.go_over_to(&next.app.evals);
        if Arc::ptr_eq(&next.app.recorder, &self.app.recorder)
            && let Some(replay) = self.replay.take()
        {
            replay.abort();
            // It ends at its next step; an error says that it was aborted.
            let _ = replay.await;
        }
        next.carry_usage();
    }

    /// Write down what is still in memory. The listener is closed by now.
    pub async fn finish(mut self) {
        tokio::time::sleep(LAST_REPORTS).await;
        self.saver.flush().await;
        self.replay_the_rest().await;
        if let Err(error) = self.app.keys.flush_uses(&self.app.store).await {
            tracing::warn!(%error, "the times of last use are lost");
        }
        if !self.succeeded
            && let Err(error) = self.app.directory.keep(self.app.clock.wall().0).await
        {
            tracing::warn!(%error, "combos begin their turns where they last were stored");
        }
        if let Err(error) = self.app.store.flush().await {
            tracing::error!(%error, "the store did not take everything");
        }
        if let Some(demo) = self.demo {
            demo.stop().await;
        }
        self.control.stop();
        tracing::info!("everything is written, good bye");
    }

    async fn replay_the_rest(&mut self) {
        // Without one the journal is another start's by now.
        let Some(replay) = self.replay.take() else { return };
        replay.abort();
        let mut last = Replay::new(Arc::clone(&self.app.recorder), self.app.store.clone());
        match tokio::time::timeout(LAST_PASS, last.pass()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "usage stays in the journal for the next start"),
            Err(_) => tracing::warn!("usage stays in the journal for the next start: the store takes too long"),
        }
    }
}
