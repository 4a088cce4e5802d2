//! The response body of a stream. It carries the lease: when the client leaves, the body is dropped, and with it
//! the upstream connection, the slot and the open tally, in that one step.

mod onward;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use futures_util::Stream;
use omniroute_actors::connection::lease::Settlement;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::Lease;
use omniroute_actors::router::fallback::RetryClass;
use omniroute_actors::usage::record::Tokens;
use tokio::time::{Instant, Sleep};

use super::attempt::{OpenStream, release};
use super::continuation::{GoOn, Search};
use super::fault::Fault;
use super::inbound::Deadlines;
use super::ledger::Place;
use super::pace::Pace;
use super::relay::{Progress, Relay};
use super::stall::{ClientStalled, Watched, watch};
use super::tally::{CLIENT_GONE, Ended, Tally, tokens};
use crate::infra::lateness::{self, Wait};
use crate::infra::lifecycle::{Cut, InFlight};
use crate::upstream::Body;
use crate::wire::openai_error::ErrorBody;

/// Proxies close what is silent for longer; only after the first content, because a heartbeat commits a 200.
const HEARTBEAT_AFTER: Duration = Duration::from_secs(15);
/// One write to the client holds at most this much of what is ready.
const MOST_AT_ONCE: usize = 64 * 1024;

/// What a stream is made of.
pub struct StreamParts {
    /// The open stream.
    pub stream: Box<OpenStream>,
    /// The right to the connection.
    pub lease: Lease,
    /// The tally.
    pub tally: Tally,
    /// Counts the request while it runs.
    pub in_flight: InFlight,
    /// Ends the stream when the process goes away.
    pub cut: Cut,
    /// The deadlines.
    pub deadlines: Deadlines,
    /// Characters of the prompt, for an estimate.
    pub prompt_chars: u64,
    /// When the attempt began.
    pub attempt_started: Instant,
    /// Its place in the ledger.
    pub place: Place,
    /// The way to go on elsewhere, where the answer may.
    pub go_on: Option<Box<GoOn>>,
}

/// The state behind the body. The body polls it; the stall watch ends it when the body is polled no more.
struct RunningStream {
    relay: Box<dyn Relay>,
    upstream: Option<Body>,
    lease: Option<Lease>,
    tally: Tally,
    cut: Cut,
    deadlines: Deadlines,
    prompt_chars: u64,
    attempt_started: Instant,
    place: Place,
    go_on: Option<Box<GoOn>>,
    /// Somebody is looked for who goes on, and what is told when nobody does.
    search: Option<(Search, Box<Fault>)>,
    first_content: Duration,
    /// The same without what this thread lost meanwhile: what the connection is judged by.
    provider_time: Duration,
    last_content: Instant,
    /// What this thread loses since then is not the provider's silence.
    silence: Wait,
    last_write: Instant,
    pace: Option<Pace>,
    timer: Pin<Box<Sleep>>,
    ended: bool,
    /// The last poll gave bytes: until the next one, it is the client that everybody waits for.
    handed_out: bool,
    /// Given up because the client did not read.
    stalled: bool,
    in_flight: Option<InFlight>,
}

impl RunningStream {
    fn new(parts: StreamParts) -> Self {
        let (now, lost) = (Instant::now(), lateness::lost());
        let first_content = now.duration_since(parts.attempt_started);
        let mut body = Self {
            provider_time: parts.lease.permit.provider_time(first_content, lost),
            relay: parts.stream.relay,
            upstream: parts.stream.upstream,
            lease: Some(parts.lease),
            tally: parts.tally,
            cut: parts.cut,
            deadlines: parts.deadlines,
            prompt_chars: parts.prompt_chars,
            attempt_started: parts.attempt_started,
            place: parts.place,
            go_on: parts.go_on,
            search: None,
            first_content,
            last_content: now,
            silence: Wait::begin(),
            last_write: now,
            pace: Pace::new(parts.deadlines.min_tokens_per_s, parts.deadlines.idle, now, lost),
            timer: Box::pin(tokio::time::sleep_until(now)),
            ended: false,
            handed_out: false,
            stalled: false,
            in_flight: Some(parts.in_flight),
        };
        let alarm = body.next_alarm();
        body.timer.as_mut().reset(alarm);
        body
    }

    /// The next moment at which something must be looked at. The timer is not moved with every chunk: it fires,
    /// sees how late it really is, and sleeps on.
    fn next_alarm(&self) -> Instant {
        let next = self.deadlines.total.min(self.last_write + HEARTBEAT_AFTER);
        if self.search.is_some() {
            return next;
        }
        self.pace.map_or(next, |pace| next.min(pace.alarm(lateness::lost()))).min(self.idle_at())
    }

