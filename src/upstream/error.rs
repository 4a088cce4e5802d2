//! What can go wrong between us and a provider, and what the provider may have seen of it.

use std::io;

use super::policy::Refusal;

/// What the provider may know of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Not one byte of the request was written: sending it elsewhere is free.
    NotSent,
    /// It was written, wholly or in part, and not answered: the provider may have done (and billed) the work.
    MaybeAccepted,
    /// The provider answered with a status line that we do not accept as an answer.
    Answered,
}

/// The step of opening a connection that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectStep {
    /// Name lookup and TCP handshake.
    Tcp,
    /// TLS handshake.
    Tls,
}

/// A request that got no usable response head.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct SendError {
    /// What happened.
    #[source]
    pub kind: SendErrorKind,
    /// What the provider may have seen.
    pub delivery: Delivery,
}

impl SendError {
    pub(super) const fn new(kind: SendErrorKind, delivery: Delivery) -> Self {
        Self { kind, delivery }
    }

    /// Whether the request may have reached the provider.
    #[must_use]
    pub const fn request_sent(&self) -> bool {
        !matches!(self.delivery, Delivery::NotSent)
    }
}

/// What happened to a request that got no usable response head.
#[derive(Debug, thiserror::Error)]
pub enum SendErrorKind {
    /// The address policy forbids the target. Nobody's network is to blame.
    #[error("provider address refused: {0}")]
    Refused(Refusal),
    /// The request itself cannot be put on the wire.
    #[error("the request cannot be sent: {0}")]
    InvalidRequest(String),
    /// The provider's name cannot be resolved.
    #[error("cannot resolve `{host}`: {detail}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        detail: String,
    },
    /// The proxy on the way cannot be used; the provider has no part in it.
    #[error("the proxy {address} cannot be used: {detail}")]
    Proxy {
        /// Where the proxy is, without its login.
        address: String,
        /// What it said, or why it cannot be reached.
        detail: String,
    },
    /// The provider refused the connection or is not reachable.
    #[error("cannot connect to the provider: {detail}")]
    Connect {
        /// The kind of the last error, `ConnectionRefused` for example.
        kind: io::ErrorKind,
        /// Its text.
        detail: String,
    },
    /// The connection was not ready in time.
    #[error("connecting to the provider took too long")]
    ConnectTimeout {
        /// Where the time went.
        step: ConnectStep,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to the provider: {detail}")]
    Tls {
        /// Whether the provider's certificate is at fault (a configuration error) and not the network.
        certificate: bool,
        /// What the TLS library said.
        detail: String,
    },
    /// The connection ended before a whole response head had come.
    #[error("the provider closed the connection without an answer: {detail}")]
    Reset {
        /// How it ended.
        detail: String,
    },
    /// No whole response head before the deadline.
    #[error("the provider did not answer in time")]
    HeadTimeout,
    /// The gateway stood still for so long that nobody can tell whether the provider was late.
    #[error("the gateway itself was held up for too long")]
    Standstill,
    /// The answer is not HTTP as we know it.
    #[error("the provider's answer is not valid HTTP: {0}")]
    Protocol(String),
    /// The provider redirected; we never follow, the credential would go along.
    #[error("the provider redirected to another place")]
    Redirect {
        /// The status, 302 for example.
        status: u16,
        /// The host it named, without path or query.
        host: Option<String>,
    },
    /// A status that is no final answer.
    #[error("the provider answered with status {0}, which is no answer")]
    UnexpectedStatus(u16),
    /// A compressed body in spite of `accept-encoding: identity`.
    #[error("the provider answered with content encoding `{encoding}`, which was not asked for")]
    Encoded {
        /// The status of the answer.
        status: u16,
        /// The encoding named.
        encoding: String,
    },
    /// A successful answer whose end cannot be known (no length, not chunked).
    #[error("the provider's answer has neither a length nor chunks")]
    Undelimited {
        /// The status of the answer.
        status: u16,
    },
}

/// A response body that did not arrive whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It ended before the length it declared, or without the last chunk.
    #[error("the provider's answer was cut after {received} bytes")]
    Cut {
        /// Bytes received.
        received: u64,
        /// Bytes promised by Content-Length.
        declared: Option<u64>,
    },
    /// It is larger than we accept.
    #[error("the provider's answer is larger than {cap} bytes")]
    TooLarge {
        /// The limit.
        cap: usize,
    },
    /// Nothing came for too long.
    #[error("the provider's answer stalled")]
    Idle,
    /// The whole of it took too long.
    #[error("the provider's answer did not end in time")]
    Deadline,
    /// The gateway stood still for so long that nobody can tell whether the provider was late.
    #[error("the gateway itself was held up for too long")]
    Standstill,
    /// The connection broke.
    #[error("the connection broke after {received} bytes: {detail}")]
    Transport {
        /// Bytes received.
        received: u64,
        /// How it broke.
        detail: String,
    },
    /// Its framing is not valid HTTP.
    #[error("the provider's answer is not valid HTTP: {0}")]
    Protocol(String),
}
