//! The HTTP side of the demo provider.

use std::{
    convert::Infallible,
    future::pending,
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::{StatusCode, header},
    web,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::{
    DemoOptions, DemoServer, FLAKY, MODELS, PROVIDER_ID, STEADY,
    chat::{BadRequest, ChatRequest},
    faults::{Account, Fault, Mode},
    stream::{Event, Label, events, whole},
};

/// The pace of a stream.
const PACE: Duration = Duration::from_millis(15);
const MAX_BODY: usize = 8 * 1024 * 1024;
/// The date that OpenAI-style model lists want, fixed so that the list is always the same.
const MODELS_CREATED: u64 = 1_735_689_600;

struct Provider {
    options: DemoOptions,
    accounts: [Account; 2],
    answered: AtomicU64,
}

pub(super) fn start(options: DemoOptions) -> io::Result<DemoServer> {
    let provider = web::Data::from(Arc::new(Provider {
        options,
        accounts: [Account::new(FLAKY, Mode::Flaky), Account::new(STEADY, Mode::Healthy)],
        answered: AtomicU64::new(0),
    }));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(provider.clone())
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .route("/v1/chat/completions", web::post().to(chat))
            .route("/v1/models", web::get().to(models))
            .route("/demo/faults", web::post().to(switch_faults))
            .default_service(web::to(not_found))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .tcp_nodelay(true)
    // A hung request has to end when its client leaves, or it would hang until the end of the process.
    .h1_allow_half_closed(false)
    .bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = server.addrs().first().copied().ok_or_else(|| io::Error::other("the demo provider has no address"))?;
    let running = server.run();
    let handle = running.handle();
    actix_rt::spawn(running);
    Ok(DemoServer { addr, handle })
}

async fn chat(request: HttpRequest, body: Bytes, provider: web::Data<Provider>) -> HttpResponse {
    let Some(account) = account_of(&request, &provider) else { return unauthorized() };
    let fault = match asked_fault(&request) {
        Ok(asked) => asked.or_else(|| account.next_fault(provider.options.seed, provider.options.failure_percent)),
        Err(refused) => return bad_request(&refused),
    };
    match fault {
        Some(Fault::Status(status)) => return failed(status),
        Some(Fault::RateLimited(seconds)) => return rate_limited(seconds),
        Some(Fault::Hang) => return pending().await,
        Some(Fault::SlowHead(wait)) => sleep(wait).await,
        Some(Fault::Cut(_) | Fault::SlowTokens(_)) | None => {}
    }
    match ChatRequest::read(&body) {
        Ok(chat) if chat.knows_model() => answer(&chat, provider.label(&chat), fault),
        Ok(chat) => unknown_model(&chat.model),
        Err(refused) => bad_request(&refused),
    }
}

impl Provider {
    fn label(&self, chat: &ChatRequest) -> Label {
        let number = self.answered.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Label { id: format!("chatcmpl-demo{number:08}"), model: chat.model.clone(), created }
    }
}

fn answer(chat: &ChatRequest, label: Label, fault: Option<Fault>) -> HttpResponse {
    let answer = chat.answer();
    if chat.stream() {
        let events = events(&label, &answer, chat.include_usage());
        return HttpResponse::Ok()
            .content_type("text/event-stream")
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .streaming(paced(events, fault));
    }
    let whole = whole(&label, &answer);
    match fault {
        Some(Fault::Cut(_)) => HttpResponse::Ok().content_type("application/json").streaming(half(&whole.to_string())),
        _ => HttpResponse::Ok().json(whole),
    }
}

/// The events at their pace, broken off where the fault says so.
fn paced(events: Vec<Event>, fault: Option<Fault>) -> impl Stream<Item = Result<Bytes, io::Error>> {
    let pace = if let Some(Fault::SlowTokens(pace)) = fault { pace } else { PACE };
    let mut left = if let Some(Fault::Cut(after)) = fault { after } else { usize::MAX };
    let cut = matches!(fault, Some(Fault::Cut(_)));
    let events = events.into_iter().map(move |event| {
        if event.is_content || event.text.contains("[DONE]") {
            left = left.checked_sub(1)?;
        }
        Some(event)
    });
    let kept: Vec<Event> = events.map_while(|event| event).collect();
    let sent = stream::iter(kept).then(move |event| async move {
        if event.is_content {
            sleep(pace).await;
        }
        Ok(Bytes::from(event.text))
    });
    sent.chain(stream::iter(cut.then_some(())).then(|()| broken_off()))
}

fn half(text: &str) -> impl Stream<Item = Result<Bytes, io::Error>> + use<> {
    let half: String = text.chars().take(text.chars().count() / 2).collect();
    stream::iter([Ok(Bytes::from(half))]).chain(stream::once(broken_off()))
}

/// The error that breaks the connection, once what came before it has been written out.
async fn broken_off() -> Result<Bytes, io::Error> {
    sleep(PACE).await;
    Err(io::Error::other("cut as asked"))
}

async fn models(request: HttpRequest, provider: web::Data<Provider>) -> HttpResponse {
    if account_of(&request, &provider).is_none() {
        return unauthorized();
    }
    let data =
        MODELS.map(|id| json!({"id": id, "object": "model", "created": MODELS_CREATED, "owned_by": PROVIDER_ID}));
    HttpResponse::Ok().json(json!({"object": "list", "data": data}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Switch {
    account: String,
    mode: String,
    retry_after: Option<u32>,
}

async fn switch_faults(body: Bytes, provider: web::Data<Provider>) -> HttpResponse {
    let switch: Switch = match serde_json::from_slice(&body) {
        Ok(switch) => switch,
        Err(error) => return error_body(StatusCode::BAD_REQUEST, &error.to_string(), json!({})),
    };
    let account = provider.accounts.iter().find(|account| account.key == switch.account);
    let (Some(account), Some(mode)) = (account, Mode::parse(&switch.mode)) else {
        let message = "account is demo-steady or demo-flaky; mode is healthy, flaky, down or rate_limited";
        return error_body(StatusCode::BAD_REQUEST, message, json!({}));
    };
    account.switch(mode, switch.retry_after);
    HttpResponse::Ok().json(json!({"account": account.key, "mode": switch.mode}))
}

async fn not_found() -> Result<HttpResponse, Infallible> {
    Ok(error_body(StatusCode::NOT_FOUND, "the demo provider has no such route", json!({})))
}

fn account_of<'a>(request: &HttpRequest, provider: &'a Provider) -> Option<&'a Account> {
    let key = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    provider.accounts.iter().find(|account| account.key == key.trim())
}

fn asked_fault(request: &HttpRequest) -> Result<Option<Fault>, BadRequest> {
    let Some(text) = request.headers().get("x-demo-fault") else { return Ok(None) };
    let fault = text.to_str().ok().and_then(Fault::parse);
    fault.map(Some).ok_or_else(|| BadRequest {
        message: "x-demo-fault is one of status=503, hang, cut=3, slow=200, rate=10".to_owned(),
        param: None,
        code: None,
    })
}

fn unauthorized() -> HttpResponse {
    let message = "Incorrect API key provided: the demo provider knows demo-steady and demo-flaky.";
    error_body(StatusCode::UNAUTHORIZED, message, json!({"code": "invalid_api_key"}))
}

fn bad_request(refused: &BadRequest) -> HttpResponse {
    error_body(StatusCode::BAD_REQUEST, &refused.message, json!({"param": refused.param, "code": refused.code}))
}

fn unknown_model(model: &str) -> HttpResponse {
    let message = format!("The model `{model}` does not exist; the demo provider has {}.", MODELS.join(" and "));
    error_body(StatusCode::NOT_FOUND, &message, json!({"param": "model", "code": "model_not_found"}))
}

fn rate_limited(seconds: u32) -> HttpResponse {
    let message = format!("Rate limit reached for the demo account. Please try again in {seconds}s.");
    let mut response = error_body(
        StatusCode::TOO_MANY_REQUESTS,
        &message,
        json!({"type": "rate_limit_error", "code": "rate_limit_exceeded"}),
    );
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

fn failed(status: u16) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
    error_body(status, "The demo provider fails as asked.", json!({"type": kind}))
}

/// An error in OpenAI's shape; `extra` replaces the defaults of `type`, `param` and `code`.
fn error_body(status: StatusCode, message: &str, extra: serde_json::Value) -> HttpResponse {
    let mut error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": null});
    if let (Some(error), serde_json::Value::Object(extra)) = (error.as_object_mut(), extra) {
        error.extend(extra);
    }
    HttpResponse::build(status).json(json!({"error": error}))
}
