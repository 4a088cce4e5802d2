//! `/api/auth/*`: the administrator signs in and out.
//!
//! Every failed login takes the same time and gets the same answer; what an attacker may learn from outside is only
//! whether the gateway has been set up, which `/api/init` says anyway.

use actix_web::HttpResponse;
use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::http::header::USER_AGENT;
use secrecy::SecretString;
use serde_json::json;

use crate::auth::{Attempt, COOKIE, PASSWORD_CHARS, Role, SetUp, SignIn, check_csrf};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope, guard};

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![
        RouteSpec::post("/api/auth/login", Scope::Public, "Sign in with the password; sets the session cookie", login),
        RouteSpec::post("/api/auth/logout", Scope::Public, "End the session", logout),
        RouteSpec::get("/api/auth/status", Scope::Public, "Whether the caller is signed in", status),
        RouteSpec::get("/api/settings/require-login", Scope::Public, "Whether the set-up is complete", requirements),
        RouteSpec::put("/api/settings/require-login", Scope::Management, "Change the password", change_password),
        RouteSpec::post("/api/settings/require-login", Scope::Management, "Change the password", change_password),
    ]
}

async fn login(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("password");
    let password = form.text("password", 1..=*PASSWORD_CHARS.end());
    form.finish()?;
    let password = SecretString::from(password.unwrap_or_default());

    let attempt = begin(&call).await?;
    match call.management.admin.check(password).await {
        Ok(true) => {
            attempt.succeeded();
            call.audit("auth.login.success", "dashboard-auth", json!({})).await;
            signed_in(&call).await
        }
        Ok(false) => {
            call.audit_as("auth.login.failed", "dashboard-auth", "failed", json!({})).await;
            Err(wrong_password(&call).await)
        }
        Err(error) => {
            attempt.undecided();
            Err(error.into())
        }
    }
}

/// Count an attempt to sign in.
pub(super) async fn begin(call: &Call) -> Result<Attempt<'_>, Refusal> {
    match call.app.logins.begin(call.origin.ip) {
        Ok(attempt) => Ok(attempt),
        Err(wait) => {
            call.alarm("auth.login.locked", "dashboard-auth", json!({"seconds": wait.as_secs()})).await;
            let message = "Too many failed attempts. Try again later.";
            Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "login_locked", message).after(wait))
        }
    }
}

async fn wrong_password(call: &Call) -> Refusal {
    match call.management.admin.set_up().await {
        Ok(SetUp::AwaitsToken) => {
            let message = "No password configured. Complete onboarding first.";
            Refusal::new(StatusCode::FORBIDDEN, "needs_setup", message).beside("needsSetup", true)
        }
        _ => Refusal::new(StatusCode::UNAUTHORIZED, "AUTH_001", "Invalid password"),
    }
}

/// Open a session and hand out its cookie. An old session of this browser ends: the id is new at each login.
pub(super) async fn signed_in(call: &Call) -> Result<HttpResponse, Refusal> {
    let cookie = new_session(call).await?;
    let needs_setup = call.management.admin.set_up().await? == SetUp::AwaitsToken;
    Ok(HttpResponse::Ok().cookie(cookie).json(json!({"success": true, "needsSetup": needs_setup})))
}

async fn new_session(call: &Call) -> Result<Cookie<'static>, Refusal> {
    let sessions = &call.management.sessions;
    if let Some(old) = call.request.cookie(COOKIE) {
        sessions.close(old.value()).await?;
    }
    let token = sessions.open(SignIn::administrator(call.ip(), user_agent(call))).await?;
    Ok(sessions.cookie(&token, call.origin))
}

/// What the browser calls itself.
pub(super) fn user_agent(call: &Call) -> Option<String> {
    call.request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).map(ToOwned::to_owned)
}

async fn logout(call: Call) -> Result<HttpResponse, Refusal> {
    let sessions = &call.management.sessions;
    if let Some(cookie) = call.request.cookie(COOKIE) {
        check_csrf(call.request.method(), call.request.headers(), call.origin.secure)
            .map_err(|failure| Refusal::new(StatusCode::FORBIDDEN, "CSRF", failure.to_string()))?;
        if sessions.find(cookie.value()).await?.is_some() {
            sessions.close(cookie.value()).await?;
            call.audit("auth.logout.success", "dashboard-auth", json!({})).await;
        }
    }
    Ok(HttpResponse::Ok().cookie(sessions.removal(call.origin)).json(json!({"success": true})))
}

async fn status(call: Call) -> Result<HttpResponse, Refusal> {
    let caller = guard::manager(Role::Viewer, &call.request).await;
    let needs_setup = call.management.admin.set_up().await? == SetUp::AwaitsToken;
    Ok(HttpResponse::Ok().json(json!({
        "authenticated": caller.is_some(),
        "user": caller.as_ref().map(|caller| caller.label()),
        "role": caller.and_then(|caller| caller.scopes.management),
        "needsSetup": needs_setup,
    })))
}

async fn requirements(call: Call) -> Result<HttpResponse, Refusal> {
    let done = call.management.admin.set_up().await? == SetUp::Done;
    Ok(HttpResponse::Ok().json(json!({"requireLogin": true, "hasPassword": done, "setupComplete": done})))
}

/// A new password ends every session; whoever changed it goes on in a new one.
/// Only the administrator in person changes the password, and only with the current one: neither a key nor a stolen
/// session is enough.
async fn change_password(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let says = form.flag("requireLogin");
    if says == Some(false) {
        form.problem("requireLogin", "Signing in cannot be switched off");
    }
    if says == Some(true) && !form.has("password") && !form.has("currentPassword") {
        form.finish()?;
        return Ok(HttpResponse::Ok().json(json!({"success": true})));
    }
    form.require("currentPassword");
    form.require("password");
    let current = form.text("currentPassword", 1..=*PASSWORD_CHARS.end());
    let password = form.text("password", PASSWORD_CHARS);
    form.finish()?;
    let current = SecretString::from(current.unwrap_or_default());
    if !password_of_session(&call, current).await? {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "AUTH_001", "The current password is wrong"));
    }
    let cookie = renewed(&call, SecretString::from(password.unwrap_or_default())).await?;
    let needs_setup = call.management.admin.set_up().await? == SetUp::AwaitsToken;
    Ok(HttpResponse::Ok().cookie(cookie).json(json!({"success": true, "needsSetup": needs_setup})))
}

/// Store the new password, end every session, and open a new one for whoever changed it: its cookie.
pub(super) async fn renewed(call: &Call, password: SecretString) -> Result<Cookie<'static>, Refusal> {
    call.management.admin.change_password(&password).await?;
    call.management.sessions.close_all().await?;
    call.audit("auth.password.changed", "dashboard-auth", json!({})).await;
    new_session(call).await
}

/// Whether the signed-in administrator knows the current password, under the same throttle as a login.
pub(super) async fn password_of_session(call: &Call, current: SecretString) -> Result<bool, Refusal> {
    if !call.principal.as_deref().is_some_and(guard::is_administrator) {
        let message = "Only the signed-in administrator may change the password";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "AUTH_001", message));
    }
    let attempt = begin(call).await?;
    match call.management.admin.check(current).await {
        Ok(true) => {
            attempt.succeeded();
            Ok(true)
        }
        Ok(false) => {
            call.audit_as("auth.password.refused", "dashboard-auth", "failed", json!({})).await;
            Ok(false)
        }
        Err(error) => {
            attempt.undecided();
            Err(error.into())
        }
    }
}
