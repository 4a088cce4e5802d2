//! The door of each route: who is it, and may they?
//!
//! A client key costs one hash and one look into a published map; nothing waits. Only a session, and a key that this
//! instance does not know yet, may ask the store. Whoever is let in stands in the request's extensions.

use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use serde_json::json;

use super::{Call, Management, Refusal, Scope};
use crate::app::App;
use crate::auth::{ADMINISTRATOR, AuthFailure, COOKIE, Kind, Origin, Principal, Role, check_csrf};

const ROUTE_CLASS: HeaderName = HeaderName::from_static("x-omniroute-route-class");

/// Let the request pass to its handler, or answer it here.
pub(super) async fn watch(
    scope: Scope,
    role: Role,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = match admit(scope, role, request.request()).await {
        Ok(principal) => {
            if let Some(principal) = principal {
                request.extensions_mut().insert(principal);
            }
            let response = next.call(request).await?;
            if scope == Scope::Management && response.status().is_success() {
                trace(response.request()).await;
            }
            response
        }
        Err(refusal) => request.error_response(refusal),
    };
    response.headers_mut().insert(ROUTE_CLASS, HeaderValue::from_static(scope.class()));
    Ok(response)
}

/// A write that its handler did not write down leaves a trace nevertheless.
async fn trace(request: &HttpRequest) {
    let Ok(call) = Call::of(request) else { return };
    if !request.method().is_safe() && !call.is_audited() {
        let action = format!("management.{}", request.method().as_str().to_lowercase());
        call.audit(&action, request.path(), json!({})).await;
    }
}

/// Who sent the request, if they may use a route of this scope, on the management API with this role.
///
/// # Errors
/// What to answer if they may not.
pub async fn admit(scope: Scope, role: Role, request: &HttpRequest) -> Result<Option<Arc<Principal>>, Refusal> {
    match scope {
        Scope::Public => Ok(None),
        Scope::Inference => inference(request).await.map(Some),
        Scope::Management => management(role, request).await.map(Some),
    }
}

/// Who manages, if the request shows that it is somebody with this role; nothing is refused.
pub async fn manager(role: Role, request: &HttpRequest) -> Option<Arc<Principal>> {
    let caller = caller(request).await.ok()?;
    Some(caller).filter(|caller| caller.scopes.management >= Some(role))
}

async fn inference(request: &HttpRequest) -> Result<Arc<Principal>, Refusal> {
    let app = app(request)?;
    if !brings_key(request.headers())
        && let Some(session) = session(request).await?
    {
        let calls_models = session.scopes.inference;
        return if calls_models { Ok(session) } else { Err(forbidden("AUTH_002", "A viewer may not call models")) };
    }
    match by_key(app, request).await? {
        Ok(principal) if principal.kind == Kind::Anonymous => from_own_page(app, request).map(|()| principal),
        Ok(principal) if principal.scopes.inference => Ok(principal),
        Ok(_) => Err(forbidden("AUTH_002", "This key may not call models")),
        Err(AuthFailure::Missing) => Err(unauthorized("AUTH_002", "Authentication required")),
        Err(AuthFailure::Conflicting) => Err(conflicting()),
        Err(_) => Err(unauthorized("AUTH_002", "Invalid API key")),
    }
}

async fn management(role: Role, request: &HttpRequest) -> Result<Arc<Principal>, Refusal> {
    let caller = caller(request).await?;
    if caller.scopes.management >= Some(role) {
        return Ok(caller);
    }
    let held = caller.scopes.management;
    if let Ok(mut call) = Call::of(request) {
        call.principal = Some(caller);
        call.alarm("access.refused", request.path(), json!({"method": request.method().as_str(), "needs": role})).await;
    }
    Err(match held {
        // A key that is wrong and one that may not look alike from outside.
        None => forbidden("AUTH_001", "Invalid management token"),
        Some(_) => forbidden("AUTH_001", "Your role may not do this").beside("needsRole", role.as_str()),
    })
}

/// Who asks for the management API, whatever they may do there.
async fn caller(request: &HttpRequest) -> Result<Arc<Principal>, Refusal> {
    let app = app(request)?;
    if !brings_key(request.headers()) {
        let session = session(request).await?;
        return session.ok_or_else(|| unauthorized("AUTH_001", "Authentication required"));
    }
    match by_key(app, request).await? {
        Ok(principal) if principal.kind != Kind::Anonymous => Ok(principal),
        Err(AuthFailure::Conflicting) => Err(conflicting()),
        _ => Err(forbidden("AUTH_001", "Invalid management token")),
    }
}

async fn by_key(app: &App, request: &HttpRequest) -> Result<Result<Arc<Principal>, AuthFailure>, Refusal> {
    match app.keys.authenticate(request.headers(), request.query_string()) {
        Err(AuthFailure::Unknown(hash)) => Ok(app.keys.look_up(&hash, &app.store).await?),
        known => Ok(known),
    }
}

/// The session of the cookie, if it lives. A request that changes something must come from our own page.
async fn session(request: &HttpRequest) -> Result<Option<Arc<Principal>>, Refusal> {
    let Some(cookie) = request.cookie(COOKIE) else { return Ok(None) };
    let (app, management) = (app(request)?, state(request)?);
    let Some(session) = management.sessions.find(cookie.value()).await? else { return Ok(None) };
    let secure = Origin::of(request, &app.config.load().server.trusted_proxies).secure;
    check_csrf(request.method(), request.headers(), secure).map_err(|failure| {
        forbidden("CSRF", "The request does not come from the gateway's own page").beside("reason", failure.to_string())
    })?;
    Ok(Some(Arc::new(Principal::session(session, Arc::clone(&app.clock)))))
}

/// Nothing in such a request proves who sent it: any page that the user visits could have.
fn from_own_page(app: &App, request: &HttpRequest) -> Result<(), Refusal> {
    let browser = request.headers().contains_key(ORIGIN) || request.headers().contains_key("sec-fetch-site");
    let secure = Origin::of(request, &app.config.load().server.trusted_proxies).secure;
    match check_csrf(request.method(), request.headers(), secure) {
        Err(failure) if browser => {
            Err(forbidden("CSRF", "The request comes from another page").beside("reason", failure.to_string()))
        }
        _ => Ok(()),
    }
}

/// Whether a header names a key: then the key speaks and a cookie is not looked at.
fn brings_key(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key") || headers.contains_key("x-goog-api-key")
}

/// What handlers share.
pub(super) fn app(request: &HttpRequest) -> Result<&App, Refusal> {
    request.app_data::<web::Data<App>>().map(web::Data::get_ref).ok_or_else(Refusal::internal)
}

/// What the management API needs beside it.
pub(super) fn state(request: &HttpRequest) -> Result<&Management, Refusal> {
    request.app_data::<web::Data<Management>>().map(web::Data::get_ref).ok_or_else(Refusal::internal)
}

/// Who was let in.
pub fn principal(request: &HttpRequest) -> Option<Arc<Principal>> {
    request.extensions().get::<Arc<Principal>>().cloned()
}

/// Whether this caller signed in with the password.
pub fn is_administrator(principal: &Principal) -> bool {
    matches!(&principal.kind, Kind::Session { subject, .. } if subject == ADMINISTRATOR)
}

fn unauthorized(code: &'static str, message: &'static str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, code, message)
}

fn forbidden(code: &'static str, message: &'static str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, code, message)
}

fn conflicting() -> Refusal {
    Refusal::bad_request("The request brings two different keys; send one")
}
