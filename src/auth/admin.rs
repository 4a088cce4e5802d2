//! The administrator: one account, one password, and the one-time token that sets the first password.
//!
//! There is no default password. A fresh installation takes the configured one, or prints a token that works once,
//! for half an hour, in this process only.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use omniroute_actors::clock::{Clock, Moment};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::hashing::Hashing;
use crate::infra::crypto::{CryptoError, KeyHasher, Vault, hash_password, random_token, verify_password};
use crate::settings::travel::ADMIN_PASSWORD;
use crate::store::{Store, StoreError};

/// How long a password may be and must be.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 12..=200;
/// How long a set-up token is good for.
const TOKEN_FOR: Duration = Duration::from_secs(30 * 60);

/// Why the administrator cannot be checked or changed now.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many logins at the same time.
    #[error("too many logins at the same time")]
    Busy,
    /// A password could not be hashed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A password is set already.
    #[error("a password is set already")]
    AlreadySet,
}

/// How far the set-up is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetUp {
    /// A password is set.
    Done,
    /// The printed token is waited for.
    AwaitsToken,
}

/// The administrator's account.
pub struct Admin {
    store: Store,
    hasher: KeyHasher,
    clock: Arc<dyn Clock>,
    hashing: Hashing,
    token: ArcSwapOption<Token>,
}

struct Token {
    hash: String,
    until: Moment,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin(..)")
    }
}

impl Admin {
    /// The account in this store.
    pub fn new(store: Store, vault: &Vault, clock: Arc<dyn Clock>) -> Self {
        let hasher = vault.sessions().clone();
        Self { store, hasher, clock, hashing: Hashing::start(), token: ArcSwapOption::empty() }
    }

    /// For the start: make sure that somebody can sign in. Stores the configured first password if none is stored;
    /// with none configured either, answers with a new token to show to the operator.
    ///
    /// # Errors
    /// When the store or the random source fails.
    pub async fn setup_token(&self, initial: Option<&SecretString>) -> Result<Option<SecretString>, AdminError> {
        if self.stored_hash().await?.is_some() {
            return Ok(None);
        }
        if let Some(initial) = initial.filter(|password| !password.expose_secret().is_empty()) {
            return match self.store_password(initial, true).await {
                // Another instance was faster: it had the same password to store.
                Ok(()) | Err(AdminError::AlreadySet) => Ok(None),
                Err(error) => Err(error),
            };
        }
        let token = random_token()?;
        let (hash, until) = (self.hasher.hash(token.expose_secret()), self.clock.now().after(TOKEN_FOR));
        self.token.store(Some(Arc::new(Token { hash, until })));
        Ok(Some(token))
    }

