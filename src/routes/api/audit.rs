//! `/api/compliance/audit-log`: who did what, newest first, and whether the log is as it was written.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::routes::body::iso;
use crate::routes::{Call, Detail, Refusal, RouteSpec, Scope};
use crate::store::{AuditFilter, AuditRow, AuditVerdict};

const USUAL: usize = 50;
const MOST: usize = 500;
const FARTHEST: usize = 10_000;
/// Nobody counts further: `x-total-count` says so many when there are more.
const COUNTED: usize = FARTHEST + MOST;
/// A hash as it is written.
const HASH_CHARS: usize = 64;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/compliance/audit-log", M, "The audit log, newest first", show),
        RouteSpec::get("/api/compliance/audit-log/verify", M, "Whether the audit log is as it was written", verify),
    ]
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Query {
    limit: Option<usize>,
    offset: Option<usize>,
    cursor: Option<i64>,
    action: Option<String>,
    actor: Option<String>,
    target: Option<String>,
    resource_type: Option<String>,
    status: Option<String>,
    request_id: Option<String>,
    #[serde(alias = "since")]
    from: Option<String>,
    #[serde(alias = "until")]
    to: Option<String>,
}

impl Query {
    fn filter(&self) -> Result<AuditFilter, Refusal> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(AuditFilter {
            action: given(&self.action),
            actor: given(&self.actor),
            target: given(&self.target),
            resource_type: given(&self.resource_type),
            status: given(&self.status),
            request_id: given(&self.request_id),
            from: time("from", self.from.as_deref())?,
            to: time("to", self.to.as_deref())?,
            before: self.cursor,
        })
    }
}

/// A time as text or in milliseconds.
fn time(field: &str, text: Option<&str>) -> Result<Option<i64>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let read = text.parse().ok().or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()));
    let wrong =
        || Detail { field: field.to_owned(), message: "Expected a time such as 2026-01-31T12:00:00Z".to_owned() };
    read.map(Some).ok_or_else(|| Refusal::invalid(vec![wrong()]))
}

/// Walk far by the cursor: the number of the last row that was shown. An offset ends where counting does.
async fn show(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let limit = query.limit.unwrap_or(USUAL).clamp(1, MOST);
    let offset = query.offset.unwrap_or(0).min(FARTHEST);
    let (filter, log) = (query.filter()?, call.app.store.audit());
    let total = log.count(filter.clone(), wide(COUNTED)).await?;
    let rows = log.page(filter, wide(offset), wide(limit)).await?;
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header(("x-total-count", total.to_string()))
        .insert_header(("x-page-limit", limit.to_string()))
        .insert_header(("x-page-offset", offset.to_string()));
    if let Some(last) = rows.last().filter(|_| rows.len() == limit) {
        answer.insert_header(("x-next-cursor", last.id.to_string()));
    }
    Ok(answer.json(rows.iter().map(view).collect::<Vec<_>>()))
}

fn wide(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
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
        "status": row.detail.get("status").cloned().unwrap_or_else(|| json!("success")),
        "ip_address": detail("ip"),
        "ip": detail("ip"),
        "request_id": detail("requestId"),
        "requestId": detail("requestId"),
        "details": null,
        "metadata": row.detail.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "prevHash": row.prev_hash,
        "hash": row.hash,
    })
}

#[derive(Debug, serde::Deserialize)]
struct Noted {
    /// The newest row's hash as somebody wrote it down elsewhere.
    head: Option<String>,
}

async fn verify(call: Call, noted: web::Query<Noted>) -> Result<HttpResponse, Refusal> {
    let head = noted.head.as_deref().filter(|head| !head.is_empty());
    if head.is_some_and(|head| head.len() != HASH_CHARS) {
        let message = "Expected the hash of a row".to_owned();
        return Err(Refusal::invalid(vec![Detail { field: "head".to_owned(), message }]));
    }
    Ok(HttpResponse::Ok().json(match call.app.store.audit().verify(head).await? {
        AuditVerdict::Intact { rows, head } => {
            json!({"ok": true, "rows": rows, "head": head, "brokenAt": null, "reason": null})
        }
        AuditVerdict::Broken { id, reason } => {
            json!({"ok": false, "rows": null, "head": null, "brokenAt": id, "reason": reason})
        }
    }))
}
