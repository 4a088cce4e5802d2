//! Does this connection work? Asked with the ordinary client, within a short time, answered in our own words: nothing
//! of what the other side wrote is ever passed on, so that the question is no way to read other people's networks.

use std::sync::Arc;
use std::time::Duration;

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode};
use bytes::Bytes;
use omniroute_actors::clock::{Clock, SystemClock};
use omniroute_actors::connection::config::ConnectionConfig;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::connection::token::{MintFailure, Token};
use omniroute_actors::ports::Wanted;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::app::App;
use crate::gateway::learned_models;
use crate::gateway::provider_format;
use crate::gateway::upstream_call::UpstreamCall;
use crate::providers::model_table::FactsText;
use crate::upstream::{self, Caller, ClientFactory, CollectLimits, SendErrorKind, UpstreamRequest};
use crate::wire::chat::{EncodeTarget, Message, Request, Role};

/// How long a question may take.
const WITHIN: Duration = Duration::from_secs(15);
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Models shown of one list.
const MOST_MODELS: usize = 5_000;
const MODEL_CHARS: usize = 512;
/// Models that are looked at one by one.
const MOST_SHOWN: usize = 100;
/// Ollama's list, and what it tells about one model.
const TAGS: &str = "/api/tags";
const SHOW: &str = "/api/show";

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diagnosis {
    /// One word of a fixed list.
    pub(super) kind: &'static str,
    /// Who found it: `local`, `upstream` or `validation`.
    pub(super) source: &'static str,
    /// Our own words.
    pub(super) message: Option<&'static str>,
    /// The status of the answer, if there was one.
    pub(super) status: Option<u16>,
}

impl Diagnosis {
    const fn ok(status: u16) -> Self {
        Self { kind: "ok", source: "upstream", message: None, status: Some(status) }
    }

    const fn local(kind: &'static str, message: &'static str) -> Self {
        Self { kind, source: "local", message: Some(message), status: None }
    }

    const fn upstream(kind: &'static str, message: &'static str, status: Option<u16>) -> Self {
        Self { kind, source: "upstream", message: Some(message), status }
    }

    /// Whether the connection works.
    pub(super) fn valid(&self) -> bool {
        self.kind == "ok"
    }

    /// As the API shows it.
    pub(super) fn to_json(&self) -> Value {
        json!({"type": self.kind, "source": self.source, "message": self.message, "code": self.status})
    }
}

/// A model that a connection offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    /// Its id there.
    pub(super) id: String,
    /// What the list says about it.
    pub(super) facts: Option<FactsText>,
}

/// A connection to look at.
pub(super) struct Subject<'a> {
    /// The gateway.
    pub(super) app: &'a App,
    /// The running connection; none where it is not stored (yet).
    pub(super) running: Option<Arc<ConnectionHandle>>,
    /// How it is configured.
    pub(super) config: ConnectionConfig,
}

/// What came of asking a running connection.
pub(super) struct Tried {
    /// How long it took.
    pub(super) took: Duration,
    /// Nothing when it did not answer in time.
    pub(super) found: Option<Diagnosis>,
}

/// Ask a running connection for one model.
pub(super) async fn try_connection(app: &App, running: Arc<ConnectionHandle>, model: &str, within: Duration) -> Tried {
    let config = (*running.config()).clone();
    let subject = Subject { app, running: Some(running), config };
    let began = app.clock.now();
    let found = tokio::time::timeout(within, test(&subject, Some(model))).await.ok();
    Tried { took: app.clock.now().since(began), found }
}

/// Try a connection: its model list, or a tiny call when a model is named or the list is not offered.
pub(super) async fn test(subject: &Subject<'_>, model: Option<&str>) -> Diagnosis {
    let deadline = Instant::now() + WITHIN;
    let found = match model {
        Some(model) => subject.authorized(deadline, async |asked| asked.chat(model).await).await,
        None => subject.authorized(deadline, async |asked| asked.models().await.map(drop)).await,
    };
    match found {
        Ok(()) => Diagnosis::ok(200),
        Err(diagnosis) if diagnosis.kind == "unsupported" => Diagnosis::upstream(
            "unsupported",
            "the provider offers no list of models; name a model to test with",
            diagnosis.status,
        ),
        Err(diagnosis) => diagnosis,
    }
}

/// The models that a connection offers.
pub(super) async fn models(subject: &Subject<'_>) -> Result<Vec<Offered>, Diagnosis> {
    let offered = async |asked: Asked<'_>| {
        let offered = asked.models().await?;
        Ok(asked.shown(offered).await)
    };
    subject.authorized(Instant::now() + WITHIN, offered).await
}

