//! One management call: what the handler works with, and the trace it leaves in the audit log.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::HOST;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use serde_json::{Value, json};

use super::{Form, Management, Refusal, RequestId, guard};
use crate::app::App;
use crate::auth::{Origin, Principal, Role, neighbourhood};
use crate::store::AuditEntry;

/// The call as its handler sees it.
#[derive(Clone)]
pub struct Call {
    /// What handlers share.
    pub app: web::Data<App>,
    /// What the management API needs beside it.
    pub management: web::Data<Management>,
    /// Who was let in; nobody on public routes.
    pub principal: Option<Arc<Principal>>,
    /// Where it comes from.
    pub origin: Origin,
    /// Its name.
    pub request_id: String,
    /// The request.
    pub request: HttpRequest,
}

impl FromRequest for Call {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

/// Stands in the extensions of a request that left its trace.
struct Audited;

impl Call {
    /// Of this request.
    ///
    /// # Errors
    /// Outside of the gateway.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Refusal> {
        let app = request.app_data::<web::Data<App>>().cloned();
        let management = request.app_data::<web::Data<Management>>().cloned();
        app.zip(management).ok_or_else(Refusal::internal).map(|(app, management)| Self {
            origin: Origin::of(request, &app.config.load().server.trusted_proxies),
            app,
            management,
            principal: guard::principal(request),
            request_id: RequestId::of(request).map(|id| id.as_str().to_owned()).unwrap_or_default(),
            request: request.clone(),
        })
    }

    /// Where clients find the gateway, without a slash at the end: as configured, or as this request names it.
    pub fn public_url(&self) -> String {
        let configured = self.app.config.load().server.public_url.trim_end_matches('/').to_owned();
        if !configured.is_empty() {
            return configured;
        }
        let scheme = if self.origin.secure { "https" } else { "http" };
        let host = self.request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:20128");
        // It stands in a text that people copy: nothing but a host and a port.
        let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
        let host = if host.contains(odd) { "127.0.0.1:20128" } else { host };
        format!("{scheme}://{host}")
    }

    /// Whether the caller has this role.
    pub fn has_role(&self, role: Role) -> bool {
        self.principal.as_ref().is_some_and(|principal| principal.scopes.management >= Some(role))
    }

    /// The wall time in milliseconds.
    pub fn now(&self) -> i64 {
        self.app.clock.wall().0
    }

    /// The client's address as text.
    pub fn ip(&self) -> Option<String> {
        self.origin.ip.map(|ip| ip.to_string())
    }

    /// Write down what was done. The particulars must not hold a secret.
    ///
    /// What was done stays done when this fails, so the failure is reported to the log and not to the caller, who
    /// would do it again.
    pub async fn audit(&self, action: &str, target: &str, particulars: Value) {
        self.audit_as(action, target, "success", particulars).await;
    }

    /// [`Call::audit`] with another status than success.
    pub async fn audit_as(&self, action: &str, target: &str, status: &str, particulars: Value) {
        self.request.extensions_mut().insert(Audited);
        let detail = json!({
            "status": status,
            "ip": self.ip(),
            "requestId": self.request_id,
            "resourceType": action.rsplit_once('.').map_or(action, |(noun, _)| noun),
            "metadata": particulars,
        });
        let entry = AuditEntry {
            at: self.now(),
            actor: self.principal.as_ref().map_or_else(|| "anonymous".to_owned(), |principal| principal.label()),
            action: action.to_owned(),
            target: target.to_owned(),
            detail,
        };
        if let Err(error) = self.app.store.audit().append(entry).await {
            tracing::error!(%error, action, target, "the audit log did not take an entry");
        }
    }

    /// Whether the call left its trace already.
    pub(super) fn is_audited(&self) -> bool {
        self.request.extensions().contains::<Audited>()
    }

    /// A security event that a stranger can cause as often as they like: the first of its kind is written down.
    pub async fn alarm(&self, action: &str, target: &str, particulars: Value) {
        let address = || self.origin.ip.map(|ip| neighbourhood(ip).to_string());
        let who = self.principal.as_ref().map(|principal| principal.label()).or_else(address);
        if self.app.alarms.is_news(&format!("{action} {}", who.unwrap_or_default())) {
            self.audit_as(action, target, "refused", particulars).await;
        }
    }

    /// An operator switches things on and off; what else they are is the administrator's to say.
    ///
    /// # Errors
    /// When an operator wants more.
    pub fn check_switch(&self, form: &Form) -> Result<(), Refusal> {
        if self.has_role(Role::Admin) || form.holds_only("isActive") {
            return Ok(());
        }
        let message = "An operator may change `isActive` and nothing else";
        Err(Refusal::new(StatusCode::FORBIDDEN, "AUTH_001", message).beside("needsRole", Role::Admin.as_str()))
    }

    /// Put the change of one connection into force.
    ///
    /// # Errors
    /// When that fails; the change itself is stored.
    pub async fn refresh_one(&self, connection: &str) -> Result<(), Refusal> {
        self.app.directory.refresh_one(connection).await.map(drop).map_err(Refusal::from)
    }

    /// Put what was stored into force.
    ///
    /// # Errors
    /// When that fails; the change itself is stored.
    pub async fn refresh(&self) -> Result<(), Refusal> {
        self.app.directory.refresh().await.map(drop).map_err(Refusal::from)
    }
}
