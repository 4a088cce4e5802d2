//! The envelope of a configuration: who made it, when, for which question, and the signature over all of it.

use std::collections::{BTreeMap, HashMap};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

use crate::infra::crypto::{CryptoError, Vault};
use crate::store::{CarriedConnection, Configuration, Held};

const FORMAT: &str = "omniroute-bundle/1";

/// A configuration on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    format: String,
    /// The hash of the configuration.
    pub version: String,
    /// Which instance made it.
    pub instance: String,
    /// When, in milliseconds since the epoch.
    pub created_at: i64,
    /// What the asker gave to be signed, so that an old answer does not pass for a new one.
    pub nonce: String,
    /// The configuration; its text is what was hashed.
    pub bundle: Box<RawValue>,
    /// Credentials by connection and passwords by the place of their proxy, sealed under the shared key.
    #[serde(default)]
    credentials: BTreeMap<String, String>,
    /// Absent where the instances share no key.
    signature: Option<String>,
}

/// Why an envelope is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Another format.
    #[error("the bundle has a format that this release does not know")]
    Format,
    /// The signature does not fit.
    #[error("the bundle is not signed with the shared key")]
    Signature,
    /// Too old, or from the future.
    #[error("the bundle is older than the replay window, or the clocks differ")]
    Stale,
    /// An answer to another question.
    #[error("the bundle answers another question")]
    Nonce,
    /// A configuration that cannot be read.
    #[error("the bundle cannot be read: {0}")]
    Content(String),
}

/// An envelope that is believed.
#[derive(Debug)]
pub struct Opened {
    /// The configuration.
    pub configuration: Configuration,
    /// The credentials and passwords that came along.
    pub credentials: HashMap<String, SecretString>,
}

/// What an envelope is made for.
pub struct Wish<'a> {
    /// The instance that makes it.
    pub instance: String,
    /// When.
    pub at: i64,
    /// What the asker gave.
    pub nonce: String,
    /// The key that both sides share.
    pub shared: Option<&'a Vault>,
    /// Whether credentials go along.
    pub with_credentials: bool,
}

/// Put a configuration into its envelope. Without a shared key it is not signed and carries no credentials.
///
/// # Errors
/// When it cannot be written or sealed.
pub fn seal(held: Held, wish: Wish<'_>) -> Result<Envelope, CryptoError> {
    let Held { mut configuration, connections, passwords } = held;
    let shared = wish.shared.filter(|_| wish.with_credentials);
    let mut credentials = BTreeMap::new();
    for row in connections {
        let mut digest = None;
        if let (Some(shared), Some(held)) = (shared, &row.credential) {
            digest = Some(digest_of(shared, &row.id, held));
            credentials.insert(row.id.clone(), shared.seal(&aad(&row.id), held)?);
        }
        configuration.connections.push(CarriedConnection::of(&row, digest));
    }
    if let Some(shared) = shared {
        for (place, password) in passwords {
            configuration.proxy_passwords.insert(place.clone(), digest_of(shared, &place, &password));
            credentials.insert(place.clone(), shared.seal(&aad(&place), &password)?);
        }
    }
    let bundle = to_raw_value(&configuration).map_err(|_| CryptoError::Seal)?;
    let mut envelope = Envelope {
        format: FORMAT.to_owned(),
        version: hash(bundle.get()),
        instance: wish.instance,
        created_at: wish.at,
        nonce: wish.nonce,
        bundle,
        credentials,
        signature: None,
    };
    envelope.signature = wish.shared.map(|shared| shared.bundles().hash(&envelope.signed_text()));
    Ok(envelope)
}

