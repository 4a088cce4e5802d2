//! Making a client key: the row that is stored, and the secret that is shown once.

use secrecy::SecretString;
use serde_json::json;

use crate::infra::crypto::{ClientKey, CryptoError, Vault};
use crate::store::ApiKeyRow;

/// The name of the key that a first start makes.
pub const FIRST_KEY: &str = "first key";

/// A key without any limit; callers narrow the row down before they store it.
///
/// # Errors
/// When the random source fails.
pub fn fresh(vault: &Vault, name: &str, now: i64) -> Result<(ApiKeyRow, SecretString), CryptoError> {
    let key = ClientKey::generate(vault.client_keys())?;
    let row = ApiKeyRow {
        id: uuid::Uuid::now_v7().to_string(),
        name: name.to_owned(),
        secret_hash: key.hash,
        prefix: key.prefix,
        last4: key.last4,
        scopes: json!([]),
        allowed_models: json!([]),
        allowed_connections: json!([]),
        is_active: true,
        expires_at: None,
        max_requests_per_minute: None,
        max_requests_per_day: None,
        max_sessions: None,
        no_log: false,
        extra: json!({}),
        created_at: now,
        last_used_at: None,
        revoked_at: None,
    };
    Ok((row, key.secret))
}
