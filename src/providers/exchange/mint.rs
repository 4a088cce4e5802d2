//! Asking for a token, with the ordinary client: the address policy holds, nothing is followed, nothing is logged.

use std::time::Duration;

use actix_http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use awc::http::Method;
use bytes::Bytes;
use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::token::{Exchange, MintFailure, Minted};
use omniroute_actors::ids::ConnectionId;
use omniroute_actors::ports::{Minter, Minting};
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::ExposeSecret;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::{TokenRequest, question, reply};
use crate::gateway::fault::Fault;
use crate::upstream::{Caller, ClientFactory, CollectLimits, UpstreamRequest, collect, send};
use crate::wire::retry_hint::RetryHint;

/// How long a question may take; the actor's own bound is behind it.
const WITHIN: Duration = Duration::from_secs(9);
const LONGEST_ANSWER: usize = 256 * 1024;

/// The exchange of credentials, as the actors know it.
#[derive(Clone)]
pub struct TokenMinter {
    clients: ClientFactory,
}

impl TokenMinter {
    /// With this way out.
    pub const fn new(clients: ClientFactory) -> Self {
        Self { clients }
    }

    async fn ask(
        &self,
        connection: &ConnectionId,
        exchange: &Exchange,
        now: UnixMillis,
    ) -> Result<Minted, MintFailure> {
        let unusable = |why: String| MintFailure::own(Outcome::AuthRefused, why);
        let question = question(exchange, now.0 / 1_000).map_err(unusable)?;
        let request = request(&exchange.token_url, &question).ok_or_else(|| {
            MintFailure::own(Outcome::AuthRefused, "its credential cannot be sent to the place that gives tokens")
        })?;
        let deadline = Instant::now() + WITHIN;
        let caller = Caller { connection: Some(connection.as_str()), ..Caller::default() };
        let response = send(&self.clients.thread_client(caller), request, deadline).await;
        let response = response.map_err(|error| unreachable(Fault::from(error)))?;
        let (status, headers) = (response.status, response.headers);
        let limits = CollectLimits { cap: LONGEST_ANSWER, idle: WITHIN, deadline };
        let body = collect(response.body, limits).await.map_err(|error| unreachable(Fault::from(error)))?;
        if status.is_success() {
            return reply::read(&body, now);
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let hint = RetryHint::find(header, &body, now.0).map(|hint| hint.after);
        Err(reply::refused(status.as_u16(), &body, hint))
    }
}

/// Whatever kept the answer from us: late is unreachable here, too.
fn unreachable(fault: Fault) -> MintFailure {
    let outcome = match fault.outcome {
        Outcome::FirstContentTimeout | Outcome::IdleTimeout | Outcome::DeadlineExceeded => Outcome::ConnectFailed,
        other => other,
    };
    MintFailure::own(outcome, format!("no token: {}", fault.error.message))
}

fn request(url: &str, question: &TokenRequest) -> Option<UpstreamRequest> {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Some(value) = &question.authorization {
        let mut value = HeaderValue::try_from(value.expose_secret()).ok()?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    for (name, value) in &question.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value.as_str()).ok()?);
    }
    let mut form = Serializer::new(String::new());
    form.extend_pairs(question.form.iter().map(|(name, value)| (*name, value.expose_secret())));
    Some(UpstreamRequest {
        method: Method::POST,
        url: Url::parse(url).ok()?,
        headers,
        body: Bytes::from(form.finish()),
    })
}

impl Minter for TokenMinter {
    fn mint<'a>(&'a self, connection: &'a ConnectionId, exchange: &'a Exchange, now: UnixMillis) -> Minting<'a> {
        Box::pin(self.ask(connection, exchange, now))
    }
}
