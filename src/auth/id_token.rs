//! The ID token of an OpenID Connect provider: who signed in there. Believed only when everything fits: the provider's
//! key, its name, ours, the time and the question it answers.
//!
//! Two algorithms, each bound to its kind of key: nothing in a token chooses how it is checked beyond these, and `none` is
//! no algorithm.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use super::role::Role;
use crate::config;

/// How far the provider's clock may differ.
const LEEWAY_S: i64 = 60;

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// It cannot be read.
    #[error("the ID token cannot be read")]
    Unreadable,
    /// Another algorithm than those two.
    #[error("the ID token is signed with an algorithm that is not accepted")]
    Algorithm,
    /// The provider publishes no such key, or the signature does not fit.
    #[error("the ID token is not signed by the provider")]
    Signature,
    /// Another provider made it.
    #[error("the ID token was made by another issuer")]
    Issuer,
    /// It was made for somebody else.
    #[error("the ID token was made for another client")]
    Audience,
    /// It has expired, or is not good yet.
    #[error("the ID token has expired or is not good yet")]
    Time,
    /// It answers another question.
    #[error("the ID token answers another sign-in")]
    Nonce,
}

/// The keys that a provider publishes.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Debug, Clone, Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

/// What has to fit.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// Us.
    pub client_id: &'a str,
    /// The question; a token that was renewed answers none.
    pub nonce: Option<&'a str>,
    /// Now, in seconds.
    pub now_s: i64,
}

/// The claims of a token that is believed.
///
/// # Errors
/// Why it is not.
pub fn believe(token: &str, keys: &Jwks, expected: Expected<'_>) -> Result<Value, Disbelief> {
    let (signed, signature) = token.rsplit_once('.').ok_or(Disbelief::Unreadable)?;
    let (header, claims) = signed.split_once('.').ok_or(Disbelief::Unreadable)?;
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Disbelief::Unreadable)?;
    if !matches!(header.alg.as_str(), "RS256" | "ES256") {
        return Err(Disbelief::Algorithm);
    }
    let signature = decode(signature)?;
    let fitting = keys.keys.iter().filter(|key| key.may_check(&header));
    let mut checked = fitting.map(|key| key.check(signed.as_bytes(), &signature));
    if !checked.any(|fits| fits) {
        return Err(Disbelief::Signature);
    }
    let claims: Value = serde_json::from_slice(&decode(claims)?).map_err(|_| Disbelief::Unreadable)?;
    fits(&claims, expected).map(|()| claims)
}

fn decode(part: &str) -> Result<Vec<u8>, Disbelief> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Disbelief::Unreadable)
}

impl Jwk {
    fn may_check(&self, header: &Header) -> bool {
        let kind = if header.alg == "RS256" { "RSA" } else { "EC" };
        let named = header.kid.is_none() || self.kid.is_none() || self.kid == header.kid;
        self.kty == kind && named && self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
    }

    fn check(&self, signed: &[u8], signature: &[u8]) -> bool {
        let part = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
        if self.kty == "RSA" {
            let Some((n, e)) = part(&self.n).zip(part(&self.e)) else { return false };
            return RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).is_ok();
        }
        if self.crv.as_deref() != Some("P-256") {
            return false;
        }
        let Some((x, y)) = part(&self.x).zip(part(&self.y)) else { return false };
        // An uncompressed point, as the curve's standard writes it.
        let point = [&[4], x.as_slice(), &y].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
    }
}

fn fits(claims: &Value, expected: Expected<'_>) -> Result<(), Disbelief> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let second = |name: &str| claims.get(name).map(|value| value.as_f64().map(|value| value as i64));
    if text("iss") != Some(expected.issuer) {
        return Err(Disbelief::Issuer);
    }
    let us = Some(expected.client_id);
    let meant = match claims.get("aud") {
        Some(Value::String(one)) => Some(one.as_str()) == us,
        // With several audiences the token names the one that asked for it.
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == us) && (many.len() == 1 || text("azp") == us),
        _ => false,
    };
    if !meant || text("azp").is_some_and(|party| Some(party) != us) {
        return Err(Disbelief::Audience);
    }
    let expired = !matches!(second("exp"), Some(Some(end)) if end.saturating_add(LEEWAY_S) > expected.now_s);
    let early = |name: &str| match second(name) {
        None => false,
        Some(from) => from.is_none_or(|from| from.saturating_sub(LEEWAY_S) > expected.now_s),
    };
    if expired || early("nbf") || early("iat") {
        return Err(Disbelief::Time);
    }
    if expected.nonce.is_some_and(|nonce| text("nonce") != Some(nonce)) {
        return Err(Disbelief::Nonce);
    }
    if text("sub").is_none_or(str::is_empty) { Err(Disbelief::Unreadable) } else { Ok(()) }
}

