//! One management call: what the handler works with, and the trace it leaves in the audit log.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde_json::{Value, json};

use super::{Management, Refusal, RequestId, guard};
use crate::app::App;
use crate::auth::{Origin, Principal};
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
        let app = request.app_data::<web::Data<App>>().cloned();
        let management = request.app_data::<web::Data<Management>>().cloned();
        ready(app.zip(management).ok_or_else(Refusal::internal).map(|(app, management)| Self {
            origin: Origin::of(request, &app.config.load().server.trusted_proxies),
            app,
            management,
            principal: guard::principal(request),
            request_id: RequestId::of(request).map(|id| id.as_str().to_owned()).unwrap_or_default(),
            request: request.clone(),
        }))
    }
}

impl Call {
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

    /// Put what was stored into force.
    ///
    /// # Errors
    /// When that fails; the change itself is stored.
    pub async fn refresh(&self) -> Result<(), Refusal> {
        self.app.directory.refresh().await.map(drop).map_err(Refusal::from)
    }
}
