//! The other instance over HTTP, by the ordinary way out: the address policy holds, nothing is followed.

use std::time::Duration;

use actix_http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use awc::http::Method;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::Envelope;
use crate::upstream::{ClientFactory, UpstreamRequest, whole};

const WITHIN: Duration = Duration::from_secs(20);
const LARGEST: usize = 32 * 1024 * 1024;
const PATH: &str = "api/sync/bundle";

/// The other instance.
pub struct Peer {
    url: Url,
    token: Option<SecretString>,
    clients: ClientFactory,
}

/// Why it could not be asked. Its own words stay out of ours.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No way there.
    #[error("the other instance cannot be reached: {0}")]
    Unreachable(String),
    /// It said no.
    #[error("the other instance answered with status {0}")]
    Refused(u16),
    /// What came is no bundle.
    #[error("the other instance did not answer with a bundle")]
    Nonsense,
}

impl Peer {
    /// At this address, with the token that it gave us.
    pub fn new(url: &str, token: Option<SecretString>, clients: ClientFactory) -> Option<Self> {
        // What is joined takes the place of the last segment unless that ends in a slash.
        let url = Url::parse(&format!("{}/", url.trim_end_matches('/'))).ok()?;
        Some(Self { url, token, clients })
    }

    /// Fetch its configuration.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn fetch(&self, nonce: &str) -> Result<Envelope, PeerError> {
        let query = [("nonce", nonce)];
        let body = self.ask(Method::GET, &query, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(|_| PeerError::Nonsense)
    }

    /// Bring it ours; answers with what that changes there.
    ///
    /// # Errors
    /// Why it did not take it.
    pub async fn bring(&self, envelope: &Envelope, replace: bool, dry: bool) -> Result<Value, PeerError> {
        // As a text inside of the body: what is signed is its very bytes.
        let text = serde_json::to_string(envelope).map_err(|_| PeerError::Nonsense)?;
        let body = serde_json::json!({"envelope": text}).to_string();
        let query =
            [("replace", if replace { "true" } else { "false" }), ("dryRun", if dry { "true" } else { "false" })];
        let answer = self.ask(Method::POST, &query, body.into()).await?;
        serde_json::from_slice(&answer).map_err(|_| PeerError::Nonsense)
    }

    async fn ask(&self, method: Method, query: &[(&str, &str)], body: Bytes) -> Result<Bytes, PeerError> {
        let unreachable = |why: &str| PeerError::Unreachable(why.to_owned());
        let mut url = self.url.join(PATH).map_err(|_| unreachable("its address cannot be read"))?;
        url.query_pairs_mut().extend_pairs(query);
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
            let mut value = value.map_err(|_| unreachable("its token cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let request = UpstreamRequest { method, url, headers, body };
        let (status, answer) = whole(&self.clients, request, LARGEST, WITHIN).await.map_err(PeerError::Unreachable)?;
        if status.is_success() { Ok(answer) } else { Err(PeerError::Refused(status.as_u16())) }
    }
}
