//! Every address the gateway answers under, who may use it, and what it says when they may not.
//!
//! ```text
//!   edge (ids, headers, CORS, error shapes)
//!     └── guard (one per route: its declared scope) ──► handler
//!     └── nothing matched ──► asks for the scope of that address first, then says 404
//! ```
//! A [`RouteSpec`] cannot be made without a [`Scope`] and handlers are registered through specs only, so a route
//! without a scope does not exist. [`table`] lists them all; the OpenAPI document is made from the same list.

pub mod api;
mod body;
mod call;
mod edge;
mod file;
mod form;
pub mod guard;
pub mod metrics;
mod ollama;
pub mod openapi;
mod refusal;
mod roles;
mod root;
mod spec;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod v1;
mod v1beta;

pub use body::{JsonBody, iso, iso_or_null, put};
pub use call::Call;
pub use edge::{RequestId, edge};
pub use form::Form;
pub use refusal::{Detail, Refusal};
pub use spec::{RouteSpec, Scope};

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::app::App;
use crate::auth::{Admin, Role, Sessions};
use crate::config::{ConfigProblems, ReloadReport};
use crate::infra::backups::Shelf;
use crate::infra::orders::Orders;
use edge::Family;

/// Reads the configuration again. Blocking: it reads files.
pub trait Reloader: Send + Sync + 'static {
    /// Read, check and publish.
    ///
    /// # Errors
    /// What is wrong with the new configuration; the old one stays.
    fn reload(&self) -> Result<ReloadReport, ConfigProblems>;

    /// Read and check, and change nothing.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    fn check(&self) -> Result<(), ConfigProblems>;
}

/// What the management API needs beside [`App`].
#[derive(Clone)]
pub struct Management {
    /// The sessions.
    pub sessions: Sessions,
    /// The administrator's account.
    pub admin: Arc<Admin>,
    /// The way to read the configuration again.
    pub reloader: Arc<dyn Reloader>,
    /// Copies of the database.
    pub backups: Arc<Shelf>,
    /// The way to whoever runs the process.
    pub orders: Orders,
}

/// One line of the table of routes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    /// The method.
    pub method: String,
    /// The path as it is documented.
    pub path: &'static str,
    /// Who may use it.
    pub scope: Scope,
    /// The least role, on the management API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What it does.
    pub summary: &'static str,
}

/// Every route that is built in.
pub fn routes() -> Vec<RouteSpec> {
    [v1::routes(), v1beta::routes(), ollama::routes(), api::routes(), metrics::routes(), root::routes()].concat()
}

/// The table of all routes, by path and method.
pub fn table() -> Vec<Row> {
    let row = |spec: &RouteSpec| Row {
        method: spec.method().to_string(),
        path: spec.path(),
        scope: spec.scope(),
        role: spec.role(),
        summary: spec.summary(),
    };
    let mut rows: Vec<_> = routes().iter().map(row).collect();
    rows.sort_by(|a, b| (a.path, &a.method).cmp(&(b.path, &b.method)));
    rows
}

/// Put all routes into an application that also wraps [`edge`]:
/// `App::new().wrap(from_fn(edge)).configure(|config| mount(config, app, management, routes()))`.
pub fn mount(config: &mut ServiceConfig, app: App, management: Management, routes: Vec<RouteSpec>) {
    config.app_data(web::Data::new(app)).app_data(web::Data::new(management));
    let mut by_path: BTreeMap<String, Vec<&RouteSpec>> = BTreeMap::new();
    for spec in &routes {
        for path in spec.paths() {
            by_path.entry(path).or_default().push(spec);
        }
    }
    // In the order of the text a literal segment comes before `{`, so that no pattern hides it; the data plane comes
    // first, because actix tries one resource after the other.
    let (data_plane, others): (Vec<_>, Vec<_>) =
        by_path.into_iter().partition(|(path, _)| path.starts_with("/v1/") && !path.contains('{'));
    for (path, specs) in data_plane.into_iter().chain(others) {
        let allow: Vec<_> = specs.iter().flat_map(|spec| spec.allowed()).copied().collect();
        let allow: Arc<str> = allow.join(", ").into();
        let wrong_method = move || std::future::ready(method_not_allowed(&allow));
        let resource = web::resource(path).default_service(web::to(wrong_method));
        config.service(specs.iter().fold(resource, |resource, spec| resource.route(spec.route())));
    }
    config.default_service(web::to(unmatched));
}

fn method_not_allowed(allow: &str) -> Result<HttpResponse, Refusal> {
    Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed").allowing(allow))
}

/// Nothing is registered here. Whoever may not see what is there may not see what is not there either.
async fn unmatched(request: HttpRequest) -> Result<HttpResponse, Refusal> {
    if let Some(target) = without_slash(&request) {
        return Ok(HttpResponse::PermanentRedirect().insert_header((LOCATION, target)).finish());
    }
    let scope = match Family::of(request.path()) {
        Family::DataPlane => Scope::Inference,
        Family::Management => Scope::Management,
        Family::Other => Scope::Public,
    };
    guard::admit(scope, Role::Viewer, &request).await?;
    Err(Refusal::not_found("There is nothing under this path"))
}

/// A path that ends in a slash means the one without. One that begins with two would lead to another host.
fn without_slash(request: &HttpRequest) -> Option<String> {
    let path = request.uri().path();
    let shorter = path.trim_end_matches('/');
    if shorter.len() == path.len() || shorter.is_empty() || shorter.starts_with("//") || shorter.contains('\\') {
        return None;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{shorter}{query}"))
}
