//! A request to a connection, ready to be sent: address, headers, signature.

use std::sync::Arc;

use actix_http::header::{ACCEPT, HeaderName, HeaderValue};
use awc::http::Method;
use bytes::Bytes;
use omniroute_actors::connection::config::UpstreamTarget;

use super::fault::Fault;
use super::{prepared, provider_format, sign};
use crate::upstream::UpstreamRequest;
use crate::wire::chat::Format;

/// What is called.
pub struct UpstreamCall<'a> {
    /// Where.
    pub target: &'a Arc<UpstreamTarget>,
    /// Which model, by the provider's name.
    pub model: &'a str,
    /// Whether the answer shall be a stream.
    pub stream: bool,
    /// Headers beside the connection's own.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// The time, in seconds since the Unix epoch.
    pub now: i64,
}

impl UpstreamCall<'_> {
    /// The request with this body.
    ///
    /// # Errors
    /// When the connection's address, headers or credential cannot be used.
    pub fn with(self, body: Bytes) -> Result<UpstreamRequest, Fault> {
        let (url, mut headers) = prepared::of(self.target, self.model, self.stream)?;
        let accept = accept(provider_format::of(self.target), self.stream);
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        for (name, value) in self.headers {
            headers.insert(name.clone(), value.clone());
        }
        sign::sign(self.target, &url, &mut headers, &body, self.now)?;
        Ok(UpstreamRequest { method: Method::POST, url, headers, body })
    }
}

const fn accept(format: Format, stream: bool) -> &'static str {
    match (format, stream) {
        (_, false) => "application/json",
        (Format::Ollama, true) => "application/x-ndjson",
        (Format::Bedrock, true) => "application/vnd.amazon.eventstream",
        (_, true) => "text/event-stream",
    }
}
