//! `/api/auth/oidc/*`: signing in with an account of the configured OpenID Connect provider: authorization code with PKCE.
//!
//! What a sign-in has to remember on its way through the provider travels with the browser, sealed: any instance can end
//! what another one began. Its tokens are used once, for the claims, and kept nowhere.

use std::time::Duration;

use actix_http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use awc::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::auth::user_agent;
use crate::auth::{Expected, Jwks, Role, SignIn, believe, role_of};
use crate::config::Oidc;
use crate::infra::crypto::random_token;
use crate::routes::{Call, Refusal, RouteSpec, Scope};
use crate::store::StoreError;
use crate::upstream::{UpstreamRequest, whole};

const CALLBACK: &str = "/api/auth/oidc/callback";
const COOKIE: &str = "oidc_state";
const COOKIE_PATH: &str = "/api/auth/oidc";
const AAD: &str = "cookie|oidc|state|v1";
/// How long a sign-in may take.
const WITHIN_MS: i64 = 10 * 60 * 1_000;
const ASK_WITHIN: Duration = Duration::from_secs(10);
const LARGEST: usize = 1024 * 1024;
const WELL_KNOWN: &str = ".well-known/openid-configuration";
const NAME_CHARS: usize = 200;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Public as P;
    vec![
        RouteSpec::get("/api/auth/oidc/login", P, "Sign in with an account of the configured provider", login),
        RouteSpec::get(CALLBACK, P, "Where the provider sends the browser back to", callback),
    ]
}

/// What a sign-in remembers.
#[derive(Serialize, Deserialize)]
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    until: i64,
}

/// What the provider tells about itself.
#[derive(Deserialize)]
struct Provider {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

/// An address that the provider gave. A browser is sent to web pages only.
fn address(text: &str) -> Result<Url, String> {
    let read = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
    read.ok_or_else(|| "an address of the provider cannot be read".to_owned())
}

async fn login(call: Call) -> Result<HttpResponse, Refusal> {
    let oidc = settings(&call)?;
    let provider = discover(&call, &oidc).await.map_err(|why| unavailable(&why))?;
    let begun =
        Begun { state: word()?, nonce: word()?, verifier: word()?, until: call.now().saturating_add(WITHIN_MS) };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(begun.verifier.as_bytes()));
    let scopes = oidc.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
    let scope = std::iter::once("openid").chain(scopes).collect::<Vec<_>>().join(" ");
    let mut to = address(&provider.authorization_endpoint).map_err(|why| unavailable(&why))?;
    to.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &oidc.client_id)
        .append_pair("redirect_uri", &redirect(&call))
        .append_pair("scope", &scope)
        .append_pair("state", &begun.state)
        .append_pair("nonce", &begun.nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    let text = SecretString::from(json!(begun).to_string());
    let sealed = call.app.vault.seal(AAD, &text).map_err(StoreError::from)?;
    Ok(HttpResponse::Found().insert_header((LOCATION, to.as_str())).cookie(dressed(&call, sealed)).finish())
}

