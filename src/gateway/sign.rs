//! Credentials that are not sent but sign each request: AWS keys.

use actix_http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use omniroute_actors::connection::config::UpstreamTarget;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::ExposeSecret;
use url::Url;

use super::fault::Fault;
use super::provider_format;
use crate::wire::bedrock::sigv4::{Credentials, Signing};
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
    let signing = Signing { method: "POST", url, region, service: SERVICE, body, now };
    for (name, value) in signing.headers(&credentials) {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| broken("it cannot be signed"))?;
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| broken("it cannot be signed"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
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
