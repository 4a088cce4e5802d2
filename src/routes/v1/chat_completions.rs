//! `POST /v1/chat/completions`.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_web::body::BoxBody;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use omniroute_actors::connection::lease::Settlement;
use omniroute_actors::ids::ConnectionId;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::{Lease, Only, Router};
use tokio::time::Instant;

use super::body::read_body;
use crate::app::App;
use crate::auth::{Kind, Principal};
use crate::config::Config;
use crate::error::{ApiError, Problem};
use crate::gateway::attempt::{Answer, Means};
use crate::gateway::dispatch::{Dispatched, Waiting, dispatch};
use crate::gateway::inbound::{Deadlines, Inbound, TIMEOUT_HEADER};
use crate::gateway::refusal::refusal;
use crate::gateway::relay_body::{RelayBody, StreamParts};
use crate::gateway::stall;
use crate::gateway::tally::{Opening, Tally, tokens};
use crate::gateway::whole_body::{WholeBody, is_large};
use crate::infra::lifecycle::InFlight;
use crate::routes::RequestId;
use crate::wire::openai_chat::ChatRequest;
use crate::wire::usage::Usage;

/// Forces one connection.
const CONNECTION_HEADER: &str = "x-omniroute-connection";

/// Answer a chat request.
pub async fn chat_completions(
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<App>,
    router: web::Data<Addr<Router>>,
) -> HttpResponse {
    let started = Instant::now();
    let in_flight = app.lifecycle.enter();
    match Call::receive(&request, payload, &app, started).await {
        Ok(call) => call.answer(&app, &router, in_flight).await,
        Err(error) => error.to_response(),
    }
}

/// A whole answer on its way out.
struct Whole {
    body: Bytes,
    usage: Usage,
    /// When the answering attempt began.
    began: Instant,
}

/// A request that may be dispatched.
struct Call {
    inbound: Inbound,
    config: Arc<Config>,
    tally: Tally,
}

impl Call {
    async fn receive(
        request: &HttpRequest,
        payload: web::Payload,
        app: &App,
        started: Instant,
    ) -> Result<Self, ApiError> {
        let principal = principal(request)?;
        admit(&principal, app)?;
        let config = app.config.load_full();
        stall::set_limit(Duration::from_millis(config.deadlines.write_stall_ms));
        let body = read_body(request, payload, &config.server).await?;
        let mut chat = ChatRequest::parse(body).map_err(|bad| ApiError::relayed(400, bad.body()))?;
        chat.default_stream(principal.stream_default_legacy);
        if !principal.may_use_model(&chat.model) {
            return Err(ApiError::new(Problem::Forbidden, format!("This key may not use model '{}'.", chat.model))
                .at("model")
                .retry(false));
        }
        let id = request_id(request);
        let tally = Tally::open(
            Arc::clone(&app.recorder),
            Opening {
                id: &id,
                at: app.clock.wall(),
                started,
                key_id: key_id(&principal),
                model: &chat.model,
                streamed: chat.stream,
            },
        );
        let headers = request.headers();
        let inbound = Inbound {
            id,
            chat,
            only: Only { allowed: principal.allowed_connections.clone(), forced: forced(headers) },
            deadlines: Deadlines::new(&config, started, asked_timeout(headers)),
            max_attempts: config.routing.max_attempts as usize,
        };
        Ok(Self { inbound, config, tally })
    }

    async fn answer(mut self, app: &App, router: &Addr<Router>, in_flight: InFlight) -> HttpResponse {
        let means = Means { clients: &app.clients, config: &self.config, now: app.clock.wall() };
        let waiting = waiting(app);
        match dispatch(router, &means, &self.inbound, &mut self.tally, waiting).await {
            Ok(dispatched) => self.deliver(app, dispatched, in_flight),
            Err(failed) => {
                let (error, outcome) = refusal(failed, &self.inbound.chat.model);
                let mut response = error.to_response();
                self.explain(response.headers_mut(), None);
                self.tally.finish(outcome, error.status, Default::default());
                response
            }
        }
    }

    fn deliver(self, app: &App, dispatched: Dispatched, in_flight: InFlight) -> HttpResponse {
        let Dispatched { answer, lease, attempt_started } = dispatched;
        match answer {
            Answer::Whole { body, facts } => {
                let prompt_chars = self.inbound.chat.prompt_chars;
                let usage = facts.usage.unwrap_or_else(|| Usage::estimate(prompt_chars, facts.chars_out));
                self.deliver_whole(lease, Whole { body, usage, began: attempt_started }, in_flight)
            }
            Answer::Stream(stream) => {
                let headers = self.stream_headers(&lease);
                let parts = StreamParts {
                    stream,
                    lease,
                    tally: self.tally,
                    in_flight,
                    cut: app.lifecycle.watch_cut(),
                    deadlines: self.inbound.deadlines,
                    prompt_chars: self.inbound.chat.prompt_chars,
                    attempt_started,
                };
                let mut response = HttpResponse::Ok().body(RelayBody::new(parts));
                for (name, value) in headers {
                    response.headers_mut().insert(name, value);
                }
                response
            }
        }
    }

