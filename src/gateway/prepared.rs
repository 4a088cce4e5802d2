//! URL and headers of a connection, parsed once per worker and configuration instead of once per request.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use actix_http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use omniroute_actors::connection::config::UpstreamTarget;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::ExposeSecret;
use url::Url;

use super::fault::Fault;

/// Enough for the connections that a worker uses at a time; the oldest makes room.
const KEPT: usize = 64;

struct Prepared {
    target: Weak<UpstreamTarget>,
    url: Url,
    headers: HeaderMap,
}

thread_local! {
    static PREPARED: RefCell<Vec<Prepared>> = const { RefCell::new(Vec::new()) };
}

/// Of this target.
///
/// # Errors
/// When its URL or one of its headers cannot be used.
pub fn of(target: &Arc<UpstreamTarget>) -> Result<(Url, HeaderMap), Fault> {
    PREPARED.with_borrow_mut(|all| {
        if let Some(known) = all.iter().find(|known| known.target.as_ptr() == Arc::as_ptr(target)) {
            return Ok((known.url.clone(), known.headers.clone()));
        }
        let fresh = prepare(target)?;
        let both = (fresh.url.clone(), fresh.headers.clone());
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
    let broken = |what: &str| Fault::own(Outcome::GatewayFault, format!("the connection's {what} cannot be used"));
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
    let url = Url::parse(&target.chat_url).map_err(|_| broken("URL"))?;
    Ok(Prepared { target: Arc::downgrade(target), url, headers })
}
