//! `/api/compliance/audit-log`: who did what, newest first.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::routes::body::iso;
use crate::routes::{Call, Refusal, RouteSpec, Scope};
use crate::store::AuditRow;

const USUAL: usize = 50;
const MOST: usize = 500;
const FARTHEST: usize = 10_000;

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![RouteSpec::get("/api/compliance/audit-log", Scope::Management, "The audit log, newest first", show)]
}

#[derive(Debug, serde::Deserialize)]
struct Filter {
    limit: Option<usize>,
    offset: Option<usize>,
    action: Option<String>,
    actor: Option<String>,
    target: Option<String>,
    status: Option<String>,
}

impl Filter {
    fn fits(&self, row: &AuditRow) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        same(&self.action, &row.action)
            && same(&self.actor, &row.actor)
            && same(&self.target, &row.target)
            && same(&self.status, row.detail.get("status").and_then(Value::as_str).unwrap_or("success"))
    }
}

/// The answer looks back over the newest rows only; older ones stay in the database.
async fn show(call: Call, filter: web::Query<Filter>) -> Result<HttpResponse, Refusal> {
    let limit = filter.limit.unwrap_or(USUAL).clamp(1, MOST);
    let offset = filter.offset.unwrap_or(0).min(FARTHEST);
    let look_back = i64::try_from(FARTHEST + MOST).unwrap_or(i64::MAX);
    let rows = call.app.store.audit().list(look_back).await?;
    let fitting: Vec<_> = rows.iter().filter(|row| filter.fits(row)).collect();
    let page: Vec<_> = fitting.iter().skip(offset).take(limit).map(|row| view(row)).collect();
    Ok(HttpResponse::Ok()
        .insert_header(("x-total-count", fitting.len().to_string()))
        .insert_header(("x-page-limit", limit.to_string()))
        .insert_header(("x-page-offset", offset.to_string()))
        .json(page))
}

fn view(row: &AuditRow) -> Value {
    let detail = |name: &str| row.detail.get(name).cloned().unwrap_or_default();
    json!({
        "id": row.id,
        "timestamp": iso(row.at),
        "createdAt": iso(row.at),
        "action": row.action,
        "actor": row.actor,
        "target": row.target,
        "resource_type": detail("resourceType"),
        "resourceType": detail("resourceType"),
        "status": detail("status"),
        "ip_address": detail("ip"),
        "ip": detail("ip"),
        "request_id": detail("requestId"),
        "requestId": detail("requestId"),
        "details": null,
        "metadata": row.detail.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "hash": row.hash,
    })
}
