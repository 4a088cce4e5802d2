//! Passwords: argon2id with 19 MiB, two passes, one lane.
//!
//! Both functions take tens of milliseconds of CPU: call them from a bounded blocking pool, never on a worker.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};

use super::CryptoError;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hash a password with a fresh salt into a PHC string. Blocking.
pub fn hash_password(password: &SecretString) -> Result<String, CryptoError> {
    let hash = argon2()?.hash_password(password.expose_secret().as_bytes()).map_err(failed)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one `stored` was made from. A stored text that is no PHC string is an error. Blocking.
pub fn verify_password(password: &SecretString, stored: &str) -> Result<bool, CryptoError> {
    let hash = PasswordHash::new(stored).map_err(|error| CryptoError::Password(error.to_string()))?;
    match argon2()?.verify_password(password.expose_secret().as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn argon2() -> Result<Argon2<'static>, CryptoError> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| CryptoError::Password(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn failed(error: Error) -> CryptoError {
    CryptoError::Password(error.to_string())
}
