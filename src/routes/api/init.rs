//! `/api/init`: from a fresh installation to one with a password.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use secrecy::SecretString;
use serde_json::json;

use super::auth::{begin, signed_in};
use crate::auth::{PASSWORD_CHARS, Role, SetUp};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope, guard};

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![
        RouteSpec::get("/api/init", Scope::Public, "Whether a password is set", show),
        RouteSpec::post("/api/init", Scope::Public, "Set the first password with the printed token", set_up),
    ]
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let done = call.management.admin.set_up().await? == SetUp::Done;
    Ok(HttpResponse::Ok().json(json!({"initialized": done, "needsSetup": !done})))
}

/// The token proves who is there; a session that the token opened earlier does so as well.
async fn set_up(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("password");
    let password = form.text("password", PASSWORD_CHARS);
    let token = form.text("token", 1..=200).map(SecretString::from);
    form.finish()?;
    let password = SecretString::from(password.unwrap_or_default());

    let admin = &call.management.admin;
    if admin.set_up().await? == SetUp::Done {
        return Err(Refusal::conflict("A password is set already"));
    }
    if guard::manager(Role::Admin, &call.request).await.is_none() {
        let attempt = begin(&call).await?;
        if !token.is_some_and(|token| admin.take_token(&token)) {
            call.audit_as("auth.setup.failed", "dashboard-auth", "failed", json!({})).await;
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "AUTH_001", "Invalid set-up token"));
        }
        attempt.succeeded();
    }
    admin.set_first_password(&password).await?;
    call.audit("auth.setup.success", "dashboard-auth", json!({})).await;
    signed_in(&call).await
}
