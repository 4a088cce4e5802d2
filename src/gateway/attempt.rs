//! One attempt: send the request to the leased connection and find out whether it answers.
//!
//! A stream is held back until its first real content, so that everything before it can still become the next
//! attempt or a clean HTTP error.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::header::{HeaderName, HeaderValue};
use awc::http::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt;
use omniroute_actors::clock::{Clock, UnixMillis};
use omniroute_actors::connection::config::UpstreamTarget;
use omniroute_actors::connection::token::Token;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::Lease;
use omniroute_actors::router::fallback::RetryClass;
use omniroute_actors::router::features::Needs;
use tokio::time::Instant;

use super::access;
use super::ask::{Order, Outgoing, Translation};
use super::assemble::quirk_bit;
use super::continuation::is_trunk;
use super::fault::Fault;
use super::handoff::Handoffs;
use super::inbound::{Inbound, TIMEOUT_HEADER};
use super::keeper::KeptRelay;
use super::limits::limits_in;
use super::media::Fetching;
use super::provider_format::{self, decode_answer, decoder, frames};
use super::relay::{ChatRelay, NeutralRelay, Progress, Relay, Trunk, Way};
use super::seals::OwnSeals;
use super::tally::millis;
use super::upstream_call::UpstreamCall;
use super::wishes::Wishes;
use crate::config::Config;
use crate::infra::lateness::Deadline;
use crate::providers::Quirk;
use crate::settings::RunTimeSettings;
use crate::upstream::{
    Body, Caller, ClientFactory, CollectLimits, ConnectStep, SendError, SendErrorKind, UpstreamResponse, collect,
    send_by,
};
use crate::wire::chat::{self, Dropped, Format};
use crate::wire::openai_chat_answer::check_answer;
use crate::wire::openai_chat_stream::EndRules;
use crate::wire::openai_error::UpstreamErrorBody;
use crate::wire::retry_hint::RetryHint;
use crate::wire::usage::Usage;

/// An error answer is read up to here; more of it says nothing.
const LONGEST_ERROR: usize = 64 * 1024;
/// How long the body of an error answer may take.
const ERROR_WITHIN: Duration = Duration::from_secs(5);

/// A good answer, and what of the request did not reach the provider.
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// What was left out on the way.
    pub dropped: Vec<Dropped>,
    /// How long it took until the request was on its way; nothing where that was not seen.
    pub sent_after: Option<Duration>,
}

/// A good answer.
pub enum Answer {
    /// Whole and checked.
    Whole {
        /// As the client gets it.
        body: Bytes,
        /// What was used, or a guess.
        usage: Usage,
    },
    /// Whole and checked, for the gateway itself.
    Read {
        /// What was said.
        answer: Box<chat::Answer>,
        /// What was used, or a guess.
        usage: Usage,
    },
    /// A stream whose first content is there.
    Stream(Box<OpenStream>),
}

/// A stream that the client may see now.
pub struct OpenStream {
    /// Its state.
    pub relay: Box<dyn Relay>,
    /// The rest of it; `None` when it is whole already.
    pub upstream: Option<Body>,
}

/// What attempts share.
pub struct Means<'a> {
    /// The way out.
    pub clients: &'a ClientFactory,
    /// The way to what clients name by URL.
    pub web: &'a ClientFactory,
    /// The configuration.
    pub config: &'a Config,
    /// What operators set at run time.
    pub settings: Arc<RunTimeSettings>,
    /// The wall time, for hints that name one.
    pub now: UnixMillis,
    /// The clock of the connections.
    pub clock: &'a dyn Clock,
    /// Summaries of sessions that were handed over.
    pub handoffs: &'a Handoffs,
}

impl<'a> Means<'a> {
    /// How long a TLS handshake may take.
    const fn handshake(&self) -> Duration {
        Duration::from_millis(self.config.upstream.connect_timeout_ms)
    }

    fn fetching(&self, inbound: &Inbound) -> Fetching<'a> {
        Fetching { clients: self.web, routing: &self.config.routing, until: inbound.deadlines().total }
    }
}

