//! A request of the data plane from its first byte to its answer, whatever format it is in.
//!
//! ```text
//! admit -> body -> read (the format's own) -> may this key use this model? -> tally -> dispatch -> deliver
//! ```

use std::cell::{OnceCell, RefCell};
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::FutureExt;
use omniroute_actors::ids::{ConnectionId, KeyId};
use omniroute_actors::router::{NoRoute, Only, Route, Router};
use tokio::time::Instant;

use super::affinity;
use super::ask::Ask;
use super::background;
use super::client_format::ClientFormat;
use super::deliver::Delivery;
use super::dispatch::{Dispatched, Failed, Waiting, dispatch, retries};
use super::ensemble::{Ending, Ensemble};
use super::features::{self, Origin};
use super::inbound::{Caller, Deadlines, Inbound, TIMEOUT_HEADER};
use super::race::Step;
use super::refusal::refusal;
use super::stall;
use super::surroundings::Surroundings;
use super::tally::{Booked, Opening, Tally};
use crate::app::App;
use crate::auth::Principal;
use crate::config::Config;
use crate::error::{ApiError, Problem};
use crate::infra::lifecycle::InFlight;
use crate::infra::overload::{Pass, Shed};
use crate::infra::stats::SessionName;
use crate::routes::RequestId;
use crate::routes::v1::body::read_body;

/// Forces one connection.
static CONNECTION_HEADER: HeaderName = HeaderName::from_static("x-omniroute-connection");
/// Refuses what a provider's format cannot carry, instead of leaving it out.
static STRICT_HEADER: HeaderName = HeaderName::from_static("x-omniroute-strict");
/// Headers of a client that a provider of its own format understands.
static FORWARDED: [HeaderName; 2] = [HeaderName::from_static("anthropic-beta"), HeaderName::from_static("openai-beta")];
/// How a caller names its request.
static REQUEST_ID: [HeaderName; 2] = [HeaderName::from_static("x-request-id"), HeaderName::from_static("request-id")];

/// A request as it comes in.
pub struct Incoming {
    /// Its head.
    pub request: HttpRequest,
    /// Its body.
    pub payload: web::Payload,
    /// What handlers share.
    pub app: web::Data<App>,
    /// This worker's router.
    pub router: web::Data<Addr<Router>>,
}

