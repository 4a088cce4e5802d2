//! `/api/openapi.json`: the description of this very API.

use actix_web::HttpResponse;

use crate::routes::{RouteSpec, Scope, openapi};

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![RouteSpec::get("/api/openapi.json", Scope::Management, "This description", show)]
}

async fn show() -> HttpResponse {
    HttpResponse::Ok().json(openapi::document())
}