/// Try one connection.
///
/// # Errors
/// How it failed; nothing has been sent to the client then.
pub async fn attempt(means: &Means<'_>, inbound: &Inbound, lease: &mut Lease) -> Result<Answered, Fault> {
    let itinerary = Arc::clone(&lease.itinerary);
    let handoff = inbound.handoff.borrow().clone();
    let order = Order {
        target: lease.target(),
        model: lease.model().as_str(),
        id: &inbound.id,
        created: inbound.created,
        wishes: Wishes { combo: itinerary.combo.as_deref(), settings: &means.settings, thinks: thinks(lease) },
        handoff: handoff.as_deref(),
        anew: is_trunk(&inbound.ask, itinerary.combo.as_deref()),
    };
    let trunk = order.anew;
    let outgoing = inbound.ask.for_target(&order, means.fetching(inbound)).await.map_err(Fault::cannot_carry)?;
    let now = Instant::now();
    let by = inbound.deadlines().answer_of_attempt(inbound.ask.stream, now);
    let mut calling = Calling { means, inbound, lease, outgoing: &outgoing, by: &by };
    let (response, secret) = calling.answered().await?;
    if response.status == StatusCode::ACCEPTED {
        // NVIDIA's cloud functions: the answer would have to be fetched elsewhere, later.
        let fault = Fault::own(Outcome::Overloaded, "the provider put the request into a queue instead of answering");
        return Err(fault.after_sending(RetryClass::Answered));
    }
    let sent_after = response.sent_at.map(|at| at.duration_since(now));
    let reading =
        Reading { config: means.config, inbound, lease, secret, asked: now, translation: outgoing.translation, trunk };
    let answer = if inbound.ask.stream {
        let held = reading.hold(response.body, &by).await;
        Answer::Stream(Box::new(held.map_err(|fault| fault.after_sending(RetryClass::MaybeAccepted))?))
    } else {
        reading.whole(response.body, &by).await?
    };
    Ok(Answered { answer, dropped: outgoing.dropped, sent_after })
}

/// Whether the model is known to think when it is asked to.
fn thinks(lease: &Lease) -> bool {
    lease.leg().is_some_and(|leg| leg.target.facts.surely_can(Needs::REASONING))
}

/// A body on its way to the provider.
struct Calling<'a> {
    means: &'a Means<'a>,
    inbound: &'a Inbound,
    lease: &'a mut Lease,
    outgoing: &'a Outgoing,
    by: &'a Deadline,
}

impl Calling<'_> {
    /// A good head, and the secret that was sent. A token that the provider refuses is renewed and the call made once more:
    /// the token was at fault and not the account, unless the second one is refused as well.
    async fn answered(&mut self) -> Result<(UpstreamResponse, String), Fault> {
        let token = self.token(None).await?;
        let answered = self.send(token.as_deref()).await;
        match (&answered, &token) {
            (Err(fault), Some(token)) if fault.status == 401 => {
                let renewed = self.token(Some(token)).await?;
                self.send(renewed.as_deref()).await
            }
            _ => answered,
        }
    }

    async fn token(&self, refused: Option<&Token>) -> Result<Option<Arc<Token>>, Fault> {
        access::token(self.lease, refused, self.by).await.map_err(|fault| timed(fault, self.inbound))
    }

    async fn send(&mut self, token: Option<&Token>) -> Result<(UpstreamResponse, String), Fault> {
        let Self { means, inbound, outgoing, by, .. } = *self;
        let (target, model) = (Arc::clone(self.lease.target()), self.lease.model().clone());
        // Of a client's headers, only a provider of its own format understands some.
        let theirs = if outgoing.translation.is_none() { inbound.forwarded.as_slice() } else { &[] };
        let told = deadline_for(&target, inbound).map(|told| [theirs, &[told]].concat());
        let headers = told.as_deref().unwrap_or(theirs);
        let (stream, now) = (inbound.ask.stream, inbound.created);
        let call = UpstreamCall { target: &target, model: model.as_str(), stream, token, headers, now };
        let request = call.with(outgoing.body.clone())?;
        let secret = access::secret(self.lease, token);
        let client = means.clients.thread_client(caller(self.lease));
        let sent = send_by(&client, request, by).await.map_err(|error| match &error.kind {
            // awc's own clock ends a handshake; with so much of it lost here, it says nothing about the provider.
            SendErrorKind::ConnectTimeout { step: ConnectStep::Tls } if by.lost() * 2 >= means.handshake() => {
                SendError { kind: SendErrorKind::Standstill, ..error }
            }
            _ => error,
        });
        let response = sent.map_err(|error| timed(error.into(), inbound))?;
        self.lease.permit.hear_limits(limits_in(&response.headers, means.now));
        if response.status.is_success() {
            return Ok((response, secret));
        }
        let fault = refused(response, &secret, means.now).await;
        let in_words = target.quirks & quirk_bit(Quirk::LimitsInWords) != 0;
        Err(if in_words { fault.with_limits_in_words() } else { fault })
    }
}

