//! How the first person gets in: the administrator's sign-in, and the key for the first call.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::BootError;
use super::banner::SignIn;
use crate::app::App;
use crate::auth::{Admin, SetUp, client_keys};
use crate::config::Source;
use crate::store::{AuditEntry, StoreError};

/// How the administrator signs in; where nobody has yet, that is made possible.
pub(super) async fn sign_in(
    admin: &Admin,
    initial: Option<&SecretString>,
    source: Source,
) -> Result<SignIn, BootError> {
    let before = admin.set_up().await?;
    let configured = initial.is_some_and(|password| !password.expose_secret().is_empty());
    Ok(match (admin.setup_token(initial).await?, before) {
        (Some(token), _) => SignIn::Token(token),
        (None, SetUp::AwaitsToken) => SignIn::InitialPassword(source),
        (None, SetUp::Done) => SignIn::Password { unused: configured.then_some(source) },
    })
}

/// The key for the first call, while there is none at all.
pub(super) async fn first_key(app: &App) -> Result<Option<SecretString>, BootError> {
    if !app.store.api_keys().is_empty().await? {
        return Ok(None);
    }
    let (row, secret) = client_keys::fresh(&app.vault, client_keys::FIRST_KEY, app.clock.wall().0)?;
    app.store.api_keys().insert(&row).await?;
    note(app, "apikey.created", &row.id, json!({"name": row.name, "prefix": row.prefix})).await?;
    Ok(Some(secret))
}

/// What the gateway does by itself is written down like everything else.
async fn note(app: &App, action: &str, target: &str, particulars: Value) -> Result<(), StoreError> {
    app.store.audit().append(AuditEntry::by_system(app.clock.wall().0, action, target, particulars)).await.map(drop)
}
