//! Why the gateway does not start.

use std::io;

use super::FoundationError;
use crate::auth::AdminError;
use crate::config::ConfigProblems;
use crate::gateway::directory::DirectoryError;
use crate::infra::metrics::MetricsError;
use crate::providers::oauth::BookError;
use crate::store::StoreError;
use crate::upstream::FactoryError;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The configuration.
    #[error(transparent)]
    Configuration(ConfigProblems),
    /// The ground it stands on.
    #[error(transparent)]
    Foundation(#[from] FoundationError),
    /// The store stopped answering.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The demo provider.
    #[error("the demo provider does not start: {0}")]
    Demo(#[source] io::Error),
    /// The way to providers.
    #[error("upstream: {0}")]
    Upstream(#[from] FactoryError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Connections and plan.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The journal.
    #[error("the journal cannot be written: {0}")]
    Journal(#[source] io::Error),
    /// The administrator's account.
    #[error("auth: {0}")]
    Admin(#[from] AdminError),
    /// The first password is configured and cannot be read.
    #[error("auth.initial_password: {0}")]
    InitialPassword(#[from] crate::config::SecretError),
    /// The first client key.
    #[error("the first client key: {0}")]
    FirstKey(#[from] crate::infra::crypto::CryptoError),
    /// The servers that accounts are signed in with.
    #[error(transparent)]
    Oauth(#[from] BookError),
    /// A part of the start died.
    #[error("a part of the start died: {0}")]
    Died(#[from] tokio::task::JoinError),
}
