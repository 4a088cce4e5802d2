//! `POST /api/settings/proxy/test`: ask a place that tells our own address, through the proxy. What that place says is read
//! as an address and nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::header::HeaderMap;
use actix_web::HttpResponse;
use awc::http::Method;
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::proxy::{place, proxy};
use crate::routes::{Call, Form, JsonBody, Refusal};
use crate::settings::proxies::{DIRECT, Place};
use crate::upstream::{CollectLimits, Proxy, SendErrorKind, UpstreamRequest, Way, collect, send};

/// How long a test may take.
const WITHIN: Duration = Duration::from_secs(10);
/// An address is short.
const LONGEST_ANSWER: usize = 4_096;

/// `proxy`, or `level` and `id` of one that is stored.
pub(super) async fn test(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let through = match (form.any("proxy"), form.text("level", 1..=20)) {
        (Some(value), None) => given(&call, &mut form, &value),
        (None, Some(level)) => {
            let id = form.text("id", 0..=512);
            place(&call, &mut form, &level, id).and_then(|place| stored(&call, &mut form, &place))
        }
        _ => {
            form.problem("proxy", "Expected a proxy, or level and id of a stored one");
            None
        }
    };
    form.finish()?;
    let through = through.ok_or_else(|| Refusal::bad_request("Expected a proxy"))?;
    let (url, began) = (through.address(), Instant::now());
    let outcome = ask(&call, through).await;
    let latency = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = if outcome.is_ok() { "success" } else { "failed" };
    call.audit_as("settings.proxy.tested", &url, status, json!({})).await;
    Ok(HttpResponse::Ok().json(match outcome {
        Ok(ip) => json!({"success": true, "publicIp": ip, "latencyMs": latency, "proxyUrl": url}),
        Err(why) => json!({"success": false, "error": why, "latencyMs": latency, "proxyUrl": url}),
    }))
}

fn given(call: &Call, form: &mut Form, value: &Value) -> Option<Proxy> {
    let given = proxy(call, form, value, "proxy")?;
    if given.entry.r#type == DIRECT {
        form.problem("proxy", "There is nothing to test about going direct");
    }
    // The password is in clear text here, so the place does not matter.
    let Way::Through(proxy) = given.entry.way(&Place::Global, &call.app.vault) else { return None };
    let mut proxy = Arc::unwrap_or_clone(proxy);
    let password = given.password.unwrap_or_default();
    proxy.login = proxy.login.map(|(name, _): (String, SecretString)| (name, password));
    Some(proxy)
}

fn stored(call: &Call, form: &mut Form, place: &Place) -> Option<Proxy> {
    let entry = call.app.directory.settings().proxies.at(place);
    match entry.map(|entry| entry.way(place, &call.app.vault)) {
        Some(Way::Through(proxy)) => Some(Arc::unwrap_or_clone(proxy)),
        _ => {
            form.problem("id", "No proxy is set there");
            None
        }
    }
}

/// Our address as the world sees it through the proxy, or why not, in a fixed vocabulary.
async fn ask(call: &Call, through: Proxy) -> Result<IpAddr, String> {
    let url = Url::parse(&call.app.config.load().upstream.proxy_test_url);
    let url = url.map_err(|_| "upstream.proxy_test_url is not a URL".to_owned())?;
    let (deadline, headers) = (Instant::now() + WITHIN, HeaderMap::new());
    let request = UpstreamRequest { method: Method::GET, url, headers, body: Bytes::new() };
    // A test that went past the proxy would say nothing about it.
    let client = call.app.clients.client_through(Proxy { fallback_to_direct: false, ..through });
    let response = send(&client, request, deadline).await.map_err(|error| in_words(&error.kind))?;
    if !response.status.is_success() {
        return Err(format!("The test address answered with status {}", response.status.as_u16()));
    }
    let limits = CollectLimits { cap: LONGEST_ANSWER, idle: WITHIN, deadline };
    let body = collect(response.body, limits).await.map_err(|_| "The answer did not arrive whole".to_owned())?;
    address(&body).ok_or_else(|| "The test address did not answer with an IP address".to_owned())
}

fn address(body: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let json = serde_json::from_str::<Value>(text).ok();
    let named =
        json.as_ref().and_then(|json| ["ip", "origin", "query"].iter().find_map(|name| json.get(*name)?.as_str()));
    named.unwrap_or(text).parse().ok()
}

fn in_words(kind: &SendErrorKind) -> String {
    match kind {
        SendErrorKind::Proxy { detail, .. } => format!("The proxy cannot be used: {detail}"),
        SendErrorKind::Refused(refusal) => format!("Not allowed: {refusal}"),
        SendErrorKind::ConnectTimeout { .. } | SendErrorKind::HeadTimeout => {
            format!("Connection timeout ({}s)", WITHIN.as_secs())
        }
        SendErrorKind::Dns { .. } => "The name of the test address cannot be resolved".to_owned(),
        SendErrorKind::Connect { .. } => "The proxy cannot reach the test address".to_owned(),
        SendErrorKind::Tls { .. } => "No secure connection to the test address".to_owned(),
        _ => "No answer that can be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_is_read_from_the_answer() {
        let ip = |text: &str| address(text.as_bytes()).map(|ip| ip.to_string());

        assert_eq!(ip(" 203.0.113.9\n").as_deref(), Some("203.0.113.9"));
        assert_eq!(ip(r#"{"ip":"2001:db8::1"}"#).as_deref(), Some("2001:db8::1"));
        for other in ["", "<html>", r#"{"ip":"secret"}"#, r#"{"other":"203.0.113.9"}"#] {
            assert_eq!(ip(other), None, "{other}");
        }
    }
}
