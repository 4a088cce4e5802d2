//! `/`: for a person who pasted the address into a browser. A stranger learns the name and where to go on; the version
//! is for those who may know it, because it tells which of our defects are there.

use actix_web::HttpResponse;
use serde_json::json;

use super::body::put;
use super::{Call, RouteSpec, Scope, guard};
use crate::auth::Role;

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![RouteSpec::get("/", Scope::Public, "What this is and where to go on", show)]
}

async fn show(call: Call) -> HttpResponse {
    let mut answer = json!({
        "name": "OmniRoute",
        "about": "One endpoint for every LLM client of a team. Models need a client key, management a session or a key.",
        "links": {
            "chat": "/v1/chat/completions",
            "models": "/v1/models",
            "signIn": "/api/auth/login",
            "resilience": "/api/resilience",
            "openapi": "/api/openapi.json",
            "health": "/readyz",
        },
    });
    if guard::manager(Role::Viewer, &call.request).await.is_some() {
        put(&mut answer, "version", env!("CARGO_PKG_VERSION"));
    }
    HttpResponse::Ok().json(answer)
}
