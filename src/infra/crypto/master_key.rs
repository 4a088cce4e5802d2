//! The master key: 32 bytes that everything secret on disk depends on.
//!
//! It comes from the operator (`env:`/`file:`), or, for the embedded database only, from a file that the first run
//! creates. A machine with the database but without the key can read no credential.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{CryptoError, hmac_sha256, random_bytes};

const KEY_BYTES: usize = 32;
const MIN_PASSPHRASE_CHARS: usize = 32;
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;
const PASSPHRASE_SALT: &[u8] = b"omniroute/1/master-key-from-passphrase";

/// Where the master key comes from.
#[derive(Debug, Clone)]
pub enum MasterKeySource {
    /// The operator's own text, already resolved.
    Value(SecretString),
    /// An environment variable.
    Env(String),
    /// A file of the operator's, readable by its owner only.
    File(PathBuf),
    /// `<data_dir>/master.key`, made on the first run of an embedded database.
    Embedded {
        /// The directory of the gateway's own data.
        data_dir: PathBuf,
        /// False once the database holds sealed rows: a new key could not open them.
        may_create: bool,
    },
    /// None configured, and none may be made: a database that other machines share.
    Missing,
}

impl MasterKeySource {
    /// Read the configured text: `env:NAME`, `file:PATH`, or the key itself.
    pub fn from_setting(setting: &str) -> Self {
        match setting.split_once(':') {
            Some(("env", name)) => Self::Env(name.to_owned()),
            Some(("file", path)) => Self::File(PathBuf::from(path)),
            _ => Self::Value(SecretString::from(setting)),
        }
    }
}

/// The 32 bytes, wiped from memory when dropped.
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

impl MasterKey {
    /// A key from given bytes.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Load the key, creating the embedded key file when that is allowed. Blocking; for start-up.
    pub fn load_or_create(source: &MasterKeySource) -> Result<Self, CryptoError> {
        match source {
            MasterKeySource::Value(text) => Self::parse(text.expose_secret()),
            MasterKeySource::Env(name) => Self::from_env(name),
            MasterKeySource::File(path) => Self::parse(&read_private(path)?),
            MasterKeySource::Embedded { data_dir, may_create } => Self::embedded(&data_dir.join("master.key"), *may_create),
            MasterKeySource::Missing => Err(CryptoError::MissingMasterKey(
                "a shared PostgreSQL database needs the same master key on every instance; configure it with env: or file:".into(),
            )),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    fn from_env(name: &str) -> Result<Self, CryptoError> {
        let text = std::env::var(name).map(Zeroizing::new);
        Self::parse(&text.map_err(|_| CryptoError::MissingMasterKey(format!("the variable {name} is not set")))?)
    }

    fn embedded(path: &Path, may_create: bool) -> Result<Self, CryptoError> {
        match read_private(path) {
            Ok(text) => Self::parse(&text),
            Err(CryptoError::KeyFile { source, .. }) if source.kind() == ErrorKind::NotFound && may_create => {
                create(path)
            }
            Err(CryptoError::KeyFile { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Err(CryptoError::MissingMasterKey(format!(
                    "{} is gone but the database holds sealed credentials; restore the key file from a backup",
                    path.display()
                )))
            }
            Err(error) => Err(error),
        }
    }

    /// Hex or base64 of 32 bytes; any other text of 32 characters or more is stretched by HKDF-SHA-256.
    fn parse(text: &str) -> Result<Self, CryptoError> {
        let text = text.trim();
        if let Some(bytes) = decode_exact(text) {
            return Ok(Self(bytes));
        }
        if text.chars().count() < MIN_PASSPHRASE_CHARS {
            return Err(CryptoError::WeakMasterKey);
        }
        let extracted = Zeroizing::new(hmac_sha256(PASSPHRASE_SALT, &[text.as_bytes()]));
        Ok(Self(Zeroizing::new(hmac_sha256(extracted.as_slice(), &[b"master key", &[1]]))))
    }
}

fn decode_exact(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut decoders = [
        hex::decode(text).ok(),
        STANDARD.decode(text).ok(),
        STANDARD_NO_PAD.decode(text).ok(),
        URL_SAFE_NO_PAD.decode(text).ok(),
    ]
    .into_iter()
    .flatten()
    .map(Zeroizing::new);
    decoders.find_map(|bytes| <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok()).map(Zeroizing::new)
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, CryptoError> {
    let failed = |source| CryptoError::KeyFile { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, not of the path, so that nobody swaps the file in between.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 && !is_system_credential(mode, metadata.uid(), metadata.gid()) {
        return Err(CryptoError::KeyFileOpenToOthers { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// systemd's `LoadCredential=` grants the service's user access by an ACL, which shows as a readable group; nobody else gets
/// in, for the owner and the group are root's and nobody may write.
pub(super) const fn is_system_credential(mode: u32, uid: u32, gid: u32) -> bool {
    mode == 0o440 && uid == 0 && gid == 0
}

/// Written under a private name and linked into place, so that a crash or a second process leaves no half key.
fn create(path: &Path) -> Result<MasterKey, CryptoError> {
    let failed = |source| CryptoError::KeyFile { path: path.to_owned(), source };
    let bytes = Zeroizing::new(random_bytes::<KEY_BYTES>()?);
    let text = Zeroizing::new(hex::encode(bytes.as_slice()));
    let draft = path.with_extension(format!("key.{}", uuid::Uuid::new_v4().simple()));

    let written = write_private(&draft, &text).and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft).or_else(ignore_missing).map_err(failed)?;
    match written {
        Ok(()) => Ok(MasterKey(bytes)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => MasterKey::parse(&read_private(path)?),
        Err(error) => Err(failed(error)),
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
