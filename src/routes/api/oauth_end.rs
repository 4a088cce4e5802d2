//! The second half of a sign-in: tokens, and the connection that they are for.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::connection_find::accounts;
use super::oauth::{Asked, caller, check_ready};
use super::oauth_begin::{Particulars, Wish, home};
use crate::providers::oauth::{
    AUTH_TYPE, Account, Deed, Flow, Grant, OauthSpec, ServerRefusal, TokenSet, is_token, pkce,
};
use crate::routes::{Call, Form, Refusal};
use crate::store::{ConnectionRow, LoginKey, OauthLoginRow, Turn};

/// What a server adds to the time between two questions when it is asked too often (RFC 8628, 3.5), in milliseconds.
const SLOWER_MS: i64 = 5_000;
const LONGEST_TOKEN: usize = 32 * 1024;
const GONE: &str = "This sign-in is unknown here, was ended already or has expired; begin it anew";

/// The code that the browser brought back for tokens.
pub(super) async fn exchange(call: &Call, Asked { spec, mut form }: Asked) -> Result<HttpResponse, Refusal> {
    form.require("code");
    let code = form.text("code", 1..=8_192).unwrap_or_default();
    let redirect = form.text("redirectUri", 1..=2_000);
    // Pages that show the code to be copied put the state behind it.
    let (code, behind) =
        code.split_once('#').map_or((code.as_str(), None), |(code, state)| (code, Some(state.to_owned())));
    let state = form.text("state", 1..=512).or(behind);
    form.let_pass(["codeVerifier"]);
    if state.is_none() {
        form.problem("state", "Required: it is what the browser was sent with");
    }
    form.finish()?;
    check_ready(&spec, Flow::AuthorizationCode)?;
    let key = key(call, &spec, &state.unwrap_or_default(), Flow::AuthorizationCode);
    let login = call.app.store.oauth_logins().take(key).await?.ok_or_else(|| Refusal::bad_request(GONE))?;
    let particulars = particulars(&login)?;
    if redirect.is_some_and(|redirect| redirect != particulars.redirect_uri) {
        return Err(Refusal::bad_request("redirectUri is not the one that this sign-in was begun with; begin it anew"));
    }
    let verifier = particulars.verifier.clone().unwrap_or_default();
    let tokens = call.app.oauth.redeem(&spec, code.into(), &particulars.redirect_uri, verifier.into()).await;
    let tokens = tokens.map_err(|refusal| refused(&refusal))?;
    done(call, &spec, Flow::AuthorizationCode, &particulars.wish, tokens).await
}

/// Whether a person has let a device in.
pub(super) async fn poll(call: &Call, Asked { spec, mut form }: Asked) -> Result<HttpResponse, Refusal> {
    form.require("deviceCode");
    let handle = form.text("deviceCode", 1..=512).unwrap_or_default();
    form.let_pass(["codeVerifier", "extraData"]);
    form.finish()?;
    check_ready(&spec, Flow::DeviceCode)?;
    let logins = call.app.store.oauth_logins();
    let login = match logins.turn(key(call, &spec, &handle, Flow::DeviceCode)).await? {
        Turn::Now(login) => login,
        Turn::TooEarly => return Ok(pending("slow_down")),
        Turn::Gone => return Ok(over("expired_token")),
    };
    let particulars = particulars(&login)?;
    let (code, verifier) = (particulars.device_code.clone(), particulars.verifier.clone());
    match call.app.oauth.ask_device(&spec, code.into(), verifier.map(SecretString::from)).await {
        Ok(tokens) => {
            logins.delete(&login.id_hash).await?;
            done(call, &spec, Flow::DeviceCode, &particulars.wish, tokens).await
        }
        Err(refusal) => not_yet(call, &login, refusal).await,
    }
}

