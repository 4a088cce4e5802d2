//! From a good answer, or the reason why there is none, to what the client gets: status, headers, body, and the record.

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use omniroute_actors::connection::lease::Settlement;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::Lease;
use omniroute_actors::router::fallback::RetryClass;
use omniroute_actors::usage::record::Tokens;
use tokio::time::Instant;

use super::affinity::{SESSION_HEADER, shown};
use super::attempt;
use super::continuation::{GoOn, is_trunk};
use super::dispatch::Dispatched;
use super::ensemble::Read;
use super::inbound::Inbound;
use super::ledger::Place;
use super::relay_body::{RelayBody, StreamParts};
use super::surroundings::Surroundings;
use super::tally::{Ended, Tally, millis, tokens};
use super::whole_body::{WholeBody, is_large};
use crate::error::{ApiError, Problem};
use crate::infra::lateness;
use crate::infra::lifecycle::InFlight;
use crate::wire::chat::{Answer, Dropped};
use crate::wire::usage::Usage;

static ATTEMPTS: HeaderName = HeaderName::from_static("x-omniroute-attempts");
static LATENCY_MS: HeaderName = HeaderName::from_static("x-omniroute-latency-ms");
static PROVIDER: HeaderName = HeaderName::from_static("x-omniroute-provider");
static CONNECTION: HeaderName = HeaderName::from_static("x-omniroute-connection");
static MODEL: HeaderName = HeaderName::from_static("x-omniroute-model");
static DECISION: HeaderName = HeaderName::from_static("x-omniroute-decision");
static FALLBACK_REASON: HeaderName = HeaderName::from_static("x-omniroute-fallback-reason");
static PARAMS_DROPPED: HeaderName = HeaderName::from_static("x-omniroute-params-dropped");
static TOKENS_IN: HeaderName = HeaderName::from_static("x-omniroute-tokens-in");
static TOKENS_OUT: HeaderName = HeaderName::from_static("x-omniroute-tokens-out");
/// Tells nginx to pass a stream on as it comes.
static ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A request whose dispatch is over.
pub struct Delivery {
    /// The request.
    pub inbound: Inbound,
    /// Its tally, still open.
    pub tally: Tally,
    /// Counts it while it runs.
    pub in_flight: InFlight,
}

/// A whole answer on its way out.
struct Whole {
    body: Bytes,
    usage: Usage,
    /// When the answering attempt began.
    began: Instant,
    place: Place,
}

impl Delivery {
    /// The client gets an error.
    pub fn refuse(mut self, error: &ApiError, outcome: Outcome) -> HttpResponse {
        let mut response = error.to_response_for(self.inbound.ask.client, Some(&self.inbound.id));
        self.explain(response.headers_mut(), None);
        self.tally.finish(outcome, error.status_for(self.inbound.ask.client), Tokens::default());
        response
    }

    /// The client gets an answer.
    pub fn answer(self, around: &Surroundings, dispatched: Dispatched) -> HttpResponse {
        let Dispatched { answer, dropped, lease, attempt_started, place } = dispatched;
        let mut response = match answer {
            attempt::Answer::Whole { body, usage } => {
                self.whole(lease, Whole { body, usage, began: attempt_started, place })
            }
            // Nobody but the gateway reads it, so it is never dispatched for a client.
            attempt::Answer::Read { .. } => {
                return self.refuse(&ApiError::new(Problem::Internal, "Nothing to show."), Outcome::GatewayFault);
            }
            attempt::Answer::Stream(stream) => {
                let mut response = HttpResponse::Ok().finish();
                self.stream_headers(response.headers_mut(), &lease);
                let (deadlines, prompt_chars) = (self.inbound.deadlines(), self.inbound.ask.prompt_chars);
                let trunk = is_trunk(&self.inbound.ask, lease.itinerary.combo.as_deref());
                let go_on = trunk.then(|| Box::new(GoOn { around: around.clone(), inbound: self.inbound }));
                let parts = StreamParts {
                    stream,
                    lease,
                    tally: self.tally,
                    in_flight: self.in_flight,
                    cut: around.app.lifecycle.watch_cut(),
                    deadlines,
                    prompt_chars,
                    attempt_started,
                    place,
                    go_on,
                };
                response.set_body(BoxBody::new(RelayBody::new(parts)))
            }
        };
        name_dropped(response.headers_mut(), &dropped);
        response
    }

