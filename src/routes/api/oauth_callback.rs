//! The page that a browser comes back to after a sign-in at a server. Such a call comes from another site, so it carries no
//! session and must change nothing: the page's script hands the code on, within the session, to `POST .../callback`.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;

use crate::routes::{RouteSpec, Scope};

const PAGE: &str = include_str!("oauth_callback.html");
const SCRIPT: &str = include_str!("oauth_callback.js");

pub(super) fn routes() -> Vec<RouteSpec> {
    let public = Scope::Public;
    vec![
        RouteSpec::get("/api/oauth/{provider}/callback", public, "Where a browser comes back to from a sign-in", page),
        RouteSpec::get("/api/oauth/callback.js", public, "The script of the page that a sign-in comes back to", script),
    ]
}

async fn page() -> HttpResponse {
    // The address holds a code.
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).content_type("text/html; charset=utf-8").body(PAGE)
}

async fn script() -> HttpResponse {
    HttpResponse::Ok().content_type("text/javascript; charset=utf-8").body(SCRIPT)
}