/// What a server says until a device is let in, or that it never will be.
async fn not_yet(call: &Call, login: &OauthLoginRow, refusal: ServerRefusal) -> Result<HttpResponse, Refusal> {
    let logins = call.app.store.oauth_logins();
    let every = match refusal.code.as_deref() {
        Some("authorization_pending") => return Ok(pending("authorization_pending")),
        Some("slow_down") => login.ask_every_ms.saturating_add(SLOWER_MS),
        Some(code) if is_over(code) => {
            logins.delete(&login.id_hash).await?;
            return Ok(over(if code == "access_denied" { "access_denied" } else { "expired_token" }));
        }
        // A server that is away is asked again, less often (RFC 8628, 3.5).
        None if refusal.failure.outcome == Outcome::ConnectFailed => login.ask_every_ms.max(1_000).saturating_mul(2),
        _ => return Err(refused(&refusal)),
    };
    logins.slow_down(&login.id_hash, every, call.now().saturating_add(every)).await?;
    Ok(pending("slow_down"))
}

fn is_over(code: &str) -> bool {
    matches!(
        code,
        "expired_token" | "access_denied" | "invalid_grant" | "authorization_declined" | "bad_verification_code"
    )
}

fn pending(code: &str) -> HttpResponse {
    let words = match code {
        "slow_down" => "Asked too early; wait for the interval",
        _ => "Nobody has entered the code yet",
    };
    HttpResponse::Ok().json(json!({"success": false, "pending": true, "error": code, "errorDescription": words}))
}

fn over(code: &str) -> HttpResponse {
    let words = match code {
        "access_denied" => "The person refused",
        _ => "The code has expired or is unknown here; begin anew",
    };
    HttpResponse::Ok().json(json!({"success": false, "pending": false, "error": code, "errorDescription": words}))
}

/// Tokens that were got elsewhere. A refresh token alone is tried at once, which also shows whether it works.
pub(super) async fn import(call: &Call, Asked { spec, mut form }: Asked) -> Result<HttpResponse, Refusal> {
    let (access, refresh) = (token(&mut form, "accessToken"), token(&mut form, "refreshToken"));
    if access.is_none() && refresh.is_none() {
        form.problem("refreshToken", "Required, unless there is an accessToken");
    }
    let expires_in = form.integer("expiresIn", 1..=31_536_000);
    let expires_at = form.time("expiresAt").flatten();
    let account =
        Account { email: form.text("email", 1..=300), display_name: form.text("displayName", 1..=300), subject: None };
    let scope = form.text("scope", 1..=2_000);
    let wish = Wish::read(call, &spec, &mut form).await?;
    form.finish()?;
    check_ready(&spec, Flow::Import)?;
    wish.check(call, &spec).await?;
    let now = call.now();
    let told = expires_in.map(|seconds| now.saturating_add(seconds.saturating_mul(1_000))).or(expires_at);
    let tokens = match (access, refresh) {
        (Some(access), refresh) => {
            TokenSet { access, refresh, expires_at: told, scope, token_type: None, account: account.clone() }
        }
        (None, refresh) => {
            let refresh = refresh.unwrap_or_default();
            let tokens = call.app.oauth.refresh(&spec, refresh.clone()).await.map_err(|refusal| refused(&refusal))?;
            let refresh = tokens.refresh.clone().or(Some(refresh));
            let account = if account.is_unknown() { tokens.account.clone() } else { account };
            TokenSet { refresh, account, ..tokens }
        }
    };
    done(call, &spec, Flow::Import, &wish, tokens).await
}

/// A token that somebody brings; a wrong one is noted in the form.
pub(super) fn token(form: &mut Form, field: &str) -> Option<SecretString> {
    let text = form.text(field, 1..=LONGEST_TOKEN)?;
    let text = text.trim();
    if !is_token(text) {
        form.problem(field, "Must not contain spaces or control characters");
    }
    Some(SecretString::from(text))
}

/// Tokens for the gateway itself.
pub(super) async fn as_client(call: &Call, Asked { spec, mut form }: Asked) -> Result<HttpResponse, Refusal> {
    check_ready(&spec, Flow::ClientCredentials)?;
    let wish = Wish::read(call, &spec, &mut form).await?;
    form.finish()?;
    wish.check(call, &spec).await?;
    let tokens = call.app.oauth.as_client(&spec).await.map_err(|refusal| refused(&refusal))?;
    done(call, &spec, Flow::ClientCredentials, &wish, tokens).await
}

