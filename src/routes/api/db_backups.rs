//! `/api/db-backups*`: copies of the embedded database, their way back, and the full archive.
//!
//! A restore or an import is atomic and takes effect before its answer; what was there is backed up first. What was
//! audited and used stays. On a PostgreSQL server the forms of a file answer 501 and name its own tools.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{connection_view, keys};
use crate::infra::backups::{Backup, Part, write_archive};
use crate::routes::body::iso;
use crate::routes::file::{self, Fleeting, Limits, Named};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::settings::travel::ADMIN_PASSWORD;
use crate::store::{Contents, StoreError, Take};

/// Rows of the usage log that the full archive holds at most.
const LOG_ROWS: i64 = 100_000;
/// The smallest file that can be a database.
const SMALLEST: u64 = 4096;
const SQLITE: &str = "application/octet-stream";
const ARCHIVE: &str = "application/gzip";
const FORMAT: &str = "omniroute-full-backup-v1";
/// Settings that are nobody's business outside.
const KEPT_IN: [&str; 1] = [ADMIN_PASSWORD];

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/db-backups", M, "All backups, the newest first", list),
        RouteSpec::put("/api/db-backups", M, "Make a backup", create),
        RouteSpec::post("/api/db-backups", M, "Restore a backup by its id", restore),
        RouteSpec::delete("/api/db-backups", M, "Throw away old backups", prune),
        RouteSpec::get("/api/db-backups/export", M, "Download the database as a file", export),
        RouteSpec::post("/api/db-backups/import", M, "Take the rows of an uploaded database", import),
        RouteSpec::get("/api/db-backups/exportAll", M, "Download everything as an archive", export_all),
    ]
}

async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let mut backups = Vec::new();
    for backup in call.management.backups.list().await? {
        let path = call.management.backups.path_of(&backup.id).await?;
        // One that cannot be looked into is listed all the same.
        let contents = call.app.store.backups().contents(path).await.ok();
        backups.push(view(&backup, contents));
    }
    Ok(HttpResponse::Ok().json(json!({ "backups": backups })))
}

fn view(backup: &Backup, contents: Option<Contents>) -> Value {
    json!({
        "id": backup.id,
        "filename": backup.id,
        "createdAt": iso(backup.created_at),
        "size": backup.size,
        "reason": backup.reason,
        "connectionCount": contents.map(|contents| contents.connections),
    })
}

async fn create(call: Call) -> Result<HttpResponse, Refusal> {
    files_only(&call)?;
    let backup = call.management.backups.create("manual").await?;
    call.audit("backup.created", &backup.id, json!({"size": backup.size})).await;
    let answer = json!({"created": true, "filename": backup.id, "id": backup.id, "size": backup.size});
    Ok(HttpResponse::Ok().json(answer))
}

async fn restore(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    files_only(&call)?;
    let mut form = Form::of(body)?;
    let id = form.text("backupId", 1..=200);
    form.require("backupId");
    form.finish()?;
    let id = id.unwrap_or_default();
    let contents = call.management.backups.restore(&id).await.map_err(no_backup)?;
    call.audit("backup.restored", &id, particulars(contents)).await;
    take_up(&call).await?;
    Ok(HttpResponse::Ok().json(with_counts(json!({"restored": true, "backupId": id}), contents)))
}

fn no_backup(error: StoreError) -> Refusal {
    match error {
        StoreError::NotFound => Refusal::not_found("Backup not found"),
        other => refused_file(other),
    }
}

/// What is wrong with the file is the caller's business.
fn refused_file(error: StoreError) -> Refusal {
    match error {
        StoreError::Invalid(why) => Refusal::bad_request(why),
        other => other.into(),
    }
}