impl Envelope {
    /// Believe it, or say why not.
    ///
    /// # Errors
    /// Why not.
    pub fn open(&self, shared: &Vault, now: i64, window_ms: i64, nonce: Option<&str>) -> Result<Opened, Rejected> {
        if self.format != FORMAT {
            return Err(Rejected::Format);
        }
        let signature = self.signature.as_deref().unwrap_or_default();
        let signed = shared.bundles().matches(&self.signed_text(), signature);
        if !signed || hash(self.bundle.get()) != self.version {
            return Err(Rejected::Signature);
        }
        if now.saturating_sub(self.created_at).saturating_abs() > window_ms {
            return Err(Rejected::Stale);
        }
        if nonce.is_some_and(|nonce| nonce != self.nonce) {
            return Err(Rejected::Nonce);
        }
        let read = |error: serde_json::Error| Rejected::Content(error.to_string());
        let configuration = serde_json::from_str(self.bundle.get()).map_err(read)?;
        let open = |(id, sealed): (&String, &String)| match shared.open(&aad(id), sealed) {
            Ok(plain) => Ok((id.clone(), plain)),
            Err(_) => Err(Rejected::Signature),
        };
        let credentials = self.credentials.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Opened { configuration, credentials })
    }

    fn signed_text(&self) -> String {
        let credentials = hash(&serde_json::json!(self.credentials).to_string());
        let Self { format, version, instance, created_at, nonce, .. } = self;
        serde_json::json!([format, version, instance, created_at, nonce, credentials]).to_string()
    }
}

fn digest_of(shared: &Vault, id: &str, secret: &SecretString) -> String {
    shared.bundles().hash(&format!("{id}|{}", secret.expose_secret()))
}

fn aad(id: &str) -> String {
    format!("bundle|{id}|credential|v1")
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ConnectionRow;

    const NOW: i64 = 1_000_000;

    fn vault(key: &str) -> Vault {
        Vault::shared(&SecretString::from(key.to_owned()))
    }

    fn sent(shared: &Vault, with_credentials: bool) -> String {
        let mut row = ConnectionRow::blank("c1".into(), 1);
        row.credential = Some("sk-canary".into());
        let (instance, nonce) = ("i".to_owned(), "n".to_owned());
        let wish = Wish { instance, at: NOW, nonce, shared: Some(shared), with_credentials };
        let envelope = seal(Held { connections: vec![row], ..Held::default() }, wish).unwrap();
        serde_json::to_string(&envelope).unwrap()
    }

    fn received(text: &str) -> Envelope {
        serde_json::from_str(text).unwrap()
    }

    fn why(text: &str, key: &str, now: i64, nonce: &str) -> Option<Rejected> {
        received(text).open(&vault(key), now, 300, Some(nonce)).err()
    }

    #[test]
    fn what_was_sent_arrives_with_its_credentials_and_never_in_the_open() {
        let text = sent(&vault("k"), true);

        let opened = received(&text).open(&vault("k"), NOW + 300, 300, Some("n")).unwrap();

        assert_eq!(opened.configuration.connections[0].id, "c1");
        assert_eq!(opened.credentials["c1"].expose_secret(), "sk-canary");
        assert!(!text.contains("sk-canary"));
    }

    #[test]
    fn without_the_wish_no_credential_goes_along() {
        let opened = received(&sent(&vault("k"), false)).open(&vault("k"), NOW, 300, None).unwrap();

        assert!(opened.credentials.is_empty() && opened.configuration.connections[0].credential_digest.is_none());
    }

    #[test]
    fn another_key_a_changed_text_an_old_one_and_another_answer_are_not_believed() {
        let text = sent(&vault("k"), true);

        assert_eq!(why(&text, "other", NOW, "n"), Some(Rejected::Signature));
        assert_eq!(why(&text.replace("\"c1\"", "\"c2\""), "k", NOW, "n"), Some(Rejected::Signature));
        assert_eq!(why(&text.replace("1000000", "1000200"), "k", NOW, "n"), Some(Rejected::Signature));
        assert_eq!(why(&text, "k", NOW + 301, "n"), Some(Rejected::Stale));
        assert_eq!(why(&text, "k", NOW - 301, "n"), Some(Rejected::Stale));
        assert_eq!(why(&text, "k", NOW, "m"), Some(Rejected::Nonce));
        assert_eq!(why(&text.replace("bundle/1", "bundle/2"), "k", NOW, "n"), Some(Rejected::Format));
    }

    #[test]
    fn the_version_tells_the_content_and_not_the_moment() {
        let of = |text: &str| received(text).version;
        let (one, two) = (sent(&vault("k"), true), sent(&vault("k"), true));

        assert_ne!(one, two, "sealing is random");
        assert_eq!(of(&one), of(&two));
    }
}
