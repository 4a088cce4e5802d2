//! One request to a provider, up to its response head.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_http::{
    HttpMessage,
    body::{BodySize, MessageBody},
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, TRANSFER_ENCODING},
};
use awc::{
    Client, ClientResponse,
    error::{ConnectError, SendRequestError},
    http::{Method, StatusCode, Version},
};
use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

use super::{
    body::Body,
    connector::ConnectFailure,
    error::{ConnectStep, Delivery, SendError, SendErrorKind as Kind},
    wire::Probe,
};
use crate::infra::lateness::{Deadline, Late};

/// What to send. The body is whole, so that it can be sent again on another connection.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    /// The method.
    pub method: Method,
    /// The absolute URL.
    pub url: Url,
    /// All headers but `host`, `content-length`, `user-agent` and `accept-encoding: identity`, which are added here.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
}

/// A final response head (2xx, 4xx or 5xx) and the body that follows it.
#[derive(Debug)]
pub struct UpstreamResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The length that the provider declared.
    pub declared_length: Option<u64>,
    /// When the request went out; nothing for one without a body.
    pub sent_at: Option<Instant>,
    /// The body.
    pub body: Body,
}

/// Send a request and wait for its response head until `deadline`, and not a moment longer.
pub async fn send(client: &Client, request: UpstreamRequest, deadline: Instant) -> Result<UpstreamResponse, SendError> {
    send_by(client, request, &Deadline::firm(deadline)).await
}

/// Send a request and wait for its response head.
///
/// A pooled connection that turns out to be dead before it said anything costs one more try on a new connection, because
/// a provider that closes an idle connection in the moment we use it has not failed.
pub async fn send_by(
    client: &Client,
    request: UpstreamRequest,
    deadline: &Deadline,
) -> Result<UpstreamResponse, SendError> {
    let first = Probe::new(false);
    match attempt(client, &request, deadline, Rc::clone(&first)).await {
        Err(Failed { stale: true, .. }) => {
            attempt(client, &request, deadline, Probe::new(true)).await.map_err(|failed| failed.error)
        }
        other => other.map_err(|failed| failed.error),
    }
}

struct Failed {
    error: SendError,
    /// A pooled connection died before it said anything.
    stale: bool,
}

async fn attempt(
    client: &Client,
    request: &UpstreamRequest,
    deadline: &Deadline,
    probe: Rc<Probe>,
) -> Result<UpstreamResponse, Failed> {
    let outgoing = prepare(client, request, &probe);
    let answered = deadline.wait_for(Rc::clone(&probe).watch(outgoing)).await;
    let outcome = match answered {
        Ok(Ok(response)) => accept(response, client, &probe),
        Ok(Err(error)) => {
            let stale = is_stale(&error, &probe);
            return Err(Failed { error: classify(error, &probe, delivery(request, &probe)), stale });
        }
        Err(Late::Theirs) => Err(late(request, &probe)),
        Err(Late::Ours) => Err(SendError::new(Kind::Standstill, delivery(request, &probe))),
    };
    outcome.map_err(|error| Failed { error, stale: false })
}

fn prepare(client: &Client, request: &UpstreamRequest, probe: &Rc<Probe>) -> awc::SendClientRequest {
    // Compression must be refused per request: awc sets its own accept-encoding on requests that may be decompressed.
    let mut outgoing = client.request(request.method.clone(), request.url.as_str()).no_decompress();
    // Copied as a whole: to put them in one by one costs a search each.
    let mut headers = request.headers.clone();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in std::mem::take(outgoing.headers_mut()) {
        if !headers.contains_key(&name) {
            headers.append(name, value);
        }
    }
    *outgoing.headers_mut() = headers;
    if request.body.is_empty() && request.method == Method::GET {
        return outgoing.send();
    }
    outgoing.send_body(WatchedBody { bytes: Some(request.body.clone()), probe: Rc::clone(probe) })
}

/// A body that notes when awc takes it, which is when the request goes onto the wire.
struct WatchedBody {
    bytes: Option<Bytes>,
    probe: Rc<Probe>,
}

impl MessageBody for WatchedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        this.probe.mark_body_taken();
        Poll::Ready(this.bytes.take().map(Ok))
    }
}

/// What the provider may have seen. A request without a body is not noticed being sent, so it may have been.
fn delivery(request: &UpstreamRequest, probe: &Probe) -> Delivery {
    let unseen = request.body.is_empty() && probe.has_connection();
    if probe.started_sending() || unseen { Delivery::MaybeAccepted } else { Delivery::NotSent }
}

fn late(request: &UpstreamRequest, probe: &Probe) -> SendError {
    let step = if probe.has_connection() { ConnectStep::Tls } else { ConnectStep::Tcp };
    match delivery(request, probe) {
        Delivery::NotSent => SendError::new(Kind::ConnectTimeout { step }, Delivery::NotSent),
        sent => SendError::new(Kind::HeadTimeout, sent),
    }
}

fn is_stale(error: &SendRequestError, probe: &Probe) -> bool {
    let died = match error {
        SendRequestError::Connect(ConnectError::Disconnected) => true,
        SendRequestError::Send(error) | SendRequestError::Response(actix_http::error::ParseError::Io(error)) => {
            hung_up(error) && !probe.heard_anything()
        }
        _ => false,
    };
    died && !probe.dialed() && !probe.heard_interim()
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(
        error.kind(),
        E::ConnectionReset | E::BrokenPipe | E::ConnectionAborted | E::NotConnected | E::UnexpectedEof
    )
}

