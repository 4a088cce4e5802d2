//! Who is there before an operator configured anybody: connections of the environment, and the demo.

use super::BootError;
use crate::config::{Config, Loader, When};
use crate::demo::{Demo, DemoOptions, DemoServer};
use crate::providers::{Catalog, EnvironmentConnection, discover};
use crate::store::{Store, StoreError};

/// Connections that the environment describes, if the configuration wants them.
pub fn environment(config: &Config, loader: &Loader) -> Vec<EnvironmentConnection> {
    if config.providers.from_environment { discover(loader.environment(), Catalog::builtin()) } else { Vec::new() }
}

/// Whether the demo provider is part of this gateway.
///
/// # Errors
/// When the store does not answer.
pub async fn wants_demo(
    config: &Config,
    store: &Store,
    environment: &[EnvironmentConnection],
) -> Result<bool, StoreError> {
    Ok(match config.demo.enabled {
        When::Always => true,
        When::Never => false,
        When::Auto => environment.is_empty() && store.connections().is_empty().await?,
    })
}

/// The demo provider, if it is wanted.
pub(super) async fn start_demo(
    config: &Config,
    store: &Store,
    environment: &[EnvironmentConnection],
) -> Result<Option<DemoServer>, BootError> {
    if !wants_demo(config, store, environment).await? {
        return Ok(None);
    }
    let failure_percent = u8::try_from(config.demo.failure_percent).unwrap_or(100);
    Demo::start(DemoOptions { seed: config.demo.seed, failure_percent }).map(Some).map_err(BootError::Demo)
}