    /// The client gets an answer that was read already; `all` is what every call for it used.
    pub fn settled(mut self, read: Read, all: Usage) -> HttpResponse {
        let Read { answer, place, by, .. } = read;
        let ask = &self.inbound.ask;
        let Ok(request) = ask.neutral() else {
            return self
                .refuse(&ApiError::new(Problem::Internal, "The request cannot be read."), Outcome::GatewayFault);
        };
        let reply = ask.reply(&self.inbound.id, self.inbound.created, request);
        let took = Some(self.inbound.deadlines.took(self.inbound.deadlines.started, None));
        let body = ask.written(&Answer { usage: Some(all), took, ..answer }, &reply);
        self.tally.answered(place, Instant::now());
        let used = self.tally.ledger_mut().promoted(place);
        let mut response = HttpResponse::Ok().finish();
        let headers = response.headers_mut();
        let kind = if ask.stream { ask.client.stream_type() } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        self.explain(headers, None);
        let said =
            [("provider", by.provider), ("connection", by.connection), ("model", by.model), ("decision", by.decision)];
        for (name, value) in said {
            let name = HeaderName::try_from(format!("x-omniroute-{name}"));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        if is_large(body.len()) {
            return response.set_body(BoxBody::new(WholeBody::new(body, self.tally, used, self.in_flight)));
        }
        self.tally.finish(Outcome::Success, 200, used);
        response.set_body(BoxBody::new(body))
    }

    fn whole(mut self, mut lease: Lease, whole: Whole) -> HttpResponse {
        let now = Instant::now();
        let mut response = HttpResponse::Ok().finish();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.explain(headers, Some(&lease));
        let used = tokens(&whole.usage);
        let all = self.tally.ledger().spent_so_far().and(&used);
        headers.insert(TOKENS_IN.clone(), all.prompt.into());
        headers.insert(TOKENS_OUT.clone(), all.completion.into());
        let ended = Ended { outcome: Outcome::Success, status: 200, class: RetryClass::Answered, at: now };
        self.tally.attempt_ended(whole.place, ended);
        let lost = lateness::lost();
        let first_content = Some(lease.permit.provider_time(now.duration_since(whole.began), lost));
        lease.permit.true_up(used.prompt.saturating_add(used.completion));
        lease.permit.settle_after(Settlement { first_content, ..Outcome::Success.into() }, lost);
        if is_large(whole.body.len()) {
            return response.set_body(BoxBody::new(WholeBody::new(whole.body, self.tally, used, self.in_flight)));
        }
        self.tally.finish(Outcome::Success, 200, used);
        response.set_body(BoxBody::new(whole.body))
    }

    fn stream_headers(&self, headers: &mut HeaderMap, lease: &Lease) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.inbound.ask.client.stream_type()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(ACCEL_BUFFERING.clone(), HeaderValue::from_static("no"));
        self.explain(headers, Some(lease));
    }

    /// Say in headers what was tried, and why.
    fn explain(&self, headers: &mut HeaderMap, lease: Option<&Lease>) {
        headers.insert(ATTEMPTS.clone(), self.tally.attempts().into());
        headers.insert(LATENCY_MS.clone(), millis(self.tally.elapsed(Instant::now())).into());
        let mut put = |name: &HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name.clone(), value);
            }
        };
        if let Some(lease) = lease {
            put(&PROVIDER, lease.config.provider.as_str());
            put(&CONNECTION, lease.config.id.as_str());
            put(&MODEL, lease.model().as_str());
            put(&DECISION, &lease.decision().to_string());
        }
        if let Some(session) = self.inbound.session {
            put(&SESSION_HEADER, &shown(session));
        }
        let reasons = self.tally.ledger().reasons();
        if !reasons.is_empty() {
            put(&FALLBACK_REASON, &capped(&reasons));
        }
    }
}

/// What did not reach the provider: for the client in a header, for the operator in the log.
fn name_dropped(headers: &mut HeaderMap, dropped: &[Dropped]) {
    if dropped.is_empty() {
        return;
    }
    for one in dropped {
        tracing::info!(field = one.field, why = one.why, "a parameter cannot be sent to this provider");
    }
    let names: Vec<_> = dropped.iter().map(|one| one.field.as_str()).collect();
    if let Ok(value) = HeaderValue::from_str(&capped(&names.join(", "))) {
        headers.insert(PARAMS_DROPPED.clone(), value);
    }
}

/// A header stays short and printable whatever the names in it are.
fn capped(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(500).collect()
}
