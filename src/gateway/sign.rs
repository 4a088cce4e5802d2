//! Credentials that are not sent but sign each request: AWS keys.

use actix_http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use omniroute_actors::connection::config::UpstreamTarget;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::ExposeSecret;
use url::Url;

use super::fault::Fault;
use super::provider_format;
use crate::wire::bedrock::sigv4::{self, Credentials, Scope, SignedRequest, payload_hash};
use crate::wire::chat::Format;

const SERVICE: &str = "bedrock";

/// Sign a request, if its credential is one that signs: `ACCESS_KEY:SECRET_KEY` or `ACCESS_KEY:SECRET_KEY:TOKEN`. Any other
/// credential of Bedrock is an API key and was sent as a bearer.
///
/// # Errors
/// When the address names no region, or a header cannot be written.
pub fn sign(target: &UpstreamTarget, url: &Url, headers: &mut HeaderMap, body: &[u8], now: i64) -> Result<(), Fault> {
    if provider_format::of(target) != Format::Bedrock {
        return Ok(());
    }
    let Some(credentials) = target.auth_header.as_ref().and_then(|(_, value)| credentials(value.expose_secret()))
    else {
        return Ok(());
    };
    let region = region(url).ok_or_else(|| broken("its address names no region"))?;
    headers.remove(AUTHORIZATION);
    let hash = payload_hash(body);
    let host = host(url);
    let signed = [("content-type", "application/json"), ("host", host.as_str())];
    let request = SignedRequest { method: "POST", path: url.path(), query: &[], headers: &signed, payload_hash: &hash };
    for (name, value) in sigv4::sign(&request, &credentials, &Scope { region, service: SERVICE }, now) {
        let mut value = HeaderValue::try_from(value).map_err(|_| broken("it cannot be signed"))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

/// As the `host` header has it: the port only where it is not the usual one.
fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

fn credentials(header: &str) -> Option<Credentials<'_>> {
    let mut words = header.rsplit(' ').next()?.splitn(3, ':');
    Some(Credentials { access_key: words.next()?, secret_key: words.next()?, session_token: words.next() })
}

/// `bedrock-runtime.REGION.amazonaws.com`.
fn region(url: &Url) -> Option<&str> {
    let mut labels = url.host_str()?.split('.');
    labels.next().filter(|first| first.starts_with("bedrock"))?;
    labels.next()
}

fn broken(why: &str) -> Fault {
    Fault::own(Outcome::GatewayFault, format!("the request cannot be signed: {why}"))
}
