//! One URL of a client: a bare GET under the address policy, without redirects, credentials or headers of anybody, within
//! what the request may still take.

use std::cell::Cell;

use actix_http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use awc::http::{Method, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::upstream::{Body, BodyError, Caller, ClientFactory, SendError, SendErrorKind, UpstreamRequest, send};

const KINDS: HeaderValue = HeaderValue::from_static("image/*, application/pdf, text/*;q=0.9");

/// What lies behind a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The bytes.
    pub bytes: Bytes,
    /// What its server says they are.
    pub declared: Option<String>,
}

/// Why there is nothing. The words are for clients: they say nothing about names and addresses that only we see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFetched {
    /// It is no address of the public web.
    #[error("its address is not one that this gateway may fetch from")]
    Address,
    /// No answer that can be read.
    #[error("its server cannot be reached, or gives no proper answer")]
    Unreachable,
    /// It takes too long.
    #[error("it did not come in time")]
    Late,
    /// It lies elsewhere.
    #[error("it redirects, and redirects are not followed")]
    Redirect,
    /// There is nothing.
    #[error("its server answered with status {0}")]
    Status(u16),
    /// It is larger than what the request may still take.
    #[error("all URLs of a request together may hold at most {0} bytes")]
    TooLarge(usize),
    /// There are more of them than one request may name.
    #[error("a request may name at most {0} URLs")]
    TooMany(usize),
    /// It is something else.
    #[error("it is not the picture, PDF or text that it should be")]
    WrongType,
}

impl NotFetched {
    /// Its name in metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Address => "refused",
            Self::Unreachable => "unreachable",
            Self::Late => "late",
            Self::Redirect => "redirect",
            Self::Status(_) => "status",
            Self::TooLarge(_) => "too_large",
            Self::TooMany(_) => "too_many",
            Self::WrongType => "wrong_type",
        }
    }
}

/// What a fetch may take.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// When it must be there.
    pub until: Instant,
    /// Bytes of all URLs of the request.
    pub cap: usize,
    /// Bytes taken so far, by those that run beside it as well.
    pub taken: &'a Cell<usize>,
}

/// Get what lies behind a URL.
///
/// # Errors
/// Why not.
pub async fn load(clients: &ClientFactory, url: &str, limits: Limits<'_>) -> Result<Loaded, NotFetched> {
    let url = Url::parse(url).map_err(|_| NotFetched::Address)?;
    clients.policy().check_url(&url).map_err(|_| NotFetched::Address)?;
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(ACCEPT, KINDS);
    let request = UpstreamRequest { method: Method::GET, url, headers, body: Bytes::new() };
    let response = send(&clients.thread_client(Caller::default()), request, limits.until).await?;
    if response.status != StatusCode::OK {
        return Err(NotFetched::Status(response.status.as_u16()));
    }
    let declared = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let left = limits.cap.saturating_sub(limits.taken.get());
    if response.declared_length.is_some_and(|length| length > left as u64) {
        return Err(NotFetched::TooLarge(limits.cap));
    }
    Ok(Loaded { bytes: read(response.body, limits).await?, declared })
}

async fn read(mut body: Body, limits: Limits<'_>) -> Result<Bytes, NotFetched> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = timeout_at(limits.until, body.next()).await.map_err(|_| NotFetched::Late)? {
        let chunk = chunk?;
        let taken = limits.taken.get().saturating_add(chunk.len());
        if taken > limits.cap {
            return Err(NotFetched::TooLarge(limits.cap));
        }
        limits.taken.set(taken);
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

impl From<SendError> for NotFetched {
    fn from(error: SendError) -> Self {
        match error.kind {
            SendErrorKind::Refused(_) => Self::Address,
            SendErrorKind::Redirect { .. } => Self::Redirect,
            SendErrorKind::ConnectTimeout { .. } | SendErrorKind::HeadTimeout => Self::Late,
            _ => Self::Unreachable,
        }
    }
}

impl From<BodyError> for NotFetched {
    fn from(_: BodyError) -> Self {
        Self::Unreachable
    }
}
