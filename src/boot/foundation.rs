//! What stands before anything runs: the data directory, the master key, the store. Commands that work on the store
//! without a server stop here. Blocking.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::config::{Config, Environment, Secret, SecretError};
use crate::infra::crypto::{CryptoError, MasterKey, MasterKeySource, Vault};
use crate::store::{Engine, Store, StoreError, StoreOptions, engine_of, holds_sealed_rows, sqlite_path};

/// The database of a fresh installation, in the data directory.
const USUAL_DATABASE: &str = "sqlite:omniroute.sqlite";

/// Why the foundation does not hold.
#[derive(Debug, thiserror::Error)]
pub enum FoundationError {
    /// The data directory cannot be made or entered.
    #[error("the data directory {path} cannot be used: {source}")]
    DataDir {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A setting refers to a secret that is not there.
    #[error("{key}: {source}")]
    Secret {
        /// The setting.
        key: &'static str,
        /// What is missing.
        source: SecretError,
    },
    /// A command that only reads found nothing to read.
    #[error("there is no database at {path}")]
    NoDatabase {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is no usable master key.
    #[error("storage.master_key: {0}")]
    MasterKey(#[from] CryptoError),
    /// The database cannot be opened.
    #[error("storage.database_url: {0}")]
    Store(#[from] StoreError),
}

/// The opened store and what protects it.
pub struct Foundation {
    /// Everything durable.
    pub store: Store,
    /// Seals credentials, hashes keys.
    pub vault: Arc<Vault>,
    /// The database file that was not there before.
    pub made: Option<PathBuf>,
}

impl Foundation {
    /// Open what the configuration names; a fresh installation is made.
    ///
    /// # Errors
    /// What cannot be used, by the name of its setting.
    pub fn open(config: &Config, environment: &Environment) -> Result<Self, FoundationError> {
        let storage = &config.storage;
        let url = database_url(config, environment)?;
        let made = missing_file(&url, &storage.data_dir)?;
        prepare(&storage.data_dir)?;
        let source = master_key_source(&storage.master_key, &url, &storage.data_dir, environment)?;
        let vault = Arc::new(Vault::new(&MasterKey::load_or_create(&source)?));
        let (data_dir, vault_of_store) = (storage.data_dir.clone(), Arc::clone(&vault));
        let store = Store::open(&StoreOptions { url, data_dir, readers: storage.readers, vault: vault_of_store })?;
        Ok(Self { store, vault, made })
    }

    /// Open what is there already. Nothing is made: a directory that is misspelt must not come into being by a question.
    ///
    /// # Errors
    /// What cannot be used, by the name of its setting, or where no database is.
    pub fn existing(config: &Config, environment: &Environment) -> Result<Self, FoundationError> {
        let url = database_url(config, environment)?;
        match missing_file(&url, &config.storage.data_dir)? {
            Some(path) => Err(FoundationError::NoDatabase { path }),
            None => Self::open(config, environment),
        }
    }
}

fn database_url(config: &Config, environment: &Environment) -> Result<String, FoundationError> {
    let configured = resolve(&config.storage.database_url, "storage.database_url", environment)?;
    Ok(configured.map_or_else(|| USUAL_DATABASE.to_owned(), |url| url.expose_secret().to_owned()))
}

/// The file of an embedded database that nobody has written yet. An empty one was made by somebody who meant to.
fn missing_file(url: &str, data_dir: &Path) -> Result<Option<PathBuf>, FoundationError> {
    if engine_of(url) == Engine::Postgres {
        return Ok(None);
    }
    let path = sqlite_path(url, data_dir)?;
    let written = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
    Ok((!written).then_some(path))
}

fn resolve(
    secret: &Secret,
    key: &'static str,
    environment: &Environment,
) -> Result<Option<secrecy::SecretString>, FoundationError> {
    secret.resolve_in(environment).map_err(|source| FoundationError::Secret { key, source })
}

/// A new directory belongs to its owner alone. One that was there before is the operator's: its rights are not
/// changed, the files in it are private all the same.
fn prepare(path: &Path) -> Result<(), FoundationError> {
    let failed = |source| FoundationError::DataDir { path: path.to_owned(), source };
    if !path.exists() {
        return std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed);
    }
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "others can enter the data directory; 0700 is better");
    }
    Ok(())
}

/// A file is handed on by its path, so that its rights are checked.
fn master_key_source(
    setting: &Secret,
    url: &str,
    data_dir: &Path,
    environment: &Environment,
) -> Result<MasterKeySource, FoundationError> {
    if setting.redacted().starts_with("file:") {
        return Ok(MasterKeySource::from_setting(setting.redacted()));
    }
    Ok(match resolve(setting, "storage.master_key", environment)? {
        Some(text) => MasterKeySource::Value(text),
        None if engine_of(url) == Engine::Postgres => MasterKeySource::Missing,
        None => {
            MasterKeySource::Embedded { data_dir: data_dir.to_owned(), may_create: !holds_sealed_rows(url, data_dir)? }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &tempfile::TempDir) -> Config {
        let mut config = Config::default();
        config.storage.data_dir = dir.path().join("deep/data");
        config
    }

    fn mode(path: PathBuf) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_fresh_installation_is_made_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir);

        Foundation::open(&config, &Environment::default()).unwrap();

        let data = &config.storage.data_dir;
        let modes = [data.clone(), data.join("omniroute.sqlite"), data.join("master.key")].map(mode);
        assert_eq!(modes, [0o700, 0o600, 0o600]);
    }

    #[test]
    fn who_only_reads_is_told_where_nothing_is_and_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir);

        let refused = Foundation::existing(&config, &Environment::default()).err().unwrap();

        let file = config.storage.data_dir.join("omniroute.sqlite");
        assert_eq!(refused.to_string(), format!("there is no database at {}", file.display()));
        assert!(!dir.path().join("deep").exists());
    }

    #[test]
    fn who_makes_the_database_is_told_and_who_finds_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir);

        let first = Foundation::open(&config, &Environment::default()).unwrap().made;
        let second = Foundation::existing(&config, &Environment::default()).unwrap().made;

        assert_eq!((first, second), (Some(config.storage.data_dir.join("omniroute.sqlite")), None));
    }

    #[test]
    fn it_is_found_again_and_not_without_its_master_key() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir);
        drop(Foundation::open(&config, &Environment::default()).unwrap());
        drop(Foundation::open(&config, &Environment::default()).unwrap());

        std::fs::remove_file(config.storage.data_dir.join("master.key")).unwrap();
        let refused = Foundation::open(&config, &Environment::default()).err().unwrap();

        assert!(refused.to_string().starts_with("storage.master_key: "), "{refused}");
    }

    #[test]
    fn a_secret_that_is_not_there_is_named_by_its_setting() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir);
        config.storage.master_key = Secret::new("env:NOT_SET");

        let refused = Foundation::open(&config, &Environment::default()).err().unwrap();

        assert_eq!(refused.to_string(), "storage.master_key: environment variable NOT_SET is not set");
    }

    #[test]
    fn a_shared_database_never_gets_a_master_key_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir);
        config.storage.database_url = Secret::new("postgres://nobody@127.0.0.1:1/none");

        let refused = Foundation::open(&config, &Environment::default()).err().unwrap();

        assert!(matches!(refused, FoundationError::MasterKey(_)), "{refused}");
        assert!(!config.storage.data_dir.join("master.key").exists());
    }

    #[test]
    fn the_rights_of_a_directory_that_was_there_are_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();

        prepare(dir.path()).unwrap();

        assert_eq!(mode(dir.path().to_owned()), 0o755);
    }
}