/// What these claims hold that decides the role.
pub fn held(claims: &Value, settings: &config::Oidc) -> Vec<String> {
    let claim = settings.role_claim.split('.').try_fold(claims, |value, name| value.get(name));
    match claim {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// What that makes of somebody; `None` makes nobody of them.
pub fn role_for(held: &[String], settings: &config::Oidc) -> Option<Role> {
    let holds = |wanted: &[String]| wanted.iter().any(|wanted| held.contains(wanted));
    match () {
        () if holds(&settings.admins) => Some(Role::Admin),
        () if holds(&settings.operators) => Some(Role::Operator),
        () if holds(&settings.viewers) || settings.viewers.iter().any(|wanted| wanted == "*") => Some(Role::Viewer),
        () => None,
    }
}

/// A provider's side, for tests.
#[cfg(test)]
pub(crate) mod forge {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    pub(crate) fn pair() -> EcdsaKeyPair {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap()
    }

    pub(crate) fn published(pair: &EcdsaKeyPair) -> Value {
        let point = pair.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({"keys": [{"kty": "EC", "kid": "k", "use": "sig", "crv": "P-256", "x": part(1..33), "y": part(33..65)}]})
    }

    pub(crate) fn signed(pair: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::EcdsaKeyPair;
    use rstest::rstest;
    use serde_json::json;

    use super::forge::{pair, signed};
    use super::*;

    const NOW: i64 = 1_000_000;

    fn published(pair: &EcdsaKeyPair) -> Jwks {
        serde_json::from_value(forge::published(pair)).unwrap()
    }

    fn claims() -> Value {
        json!({"iss": "https://i", "aud": "us", "sub": "ada", "nonce": "n", "exp": NOW + 300, "iat": NOW})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    fn verdict(header: &Value, claims: &Value) -> Result<Value, Disbelief> {
        let pair = pair();
        let expected = Expected { issuer: "https://i", client_id: "us", nonce: Some("n"), now_s: NOW };
        believe(&signed(&pair, header, claims), &published(&pair), expected)
    }

    #[rstest]
    #[case::as_it_should_be(claims(), None)]
    #[case::one_of_several_that_names_us(with("aud", json!(["us"])), None)]
    #[case::another_issuer(with("iss", json!("https://i/")), Some(Disbelief::Issuer))]
    #[case::another_client(with("aud", json!("them")), Some(Disbelief::Audience))]
    #[case::several_clients_and_no_party(with("aud", json!(["us", "them"])), Some(Disbelief::Audience))]
    #[case::another_party(with("azp", json!("them")), Some(Disbelief::Audience))]
    #[case::expired(with("exp", json!(NOW - 60)), Some(Disbelief::Time))]
    #[case::without_an_end(with("exp", Value::Null), Some(Disbelief::Time))]
    #[case::an_end_that_is_no_time(with("exp", json!("never")), Some(Disbelief::Time))]
    #[case::not_yet(with("nbf", json!(NOW + 61)), Some(Disbelief::Time))]
    #[case::a_beginning_that_is_no_time(with("nbf", json!("always")), Some(Disbelief::Time))]
    #[case::from_the_future(with("iat", json!(NOW + 61)), Some(Disbelief::Time))]
    #[case::another_question(with("nonce", json!("m")), Some(Disbelief::Nonce))]
    #[case::nobody(with("sub", json!("")), Some(Disbelief::Unreadable))]
    fn a_token_is_believed_only_when_everything_fits(#[case] claims: Value, #[case] wrong: Option<Disbelief>) {
        assert_eq!(verdict(&json!({"alg": "ES256", "kid": "k"}), &claims).err(), wrong);
    }

    #[rstest]
    #[case::no_algorithm(json!({"alg": "none"}), Disbelief::Algorithm)]
    #[case::a_shared_secret(json!({"alg": "HS256", "kid": "k"}), Disbelief::Algorithm)]
    #[case::another_kind_of_key(json!({"alg": "RS256", "kid": "k"}), Disbelief::Signature)]
    #[case::another_key(json!({"alg": "ES256", "kid": "other"}), Disbelief::Signature)]
    fn a_token_does_not_choose_how_it_is_checked(#[case] header: Value, #[case] wrong: Disbelief) {
        assert_eq!(verdict(&header, &claims()).err(), Some(wrong));
    }

    #[test]
    fn a_token_of_somebody_elses_key_or_without_a_signature_is_not_believed() {
        let (ours, theirs) = (pair(), pair());
        let expected = Expected { issuer: "https://i", client_id: "us", nonce: Some("n"), now_s: NOW };
        let token = signed(&theirs, &json!({"alg": "ES256", "kid": "k"}), &claims());
        let bare = format!("{}.", token.rsplit_once('.').unwrap().0);

        for token in [token, bare, "x".to_owned(), "a.b".to_owned()] {
            assert!(believe(&token, &published(&ours), expected).is_err(), "{token}");
        }
    }

    #[test]
    fn the_claim_decides_the_role_and_nothing_makes_nobody() {
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut settings = config::Oidc { role_claim: "realm.roles".into(), ..config::Oidc::default() };
        (settings.admins, settings.operators) = (text(&["root"]), text(&["ops"]));
        let of = |settings: &config::Oidc, roles: Value| {
            role_for(&held(&json!({"realm": {"roles": roles}}), settings), settings)
        };

        assert_eq!(of(&settings, json!(["ops", "root"])), Some(Role::Admin));
        assert_eq!(of(&settings, json!("ops")), Some(Role::Operator));
        assert_eq!(of(&settings, json!(["rooted"])), None);
        settings.viewers = text(&["*"]);
        assert_eq!(of(&settings, json!(7)), Some(Role::Viewer));
    }
}
