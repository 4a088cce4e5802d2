//! `GET /metrics`: Prometheus' text format.

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};

use super::api::live;
use super::{Refusal, RouteSpec, Scope, guard};
use crate::infra::lifecycle::Phase;
use crate::infra::metrics::{Metrics, Vitals};

/// Names of connections and providers are no public matter: a scraper brings a key with the scope `manage`.
pub fn routes() -> Vec<RouteSpec> {
    vec![RouteSpec::get("/metrics", Scope::Management, "Metrics in Prometheus' text format", metrics)]
}

async fn metrics(request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let app = guard::app(&request)?;
    let metrics = request.app_data::<web::Data<Metrics>>().ok_or_else(Refusal::internal)?;
    let snapshots = live::published(app);
    let vitals = Vitals {
        uptime: app.clock.now().since(app.lifecycle.started_at()),
        in_flight: app.lifecycle.in_flight(),
        draining: app.lifecycle.phase() == Phase::Draining,
        usage: app.recorder.counts(),
        shed: app.overload.refused(),
        exchanges: app.exchanges.counts(),
    };
    let kind = ContentType("text/plain; version=0.0.4; charset=utf-8".parse().map_err(|_| Refusal::internal())?);
    Ok(HttpResponse::Ok().insert_header(kind).body(metrics.render(&vitals, &snapshots)))
}
