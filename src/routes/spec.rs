//! What a route is: method, path, the scope it demands, one line of meaning, a handler. There is no way to make one
//! without a scope, and no other way to register a handler.

use std::rc::Rc;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, Responder, Route, guard as method_guard, web};

use super::{guard, roles};
use crate::auth::Role;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everybody.
    Public,
    /// A client key, or the administrator.
    Inference,
    /// A person who signed in, or a key with the scope `manage` or a role.
    Management,
}

impl Scope {
    /// The word of the header `x-omniroute-route-class`.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Public => "PUBLIC",
            Self::Inference => "CLIENT_API",
            Self::Management => "MANAGEMENT",
        }
    }
}

/// One route, ready to be mounted.
#[derive(Clone)]
pub struct RouteSpec {
    method: Method,
    path: &'static str,
    scope: Scope,
    summary: &'static str,
    also: Vec<&'static str>,
    make: Rc<dyn Fn() -> Route>,
}

impl std::fmt::Debug for RouteSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.scope)
    }
}

macro_rules! constructors {
    ($($name:ident $method:ident),+) => { $(
        #[doc = concat!("A route for ", stringify!($method), ".")]
        pub fn $name<F, Args>(path: &'static str, scope: Scope, summary: &'static str, handler: F) -> Self
        where
            F: Handler<Args>,
            Args: FromRequest + 'static,
            F::Output: Responder + 'static,
        {
            Self::new(Method::$method, path, scope, summary, handler)
        }
    )+ };
}

impl RouteSpec {
    constructors!(get GET, post POST, put PUT, patch PATCH, delete DELETE);

    fn new<F, Args>(method: Method, path: &'static str, scope: Scope, summary: &'static str, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let make = move || web::route().to(handler.clone());
        Self { method, path, scope, summary, also: Vec::new(), make: Rc::new(make) }
    }

    /// Answer under this path as well.
    #[must_use]
    pub fn also(mut self, path: &'static str) -> Self {
        self.also.push(path);
        self
    }

    /// The method.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path as it is documented.
    pub const fn path(&self) -> &'static str {
        self.path
    }

    /// The scope.
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// The least role of the management API that may use it.
    pub fn role(&self) -> Option<Role> {
        (self.scope == Scope::Management).then(|| roles::least(&self.method, self.path))
    }

    /// The line of meaning.
    pub const fn summary(&self) -> &'static str {
        self.summary
    }

    /// Every path it answers under. What lies under `/v1` also lies under `/api/v1`, and under `/v1/v1` for clients
    /// whose base URL already ended in `/v1`.
    pub fn paths(&self) -> Vec<String> {
        let expand = |path: &&'static str| match path.strip_prefix("/v1") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                vec![(*path).to_owned(), format!("/api/v1{rest}"), format!("/v1/v1{rest}")]
            }
            _ => vec![(*path).to_owned()],
        };
        [self.path].iter().chain(&self.also).flat_map(expand).collect()
    }

    /// The words of the `Allow` header.
    pub(super) fn allowed(&self) -> &'static [&'static str] {
        match self.method {
            Method::GET => &["GET", "HEAD"],
            Method::POST => &["POST"],
            Method::PUT => &["PUT"],
            Method::PATCH => &["PATCH"],
            _ => &["DELETE"],
        }
    }

    /// The route as actix knows it, behind its guard.
    pub(super) fn route(&self) -> Route {
        let (scope, role) = (self.scope, self.role().unwrap_or(Role::Viewer));
        let route = match self.method {
            Method::GET => (self.make)().guard(method_guard::Any(method_guard::Get()).or(method_guard::Head())),
            ref other => (self.make)().method(other.clone()),
        };
        route.wrap(from_fn(move |request, next| guard::watch(scope, role, request, next)))
    }
}