impl Subject<'_> {
    /// Ask with the token of the connection, where it sends one; a token that is refused is renewed once.
    async fn authorized<T>(
        &self,
        deadline: Instant,
        ask: impl AsyncFn(Asked<'_>) -> Result<T, Diagnosis>,
    ) -> Result<T, Diagnosis> {
        let asked = |token| Asked { clients: &self.app.clients, config: &self.config, token, deadline };
        let token = self.token(None, deadline).await?;
        let found = ask(asked(token.as_deref())).await;
        match (&found, &token, &self.running) {
            (Err(refused), Some(token), Some(_)) if refused.status == Some(401) => {
                let renewed = self.token(Some(token.version), deadline).await?;
                ask(asked(renewed.as_deref())).await
            }
            _ => found,
        }
    }

    /// The token that is sent in place of the credential. A connection that runs has it from its actor, like its requests.
    async fn token(&self, refused: Option<u64>, by: Instant) -> Result<Option<Arc<Token>>, Diagnosis> {
        let Some(exchange) = &self.config.exchange else { return Ok(None) };
        let clock = &self.app.clock;
        let token = async {
            match &self.running {
                Some(handle) => handle.fresh_token(&self.config, refused, clock.now()).await,
                None => {
                    let wanted = Wanted { connection: &self.config.id, exchange, spent: None };
                    let minted = self.app.minter.mint(wanted, clock.wall()).await?;
                    let versions = (1, self.config.credential_version);
                    Ok(Arc::new(Token::new(&minted, &exchange.header, versions, clock.both())))
                }
            }
        };
        let late = || Err(MintFailure::own(Outcome::ConnectFailed, "no token in time"));
        let token = timeout_at(by, token).await.unwrap_or_else(|_| late());
        token.map(Some).map_err(|failure| no_token(&failure))
    }
}

/// What the place that gives tokens has against the connection.
fn no_token(failure: &MintFailure) -> Diagnosis {
    let status = Some(failure.status).filter(|status| *status > 0);
    if failure.is_final {
        let message = Some("the account must be signed in again");
        return Diagnosis { kind: "reauth_required", source: "oauth", message, status };
    }
    match failure.outcome {
        Outcome::AuthRefused | Outcome::Forbidden => {
            Diagnosis::upstream("upstream_auth_error", "the credential cannot be exchanged for a token", status)
        }
        Outcome::RateLimited => {
            Diagnosis::upstream("upstream_rate_limited", "the place that gives tokens asks to slow down", status)
        }
        Outcome::ProxyFailed => Diagnosis::local("proxy_error", "the proxy on the way cannot be used"),
        Outcome::LocalNetwork | Outcome::ConnectFailed => {
            Diagnosis::local("network_error", "the place that gives tokens cannot be reached")
        }
        _ => Diagnosis::upstream("upstream_unavailable", "the place that gives tokens is failing", status),
    }
}

/// One question to a connection.
#[derive(Clone, Copy)]
struct Asked<'a> {
    clients: &'a ClientFactory,
    config: &'a ConnectionConfig,
    token: Option<&'a Token>,
    deadline: Instant,
}

impl Asked<'_> {
    async fn models(self) -> Result<Vec<Offered>, Diagnosis> {
        let none = Diagnosis::local("unsupported", "the provider offers no list of models");
        let url = self.config.target.models_url.as_deref().ok_or(none)?;
        let (status, body) = self.send(self.list_request(url)?).await?;
        if matches!(status.as_u16(), 404 | 405 | 501) {
            let message = "the provider offers no list of models";
            return Err(Diagnosis::upstream("unsupported", message, Some(status.as_u16())));
        }
        judge(status)?;
        let list: Value = serde_json::from_slice(&body).map_err(|_| not_json(status))?;
        let named = ["data", "models", "publisherModels", "resources"].iter().find_map(|name| list.get(*name));
        let entries = named.unwrap_or(&list).as_array().ok_or_else(|| not_json(status))?;
        let offered = |entry: &Value| Some(Offered { id: model_name(entry)?, facts: learned_models::told(entry) });
        Ok(entries.iter().filter_map(offered).take(MOST_MODELS).collect())
    }

    /// With what Ollama tells of a model only when it is asked for that one; a server that does not say stays unheard.
    async fn shown(self, mut offered: Vec<Offered>) -> Vec<Offered> {
        let url = self.config.target.models_url.as_deref().and_then(|url| url.strip_suffix(TAGS));
        let Some(base) = url else { return offered };
        for one in offered.iter_mut().take(MOST_SHOWN) {
            let asked = self.list_request(&format!("{base}{SHOW}")).map(|request| UpstreamRequest {
                method: Method::POST,
                body: json!({"model": one.id}).to_string().into(),
                ..request
            });
            let Ok(request) = asked else { break };
            // Without an answer in time there is none for the others either.
            let Ok((status, body)) = self.send(request).await else { break };
            let entry: Value = serde_json::from_slice(&body).unwrap_or_default();
            let abilities = learned_models::told(&entry).and_then(|facts| facts.abilities);
            if status.is_success() && abilities.is_some() {
                one.facts.get_or_insert_default().abilities = abilities;
            }
        }
        offered
    }

    async fn chat(self, model: &str) -> Result<(), Diagnosis> {
        let (status, body) = self.send(self.ping(model)?).await?;
        judge(status)?;
        let format = provider_format::of(self.config.target.for_model(model));
        provider_format::decode_answer(format, &body).map(drop).map_err(|_| not_json(status))
    }

    /// The smallest call that a model answers.
    fn ping(self, model: &str) -> Result<UpstreamRequest, Diagnosis> {
        let cannot = Diagnosis::local("validation_error", "the request cannot be sent");
        let target = self.config.target.for_model(model);
        let format = provider_format::of(target);
        let mut request = Request::new(format, model);
        request.messages.push(Message::text(Role::User, "ping"));
        request.sampling.max_tokens = Some(16);
        let to = EncodeTarget { model, stream: false, traits: provider_format::traits(target) };
        let encoded = provider_format::encode_request(format, &request, &to).map_err(|_| cannot.clone())?;
        let now = SystemClock::default().wall().0 / 1_000;
        let call = UpstreamCall { target, model, stream: false, token: self.token, headers: &[], now };
        call.with(encoded.body).map_err(|_| cannot)
    }

    fn list_request(self, url: &str) -> Result<UpstreamRequest, Diagnosis> {
        let url = Url::parse(url).map_err(|_| Diagnosis::local("validation_error", "the URL is not valid"))?;
        let headers = self
            .headers()
            .ok_or_else(|| Diagnosis::local("validation_error", "the credential cannot be sent as a header"))?;
        Ok(UpstreamRequest { method: Method::GET, url, headers, body: Bytes::new() })
    }

    fn headers(self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.config.target.headers {
            headers.insert(HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value.as_str()).ok()?);
        }
        let sent = self.token.map(|token| (&token.header, &token.value));
        let sent = sent.or_else(|| self.config.target.auth_header.as_ref().map(|(name, value)| (name, value)));
        if let Some((name, secret)) = sent {
            let mut value = HeaderValue::try_from(secret.expose_secret()).ok()?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(name.as_str()).ok()?, value);
        }
        Some(headers)
    }

    async fn send(self, request: UpstreamRequest) -> Result<(StatusCode, Bytes), Diagnosis> {
        let caller = Caller::at(self.config.id.as_str(), self.config.provider.as_str());
        let client = self.clients.thread_client(caller);
        let response = upstream::send(&client, request, self.deadline).await.map_err(|error| failed(&error.kind))?;
        let limits = CollectLimits { cap: MOST_BYTES, idle: WITHIN, deadline: self.deadline };
        let status = response.status;
        let body = upstream::collect(response.body, limits).await;
        let cut = Diagnosis::upstream("upstream_error", "the answer did not arrive whole", Some(status.as_u16()));
        Ok((status, body.map_err(|_| cut)?))
    }
}

