//! Asking a server that gives tokens, with the ordinary client: the address policy holds, nothing is followed, nothing is
//! logged.

use std::time::Duration;

use actix_http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use awc::http::Method;
use bytes::Bytes;
use omniroute_actors::connection::token::MintFailure;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::TokenRequest;
use crate::gateway::fault::Fault;
use crate::upstream::{Caller, ClientFactory, CollectLimits, UpstreamRequest, collect, send};
use crate::wire::retry_hint::RetryHint;

/// How long a question may take; the actor's own bound is behind it.
const WITHIN: Duration = Duration::from_secs(9);
const LONGEST_ANSWER: usize = 256 * 1024;

/// The way out, and who takes it.
pub(in crate::providers) type Way<'a> = (&'a ClientFactory, Caller<'a>);

/// What the server said.
#[derive(Debug)]
pub(in crate::providers) struct Answer {
    /// Its status.
    pub(in crate::providers) status: u16,
    /// Its body.
    pub(in crate::providers) body: Bytes,
    /// When to come back, if it said so.
    pub(in crate::providers) retry_after: Option<Duration>,
}

impl Answer {
    /// Whether it is a 2xx.
    pub(in crate::providers) const fn is_good(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

/// Post this question; `now` in milliseconds since the epoch.
pub(in crate::providers) async fn post(
    way: Way<'_>,
    url: &str,
    question: &TokenRequest,
    now: i64,
) -> Result<Answer, MintFailure> {
    let request = posted(url, question).ok_or_else(unsendable)?;
    exchange(way, request, now).await
}

/// Get what is there, perhaps with a token.
pub(in crate::providers) async fn get(
    way: Way<'_>,
    url: &str,
    token: Option<&SecretString>,
    now: i64,
) -> Result<Answer, MintFailure> {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, sensitive(token).ok_or_else(unsendable)?);
    }
    let url = Url::parse(url).map_err(|_| unsendable())?;
    exchange(way, UpstreamRequest { method: Method::GET, url, headers, body: Bytes::new() }, now).await
}

async fn exchange((clients, caller): Way<'_>, request: UpstreamRequest, now: i64) -> Result<Answer, MintFailure> {
    let deadline = Instant::now() + WITHIN;
    let response = send(&clients.thread_client(caller), request, deadline).await;
    let response = response.map_err(|error| unreachable(Fault::from(error)))?;
    let (status, headers) = (response.status.as_u16(), response.headers);
    let limits = CollectLimits { cap: LONGEST_ANSWER, idle: WITHIN, deadline };
    let body = collect(response.body, limits).await.map_err(|error| unreachable(Fault::from(error)))?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = RetryHint::find(header, &body, now).map(|hint| hint.after);
    Ok(Answer { status, body, retry_after })
}

fn unsendable() -> MintFailure {
    MintFailure::own(Outcome::AuthRefused, "its credential cannot be sent to the place that gives tokens")
}

/// Whatever kept the answer from us: late is unreachable here, too.
fn unreachable(fault: Fault) -> MintFailure {
    let outcome = match fault.outcome {
        Outcome::FirstContentTimeout | Outcome::IdleTimeout | Outcome::DeadlineExceeded => Outcome::ConnectFailed,
        other => other,
    };
    MintFailure::own(outcome, format!("no token: {}", fault.error.message))
}

fn sensitive(value: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn posted(url: &str, question: &TokenRequest) -> Option<UpstreamRequest> {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Some(value) = &question.authorization {
        headers.insert(AUTHORIZATION, sensitive(value)?);
    }
    for (name, value) in &question.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value.as_str()).ok()?);
    }
    let mut form = Serializer::new(String::new());
    form.extend_pairs(question.form.iter().map(|(name, value)| (*name, value.expose_secret())));
    form.extend_pairs(&question.extra);
    Some(UpstreamRequest {
        method: Method::POST,
        url: Url::parse(url).ok()?,
        headers,
        body: Bytes::from(form.finish()),
    })
}
