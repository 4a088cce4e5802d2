//! What proves that who ends a sign-in is who began it: `state`, and the verifier of RFC 7636 with its challenge.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::infra::crypto::{CryptoError, random_token};

/// A secret of one sign-in: a `state`, a verifier, the name of a device's sign-in. 256 bits in letters that need no escape.
///
/// # Errors
/// When the system gives no randomness.
pub fn secret() -> Result<SecretString, CryptoError> {
    random_token()
}

/// What the server is told of a verifier beforehand (`S256`).
pub fn challenge(verifier: &SecretString) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret().as_bytes()))
}

/// What the store is told of a secret that a caller holds.
pub fn fingerprint(secret: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = SecretString::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");

        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_secret_is_long_enough_for_a_verifier_needs_no_escape_and_never_comes_twice() {
        let (one, other) = (secret().unwrap(), secret().unwrap());

        let text = one.expose_secret();
        assert!((43..=128).contains(&text.len()), "{}", text.len());
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c)));
        assert_ne!(text, other.expose_secret());
    }
}
