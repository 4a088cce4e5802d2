//! `/api/openapi.json`: the description of this very API, and the same for people under `/api/docs`.

use actix_web::HttpResponse;

use crate::routes::{RouteSpec, Scope, openapi};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/openapi.json", M, "This description", show).also("/api/openapi/spec"),
        RouteSpec::get("/api/docs", M, "This description as a page", page),
        RouteSpec::get("/api/docs/style.css", M, "How the page looks", style),
    ]
}

async fn show() -> HttpResponse {
    HttpResponse::Ok().json(openapi::document())
}

async fn page() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(openapi::page::page(&openapi::document()))
}

async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(openapi::page::STYLE)
}
