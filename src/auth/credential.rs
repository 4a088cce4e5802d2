//! The key that a request brings: one, in one of three headers.

use std::borrow::Cow;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use url::form_urlencoded;

/// Headers whose whole value is a key.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "x-goog-api-key"];

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// It brings no key.
    #[error("no key")]
    Missing,
    /// What it brings is no key of ours.
    #[error("not a key")]
    Malformed,
    /// It brings two different ones.
    #[error("two different keys in one request")]
    Conflicting,
    /// The key has the right form and nobody here knows it; its hash, for [`KeyRing::look_up`](super::KeyRing::look_up).
    #[error("unknown key")]
    Unknown(String),
    /// The key is switched off or revoked.
    #[error("the key is switched off")]
    Disabled,
    /// The key's time is over.
    #[error("the key has expired")]
    Expired,
}

/// The one key of a request, whichever header carries it. Clients that are not configured for one of the headers send it
/// empty; it says nothing beside a key in another one.
pub(super) fn credential(headers: &HeaderMap) -> Result<Option<&str>, AuthFailure> {
    let (mut found, mut empty): (Option<&str>, _) = (None, false);
    let bearers = headers.get_all(AUTHORIZATION).map(|value| value.to_str().ok().and_then(bearer));
    let plain =
        KEY_HEADERS.iter().flat_map(|name| headers.get_all(*name)).map(|value| value.to_str().ok().map(str::trim));
    for key in bearers.chain(plain) {
        let key = key.ok_or(AuthFailure::Malformed)?;
        if key.is_empty() {
            empty = true;
            continue;
        }
        if found.is_some_and(|other| other != key) {
            return Err(AuthFailure::Conflicting);
        }
        found = Some(key);
    }
    if empty && found.is_none() { Err(AuthFailure::Malformed) } else { Ok(found) }
}

fn bearer(value: &str) -> Option<&str> {
    let value = value.trim();
    let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
    (value.is_empty() || scheme.eq_ignore_ascii_case("bearer")).then(|| key.trim())
}

/// The key in the query of an address.
pub(super) fn in_query(query: &str) -> Option<Cow<'_, str>> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, value)| name == "key" && !value.is_empty()).map(|(_, value)| value)
}
