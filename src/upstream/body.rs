//! A response body that tells a whole answer from a cut one.
//!
//! awc ends a body without an error when the connection is closed in the middle of it, be it counted or chunked. A counted
//! one is checked against its length. A chunked one is checked by what awc does with the connection: at a true end it has
//! already given it back (to the pool, or closed it) when it reports the end; at a cut the connection is still inside the
//! body and dies with it.

use std::{
    io,
    pin::Pin,
    rc::Weak,
    task::{Context, Poll, ready},
    time::Duration,
};

use awc::{Client, error::PayloadError};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::time::Instant;

use super::{error::BodyError, wire::Wire};
use crate::infra::lateness::{Deadline, Late};

/// How large an empty buffer may be made on the word of a Content-Length header.
const FIRST_ALLOCATION: usize = 64 * 1024;

pub(super) type Payload = actix_http::Payload;

/// The body of a provider's answer. Dropping it closes the connection, which cancels the work upstream.
pub struct Body {
    payload: Option<Payload>,
    wire: Weak<Wire>,
    declared: Option<u64>,
    received: u64,
    /// HTTP/1.0 without a length: the end of the connection is the end of the body.
    until_close: bool,
    /// Keeps the pool alive: a pool that goes with its client closes what was given back, which would look like a cut.
    _client: Client,
}

impl Body {
    pub(super) fn new(payload: Payload, wire: Weak<Wire>, client: Client) -> Self {
        Self { payload: Some(payload), wire, declared: None, received: 0, until_close: false, _client: client }
    }

    /// The body has this length.
    pub(super) const fn of_length(mut self, declared: Option<u64>) -> Self {
        self.declared = declared;
        self
    }

    /// The body ends with its connection.
    pub(super) const fn until_close(mut self, until_close: bool) -> Self {
        self.until_close = until_close;
        self
    }

    /// Bytes received so far.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    fn ended(&mut self) -> Option<BodyError> {
        let returned = self.wire.strong_count() == 0;
        self.payload = None;
        let cut = match self.declared {
            Some(declared) => self.received < declared,
            None => !returned && !self.until_close && self.wire.strong_count() == 0,
        };
        cut.then_some(BodyError::Cut { received: self.received, declared: self.declared })
    }

    fn broken(&mut self, error: PayloadError) -> BodyError {
        self.payload = None;
        let received = self.received;
        let cut = BodyError::Cut { received, declared: self.declared };
        match error {
            PayloadError::Incomplete(None) => cut,
            // awc wraps each I/O error of a body as "incomplete", those of the chunk decoder too.
            PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => match error.kind() {
                // `Other` is the codec's "bytes remaining on stream": the end came inside a chunk header.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => cut,
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => BodyError::Protocol(error.to_string()),
                _ => BodyError::Transport { received, detail: error.to_string() },
            },
            other => BodyError::Protocol(other.to_string()),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("declared", &self.declared)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(payload) = this.payload.as_mut() else { return Poll::Ready(None) };
        Poll::Ready(match ready!(Pin::new(payload).poll_next(cx)) {
            Some(Ok(chunk)) => {
                this.received = this.received.saturating_add(chunk.len() as u64);
                Some(Ok(chunk))
            }
            Some(Err(error)) => Some(Err(this.broken(error))),
            None => this.ended().map(Err),
        })
    }
}

/// The bounds of [`collect`].
#[derive(Debug, Clone, Copy)]
pub struct CollectLimits {
    /// Bytes accepted.
    pub cap: usize,
    /// How long it may be silent.
    pub idle: Duration,
    /// When it has to be complete.
    pub deadline: Instant,
}

/// Read a whole body within its limits.
pub async fn collect(mut body: Body, limits: CollectLimits) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge { cap: limits.cap };
    if body.declared.is_some_and(|declared| declared > limits.cap as u64) {
        return Err(too_large);
    }
    let mut whole = BytesMut::with_capacity(first_allocation(&body));
    while let Some(chunk) = next_within(&mut body, limits).await? {
        if whole.len().saturating_add(chunk.len()) > limits.cap {
            return Err(too_large);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

fn first_allocation(body: &Body) -> usize {
    body.declared
        .and_then(|declared| usize::try_from(declared).ok())
        .map_or(0, |declared| declared.min(FIRST_ALLOCATION))
}

async fn next_within(body: &mut Body, limits: CollectLimits) -> Result<Option<Bytes>, BodyError> {
    let idle_at = Instant::now() + limits.idle;
    let at = idle_at.min(limits.deadline);
    match Deadline::new(at, limits.deadline).wait_for(body.next()).await {
        Ok(next) => next.transpose(),
        Err(Late::Ours) => Err(BodyError::Standstill),
        Err(Late::Theirs) if Instant::now() < limits.deadline => Err(BodyError::Idle),
        Err(Late::Theirs) => Err(BodyError::Deadline),
    }
}
