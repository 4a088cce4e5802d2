//! What can go wrong with keys; no message ever carries secret text.

use std::path::PathBuf;

/// A failure around keys, sealed text or passwords.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
    /// The plain text could not be encrypted.
    #[error("the secret could not be sealed")]
    Seal,
    /// The sealed text was changed, moved to another row, or written under another master key.
    #[error("the sealed secret does not open here: changed, moved, or written under another master key")]
    Open,
    /// No master key is configured where one is needed.
    #[error("no master key: {0}")]
    MissingMasterKey(String),
    /// The configured master key is too weak to use.
    #[error("the master key is too short: give 32 bytes as hex or base64, or a passphrase of at least 32 characters")]
    WeakMasterKey,
    /// Other users of this machine can read the key file.
    #[error("the key file {} is open to others (mode {mode:o}); run: chmod 600 {}", path.display(), path.display())]
    KeyFileOpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file could not be read or created.
    #[error("the key file {}: {source}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A password could not be hashed, or the stored hash is not one of ours.
    #[error("password hashing failed: {0}")]
    Password(String),
}
