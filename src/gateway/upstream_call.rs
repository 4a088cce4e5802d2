//! A request to a connection, ready to be sent: address, headers, signature.

use std::sync::Arc;

use actix_http::header::{ACCEPT, HeaderName, HeaderValue};
use awc::http::Method;
use bytes::Bytes;
use omniroute_actors::connection::config::UpstreamTarget;
use omniroute_actors::connection::token::Token;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::ExposeSecret;

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
    /// What is sent in place of the credential, where that is exchanged.
    pub token: Option<&'a Token>,
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
        if let Some(token) = self.token {
            let (name, value) = credential(token)?;
            headers.insert(name, value);
        }
        let body = provider_format::finished(self.target, body);
        sign::sign(self.target, &url, &mut headers, &body, self.now)?;
        Ok(UpstreamRequest { method: Method::POST, url, headers, body })
    }
}

fn credential(token: &Token) -> Result<(HeaderName, HeaderValue), Fault> {
    let broken = || Fault::own(Outcome::GatewayFault, "the connection's token cannot be sent");
    let name = HeaderName::try_from(token.header.as_str()).map_err(|_| broken())?;
    let mut value = HeaderValue::try_from(token.value.expose_secret()).map_err(|_| broken())?;
    value.set_sensitive(true);
    Ok((name, value))
}

const fn accept(format: Format, stream: bool) -> &'static str {
    match (format, stream) {
        (_, false) => "application/json",
        (format, true) if !provider_format::streams(format) => "application/json",
        (Format::Ollama, true) => "application/x-ndjson",
        (Format::Bedrock, true) => "application/vnd.amazon.eventstream",
        (_, true) => "text/event-stream",
    }
}
