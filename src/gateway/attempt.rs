//! One attempt: send the request to the leased connection and find out whether it answers.
//!
//! A stream is held back until its first real content, so that everything before it can still become the next
//! attempt or a clean HTTP error.

use std::time::Duration;

use actix_http::header::{ACCEPT, HeaderValue};
use awc::http::Method;
use bytes::Bytes;
use futures_util::StreamExt;
use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::config::ConnectionConfig;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::Lease;
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout_at};

use super::assemble::quirk_bit;
use super::fault::Fault;
use super::inbound::Inbound;
use super::prepared;
use super::relay::{Progress, Relay};
use crate::config::Config;
use crate::providers::Quirk;
use crate::upstream::{Body, ClientFactory, CollectLimits, UpstreamRequest, UpstreamResponse, collect, send};
use crate::wire::openai_chat::RewriteOptions;
use crate::wire::openai_chat_answer::{AnswerFacts, check_answer};
use crate::wire::openai_chat_stream::EndRules;
use crate::wire::openai_error::UpstreamErrorBody;
use crate::wire::retry_hint::RetryHint;

/// An error answer is read up to here; more of it says nothing.
const LONGEST_ERROR: usize = 64 * 1024;
/// How long the body of an error answer may take.
const ERROR_WITHIN: Duration = Duration::from_secs(5);

/// A good answer.
pub enum Answer {
    /// Whole and checked.
    Whole {
        /// As the upstream sent it.
        body: Bytes,
        /// What it says.
        facts: AnswerFacts,
    },
    /// A stream whose first content is there.
    Stream(Box<OpenStream>),
}

/// A stream that the client may see now.
pub struct OpenStream {
    /// Its state.
    pub relay: Relay,
    /// The rest of it; `None` when it is whole already.
    pub upstream: Option<Body>,
}

/// What attempts share.
pub struct Means<'a> {
    /// The way out.
    pub clients: &'a ClientFactory,
    /// The configuration.
    pub config: &'a Config,
    /// The wall time, for hints that name one.
    pub now: UnixMillis,
}

/// Try one connection.
///
/// # Errors
/// How it failed; nothing has been sent to the client then.
pub async fn attempt(means: &Means<'_>, inbound: &Inbound, lease: &Lease) -> Result<Answer, Fault> {
    let request = prepare(inbound, lease)?;
    let now = Instant::now();
    let head_by =
        if inbound.chat.stream { inbound.deadlines.first_content_of_attempt(now) } else { inbound.deadlines.total };
    let client = means.clients.thread_client();
    let response = send(&client, request, head_by).await.map_err(|error| timed(error.into(), inbound))?;
    if !response.status.is_success() {
        return Err(refused(response, &secret(&lease.config), means.now).await);
    }
    if inbound.chat.stream {
        hold(means.config, inbound, lease, response.body, head_by).await.map(|stream| Answer::Stream(Box::new(stream)))
    } else {
        whole(means.config, inbound, lease, response.body).await
    }
}

fn prepare(inbound: &Inbound, lease: &Lease) -> Result<UpstreamRequest, Fault> {
    let target = &lease.config.target;
    let (url, mut headers) = prepared::of(target)?;
    let accept = if inbound.chat.stream { "text/event-stream" } else { "application/json" };
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    let body = inbound.chat.rewrite(lease.model().as_str(), rewrite_options(target.quirks));
    Ok(UpstreamRequest { method: Method::POST, url, headers, body })
}

const fn rewrite_options(quirks: u32) -> RewriteOptions {
    RewriteOptions {
        ask_usage: true,
        drop_stream_options: quirks & quirk_bit(Quirk::NoStreamOptions) != 0,
        rename_max_tokens: quirks & quirk_bit(Quirk::MaxCompletionTokens) != 0,
    }
}

const fn end_rules(quirks: u32) -> EndRules {
    EndRules {
        finish_reason_optional: quirks & quirk_bit(Quirk::FinishReasonOptional) != 0,
        done_optional: quirks & quirk_bit(Quirk::DoneMarkerOptional) != 0,
    }
}

/// A late head is the attempt's fault only while the request itself still has time.
fn timed(mut fault: Fault, inbound: &Inbound) -> Fault {
    let by_clock = matches!(fault.outcome, Outcome::FirstContentTimeout | Outcome::IdleTimeout);
    if by_clock && inbound.deadlines.is_over(Instant::now()) {
        fault.outcome = Outcome::DeadlineExceeded;
    }
    fault
}

/// The credential without its scheme, to be taken out of messages.
pub fn secret(config: &ConnectionConfig) -> String {
    let header = config.target.auth_header.as_ref().map(|(_, value)| value.expose_secret());
    header.map_or_else(String::new, |value| value.rsplit(' ').next().unwrap_or(value).to_owned())
}

async fn refused(response: UpstreamResponse, secret: &str, now: UnixMillis) -> Fault {
    let (status, headers) = (response.status.as_u16(), response.headers);
    let limits = CollectLimits { cap: LONGEST_ERROR, idle: ERROR_WITHIN, deadline: Instant::now() + ERROR_WITHIN };
    let body = collect(response.body, limits).await.unwrap_or_default();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let hint = RetryHint::find(header, &body, now.0);
    Fault::reported(status, UpstreamErrorBody::parse(&body), hint.map(|hint| hint.after), &[secret])
}

async fn whole(config: &Config, inbound: &Inbound, lease: &Lease, body: Body) -> Result<Answer, Fault> {
    let limits = CollectLimits {
        cap: config.upstream.max_response_bytes,
        idle: inbound.deadlines.idle,
        deadline: inbound.deadlines.total,
    };
    let body = collect(body, limits).await.map_err(|error| timed(error.into(), inbound))?;
    let body = without_mark(body);
    let facts = check_answer(&body).map_err(|bad| Fault::bad_answer(bad, &[&secret(&lease.config)]))?;
    Ok(Answer::Whole { body, facts })
}

/// Some servers put a byte order mark before their JSON; it is no part of it, and not every client takes it.
fn without_mark(body: Bytes) -> Bytes {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if body.starts_with(MARK) { body.slice(MARK.len()..) } else { body }
}

/// Read until the first content, or to the end of a stream that has none and is whole all the same.
async fn hold(
    config: &Config,
    inbound: &Inbound,
    lease: &Lease,
    mut upstream: Body,
    content_by: Instant,
) -> Result<OpenStream, Fault> {
    let rules = end_rules(lease.config.target.quirks);
    let limit = config.upstream.max_event_bytes;
    let mut relay = Relay::new(inbound.chat.include_usage, rules, limit, secret(&lease.config));
    let late = || Fault::own(Outcome::FirstContentTimeout, "the provider sent no content in time");
    loop {
        let next = timeout_at(content_by, upstream.next()).await;
        let progress = match next.map_err(|_| timed(late(), inbound))? {
            Some(chunk) => relay.absorb(chunk?)?,
            None => Progress::Done,
        };
        if progress == Progress::Done {
            relay.close()?;
            release(upstream);
            return Ok(OpenStream { relay, upstream: None });
        }
        if relay.must_commit() {
            return Ok(OpenStream { relay, upstream: Some(upstream) });
        }
    }
}

/// The upstream said that it is done; its connection can serve again once the last chunk was read. That must
/// not keep the client waiting.
pub fn release(mut upstream: Body) {
    const PATIENCE: Duration = Duration::from_secs(1);
    actix_rt::spawn(async move {
        let read_out = async { while let Some(Ok(_)) = upstream.next().await {} };
        // Past the patience the connection is closed by the drop.
        let _ = tokio::time::timeout(PATIENCE, read_out).await;
    });
}
