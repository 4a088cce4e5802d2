//! `/api/auth/oidc/*`: signing in with an account of the configured OpenID Connect provider: authorization code with PKCE.
//!
//! What a sign-in has to remember on its way through the provider travels with the browser, sealed: any instance can end
//! what another one began. Of its tokens only the one that renews is kept, sealed: the schedule asks again
//! with it (`oidc_recheck`).

use actix_http::header::LOCATION;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::auth::user_agent;
use super::oidc_provider::{Provider, address, subject, until};
use crate::auth::{Account, Role, SignIn, held, role_for};
use crate::config::Oidc;
use crate::infra::crypto::random_token;
use crate::routes::{Call, Refusal, RouteSpec, Scope};
use crate::store::StoreError;

const CALLBACK: &str = "/api/auth/oidc/callback";
const COOKIE: &str = "oidc_state";
const COOKIE_PATH: &str = "/api/auth/oidc";
const AAD: &str = "cookie|oidc|state|v1";
/// How long a sign-in may take.
const WITHIN_MS: i64 = 10 * 60 * 1_000;

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

async fn login(call: Call) -> Result<HttpResponse, Refusal> {
    let oidc = settings(&call)?;
    let provider = Provider::discover(&call.app, &oidc).await.map_err(|why| unavailable(&why))?;
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
        Ok(who) => open(&call, who).await,
        Err(why) => {
            call.alarm("auth.oidc.failed", "dashboard-auth", json!({"why": why})).await;
            Err(Refusal::new(StatusCode::UNAUTHORIZED, "oidc_failed", "The sign-in failed; begin it again"))
        }
    }
}

/// Who it is, and what they may do; or why nobody, for the log alone.
async fn signed_in(call: &Call, oidc: &Oidc, back: Back) -> Result<(String, Role, Account), String> {
    let begun = begun(call).ok_or("the sign-in was not begun in this browser, or too long ago")?;
    if back.state.as_deref() != Some(begun.state.as_str()) {
        return Err("the state does not fit".to_owned());
    }
    if back.error.is_some() {
        return Err("the provider refused".to_owned());
    }
    let provider = Provider::discover(&call.app, oidc).await?;
    if back.iss.is_some_and(|issuer| issuer != provider.issuer) {
        return Err("another issuer answered".to_owned());
    }
    let code = back.code.ok_or("the provider sent no code")?;
    let redirect = redirect(call);
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &redirect),
        ("code_verifier", &begun.verifier),
    ];
    let tokens = provider.tokens(&call.app, oidc, &form).await.map_err(|why| why.to_string())?;
    let token = tokens.id_token.as_deref().ok_or("the provider sent no ID token")?;
    let claims = provider.believe(&call.app, oidc, token, Some(&begun.nonce)).await?;
    let held = held(&claims, oidc);
    let role = role_for(&held, oidc).ok_or("the account has no role here")?;
    let account = Account { held, refresh: tokens.refresh_token, until: until(&claims) };
    Ok((subject(&claims), role, account))
}

async fn open(call: &Call, (subject, role, account): (String, Role, Account)) -> Result<HttpResponse, Refusal> {
    let particulars = json!({"subject": subject, "role": role, "method": "oidc"});
    let who = SignIn { subject, role, ip: call.ip(), user_agent: user_agent(call), account: Some(account) };
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