    /// When the provider has been silent for too long; what the thread lost is given back, as much again at most.
    fn idle_at(&self) -> Instant {
        let idle = self.deadlines.idle;
        self.last_content + idle + self.silence.lost().min(idle)
    }

    /// Whether a thread that stood still is the reason, and nobody can tell what the provider did.
    fn stood_still(&self) -> bool {
        self.silence.lost() > self.deadlines.idle
    }

    /// Tokens that came so far, by their events where nobody counts them.
    fn tokens_so_far(&self) -> u64 {
        self.relay.contents().max(self.relay.usage(0).completion_tokens())
    }

    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(upstream) = self.upstream.as_mut() else { return Poll::Ready(Some(self.whole())) };
        let (mut came, mut contents) = (false, self.relay.contents());
        loop {
            let next = match Pin::new(&mut *upstream).poll_next(cx) {
                Poll::Pending if came && self.relay.waiting() > 0 => return Poll::Ready(Some(self.relay.take_out())),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(next) => next,
            };
            let progress = match next {
                None => Ok(Progress::Done),
                Some(Err(error)) => Err(Fault::from(error)),
                Some(Ok(chunk)) => self.relay.absorb(chunk),
            };
            match progress {
                Err(fault) => return self.broke(fault, cx),
                Ok(Progress::Done) => return self.close(cx),
                Ok(Progress::More) => {
                    came = true;
                    if self.relay.contents() > contents {
                        contents = self.relay.contents();
                        (self.last_content, self.silence) = (Instant::now(), Wait::begin());
                    }
                }
            }
            if self.relay.waiting() >= MOST_AT_ONCE {
                return Poll::Ready(Some(self.relay.take_out()));
            }
        }
    }

    fn close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let content = self.attempt_started + self.first_content;
        match self.relay.close(self.deadlines.took(self.attempt_started, Some(content))) {
            Ok(()) => {
                if let Some(upstream) = self.upstream.take() {
                    release(upstream);
                }
                Poll::Ready(Some(self.whole()))
            }
            Err(fault) => self.broke(fault, cx),
        }
    }

    /// The answer is whole. Its usage is on disk before the client reads the end of it.
    fn whole(&mut self) -> Bytes {
        self.settle(Outcome::Success, 200, None);
        self.relay.take_out()
    }

    /// Content went out and the rest will not come: the client gets what is left and its protocol's error.
    fn fail(&mut self, fault: &Fault) -> Bytes {
        self.settle(fault.outcome, fault.status, Some(fault));
        self.relay.fail(&error_event(fault))
    }

    fn settle(&mut self, outcome: Outcome, status: u16, fault: Option<&Fault>) {
        self.ended = true;
        self.upstream = None;
        if self.search.take().is_some() {
            self.tally.ledger_mut().cut_off(outcome.as_str(), Instant::now());
        }
        // Without a lease what broke off is booked, and nobody went on with it.
        let used = if self.lease.is_some() { tokens(&self.relay.usage(self.prompt_chars)) } else { Tokens::default() };
        if self.lease.is_some() {
            self.end_attempt(outcome, status);
        }
        let sent = if outcome == Outcome::ClientGone { CLIENT_GONE } else { 200 };
        self.tally.finish(outcome, sent, used);
        let first_content = Some(self.provider_time);
        self.settle_lease(
            used,
            match fault {
                Some(fault) => fault.settlement(first_content),
                None => Settlement { first_content, ..outcome.into() },
            },
        );
    }

    fn end_attempt(&mut self, outcome: Outcome, status: u16) {
        let now = Instant::now();
        self.tally.upstream_took(now.duration_since(self.attempt_started));
        self.tally.attempt_ended(self.place, Ended { outcome, status, class: RetryClass::Started, at: now });
    }

    fn settle_lease(&mut self, used: Tokens, settlement: Settlement) {
        if let Some(mut lease) = self.lease.take() {
            lease.permit.true_up(used.prompt.saturating_add(used.completion));
            lease.permit.settle_after(settlement, lateness::lost());
        }
    }

    /// The timer fired: which of its reasons holds, if any.
    fn on_alarm(&mut self, now: Instant) -> Option<Alarm> {
        if now >= self.deadlines.total {
            return Some(Alarm::over(Outcome::DeadlineExceeded, "the request took longer than it may"));
        }
        let heartbeat = || (now >= self.last_write + HEARTBEAT_AFTER).then_some(Alarm::Heartbeat);
        // Whoever is looked for has deadlines of its own.
        if self.search.is_some() {
            return heartbeat();
        }
        if now >= self.idle_at() && self.stood_still() {
            return Some(Alarm::Over(Fault::standstill()));
        }
        if now >= self.idle_at() {
            return Some(Alarm::over(Outcome::IdleTimeout, "the provider stopped sending content"));
        }
        let tokens = self.pace.map_or(0, |_| self.tokens_so_far());
        if self.pace.as_mut().is_some_and(|pace| pace.is_too_slow(tokens, now, lateness::lost())) {
            return Some(Alarm::over(Outcome::IdleTimeout, "the provider sends hardly any content"));
        }
        heartbeat()
    }
}

