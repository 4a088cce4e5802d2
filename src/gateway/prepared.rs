//! URL and headers of a connection, parsed once per worker and configuration instead of once per request.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use actix_http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use omniroute_actors::connection::config::UpstreamTarget;
use omniroute_actors::resilience::outcome::Outcome;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use url::Url;

use super::fault::Fault;

/// Enough for the connections that a worker uses at a time; the oldest makes room.
const KEPT: usize = 64;
/// `{model}` as a parsed URL spells it.
const MODEL: &str = "%7Bmodel%7D";
/// A model's name must not lead the call elsewhere: all that means something in a URL is escaped (RFC 3986, 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

struct Prepared {
    target: Weak<UpstreamTarget>,
    whole: Address,
    streamed: Address,
    headers: HeaderMap,
}

thread_local! {
    static PREPARED: RefCell<Vec<Prepared>> = const { RefCell::new(Vec::new()) };
}

/// Where a call goes.
enum Address {
    /// Always here.
    Fixed(Url),
    /// The model is a part of it.
    WithModel(String),
}

impl Address {
    fn parse(template: &str) -> Result<Self, Fault> {
        if template.contains(MODEL) {
            return Ok(Self::WithModel(template.to_owned()));
        }
        Url::parse(template).map(Self::Fixed).map_err(|_| broken("URL"))
    }

    fn of(&self, model: &str) -> Result<Url, Fault> {
        match self {
            Self::Fixed(url) => Ok(url.clone()),
            Self::WithModel(template) => {
                let model = utf8_percent_encode(model, UNRESERVED).to_string();
                Url::parse(&template.replace(MODEL, &model)).map_err(|_| broken("URL"))
            }
        }
    }
}

impl Prepared {
    fn call(&self, model: &str, stream: bool) -> Result<(Url, HeaderMap), Fault> {
        let address = if stream { &self.streamed } else { &self.whole };
        Ok((address.of(model)?, self.headers.clone()))
    }
}

fn broken(what: &str) -> Fault {
    Fault::own(Outcome::GatewayFault, format!("the connection's {what} cannot be used"))
}

/// URL and headers of a call of this target.
///
/// # Errors
/// When its URL or one of its headers cannot be used.
pub fn of(target: &Arc<UpstreamTarget>, model: &str, stream: bool) -> Result<(Url, HeaderMap), Fault> {
    PREPARED.with_borrow_mut(|all| {
        if let Some(known) = all.iter().find(|known| known.target.as_ptr() == Arc::as_ptr(target)) {
            return known.call(model, stream);
        }
        let fresh = prepare(target)?;
        let both = fresh.call(model, stream)?;
        // A held weak reference keeps its address from being used again, so equal addresses are equal targets.
        all.retain(|known| known.target.strong_count() > 0);
        if all.len() >= KEPT {
            all.remove(0);
        }
        all.push(fresh);
        Ok(both)
    })
}

fn prepare(target: &Arc<UpstreamTarget>) -> Result<Prepared, Fault> {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some((name, value)) = &target.auth_header {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| broken("credential header"))?;
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| broken("credential"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    for (name, value) in &target.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| broken("headers"))?;
        headers.insert(name, HeaderValue::try_from(value.as_str()).map_err(|_| broken("headers"))?);
    }
    let whole = Address::parse(&target.chat_url)?;
    let streamed = Address::parse(target.stream_url.as_ref().unwrap_or(&target.chat_url))?;
    Ok(Prepared { target: Arc::downgrade(target), whole, streamed, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(template: &str, model: &str) -> String {
        Address::parse(template).unwrap().of(model).unwrap().to_string()
    }

    #[test]
    fn the_name_of_a_model_cannot_lead_the_call_elsewhere() {
        let template = "https://x.example/v1beta/models/%7Bmodel%7D:generateContent";

        assert_eq!(url(template, "gemini-2.5-pro"), "https://x.example/v1beta/models/gemini-2.5-pro:generateContent");
        for model in ["../../admin", "a/b?x=1#y", "a b", "..", "%2e%2e/x"] {
            let url = Url::parse(&url(template, model)).unwrap();
            assert!(url.path().starts_with("/v1beta/models/") && url.path().ends_with(":generateContent"), "{url}");
            assert!(url.query().is_none() && url.fragment().is_none(), "{url}");
        }
    }

    #[test]
    fn a_fixed_address_stays_what_it_is() {
        assert_eq!(url("https://x.example/v1/messages", "m"), "https://x.example/v1/messages");
    }
}