/// Who calls, as far as the way out goes.
fn caller(lease: &Lease) -> Caller<'_> {
    let combo = lease.itinerary.combo.as_ref().map(|combo| combo.name.as_str());
    Caller { combo, ..Caller::at(lease.config.id.as_str(), lease.config.provider.as_str()) }
}

/// What another gateway of this kind is told of the time that is left.
fn deadline_for(target: &UpstreamTarget, inbound: &Inbound) -> Option<(HeaderName, HeaderValue)> {
    let takes = target.quirks & quirk_bit(Quirk::TakesDeadline) != 0;
    let left = inbound.deadlines().total.saturating_duration_since(Instant::now());
    takes.then(|| (TIMEOUT_HEADER.clone(), millis(left).into()))
}

const fn end_rules(quirks: u32) -> EndRules {
    EndRules {
        finish_reason_optional: quirks & quirk_bit(Quirk::FinishReasonOptional) != 0,
        done_optional: quirks & quirk_bit(Quirk::DoneMarkerOptional) != 0,
    }
}

/// Being late is the attempt's fault only while the request itself still has time.
fn timed(mut fault: Fault, inbound: &Inbound) -> Fault {
    let is_over = inbound.deadlines().is_over(Instant::now());
    fault.outcome = match fault.outcome {
        Outcome::FirstContentTimeout | Outcome::IdleTimeout if is_over => Outcome::DeadlineExceeded,
        Outcome::DeadlineExceeded if !is_over => Outcome::FirstContentTimeout,
        other => other,
    };
    fault
}

async fn refused(response: UpstreamResponse, secret: &str, now: UnixMillis) -> Fault {
    let (status, headers) = (response.status.as_u16(), response.headers);
    let limits = CollectLimits { cap: LONGEST_ERROR, idle: ERROR_WITHIN, deadline: Instant::now() + ERROR_WITHIN };
    let body = collect(response.body, limits).await.unwrap_or_default();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let hint = RetryHint::find(header, &body, now.0);
    Fault::reported(status, UpstreamErrorBody::parse(&body), hint.map(|hint| hint.after), &[secret])
}

/// Server-sent events never begin like a JSON object: this is what a provider says instead of streaming.
fn is_no_stream(format: Format, chunk: &[u8]) -> bool {
    provider_format::streams_events(format) && chunk.trim_ascii_start().starts_with(b"{")
}

/// No format of a provider begins like a web page.
fn is_page(start: &[u8]) -> bool {
    let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
    start.trim_ascii_start().starts_with(b"<")
}

/// An error under a good status, most likely; otherwise nothing that the client of a stream could use.
async fn instead_of_stream(format: Format, first: Bytes, rest: Body, secret: &str) -> Fault {
    let limits = CollectLimits { cap: LONGEST_ERROR, idle: ERROR_WITHIN, deadline: Instant::now() + ERROR_WITHIN };
    let rest = collect(rest, limits).await.unwrap_or_default();
    match decode_answer(format, &[first, rest].concat()) {
        Err(bad) => Fault::in_format(bad, &[secret]),
        Ok(_) => Fault::own(Outcome::BrokenAnswer, "the provider answered whole where a stream was asked for"),
    }
}

/// Some servers put it before their JSON; it is no part of it, and not every client takes it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn without_mark(body: Bytes) -> Bytes {
    if body.starts_with(BYTE_ORDER_MARK) { body.slice(BYTE_ORDER_MARK.len()..) } else { body }
}

/// How the answer of one attempt is read.
struct Reading<'a> {
    config: &'a Config,
    inbound: &'a Inbound,
    lease: &'a Lease,
    /// Taken out of whatever the provider says.
    secret: String,
    /// When the provider was asked.
    asked: Instant,
    translation: Option<Translation>,
    /// More may be put together in this stream than what comes from here.
    trunk: bool,
}