/// The name of an entry of a list; Google names the collection, too.
fn model_name(entry: &Value) -> Option<String> {
    let id = ["id", "name", "model"].iter().find_map(|name| entry.get(*name)).unwrap_or(entry).as_str()?;
    let id = id.strip_prefix("models/").unwrap_or(id);
    let id = id.strip_prefix("publishers/").and_then(|rest| Some(rest.split_once("/models/")?.1)).unwrap_or(id);
    let sane = !id.is_empty() && id.len() <= MODEL_CHARS && !id.chars().any(char::is_control);
    sane.then(|| id.to_owned())
}

fn not_json(status: StatusCode) -> Diagnosis {
    Diagnosis::upstream("upstream_error", "the answer is not in the format of the API", Some(status.as_u16()))
}

fn judge(status: StatusCode) -> Result<(), Diagnosis> {
    let (kind, message) = match status.as_u16() {
        200..=299 => return Ok(()),
        401 | 403 => ("upstream_auth_error", "the provider refused the credential"),
        429 => ("upstream_rate_limited", "the provider asks to slow down"),
        500.. => ("upstream_unavailable", "the provider is failing"),
        404 => ("upstream_error", "the provider does not know this address or model"),
        _ => ("upstream_error", "the provider refused the request"),
    };
    Err(Diagnosis::upstream(kind, message, Some(status.as_u16())))
}

fn failed(kind: &SendErrorKind) -> Diagnosis {
    match kind {
        SendErrorKind::Refused(_) => Diagnosis::local("validation_error", "the address is not allowed"),
        SendErrorKind::InvalidRequest(_) => Diagnosis::local("validation_error", "the request cannot be sent"),
        SendErrorKind::Proxy { .. } => Diagnosis::local("proxy_error", "the proxy on the way cannot be used"),
        SendErrorKind::Dns { .. } => Diagnosis::local("network_error", "the provider's name cannot be resolved"),
        SendErrorKind::Connect { .. } => Diagnosis::local("network_error", "the provider cannot be reached"),
        SendErrorKind::ConnectTimeout { .. } => Diagnosis::local("network_error", "connecting took too long"),
        SendErrorKind::Tls { .. } => Diagnosis::local("network_error", "no secure connection to the provider"),
        SendErrorKind::Reset { .. } => Diagnosis::local("network_error", "the provider closed the connection"),
        SendErrorKind::HeadTimeout => {
            Diagnosis::upstream("upstream_unavailable", "the provider did not answer in time", None)
        }
        SendErrorKind::Redirect { status, .. } => {
            Diagnosis::upstream("upstream_error", "the provider redirects elsewhere", Some(*status))
        }
        _ => Diagnosis::upstream("upstream_error", "the answer is not valid HTTP", None),
    }
}