async fn prune(call: Call, body: JsonBody, query: web::Query<Prune>) -> Result<HttpResponse, Refusal> {
    files_only(&call)?;
    let settings = call.app.config.load().backups.clone();
    let (keep, days) = match body.0 {
        None => (query.keep_latest, query.retention_days),
        Some(body) => {
            let mut form = Form::of(JsonBody(Some(body)))?;
            let found = (form.integer("keepLatest", 1..=200), form.integer("retentionDays", 0..=3650));
            form.finish()?;
            found
        }
    };
    let keep = keep.unwrap_or_else(|| i64::try_from(settings.keep).unwrap_or(200)).clamp(1, 200);
    let days = days.unwrap_or(i64::from(settings.retention_days)).clamp(0, 3650);
    let (most, oldest) = (usize::try_from(keep).unwrap_or(1), u32::try_from(days).unwrap_or(0));
    let deleted = call.management.backups.prune(most, oldest).await?;
    let answer = json!({"cleaned": true, "keepLatest": keep, "retentionDays": days, "deleted": deleted});
    call.audit("backup.pruned", "backups", answer.clone()).await;
    Ok(HttpResponse::Ok().json(answer))
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prune {
    keep_latest: Option<i64>,
    retention_days: Option<i64>,
}

async fn export(call: Call) -> Result<HttpResponse, Refusal> {
    files_only(&call)?;
    let copy = copy(&call).await?;
    call.audit("backup.exported", "database", json!({})).await;
    let name = format!("omniroute-backup-{}.sqlite", stamp(&call));
    file::send(&copy.0, Named { name: &name, kind: SQLITE }).await
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Import {
    /// Also who may sign in and with which keys.
    #[serde(default)]
    include_access: bool,
}

async fn import(call: Call, how: web::Query<Import>, payload: web::Payload) -> Result<HttpResponse, Refusal> {
    files_only(&call)?;
    let shelf = &call.management.backups;
    let upload = Fleeting(shelf.new_file().await?);
    let name = file::receive(&call.request, payload, &upload.0, limits(&call)).await?;
    if !name.is_empty() && !name.ends_with(".sqlite") {
        return Err(Refusal::bad_request("The file must be a .sqlite file"));
    }
    let size = tokio::fs::metadata(&upload.0).await.map_or(0, |file| file.len());
    if size < SMALLEST {
        return Err(Refusal::bad_request("The file is too small to be a database"));
    }
    let take = if how.include_access { Take::All } else { Take::ButAccess };
    let contents = shelf.take_in(upload.0.clone(), take, "pre-import").await.map_err(refused_file)?;
    call.audit("backup.imported", "database", particulars(contents)).await;
    take_up(&call).await?;
    let answer = json!({"imported": true, "filename": name, "accessIncluded": how.include_access});
    Ok(HttpResponse::Ok().json(with_counts(answer, contents)))
}

fn limits(call: &Call) -> Limits {
    let config = call.app.config.load();
    let patience = Duration::from_millis(config.server.body_read_timeout_ms);
    Limits { most: config.backups.max_import_bytes, patience }
}

async fn export_all(call: Call) -> Result<HttpResponse, Refusal> {
    let shelf = &call.management.backups;
    let database = if call.app.store.is_file() { Some(copy(&call).await?) } else { None };
    let mut parts = dumps(&call).await?;
    parts.extend(database.as_ref().map(|copy| Part::File("storage.sqlite", copy.0.clone())));
    parts.push(Part::Text("metadata.json", metadata(&call, &parts)));
    let archive = Fleeting(shelf.new_file().await?);
    let (to, at) = (archive.0.clone(), u64::try_from(call.now() / 1_000).unwrap_or(0));
    let written = web::block(move || write_archive(&to, &parts, at)).await.map_err(|_| Refusal::internal())?;
    written.map_err(StoreError::unavailable_io)?;
    call.audit("backup.exported", "everything", json!({})).await;
    let name = format!("omniroute-full-backup-{}.tar.gz", stamp(&call));
    file::send(&archive.0, Named { name: &name, kind: ARCHIVE }).await
}

/// Everything readable, without a secret.
async fn dumps(call: &Call) -> Result<Vec<Part>, Refusal> {
    let store = &call.app.store;
    let settings = store.settings().all().await?;
    let settings: Vec<_> = settings.into_iter().filter(|row| !KEPT_IN.contains(&row.key.as_str())).collect();
    let listed = call.app.directory.listed();
    let providers: Vec<_> = listed.iter().map(|listed| connection_view::connection(listed, None, None)).collect();
    let client_keys: Vec<_> = store.api_keys().list().await?.iter().map(|row| keys::view(call, row)).collect();
    let log = store.usage().list(LOG_ROWS).await?;
    let lines: Vec<_> = log.iter().filter_map(|row| serde_json::to_string(row).ok()).collect();
    Ok(vec![
        Part::Text("settings.json", pretty(&json!(settings))),
        Part::Text("combos.json", pretty(&json!(store.combos().list().await?))),
        Part::Text("nodes.json", pretty(&json!(store.nodes().list().await?))),
        Part::Text("providers.json", pretty(&json!(providers))),
        Part::Text("api-keys.json", pretty(&json!(client_keys))),
        Part::Text("call_logs/usage.jsonl", lines.join("\n")),
    ])
}

fn metadata(call: &Call, parts: &[Part]) -> String {
    let name = |part: &Part| match part {
        Part::Text(name, _) | Part::File(name, _) => *name,
    };
    pretty(&json!({
        "exportedAt": iso(call.now()),
        "version": env!("CARGO_PKG_VERSION"),
        "format": FORMAT,
        "contents": parts.iter().map(name).collect::<Vec<_>>(),
    }))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

async fn copy(call: &Call) -> Result<Fleeting, Refusal> {
    let copy = Fleeting(call.management.backups.new_file().await?);
    call.app.store.backups().copy_to(copy.0.clone()).await?;
    Ok(copy)
}

/// Whatever the rows changed is in force when the answer leaves.
async fn take_up(call: &Call) -> Result<(), Refusal> {
    call.app.keys.reload(&call.app.store).await?;
    call.refresh().await
}

fn files_only(call: &Call) -> Result<(), Refusal> {
    if call.app.store.is_file() {
        return Ok(());
    }
    let message = "The database is a PostgreSQL server: use pg_dump and pg_restore for its backups, \
                   or /api/db-backups/exportAll for a readable archive";
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", message))
}

fn stamp(call: &Call) -> String {
    let now = Timestamp::from_millisecond(call.now()).unwrap_or_default();
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn particulars(contents: Contents) -> Value {
    with_counts(json!({}), contents)
}

fn with_counts(mut answer: Value, contents: Contents) -> Value {
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("connectionCount".into(), contents.connections.into());
        answer.insert("nodeCount".into(), contents.nodes.into());
        answer.insert("comboCount".into(), contents.combos.into());
        answer.insert("apiKeyCount".into(), contents.api_keys.into());
    }
    answer
}