impl Reading<'_> {
    fn format(&self) -> Format {
        provider_format::of(self.lease.target())
    }

    async fn whole(self, body: Body, by: &Deadline) -> Result<Answer, Fault> {
        let limits = CollectLimits {
            cap: self.config.upstream.max_response_bytes,
            idle: self.inbound.deadlines().idle,
            deadline: by.end(),
        };
        let cut = |fault: Fault| timed(fault, self.inbound).after_sending(RetryClass::MaybeAccepted);
        let late = |late| Fault::late(late, "the provider's answer did not end in time");
        let collected = by.wait_for(collect(body, limits)).await.map_err(late).map_err(cut)?;
        let body = collected.map_err(|error| cut(error.into()))?;
        self.read(without_mark(body)).map_err(|fault| fault.after_sending(RetryClass::Answered))
    }

    fn read(self, body: Bytes) -> Result<Answer, Fault> {
        if is_page(&body) {
            return Err(Fault::a_page());
        }
        let (secret, prompt) = (self.secret.as_str(), self.inbound.ask.prompt_chars);
        if self.translation.is_none() && self.format() == Format::OpenAiChat {
            let facts = check_answer(&body).map_err(|bad| Fault::bad_answer(bad, &[secret]))?;
            let usage = facts.usage.unwrap_or_else(|| Usage::estimate(prompt, facts.chars_out));
            return Ok(Answer::Whole { body, usage });
        }
        let answer = decode_answer(self.format(), &body).map_err(|bad| Fault::in_format(bad, &[secret]))?;
        let usage = answer.usage.unwrap_or_else(|| Usage::estimate(prompt, answer.chars_out()));
        let ask = &self.inbound.ask;
        let body = match self.translation {
            None => body,
            Some(Translation { way_back, reply }) => {
                if let Some(seals) = ask.seals.as_ref().filter(|_| !ask.is_inner()) {
                    seals.keep(&answer);
                }
                let took = answer.took.or_else(|| Some(self.inbound.deadlines.took(self.asked, None)));
                let all = Some(usage.and(&ask.spent()));
                let answer = chat::Answer { usage: all, took, ..way_back.restore(answer) };
                if ask.is_inner() {
                    return Ok(Answer::Read { answer: Box::new(answer), usage });
                }
                ask.client.encode_answer(&answer, &reply)
            }
        };
        if let Some(keeper) = &self.inbound.ask.keeper
            && let Ok(response) = serde_json::from_slice(&body)
        {
            keeper.keep(response);
        }
        Ok(Answer::Whole { body, usage })
    }

    /// Read until the first content, or to the end of a stream that has none and is whole all the same.
    async fn hold(self, mut upstream: Body, by: &Deadline) -> Result<OpenStream, Fault> {
        let (inbound, asked, format, secret) = (self.inbound, self.asked, self.format(), self.secret.clone());
        let mut relay = self.relay();
        let mut begun = false;
        let late = |late| Fault::late(late, "the provider sent no content in time");
        loop {
            let next = by.wait_for(upstream.next()).await;
            let progress = match next.map_err(|whose| timed(late(whose), inbound))? {
                Some(chunk) => {
                    let chunk = chunk?;
                    let first = !std::mem::replace(&mut begun, true);
                    if first && is_page(&chunk) {
                        return Err(Fault::a_page());
                    }
                    if first && is_no_stream(format, &chunk) {
                        return Err(instead_of_stream(format, chunk, upstream, &secret).await);
                    }
                    relay.absorb(chunk)?
                }
                None => Progress::Done,
            };
            if progress == Progress::Done {
                relay.close(inbound.deadlines.took(asked, None))?;
                release(upstream);
                return Ok(OpenStream { relay, upstream: None });
            }
            if relay.must_commit() {
                return Ok(OpenStream { relay, upstream: Some(upstream) });
            }
        }
    }

    fn relay(self) -> Box<dyn Relay> {
        let (ask, target) = (&self.inbound.ask, self.lease.target());
        let (format, secret) = (self.format(), self.secret);
        let limit = self.config.upstream.max_event_bytes;
        let mut trunk = None;
        let way = match self.translation {
            None if format == Format::OpenAiChat => {
                return Box::new(ChatRelay::new(ask.include_usage, end_rules(target.quirks), limit, secret));
            }
            None => {
                let reply = ask.reply_without_request(&self.inbound.id, self.inbound.created);
                Way::Pass { encoder: ask.client.encoder(&reply), closing: ask.client.closing() }
            }
            Some(Translation { way_back, .. }) if ask.is_inner() => Way::Listen(way_back.for_stream(), Vec::new()),
            Some(Translation { way_back, reply }) => {
                let encoder = ask.client.encoder(&reply);
                if self.trunk {
                    trunk = Some(encoder);
                    Way::Listen(way_back.for_stream(), Vec::new())
                } else {
                    Way::Translate(way_back.for_stream(), encoder)
                }
            }
        };
        let seals = ask.seals.as_ref().filter(|_| !matches!(way, Way::Pass { .. })).map(OwnSeals::watch);
        let source = NeutralRelay::new(frames(format, limit), decoder(format), way, secret).remembering(seals);
        let relay: Box<dyn Relay> = match trunk {
            Some(encoder) => Box::new(Trunk::new(Box::new(source), encoder, ask.spent(), ask.prompt_chars)),
            None => Box::new(source),
        };
        match &ask.keeper {
            Some(keeper) => Box::new(KeptRelay::new(relay, Rc::clone(keeper))),
            None => relay,
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