    fn deliver_whole(mut self, mut lease: Lease, whole: Whole, in_flight: InFlight) -> HttpResponse {
        let now = Instant::now();
        let mut response = HttpResponse::Ok().finish();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.explain(headers, Some(&lease));
        let used = tokens(&whole.usage);
        headers.insert(HeaderName::from_static("x-omniroute-tokens-in"), used.prompt.into());
        headers.insert(HeaderName::from_static("x-omniroute-tokens-out"), used.completion.into());
        self.tally.attempt_ended(Outcome::Success, 200, now);
        let first_content = now.duration_since(whole.began);
        lease.permit.settle(Settlement { first_content: Some(first_content), ..Outcome::Success.into() });
        if is_large(whole.body.len()) {
            return response.set_body(BoxBody::new(WholeBody::new(whole.body, self.tally, used, in_flight)));
        }
        self.tally.finish(Outcome::Success, 200, used);
        response.set_body(BoxBody::new(whole.body))
    }

    fn stream_headers(&self, lease: &Lease) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        self.explain(&mut headers, Some(lease));
        headers
    }

    /// Say in headers what was tried, and why.
    fn explain(&self, headers: &mut HeaderMap, lease: Option<&Lease>) {
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put("x-omniroute-attempts", itoa(self.tally.attempts()).as_str());
        put("x-omniroute-latency-ms", itoa(millis(self.tally.elapsed(Instant::now()))).as_str());
        if let Some(lease) = lease {
            put("x-omniroute-provider", lease.config.provider.as_str());
            put("x-omniroute-connection", lease.config.id.as_str());
            put("x-omniroute-model", lease.model().as_str());
            if let (Some(combo), Some(strategy)) = (&lease.itinerary.combo, lease.itinerary.strategy) {
                put("x-omniroute-decision", &format!("combo={combo}; strategy={}", strategy.as_str()));
            }
        }
        let reasons = self.tally.fallback_reasons();
        if !reasons.is_empty() {
            put("x-omniroute-fallback-reason", &capped(&reasons));
        }
    }
}

fn principal(request: &HttpRequest) -> Result<Arc<Principal>, ApiError> {
    let principal = request.extensions().get::<Arc<Principal>>().cloned();
    principal.ok_or_else(|| ApiError::new(Problem::Unauthorized, "Authentication required"))
}

/// What is refused before the body is read. The key's limit comes last: it counts only what is let in.
fn admit(principal: &Principal, app: &App) -> Result<(), ApiError> {
    if app.recorder.refuses() {
        let message = "Usage cannot be recorded at the moment, and this gateway is set to refuse requests then.";
        return Err(ApiError::new(Problem::LedgerUnavailable, message).after(Some(Duration::from_secs(5))));
    }
    principal.check_rate().map_err(|reached| {
        let message = format!("This key's limit of requests per {} is reached.", reached.per);
        ApiError::new(Problem::KeyRateLimited, message).after(Some(reached.wait))
    })
}

fn key_id(principal: &Principal) -> Option<String> {
    match &principal.kind {
        Kind::Key { id, .. } => Some(id.clone()),
        Kind::Service => Some("service".into()),
        Kind::Session { .. } | Kind::Anonymous => None,
    }
}

/// The id under which the request is recorded. A caller's own id is kept in front, so that it can be looked for; it
/// is not unique by itself, and records are stored once per id.
fn request_id(request: &HttpRequest) -> String {
    let named = RequestId::of(request).map(|id| id.as_str().to_owned()).unwrap_or_default();
    let theirs = ["x-request-id", "request-id"].iter().any(|name| request.headers().contains_key(*name));
    if theirs || named.is_empty() { format!("{named}.{}", uuid::Uuid::now_v7()) } else { named }
}

fn forced(headers: &HeaderMap) -> Option<ConnectionId> {
    headers.get(CONNECTION_HEADER)?.to_str().ok().filter(|id| !id.is_empty()).map(ConnectionId::from)
}

fn asked_timeout(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get(TIMEOUT_HEADER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(asked))
}

fn waiting(app: &App) -> Waiting {
    let set = app.directory.resilience().wait_for_cooldown;
    Waiting {
        times: if set.enabled { set.max_retries } else { 0 },
        longest: Duration::from_secs(set.max_retry_wait_sec),
    }
}

/// A header stays short and printable whatever the names in it are.
fn capped(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(500).collect()
}

fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}

fn itoa(number: usize) -> String {
    number.to_string()
}