    /// How far the set-up is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_up(&self) -> Result<SetUp, AdminError> {
        Ok(if self.stored_hash().await?.is_some() { SetUp::Done } else { SetUp::AwaitsToken })
    }

    /// Whether this is the password; before there is one, whether it is the set-up token, which is used up by it.
    /// Takes the same time whichever it is.
    ///
    /// # Errors
    /// When it cannot be found out.
    pub async fn check(&self, password: SecretString) -> Result<bool, AdminError> {
        // Before the store is asked: a flood of logins is not to become a flood of queries.
        let place = self.hashing.place()?;
        match self.stored_hash().await? {
            Some(hash) => place.run(move || verify_password(&password, &hash)).await,
            None => {
                let right = self.take_token(&password);
                place.run(move || hash_password(&password).map(drop)).await?;
                Ok(right)
            }
        }
    }

    /// Whether this is the set-up token; it is used up by the question if it is.
    pub fn take_token(&self, token: &SecretString) -> bool {
        let Some(held) = self.token.load_full() else { return false };
        let right = self.clock.now() < held.until && self.hasher.matches(token.expose_secret(), &held.hash);
        if !right {
            return false;
        }
        // Of two that ask at the same moment only the one that finds it still there is told yes.
        let found = self.token.compare_and_swap(&held, None);
        found.as_ref().is_some_and(|found| Arc::ptr_eq(found, &held))
    }

    /// Store the first password.
    ///
    /// # Errors
    /// [`AdminError::AlreadySet`] when there is one.
    pub async fn set_first_password(&self, password: &SecretString) -> Result<(), AdminError> {
        self.store_password(password, true).await?;
        self.token.store(None);
        Ok(())
    }

    /// Replace the password.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn change_password(&self, password: &SecretString) -> Result<(), AdminError> {
        self.store_password(password, false).await
    }

    async fn store_password(&self, password: &SecretString, first: bool) -> Result<(), AdminError> {
        let password = password.clone();
        let hash = self.hashing.place()?.run(move || hash_password(&password)).await?;
        let value = json!({ "hash": hash });
        let written = self.store.settings().put(ADMIN_PASSWORD, value, first.then_some(0), self.clock.wall().0).await;
        match written {
            Err(StoreError::Conflict(_)) if first => Err(AdminError::AlreadySet),
            other => Ok(other.map(drop)?),
        }
    }

    async fn stored_hash(&self) -> Result<Option<String>, StoreError> {
        let row = self.store.settings().get(ADMIN_PASSWORD).await?;
        Ok(row.and_then(|row| row.value.get("hash").and_then(Value::as_str).map(ToOwned::to_owned)))
    }
}

#[cfg(test)]
mod tests {
    use omniroute_actors::clock::ManualClock;

    use super::*;
    use crate::infra::crypto::MasterKey;
    use crate::store::StoreOptions;

    fn bed() -> (Admin, Arc<ManualClock>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::new(&MasterKey::from_bytes([7; 32])));
        let (url, data_dir) = ("sqlite:test.db".to_owned(), dir.path().to_owned());
        let store = Store::open(&StoreOptions { url, data_dir, readers: 1, vault: vault.clone() }).unwrap();
        let clock = Arc::new(ManualClock::at(Moment::START));
        (Admin::new(store, &vault, clock.clone()), clock, dir)
    }

    #[actix_web::test]
    async fn the_configured_password_is_stored_once_and_later_ones_are_ignored() {
        let (admin, _, _dir) = bed();
        assert!(admin.setup_token(Some(&"first password".into())).await.unwrap().is_none());

        assert!(admin.setup_token(Some(&"second password".into())).await.unwrap().is_none());

        assert!(admin.check("first password".into()).await.unwrap());
        assert!(!admin.check("second password".into()).await.unwrap());
    }

    #[actix_web::test]
    async fn the_token_signs_in_once() {
        let (admin, _, _dir) = bed();
        let token = admin.setup_token(None).await.unwrap().unwrap();
        assert_eq!(admin.set_up().await.unwrap(), SetUp::AwaitsToken);
        assert!(!admin.check("not the token".into()).await.unwrap());

        assert!(admin.check(token.clone()).await.unwrap());
        assert!(!admin.check(token).await.unwrap());
    }

    #[actix_web::test]
    async fn the_token_is_void_after_half_an_hour() {
        let (admin, clock, _dir) = bed();
        let token = admin.setup_token(None).await.unwrap().unwrap();

        clock.advance(TOKEN_FOR);

        assert!(!admin.take_token(&token));
    }

    #[actix_web::test]
    async fn a_first_password_cannot_be_set_twice() {
        let (admin, _, _dir) = bed();
        let token = admin.setup_token(None).await.unwrap().unwrap();
        admin.set_first_password(&"the first password".into()).await.unwrap();

        assert!(matches!(admin.set_first_password(&"another password".into()).await, Err(AdminError::AlreadySet)));
        assert!(!admin.take_token(&token), "the token must be void once a password is set");
        admin.change_password(&"the second password".into()).await.unwrap();
        assert!(admin.check("the second password".into()).await.unwrap());
    }
}
