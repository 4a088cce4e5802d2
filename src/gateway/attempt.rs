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
use tokio::time::{Instant, timeout_at};

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
use super::retry_class::RetryClass;
use super::seals::OwnSeals;
use super::tally::millis;
use super::upstream_call::UpstreamCall;
use crate::config::Config;
use crate::providers::Quirk;
use crate::upstream::{Body, BodyError, ClientFactory, CollectLimits, UpstreamResponse, collect, send};
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
    /// The wall time, for hints that name one.
    pub now: UnixMillis,
    /// The clock of the connections.
    pub clock: &'a dyn Clock,
    /// Summaries of sessions that were handed over.
    pub handoffs: &'a Handoffs,
}

impl<'a> Means<'a> {
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
        combo: itinerary.combo.as_deref(),
        handoff: handoff.as_deref(),
        anew: is_trunk(&inbound.ask, itinerary.combo.as_deref()),
    };
    let trunk = order.anew;
    let outgoing = inbound.ask.for_target(&order, means.fetching(inbound)).await.map_err(Fault::cannot_carry)?;
    let now = Instant::now();
    let head_by = inbound.deadlines().answer_of_attempt(inbound.ask.stream, now);
    let mut calling = Calling { means, inbound, lease, outgoing: &outgoing, head_by };
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
        let held = reading.hold(response.body, head_by).await;
        Answer::Stream(Box::new(held.map_err(|fault| fault.after_sending(RetryClass::MaybeAccepted))?))
    } else {
        reading.whole(response.body, head_by).await?
    };
    Ok(Answered { answer, dropped: outgoing.dropped, sent_after })
}

/// A body on its way to the provider.
struct Calling<'a> {
    means: &'a Means<'a>,
    inbound: &'a Inbound,
    lease: &'a mut Lease,
    outgoing: &'a Outgoing,
    head_by: Instant,
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
        access::token(self.lease, refused, self.head_by).await.map_err(|fault| timed(fault, self.inbound))
    }

    async fn send(&mut self, token: Option<&Token>) -> Result<(UpstreamResponse, String), Fault> {
        let Self { means, inbound, outgoing, head_by, .. } = *self;
        let (target, model) = (Arc::clone(self.lease.target()), self.lease.model().clone());
        // Of a client's headers, only a provider of its own format understands some.
        let theirs = if outgoing.translation.is_none() { inbound.forwarded.as_slice() } else { &[] };
        let told = deadline_for(&target, inbound).map(|told| [theirs, &[told]].concat());
        let headers = told.as_deref().unwrap_or(theirs);
        let (stream, now) = (inbound.ask.stream, inbound.created);
        let call = UpstreamCall { target: &target, model: model.as_str(), stream, token, headers, now };
        let request = call.with(outgoing.body.clone())?;
        let secret = access::secret(self.lease, token);
        let client = means.clients.thread_client();
        let response = send(&client, request, head_by).await.map_err(|error| timed(error.into(), inbound))?;
        self.lease.permit.hear_limits(limits_in(&response.headers, means.now));
        if response.status.is_success() {
            return Ok((response, secret));
        }
        let fault = refused(response, &secret, means.now).await;
        let in_words = target.quirks & quirk_bit(Quirk::LimitsInWords) != 0;
        Err(if in_words { fault.with_limits_in_words() } else { fault })
    }
}

/// What another gateway of this kind is told of the time that is left.
fn deadline_for(target: &UpstreamTarget, inbound: &Inbound) -> Option<(HeaderName, HeaderValue)> {
    let takes = target.quirks & quirk_bit(Quirk::TakesDeadline) != 0;
    let left = inbound.deadlines().total.saturating_duration_since(Instant::now());
    takes.then(|| (HeaderName::from_static(TIMEOUT_HEADER), millis(left).into()))
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

/// An error under a good status, most likely; otherwise nothing that the client of a stream could use.
async fn instead_of_stream(format: Format, first: Bytes, rest: Body, secret: &str) -> Fault {
    let limits = CollectLimits { cap: LONGEST_ERROR, idle: ERROR_WITHIN, deadline: Instant::now() + ERROR_WITHIN };
    let rest = collect(rest, limits).await.unwrap_or_default();
    match decode_answer(format, &[first, rest].concat()) {
        Err(bad) => Fault::in_format(bad, &[secret]),
        Ok(_) => Fault::own(Outcome::BrokenAnswer, "the provider answered whole where a stream was asked for"),
    }
}

/// Some servers put a byte order mark before their JSON; it is no part of it, and not every client takes it.
fn without_mark(body: Bytes) -> Bytes {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if body.starts_with(MARK) { body.slice(MARK.len()..) } else { body }
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

    async fn whole(self, body: Body, deadline: Instant) -> Result<Answer, Fault> {
        let limits = CollectLimits {
            cap: self.config.upstream.max_response_bytes,
            idle: self.inbound.deadlines().idle,
            deadline,
        };
        let cut = |error: BodyError| timed(error.into(), self.inbound).after_sending(RetryClass::MaybeAccepted);
        let body = collect(body, limits).await.map_err(cut)?;
        self.read(without_mark(body)).map_err(|fault| fault.after_sending(RetryClass::Answered))
    }

    fn read(self, body: Bytes) -> Result<Answer, Fault> {
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
    async fn hold(self, mut upstream: Body, content_by: Instant) -> Result<OpenStream, Fault> {
        let (inbound, asked, format, secret) = (self.inbound, self.asked, self.format(), self.secret.clone());
        let mut relay = self.relay();
        let mut begun = false;
        let late = || Fault::own(Outcome::FirstContentTimeout, "the provider sent no content in time");
        loop {
            let next = timeout_at(content_by, upstream.next()).await;
            let progress = match next.map_err(|_| timed(late(), inbound))? {
                Some(chunk) => {
                    let chunk = chunk?;
                    if !std::mem::replace(&mut begun, true) && is_no_stream(format, &chunk) {
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
