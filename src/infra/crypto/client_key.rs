//! Client keys: `omr_`, 43 base62 characters of 256 random bits, 6 base62 characters of CRC-32.
//!
//! The checksum lets a typo or another product's key be refused before anything is hashed or looked up, and lets
//! secret scanners recognise a leaked key with certainty. It is no protection: that is the hash's job.

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{CryptoError, KeyHasher, random_bytes};

const PREFIX: &str = "omr_";
const BODY_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A freshly made client key, and what of it may be stored.
#[derive(Debug)]
pub struct ClientKey {
    /// The whole key: shown to its owner once, then forgotten.
    pub secret: SecretString,
    /// What the store keeps and looks up.
    pub hash: String,
    /// The first characters, for telling keys apart in a list.
    pub prefix: String,
    /// The last four characters, for the same purpose.
    pub last4: String,
}

impl ClientKey {
    /// Make a key from the operating system's randomness.
    pub fn generate(hasher: &KeyHasher) -> Result<Self, CryptoError> {
        let random = Zeroizing::new(random_bytes::<32>()?);
        let body = Zeroizing::new(format!("{PREFIX}{}", base62(random.as_slice(), BODY_CHARS)));
        let secret = SecretString::from(format!("{}{}", *body, checksum(&body)));

        let text = secret.expose_secret();
        let hash = hasher.hash(text);
        let prefix = text.chars().take(PREFIX.len() + 4).collect();
        let last4 = text.chars().skip(text.len().saturating_sub(4)).collect();
        Ok(Self { secret, hash, prefix, last4 })
    }
}

/// Whether `text` has the form of one of our keys, checksum included.
pub fn looks_like_key(text: &str) -> bool {
    if text.len() != PREFIX.len() + BODY_CHARS + CHECKSUM_CHARS || !text.starts_with(PREFIX) {
        return false;
    }
    let Some((body, sum)) = text.split_at_checked(PREFIX.len() + BODY_CHARS) else { return false };
    body.bytes().skip(PREFIX.len()).all(|byte| byte.is_ascii_alphanumeric()) && checksum(body) == sum
}

fn checksum(body: &str) -> String {
    base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM_CHARS)
}

/// The big-endian number `bytes` in base 62, left-filled with zeros to `width` digits.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut number = Zeroizing::new(bytes.to_vec());
    let mut digits: Vec<char> = (0..width).map(|_| char::from(divide_by_62(&mut number))).collect();
    digits.reverse();
    digits.into_iter().collect()
}

/// Long division in place; returns the digit of the remainder.
fn divide_by_62(number: &mut [u8]) -> u8 {
    let remainder = number.iter_mut().fold(0_u32, |carry, byte| {
        let value = carry * 256 + u32::from(*byte);
        *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
        value % 62
    });
    ALPHABET.get(remainder as usize).copied().unwrap_or(b'0')
}