#[derive(Debug, Deserialize)]
struct Back {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

async fn callback(call: Call, back: web::Query<Back>) -> Result<HttpResponse, Refusal> {
    let oidc = settings(&call)?;
    match signed_in(&call, &oidc, back.into_inner()).await {
        Ok((subject, role)) => open(&call, subject, role).await,
        Err(why) => {
            call.alarm("auth.oidc.failed", "dashboard-auth", json!({"why": why})).await;
            Err(Refusal::new(StatusCode::UNAUTHORIZED, "oidc_failed", "The sign-in failed; begin it again"))
        }
    }
}

/// Who it is, and what they may do; or why nobody, for the log alone.
async fn signed_in(call: &Call, oidc: &Oidc, back: Back) -> Result<(String, Role), String> {
    let begun = begun(call).ok_or("the sign-in was not begun in this browser, or too long ago")?;
    if back.state.as_deref() != Some(begun.state.as_str()) {
        return Err("the state does not fit".to_owned());
    }
    if back.error.is_some() {
        return Err("the provider refused".to_owned());
    }
    let provider = discover(call, oidc).await?;
    if back.iss.is_some_and(|issuer| issuer != provider.issuer) {
        return Err("another issuer answered".to_owned());
    }
    let code = back.code.ok_or("the provider sent no code")?;
    let token = exchange(call, oidc, &provider, &code, &begun.verifier).await?;
    let keys: Jwks = ask(call, get(address(&provider.jwks_uri)?)).await?;
    let now_s = call.now() / 1_000;
    let expected = Expected { issuer: &oidc.issuer, client_id: &oidc.client_id, nonce: &begun.nonce, now_s };
    let claims = believe(&token, &keys, expected).map_err(|why| why.to_string())?;
    let role = role_of(&claims, oidc).ok_or("the account has no role here")?;
    Ok((subject(&claims), role))
}

/// Beginning with the way they came, so that nobody is taken for the administrator.
fn subject(claims: &Value) -> String {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let called = [text("preferred_username"), text("email")].into_iter().find(|name| !name.is_empty());
    let named = called.map(|name| format!(" ({name})")).unwrap_or_default();
    let whole = format!("oidc:{}{named}", text("sub"));
    whole.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect()
}

async fn open(call: &Call, subject: String, role: Role) -> Result<HttpResponse, Refusal> {
    let particulars = json!({"subject": subject, "role": role, "method": "oidc"});
    let who = SignIn { subject, role, ip: call.ip(), user_agent: user_agent(call) };
    let token = call.management.sessions.open(who).await?;
    call.audit("auth.login.success", "dashboard-auth", particulars).await;
    let mut gone = dressed(call, String::new());
    gone.make_removal();
    // A page of ours leads on: the session's cookie would not come along with a redirect that began at the provider.
    Ok(HttpResponse::Ok()
        .cookie(call.management.sessions.cookie(&token, call.origin))
        .cookie(gone)
        .insert_header(("refresh", "0; url=/"))
        .content_type("text/html; charset=utf-8")
        .body("<!doctype html><title>Signed in</title><p>You are signed in. <a href=\"/\">Go on</a></p>"))
}

async fn exchange(call: &Call, oidc: &Oidc, provider: &Provider, code: &str, verifier: &str) -> Result<String, String> {
    let form = Serializer::new(String::new())
        .append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", &redirect(call))
        .append_pair("client_id", &oidc.client_id)
        .append_pair("code_verifier", verifier)
        .finish();
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let secret = oidc.client_secret.resolve().map_err(|error| error.to_string())?;
    if let Some(secret) = secret.filter(|secret| !secret.expose_secret().is_empty()) {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encoded(&oidc.client_id), encoded(secret.expose_secret()));
        let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
        let mut value = value.map_err(|_| "oidc.client_secret cannot be sent")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let url = address(&provider.token_endpoint)?;
    let request = UpstreamRequest { method: Method::POST, url, headers, body: Bytes::from(form) };
    let answer: Value = ask(call, request).await?;
    let token = answer.get("id_token").and_then(Value::as_str);
    token.map(ToOwned::to_owned).ok_or_else(|| "the provider sent no ID token".to_owned())
}

/// Only the configured issuer, and only when it calls itself that.
async fn discover(call: &Call, oidc: &Oidc) -> Result<Provider, String> {
    let page = address(&format!("{}/{WELL_KNOWN}", oidc.issuer.trim_end_matches('/')))?;
    let provider: Provider = ask(call, get(page)).await?;
    if provider.issuer == oidc.issuer { Ok(provider) } else { Err("the issuer calls itself otherwise".to_owned()) }
}

fn get(url: Url) -> UpstreamRequest {
    UpstreamRequest { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
}

async fn ask<T: serde::de::DeserializeOwned>(call: &Call, request: UpstreamRequest) -> Result<T, String> {
    let (status, body) = whole(&call.app.clients, request, LARGEST, ASK_WITHIN).await?;
    if !status.is_success() {
        return Err(format!("the provider answered with status {}", status.as_u16()));
    }
    serde_json::from_slice(&body).map_err(|_| "the provider's answer cannot be read".to_owned())
}

fn settings(call: &Call) -> Result<Oidc, Refusal> {
    let oidc = call.app.config.load().oidc.clone();
    if oidc.issuer.is_empty() {
        Err(Refusal::bad_request("No OpenID Connect provider is configured"))
    } else {
        Ok(oidc)
    }
}

fn unavailable(why: &str) -> Refusal {
    tracing::warn!(why, "the OpenID Connect provider cannot be asked");
    Refusal::new(StatusCode::BAD_GATEWAY, "oidc_unavailable", "The sign-in provider cannot be reached")
}

fn redirect(call: &Call) -> String {
    format!("{}{CALLBACK}", call.public_url())
}

fn word() -> Result<String, Refusal> {
    Ok(random_token().map_err(StoreError::from)?.expose_secret().to_owned())
}

fn begun(call: &Call) -> Option<Begun> {
    let cookie = call.request.cookie(COOKIE)?;
    let text = call.app.vault.open(AAD, cookie.value()).ok()?;
    let begun: Begun = serde_json::from_str(text.expose_secret()).ok()?;
    (call.now() < begun.until).then_some(begun)
}

/// Lax: the browser brings it along when the provider sends it back.
fn dressed(call: &Call, value: String) -> Cookie<'static> {
    let mut cookie = Cookie::new(COOKIE, value);
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Lax);
    cookie.set_path(COOKIE_PATH);
    cookie.set_secure(call.public_url().starts_with("https:"));
    cookie
}