fn classify(error: SendRequestError, probe: &Probe, delivery: Delivery) -> SendError {
    let kind = match error {
        SendRequestError::Connect(ConnectError::Disconnected) => {
            Kind::Reset { detail: "closed before any byte".to_owned() }
        }
        SendRequestError::Connect(error) => return SendError::new(connect_kind(error, probe), Delivery::NotSent),
        SendRequestError::Send(error) | SendRequestError::Response(actix_http::error::ParseError::Io(error)) => {
            Kind::Reset { detail: error.to_string() }
        }
        SendRequestError::Response(error) => Kind::Protocol(error.to_string()),
        SendRequestError::Timeout => Kind::HeadTimeout,
        SendRequestError::Url(error) => Kind::InvalidRequest(error.to_string()),
        SendRequestError::Http(error) => Kind::InvalidRequest(error.to_string()),
        other => Kind::Protocol(other.to_string()),
    };
    SendError::new(kind, delivery)
}

fn connect_kind(error: ConnectError, probe: &Probe) -> Kind {
    match error {
        ConnectError::Resolver(failure) => match failure.downcast::<ConnectFailure>() {
            Ok(failure) => dial_kind(*failure),
            Err(other) => Kind::Dns { host: String::new(), detail: other.to_string() },
        },
        ConnectError::Timeout => {
            Kind::ConnectTimeout { step: if probe.has_connection() { ConnectStep::Tls } else { ConnectStep::Tcp } }
        }
        // Our connector reports its own I/O errors as `ConnectFailure`; what is left is the TLS handshake.
        ConnectError::Io(error) => Kind::Tls { certificate: blames_certificate(&error), detail: error.to_string() },
        other => Kind::Protocol(other.to_string()),
    }
}

fn dial_kind(failure: ConnectFailure) -> Kind {
    match failure {
        ConnectFailure::Refused(refusal) => Kind::Refused(refusal),
        ConnectFailure::Dns { host, detail } => Kind::Dns { host, detail },
        ConnectFailure::Proxy { address, detail } => Kind::Proxy { address, detail },
        ConnectFailure::Standstill => Kind::Standstill,
        ConnectFailure::Timeout => Kind::ConnectTimeout { step: ConnectStep::Tcp },
        ConnectFailure::Io { kind, detail } => Kind::Connect { kind, detail },
    }
}

fn blames_certificate(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

/// Let only a final, readable answer through. A connection that may still hold bytes of an answer that awc believes to be
/// complete is retired first, or the next request would read them as its own.
fn accept(mut response: ClientResponse, client: &Client, probe: &Probe) -> Result<UpstreamResponse, SendError> {
    let framing = Framing::of(&response);
    let status = response.status();
    let unread = status.is_informational() || (framing == Framing::Unknown && status != StatusCode::NO_CONTENT);
    if unread && let Some(wire) = probe.wire().upgrade() {
        wire.retire();
    }
    if let Some(kind) = unacceptable(&response, framing) {
        return Err(SendError::new(kind, Delivery::Answered));
    }
    let payload = response.take_payload();
    Ok(UpstreamResponse {
        status,
        headers: response.headers().clone(),
        declared_length: framing.length(),
        sent_at: probe.sent_at(),
        body: Body::new(payload, probe.wire(), client.clone())
            .of_length(framing.length())
            .until_close(framing == Framing::UntilClose),
    })
}

fn unacceptable(response: &ClientResponse, framing: Framing) -> Option<Kind> {
    let status = response.status();
    let code = status.as_u16();
    if status.is_redirection() {
        return Some(Kind::Redirect { status: code, host: redirect_host(response.headers()) });
    }
    if !(200..600).contains(&code) {
        return Some(Kind::UnexpectedStatus(code));
    }
    if let Some(encoding) = foreign_encoding(response.headers()) {
        return Some(Kind::Encoded { status: code, encoding });
    }
    // On an error status the status alone is the news; a success without a readable body would be an empty answer.
    let bodyless = framing == Framing::Unknown && status.is_success() && status != StatusCode::NO_CONTENT;
    bodyless.then_some(Kind::Undelimited { status: code })
}

fn foreign_encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = String::from_utf8_lossy(headers.get(CONTENT_ENCODING)?.as_bytes()).trim().to_ascii_lowercase();
    (!encoding.is_empty() && encoding != "identity").then_some(encoding)
}

fn redirect_host(headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    Url::parse(location).ok()?.host_str().map(str::to_owned)
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
    /// HTTP/1.1 without length and chunks. The standard says "until close"; awc takes it for "no body".
    Unknown,
}

impl Framing {
    fn of(response: &ClientResponse) -> Self {
        let headers = response.headers();
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let chunked = headers
            .get(TRANSFER_ENCODING)
            .is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
        match (chunked, length) {
            (true, _) => Self::Chunked,
            (false, Some(length)) => Self::Length(length),
            (false, None) if response.version() == Version::HTTP_10 => Self::UntilClose,
            (false, None) => Self::Unknown,
        }
    }

    const fn length(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            _ => None,
        }
    }
}