/// Why a stream is looked at although nothing came.
enum Alarm {
    /// It cannot go on like this.
    Over(Fault),
    /// The client has heard nothing for long.
    Heartbeat,
}

impl Alarm {
    fn over(outcome: Outcome, message: &str) -> Self {
        Self::Over(Fault::own(outcome, message))
    }
}

/// The error a client reads when its stream cannot go on.
fn error_event(fault: &Fault) -> ErrorBody {
    let (kind, code) = match fault.outcome {
        Outcome::DeadlineExceeded => ("server_error", "deadline_exceeded"),
        Outcome::IdleTimeout => ("server_error", "stream_idle_timeout"),
        Outcome::GatewayFault => ("server_error", fault.error.code.as_deref().unwrap_or("internal_error")),
        Outcome::RateLimited | Outcome::QuotaExhausted => ("rate_limit_error", "rate_limit_exceeded"),
        Outcome::Overloaded => ("server_error", "provider_overloaded"),
        _ => ("server_error", "stream_interrupted"),
    };
    let message = format!("The stream ended early: {}.", fault.error.message.trim_end_matches('.'));
    ErrorBody { message, kind: kind.into(), param: None, code: Some(code.to_owned().into()) }
}

impl RunningStream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.handed_out && self.pace.is_some() {
            let (now, tokens, lost) = (Instant::now(), self.tokens_so_far(), lateness::lost());
            let pause = now.duration_since(self.last_write);
            self.pace.iter_mut().for_each(|pace| pace.resumed(pause, tokens, now, lost));
        }
        let goes_on = self.upstream.is_some() || self.search.is_some();
        if goes_on && self.relay.waiting() > 0 {
            return Poll::Ready(Some(self.relay.take_out()));
        }
        let polled = if self.search.is_some() { self.look(cx) } else { self.pull(cx) };
        if polled.is_ready() {
            return polled;
        }
        if self.cut.poll(cx).is_ready() {
            let fault = Fault::own(Outcome::GatewayFault, "the gateway is shutting down").named(Some("shutting_down"));
            return Poll::Ready(Some(self.fail(&fault)));
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let polled = match self.on_alarm(Instant::now()) {
                Some(Alarm::Heartbeat) => Poll::Ready(Some(self.relay.heartbeat())),
                Some(Alarm::Over(fault)) => self.broke(fault, cx),
                None => Poll::Pending,
            };
            let next = self.next_alarm();
            self.timer.as_mut().reset(next);
            if polled.is_ready() {
                return polled;
            }
        }
        Poll::Pending
    }

    fn give_up(&mut self) {
        if !self.ended {
            self.settle(Outcome::ClientGone, CLIENT_GONE, None);
        }
    }
}

impl Watched for RunningStream {
    fn stalled_since(&self, limit: Duration) -> bool {
        !self.ended && self.handed_out && Instant::now().duration_since(self.last_write) > limit
    }

    fn stall(&mut self) {
        self.stalled = true;
        self.give_up();
        // Nobody waits for it any more, a process that goes away neither.
        self.in_flight = None;
    }
}

/// The body.
pub struct RelayBody(Rc<RefCell<RunningStream>>);

impl RelayBody {
    /// A body that begins with what was held back, under the watch for clients that do not read.
    pub fn new(parts: StreamParts) -> Self {
        let stream = Rc::new(RefCell::new(RunningStream::new(parts)));
        watch(&stream);
        Self(stream)
    }
}

impl MessageBody for RelayBody {
    type Error = ClientStalled;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let mut stream = self.0.borrow_mut();
        if stream.stalled {
            return Poll::Ready(Some(Err(ClientStalled)));
        }
        let polled = stream.poll(cx);
        stream.handed_out = polled.is_ready();
        if polled.is_ready() {
            stream.last_write = Instant::now();
        }
        polled.map(|bytes| bytes.map(Ok))
    }
}

impl Drop for RunningStream {
    /// The client left in the middle: what it got is billed, nobody is blamed. A finished stream does nothing.
    fn drop(&mut self) {
        self.give_up();
    }
}