impl Incoming {
    /// Answer it. `read` makes of the body what is asked for.
    pub async fn answer(
        self,
        client: ClientFormat,
        read: impl AsyncFnOnce(Bytes, Reader<'_>) -> Result<Ask, ApiError>,
    ) -> HttpResponse {
        let started = Instant::now();
        let in_flight = self.app.lifecycle.enter();
        let id = RequestId::of(&self.request);
        let answered = match self.take(read).await {
            Ok(taken) => taken.answer(started, in_flight).await,
            Err(error) => Err(error),
        };
        answered.unwrap_or_else(|error| error.to_response_for(client, id.as_ref().map(RequestId::as_str)))
    }

    /// Let it in and read it.
    ///
    /// # Errors
    /// What to tell the client instead.
    pub async fn take(
        self,
        read: impl AsyncFnOnce(Bytes, Reader<'_>) -> Result<Ask, ApiError>,
    ) -> Result<Taken, ApiError> {
        let Self { request, payload, app, router } = self;
        let principal = principal(&request)?;
        let config = app.config.load_full();
        let pass = admit(&principal, &app, &config)?;
        stall::set_limit(Duration::from_millis(config.deadlines.write_stall_ms));
        let body = read_body(&request, payload, &config.server).await?;
        let let_in = LetIn { principal, config, head: Head::Client(request), app, router, pass };
        let_in.read(body, read).await
    }
}

/// A request that was let in, before it is read.
pub(super) struct LetIn {
    principal: Arc<Principal>,
    config: Arc<Config>,
    head: Head,
    app: web::Data<App>,
    router: web::Data<Addr<Router>>,
    pass: Pass,
}

impl LetIn {
    /// Let in what the gateway asks for itself.
    ///
    /// # Errors
    /// What a client would be told instead.
    pub(super) fn own(
        principal: Arc<Principal>,
        head: Head,
        app: web::Data<App>,
        router: web::Data<Addr<Router>>,
    ) -> Result<Self, ApiError> {
        let config = app.config.load_full();
        let pass = admit(&principal, &app, &config)?;
        Ok(Self { principal, config, head, app, router, pass })
    }

    /// Read it.
    ///
    /// # Errors
    /// What to tell the client instead.
    pub(super) async fn read(
        self,
        body: Bytes,
        read: impl AsyncFnOnce(Bytes, Reader<'_>) -> Result<Ask, ApiError>,
    ) -> Result<Taken, ApiError> {
        let Self { principal, config, head, app, router, pass } = self;
        let reader = Reader { principal: &principal, app: &app, config: &config };
        let mut ask = Box::new(read(body, reader).await?);
        ask.remember(app.seals.of(Arc::clone(&principal.owner)));
        ask.strict = config.routing.strict_params || is_strict(head.headers());
        if !principal.may_use_model(&ask.model) {
            let message = format!("This key may not use model '{}'.", ask.model);
            return Err(ApiError::new(Problem::Forbidden, message).at("model").retry(false));
        }
        Ok(Taken { ask, principal, config, head, app, router, pass, booked: None })
    }
}

/// The head of a request.
pub enum Head {
    /// A client's.
    Client(HttpRequest),
    /// Of a request that the gateway makes for itself.
    Own {
        /// Its id.
        id: String,
        /// Its headers.
        headers: HeaderMap,
    },
}

impl Head {
    fn headers(&self) -> &HeaderMap {
        match self {
            Self::Client(request) => request.headers(),
            Self::Own { headers, .. } => headers,
        }
    }

    /// The id under which the request is recorded.
    fn id(&self) -> String {
        match self {
            Self::Client(request) => request_id(request),
            Self::Own { id, .. } => id.clone(),
        }
    }
}

/// What a format's reader may look at beside the body.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What handlers share.
    pub app: &'a App,
    /// The configuration that holds for the request.
    pub config: &'a Config,
}

/// A request that was let in and read.
pub struct Taken {
    /// What it asks for.
    pub ask: Box<Ask>,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// The configuration that holds for it.
    pub config: Arc<Config>,
    /// Its head.
    pub head: Head,
    /// What handlers share.
    pub app: web::Data<App>,
    /// This worker's router.
    pub router: web::Data<Addr<Router>>,
    /// Counts it against what the process takes on.
    pub pass: Pass,
    /// Who wants to know what is booked for it.
    pub booked: Option<Booked>,
}

/// The answer to a request on its way. Boxed: it is large, and what waits for it is moved from hand to hand.
type Answering = Pin<Box<dyn Future<Output = Result<HttpResponse, ApiError>>>>;

impl Taken {
    /// Answer it.
    fn answer(mut self, started: Instant, in_flight: InFlight) -> Answering {
        if let Some(body) = self.ask.ready.take() {
            return Box::pin(ready(Ok(HttpResponse::Ok().content_type("application/json").body(body))));
        }
        if self.ask.background.is_some() {
            return Box::pin(background::start(self, started));
        }
        let (app, router) = (self.app.clone(), self.router.clone());
        let (call, pass) = Call::open(self, started);
        let answering = call.answer(&app, &router, in_flight.carrying(pass));
        Box::pin(answering.map(Ok))
    }

    /// Which connections may serve it.
    pub fn only(&self) -> Only {
        Only { allowed: self.principal.allowed_connections.clone(), forced: forced(self.head.headers()) }
    }
}

/// A request that may be dispatched.
pub(super) struct Call {
    inbound: Inbound,
    config: Arc<Config>,
    tally: Tally,
}

impl Call {
    pub(super) fn open(taken: Taken, started: Instant) -> (Self, Pass) {
        let only = taken.only();
        let Taken { mut ask, principal, config, head, app, pass, booked, .. } = taken;
        let (id, at, headers) = (head.id(), app.clock.wall(), head.headers());
        let key = Some(&principal.owner).filter(|owner| !owner.is_empty()).cloned();
        let named = affinity::named(headers);
        let session = config.routing.affinity.then(|| affinity::session(named, &ask, &principal.owner)).flatten();
        ask.cache_key = session.filter(|_| config.routing.forward_cache_key);
        let features = features::of(headers, &ask, Origin { key: key.clone(), affinity: session, at });
        let opening = Opening {
            id: &id,
            at,
            started,
            key_id: key.map(KeyId::new),
            model: &ask.model,
            streamed: ask.stream,
            session: named.and_then(named_session).or_else(|| session.map(SessionName::Hash)),
            affinity: session.map(affinity::shown),
        };
        let mut tally = Tally::open(Arc::clone(&app.recorder), app.stats.clone(), opening);
        tally.tell(booked);
        tally.ledger_mut().expect_prompt(u64::from(features.prompt_tokens));
        let inbound = Inbound {
            id,
            ask,
            only,
            features: Arc::new(features),
            session,
            forwarded: forwarded(headers),
            created: at.0 / 1_000,
            deadlines: Deadlines::new(&config, started, asked_timeout(headers)),
            narrowed: OnceCell::new(),
            max_attempts: config.routing.max_attempts as usize,
            caller: Caller { key: Arc::clone(&principal.owner), retries: Arc::clone(&principal.retries) },
            handoff: RefCell::default(),
        };
        (Self { inbound, config, tally }, pass)
    }

    /// Answer it. No `async fn`, which would hold what it is given twice.
    pub(super) fn answer(
        self,
        app: &web::Data<App>,
        router: &web::Data<Addr<Router>>,
        in_flight: InFlight,
    ) -> impl Future<Output = HttpResponse> + use<> {
        let Self { inbound, config, tally } = self;
        let around = Surroundings { app: app.clone(), router: router.clone(), config };
        let mut delivery = Delivery { inbound, tally, in_flight };
        async move {
            match find(&around, &delivery.inbound, &mut delivery.tally).await {
                Ok(Found::Answer(dispatched)) => delivery.answer(&around, *dispatched),
                Ok(Found::Ensemble(Ending::Answered(inbound, dispatched))) => {
                    Delivery { inbound: *inbound, ..delivery }.answer(&around, *dispatched)
                }
                Ok(Found::Ensemble(Ending::Settled(read, all))) => delivery.settled(*read, all),
                Err(failed) => {
                    let (error, outcome) = refusal(failed, &delivery.inbound.ask.model);
                    delivery.refuse(&error, outcome)
                }
            }
        }
    }
}

/// What was found for a request.
enum Found {
    /// Somebody's answer.
    Answer(Box<Dispatched>),
    /// What several calls led to.
    Ensemble(Ending),
}

/// Ask one after the other, or as many as the combo asks.
async fn find(around: &Surroundings, inbound: &Inbound, tally: &mut Tally) -> Result<Found, Failed> {
    let (means, waiting) = (around.means(), waiting(&around.app));
    let retries = retries(&inbound.caller.retries, means.config);
    let start = Route::of(&inbound.ask.model, Arc::clone(&inbound.features), inbound.only.clone());
    let to = Step { router: &around.router, means: &means, inbound, tally: &mut *tally, retries };
    match dispatch(to, start, waiting).await {
        Ok(dispatched) => Ok(Found::Answer(Box::new(dispatched))),
        Err(Failed::NoRoute(NoRoute::Ensemble { itinerary })) => {
            // Boxed: most requests are no ensembles, and need no room for one.
            Box::pin(Ensemble { around, inbound, tally, itinerary, waiting }.run()).await.map(Found::Ensemble)
        }
        Err(failed) => Err(failed),
    }
}

fn principal(request: &HttpRequest) -> Result<Arc<Principal>, ApiError> {
    let principal = request.extensions().get::<Arc<Principal>>().cloned();
    principal.ok_or_else(|| ApiError::new(Problem::Unauthorized, "Authentication required"))
}

/// What is refused before the body is read. The key's limit comes last: it counts only what is let in.
fn admit(principal: &Principal, app: &App, config: &Config) -> Result<Pass, ApiError> {
    if app.recorder.refuses() {
        let message = "Usage cannot be recorded at the moment, and this gateway is set to refuse requests then.";
        return Err(ApiError::new(Problem::LedgerUnavailable, message).after(Some(Duration::from_secs(5))));
    }
    let pass = app.overload.admit(&config.overload, &principal.load).map_err(shed)?;
    principal.check_rate().map_err(|reached| {
        let message = format!("This key's limit of requests per {} is reached.", reached.per);
        ApiError::new(Problem::KeyRateLimited, message).after(Some(reached.wait))
    })?;
    Ok(pass)
}

/// Told at once, with a second to wait: by then the load has moved.
fn shed(why: Shed) -> ApiError {
    let (problem, message) = match why {
        Shed::Share => (Problem::KeyShare, "The gateway is full, and this key has more than its share of it."),
        _ => (Problem::Overloaded, "The gateway carries as much as it can; the request was not started."),
    };
    ApiError::new(problem, message).after(Some(Duration::from_secs(1)))
}

/// Whose answers are whose: a key's own, or the administrator's.
pub fn owner(principal: &Principal) -> String {
    principal.owner.to_string()
}

/// The id under which the request is recorded. A caller's own id is kept in front, so that it can be looked for; it
/// is not unique by itself, and records are stored once per id.
fn request_id(request: &HttpRequest) -> String {
    let named = RequestId::of(request).map(|id| id.as_str().to_owned()).unwrap_or_default();
    let theirs = REQUEST_ID.iter().any(|name| request.headers().contains_key(name));
    if theirs || named.is_empty() { format!("{named}.{}", uuid::Uuid::now_v7()) } else { named }
}

fn forced(headers: &HeaderMap) -> Option<ConnectionId> {
    headers.get(&CONNECTION_HEADER)?.to_str().ok().filter(|id| !id.is_empty()).map(ConnectionId::from)
}

/// The session as operators see it, where a header names it. What is no short name is shown by its hash.
fn named_session(named: &str) -> Option<SessionName> {
    const LONGEST: usize = 200;
    (named.len() <= LONGEST).then(|| SessionName::Named(format!("ext:{named}").into()))
}

fn is_strict(headers: &HeaderMap) -> bool {
    headers.get(&STRICT_HEADER).is_some_and(|value| matches!(value.as_bytes(), b"1" | b"true"))
}

fn forwarded(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    FORWARDED.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect()
}

fn asked_timeout(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get(&TIMEOUT_HEADER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(asked))
}

fn waiting(app: &App) -> Waiting {
    let set = app.directory.resilience().wait_for_cooldown;
    Waiting {
        times: if set.enabled { set.max_retries } else { 0 },
        longest: Duration::from_secs(set.max_retry_wait_sec),
    }
}
