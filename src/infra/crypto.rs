//! Keys and what they protect: the master key, sealed credentials, hashed client keys, passwords.
//!
//! One master key, three purposes. Each purpose works with its own sub-key derived by HMAC with a label, so that
//! a weakness in one use says nothing about another.

mod client_key;
mod error;
mod master_key;
mod password;

pub use client_key::{ClientKey, looks_like_key};
pub use error::CryptoError;
pub use master_key::{MasterKey, MasterKeySource};
pub use password::{hash_password, verify_password};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, Mac};
use rand::TryRng;
use rand::rngs::SysRng;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The version of the key and format that sealed text carries as its prefix, and that callers put in their AAD.
pub const KEY_VERSION: &str = "v1";

const NONCE_BYTES: usize = 12;
const CREDENTIAL_LABEL: &[u8] = b"omniroute/1/credential-aead";
const CLIENT_KEY_LABEL: &[u8] = b"omniroute/1/client-key-pepper";
const SESSION_LABEL: &[u8] = b"omniroute/1/session-id";
const AUDIT_LABEL: &[u8] = b"omniroute/1/audit-chain";
const BUNDLE_LABEL: &[u8] = b"omniroute/1/bundle-signature";
const SHARED_LABEL: &[u8] = b"omniroute/1/shared-between-instances";

type HmacSha256 = Hmac<Sha256>;

/// Seals and opens credentials, and hands out the hashers of client keys and session ids.
pub struct Vault {
    cipher: Aes256Gcm,
    client_keys: KeyHasher,
    sessions: KeyHasher,
    audit: KeyHasher,
    bundles: KeyHasher,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(..)")
    }
}

impl Vault {
    /// Derive the sub-keys; the master key itself is not kept.
    pub fn new(master: &MasterKey) -> Self {
        let credential = Zeroizing::new(hmac_sha256(master.bytes(), &[CREDENTIAL_LABEL]));
        Self {
            cipher: Aes256Gcm::new(&(*credential).into()),
            client_keys: KeyHasher::new(hmac_sha256(master.bytes(), &[CLIENT_KEY_LABEL])),
            sessions: KeyHasher::new(hmac_sha256(master.bytes(), &[SESSION_LABEL])),
            audit: KeyHasher::new(hmac_sha256(master.bytes(), &[AUDIT_LABEL])),
            bundles: KeyHasher::new(hmac_sha256(master.bytes(), &[BUNDLE_LABEL])),
        }
    }

    /// Encrypt `plain` for the place that `aad` names: the result opens nowhere else.
    pub fn seal(&self, aad: &str, plain: &SecretString) -> Result<String, CryptoError> {
        let nonce: [u8; NONCE_BYTES] = random_bytes()?;
        let payload = Payload { msg: plain.expose_secret().as_bytes(), aad: aad.as_bytes() };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| CryptoError::Seal)?;

        Ok(format!("{KEY_VERSION}:{}", STANDARD_NO_PAD.encode([nonce.as_slice(), &sealed].concat())))
    }

    /// Decrypt what [`Vault::seal`] made for the same `aad` under the same master key.
    pub fn open(&self, aad: &str, sealed: &str) -> Result<SecretString, CryptoError> {
        let body = sealed.strip_prefix(KEY_VERSION).and_then(|rest| rest.strip_prefix(':')).ok_or(CryptoError::Open)?;
        let bytes = STANDARD_NO_PAD.decode(body).map_err(|_| CryptoError::Open)?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(CryptoError::Open)?;
        let payload = Payload { msg: ciphertext, aad: aad.as_bytes() };
        let plain = self.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| CryptoError::Open)?;

        String::from_utf8(plain).map(SecretString::from).map_err(|error| {
            error.into_bytes().zeroize();
            CryptoError::Open
        })
    }

    /// The hasher under which client keys are stored and looked up.
    pub fn client_keys(&self) -> &KeyHasher {
        &self.client_keys
    }

    /// The hasher under which session ids are stored and looked up.
    pub fn sessions(&self) -> &KeyHasher {
        &self.sessions
    }

    /// What two instances seal and sign with: the key is the operators' own text, the same on both sides.
    pub fn shared(key: &SecretString) -> Self {
        let derived = hmac_sha256(key.expose_secret().as_bytes(), &[SHARED_LABEL]);
        Self::new(&MasterKey::from_bytes(derived))
    }

    /// The hasher that signs configurations on their way to another instance.
    pub fn bundles(&self) -> &KeyHasher {
        &self.bundles
    }

    /// The hasher that chains the audit log: who has the database alone cannot write a chain that holds.
    pub fn audit(&self) -> &KeyHasher {
        &self.audit
    }
}

/// Turns a bearer secret into the text it is stored as: HMAC-SHA-256 in hex.
///
/// A plain fast hash suffices because the secrets are random and long; the pepper keeps a stolen database useless.
#[derive(Clone)]
pub struct KeyHasher {
    pepper: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher(..)")
    }
}

impl KeyHasher {
    fn new(pepper: [u8; 32]) -> Self {
        Self { pepper: Zeroizing::new(pepper) }
    }

    /// The stored form of `secret`: 64 lower-case hex digits.
    pub fn hash(&self, secret: &str) -> String {
        hex::encode(hmac_sha256(self.pepper.as_slice(), &[secret.as_bytes()]))
    }

    /// Whether `secret` is what `stored` was made from, without leaking by time how close it is.
    pub fn matches(&self, secret: &str, stored: &str) -> bool {
        self.hash(secret).as_bytes().ct_eq(stored.as_bytes()).into()
    }
}

/// A fresh opaque token (session id, one-time set-up token): 256 random bits in base64url.
pub fn random_token() -> Result<SecretString, CryptoError> {
    let bytes = Zeroizing::new(random_bytes::<32>()?);
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes.as_slice()).into())
}

fn random_bytes<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| CryptoError::Random(error.to_string()))?;
    Ok(bytes)
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <HmacSha256 as hmac::KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC-SHA-256 accepts keys of every length"));
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
