//! Google's service accounts: a JSON Web Token, signed with the account's key, for an access token.
//!
//! From Google's identity documentation, "Using OAuth 2.0 for server to server applications": the header says RS256, the claims
//! are `iss`, `scope`, `aud`, `iat` and `exp` (an hour at most), and the token is posted as `assertion`.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::{Found, TokenRequest};

/// Where tokens are given unless the account says otherwise; also whom the JWT is for.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Seconds that a JWT is good for; the token that it brings lives an hour of its own.
const LIFE: i64 = 3_600;

#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: SecretString,
    private_key_id: Option<String>,
    project_id: Option<String>,
    token_uri: Option<String>,
}

/// A JSON object is a service account; anything else is a token already.
pub(super) fn find(credential: &str) -> Result<Found, String> {
    if !credential.trim_start().starts_with('{') {
        return Ok(Found::default());
    }
    let account = read(credential)?;
    let variables = account.project_id.into_iter().map(|project| ("project".to_owned(), project)).collect();
    Ok(Found { exchanged: true, token_url: account.token_uri, variables })
}

/// The question of this account.
pub(super) fn question(credential: &str, scope: Option<&str>, now: i64) -> Result<TokenRequest, String> {
    let account = read(credential)?;
    let assertion = sign(&account, scope.unwrap_or(SCOPE), now)?;
    let form = vec![("grant_type", SecretString::from(GRANT)), ("assertion", SecretString::from(assertion))];
    Ok(TokenRequest { form, ..TokenRequest::default() })
}

fn read(credential: &str) -> Result<ServiceAccount, String> {
    // The reader's own words would quote the key.
    let what = "its credential is not the JSON of a service account (client_email and private_key are needed)";
    serde_json::from_str(credential).map_err(|_| what.to_owned())
}

fn sign(account: &ServiceAccount, scope: &str, now: i64) -> Result<String, String> {
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let (Some(id), Some(members)) = (&account.private_key_id, header.as_object_mut()) {
        members.insert("kid".into(), id.as_str().into());
    }
    let audience = account.token_uri.as_deref().unwrap_or(TOKEN_URI);
    let ends = now.saturating_add(LIFE);
    let claims =
        json!({"iss": account.client_email, "scope": scope, "aud": audience, "iat": now, "exp": ends}).to_string();
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(&header.to_string()), part(&claims));
    let key = key(account)?;
    let mut signature = vec![0; key.public().modulus_len()];
    let made = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
    made.map_err(|_| "its private key cannot sign")?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(&signature)))
}

fn key(account: &ServiceAccount) -> Result<RsaKeyPair, String> {
    use secrecy::ExposeSecret as _;
    let bad = "its private key is no RSA key in PEM form";
    let key = match PrivateKeyDer::from_pem_slice(account.private_key.expose_secret().as_bytes()) {
        Ok(PrivateKeyDer::Pkcs8(key)) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        Ok(PrivateKeyDer::Pkcs1(key)) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(bad.to_owned()),
    };
    key.map_err(|_| bad.to_owned())
}
