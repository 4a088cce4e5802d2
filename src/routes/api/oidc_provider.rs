//! The configured OpenID Connect provider: what it tells about itself, its tokens, its word about somebody.

use std::time::Duration;

use actix_http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use awc::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::app::App;
use crate::auth::{Expected, Jwks, believe};
use crate::config::Oidc;
use crate::upstream::{UpstreamRequest, whole};

const ASK_WITHIN: Duration = Duration::from_secs(10);
const LARGEST: usize = 1024 * 1024;
const WELL_KNOWN: &str = ".well-known/openid-configuration";
const NAME_CHARS: usize = 200;

/// Why the provider gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// It said no.
    #[error("the provider answered with status {0}")]
    Refused(u16),
    /// It could not be asked, or could not answer.
    #[error("{0}")]
    Away(String),
}

impl From<String> for Unanswered {
    fn from(why: String) -> Self {
        Self::Away(why)
    }
}

/// What the provider tells about itself.
#[derive(Debug, Deserialize)]
pub(super) struct Provider {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
}

/// What it gives for a code, or for a token that renews.
#[derive(Debug, Deserialize)]
pub(super) struct Tokens {
    pub(super) id_token: Option<String>,
    pub(super) refresh_token: Option<SecretString>,
    access_token: Option<SecretString>,
}

impl Provider {
    /// Only the configured issuer, and only when it calls itself that.
    pub(super) async fn discover(app: &App, oidc: &Oidc) -> Result<Self, String> {
        let page = address(&format!("{}/{WELL_KNOWN}", oidc.issuer.trim_end_matches('/')))?;
        let provider: Self = ask(app, get(page)).await.map_err(|why| why.to_string())?;
        if provider.issuer == oidc.issuer { Ok(provider) } else { Err("the issuer calls itself otherwise".to_owned()) }
    }

    /// Tokens for a grant.
    pub(super) async fn tokens(&self, app: &App, oidc: &Oidc, form: &[(&str, &str)]) -> Result<Tokens, Unanswered> {
        let mut text = Serializer::new(String::new());
        text.extend_pairs(form).append_pair("client_id", &oidc.client_id);
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let secret = oidc.client_secret.resolve().map_err(|error| error.to_string())?;
        if let Some(secret) = secret.filter(|secret| !secret.expose_secret().is_empty()) {
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(&oidc.client_id), encoded(secret.expose_secret()));
            headers.insert(AUTHORIZATION, secretly(&format!("Basic {}", STANDARD.encode(pair)))?);
        }
        let url = address(&self.token_endpoint)?;
        let body = Bytes::from(text.finish());
        ask(app, UpstreamRequest { method: Method::POST, url, headers, body }).await
    }

    /// The claims of an ID token, believed.
    pub(super) async fn believe(
        &self,
        app: &App,
        oidc: &Oidc,
        token: &str,
        nonce: Option<&str>,
    ) -> Result<Value, String> {
        let keys: Jwks = ask(app, get(address(&self.jwks_uri)?)).await.map_err(|why| why.to_string())?;
        let now_s = app.clock.wall().0 / 1_000;
        let expected = Expected { issuer: &oidc.issuer, client_id: &oidc.client_id, nonce, now_s };
        believe(token, &keys, expected).map_err(|why| why.to_string())
    }

    /// What it says about whoever these tokens are for, where it sent no ID token with them.
    pub(super) async fn user(&self, app: &App, tokens: &Tokens) -> Result<Option<Value>, Unanswered> {
        let Some((page, token)) = self.userinfo_endpoint.as_ref().zip(tokens.access_token.as_ref()) else {
            return Ok(None);
        };
        let mut request = get(address(page)?);
        request.headers.insert(AUTHORIZATION, secretly(&format!("Bearer {}", token.expose_secret()))?);
        ask(app, request).await.map(Some)
    }
}

fn secretly(value: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(value).map_err(|_| "a secret cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

/// An address that the provider gave. A browser is sent to web pages only.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let read = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
    read.ok_or_else(|| "an address of the provider cannot be read".to_owned())
}

/// Beginning with the way they came, so that nobody is taken for the administrator.
pub(super) fn subject(claims: &Value) -> String {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let called = [text("preferred_username"), text("email")].into_iter().find(|name| !name.is_empty());
    let named = called.map(|name| format!(" ({name})")).unwrap_or_default();
    let whole = format!("oidc:{}{named}", text("sub"));
    whole.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect()
}

/// When the word of a token ends.
pub(super) fn until(claims: &Value) -> Option<i64> {
    claims.get("exp").and_then(Value::as_f64).map(|seconds| (seconds as i64).saturating_mul(1_000))
}

fn get(url: Url) -> UpstreamRequest {
    UpstreamRequest { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
}

async fn ask<T: serde::de::DeserializeOwned>(app: &App, request: UpstreamRequest) -> Result<T, Unanswered> {
    let (status, body) = whole(&app.clients, request, LARGEST, ASK_WITHIN).await?;
    match status.as_u16() {
        200..=299 => serde_json::from_slice(&body)
            .map_err(|_| Unanswered::Away("the provider's answer cannot be read".to_owned())),
        refused @ (400 | 401 | 403) => Err(Unanswered::Refused(refused)),
        other => Err(Unanswered::Away(format!("the provider answered with status {other}"))),
    }
}