/// Store the tokens with their connection: the one that was named, the one of the same account, or a new one.
async fn done(
    call: &Call,
    spec: &OauthSpec,
    flow: Flow,
    wish: &Wish,
    mut tokens: TokenSet,
) -> Result<HttpResponse, Refusal> {
    if flow != Flow::ClientCredentials {
        tokens.account = call.app.oauth.account(spec, &tokens).await;
    }
    let endpoints = call.app.oauth.endpoints(spec).await.map_err(|failure| refused(&failure.into()))?;
    let grant = Uuid::now_v7().to_string();
    let deed = Deed { oauth: spec.id.clone(), grant: grant.clone(), origin: Deed::origin_of(&endpoints.token) };
    let (found, now) = (existing(call, spec, wish, &tokens).await?, call.now());
    let fresh = found.is_none();
    let mut row = match found {
        Some(row) => row,
        None => named(wish.row(&home(call, spec)?, now), spec, &tokens),
    };
    AUTH_TYPE.clone_into(&mut row.auth_type);
    (row.credential, row.credential_unreadable, row.updated_at) = (Some(deed.write()), false, now);
    let kept = tokens.row(&row.id, &Grant { id: &grant, flow }, now);
    call.app.store.oauth_tokens().sign_in(&row, &kept, fresh).await?;
    let particulars = json!({"provider": row.provider, "name": row.name, "flow": flow.as_str(), "new": fresh});
    call.audit("provider.oauth.signed_in", &row.id, particulars).await;
    call.refresh_one(&row.id).await?;
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "connection": {
            "id": row.id, "provider": row.provider, "name": row.name,
            "email": tokens.account.email, "displayName": tokens.account.display_name,
        },
    })))
}

async fn existing(
    call: &Call,
    spec: &OauthSpec,
    wish: &Wish,
    tokens: &TokenSet,
) -> Result<Option<ConnectionRow>, Refusal> {
    let store = call.app.store.connections();
    if let Some(id) = &wish.connection {
        return Ok(Some(store.get(id).await?));
    }
    let Some(email) = &tokens.account.email else { return Ok(None) };
    let home = home(call, spec)?;
    let accounts = accounts(call).await?;
    let same = |row: &ConnectionRow| {
        let known = accounts.get(&row.id).and_then(|account| account.about.get("email")).and_then(Value::as_str);
        row.provider == home.id() && known.is_some_and(|known| known.eq_ignore_ascii_case(email))
    };
    Ok(store.list().await?.into_iter().find(same))
}

fn named(mut row: ConnectionRow, spec: &OauthSpec, tokens: &TokenSet) -> ConnectionRow {
    if row.name.is_empty() {
        let account = &tokens.account;
        let name = account.email.as_ref().or(account.display_name.as_ref()).unwrap_or(&spec.name);
        row.name = name.chars().take(200).collect();
    }
    row
}

fn particulars(login: &OauthLoginRow) -> Result<Particulars, Refusal> {
    serde_json::from_str(login.particulars.expose_secret()).map_err(|_| Refusal::bad_request(GONE))
}

fn key(call: &Call, spec: &OauthSpec, secret: &str, flow: Flow) -> LoginKey {
    LoginKey {
        id_hash: pkce::fingerprint(secret),
        provider: spec.id.clone(),
        caller: caller(call),
        kind: flow.as_str(),
        now: call.now(),
    }
}

/// What a server's refusal is for our caller: his fault, or somebody's behind us.
pub(super) fn refused(refusal: &ServerRefusal) -> Refusal {
    let failure = &refusal.failure;
    let message = failure.message.clone();
    let answer = match failure.outcome {
        Outcome::AuthRefused | Outcome::Forbidden => Refusal::new(StatusCode::BAD_REQUEST, "oauth_refused", message),
        _ => Refusal::bad_gateway(message),
    };
    let answer = match failure.retry_after {
        Some(wait) => answer.after(wait),
        None => answer,
    };
    answer.beside("oauthError", refusal.code.clone().map_or(Value::Null, Value::from))
}
