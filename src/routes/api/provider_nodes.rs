//! `/api/provider-nodes*`: endpoints of the operator's own.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::connection_form::blank;
use super::probe::{self, Diagnosis, Subject};
use crate::providers::{Catalog, NodeKind};
use crate::routes::body::{iso, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ConnectionRow, NodeRow, StoreError};

const DEFAULT_KIND: &str = "openai-compatible";
const NOT_FOUND: &str = "Provider node not found";

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/provider-nodes", M, "All own endpoints", list),
        RouteSpec::post("/api/provider-nodes", M, "Add an own endpoint", create),
        RouteSpec::post("/api/provider-nodes/validate", M, "Try an endpoint without storing it", validate),
        RouteSpec::get("/api/provider-nodes/{id}", M, "One own endpoint", show),
        RouteSpec::put("/api/provider-nodes/{id}", M, "Change an own endpoint", update),
        RouteSpec::patch("/api/provider-nodes/{id}", M, "Change an own endpoint", update),
        RouteSpec::delete("/api/provider-nodes/{id}", M, "Remove an own endpoint and its connections", delete),
    ]
}

async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let nodes: Vec<_> = call.app.store.nodes().list().await?.iter().map(view).collect();
    Ok(HttpResponse::Ok().json(json!({"nodes": nodes, "ccCompatibleProviderEnabled": false})))
}

async fn show(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let node = get(&call, &id).await?;
    Ok(HttpResponse::Ok().json(json!({ "node": view(&node) })))
}

async fn create(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("name");
    form.require("prefix");
    let now = call.now();
    let mut node = NodeRow {
        id: String::new(),
        kind: DEFAULT_KIND.into(),
        name: String::new(),
        prefix: String::new(),
        api_type: None,
        base_url: String::new(),
        chat_path: None,
        models_path: None,
        created_at: now,
        updated_at: now,
    };
    refuse_disguise(&mut form)?;
    fill(&call, &mut form, &mut node);
    form.finish()?;
    let interface = node.api_type.as_ref().map(|api_type| format!("-{api_type}")).unwrap_or_default();
    node.id = format!("{}{interface}-{}", node.kind, Uuid::now_v7().simple());

    call.app.store.nodes().insert(&node).await.map_err(taken)?;
    call.audit("provider.node.created", &node.id, particulars(&node)).await;
    call.refresh().await?;
    Ok(HttpResponse::Created().json(json!({ "node": view(&node) })))
}

async fn update(call: Call, id: web::Path<String>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let before = get(&call, &id).await?;
    let mut form = Form::of(body)?;
    if form.is_empty() {
        return Err(Refusal::bad_request("No fields to update"));
    }
    let mut node = NodeRow { updated_at: call.now(), ..before.clone() };
    fill(&call, &mut form, &mut node);
    form.finish()?;

    // First the credentials: a crash in between must not leave one that would be sent to the new place.
    let cleared = if moved(&before, &node) { clear_credentials(&call, &id).await? } else { 0 };
    call.app.store.nodes().update(&node).await.map_err(taken)?;
    let mut detail = particulars(&node);
    put(&mut detail, "credentialsCleared", json!(cleared));
    call.audit("provider.node.updated", &node.id, detail).await;
    call.refresh().await?;
    let mut answer = json!({ "node": view(&node) });
    if cleared > 0 {
        put(&mut answer, "credentialsCleared", json!(cleared));
        put(
            &mut answer,
            "warning",
            json!("The address changed, so the credentials of its connections were removed; enter them again"),
        );
    }
    Ok(HttpResponse::Ok().json(answer))
}

async fn delete(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let node = get(&call, &id).await?;
    for connection in connections_of(&call, &id).await? {
        call.app.store.connections().delete(&connection.id).await.or_else(gone_is_fine)?;
    }
    call.app.store.nodes().delete(&id).await?;
    call.audit("provider.node.deleted", &id, particulars(&node)).await;
    call.refresh().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

async fn validate(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("baseUrl");
    let now = call.now();
    let mut node = NodeRow {
        id: String::new(),
        kind: DEFAULT_KIND.into(),
        name: "validation".into(),
        prefix: "validation".into(),
        api_type: None,
        base_url: String::new(),
        chat_path: None,
        models_path: None,
        created_at: now,
        updated_at: now,
    };
    let key = form.text("apiKey", 0..=10_000).filter(|key| !key.trim().is_empty());
    let model = form.text("validationModelId", 1..=500);
    refuse_disguise(&mut form)?;
    fill(&call, &mut form, &mut node);
    form.finish()?;

    node.id = "validation".into();
    let mut row = blank("validation".into(), &node.id, now);
    row.credential = key.map(|key| key.trim().to_owned().into());
    let diagnosis = match call.app.directory.prepare_at(&node, &row) {
        Ok(config) => probe::test(&Subject { app: &call.app, running: None, config }, model.as_deref()).await,
        Err(_) => Diagnosis {
            kind: "validation_error",
            source: "validation",
            message: Some("the URL is not valid"),
            status: None,
        },
    };
    let answer = json!({"valid": diagnosis.valid(), "error": diagnosis.message, "diagnosis": diagnosis.to_json()});
    Ok(HttpResponse::Ok().json(answer))
}

/// Endpoints that only take requests which look like those of another client are not served.
fn refuse_disguise(form: &mut Form) -> Result<(), Refusal> {
    match form.text("compatMode", 0..=50).as_deref() {
        Some("cc") => {
            let message = "CC Compatible provider is disabled: requests are never disguised as another client's";
            Err(Refusal::new(StatusCode::FORBIDDEN, "cc_compatible_disabled", message))
        }
        _ => Ok(()),
    }
}

fn fill(call: &Call, form: &mut Form, node: &mut NodeRow) {
    fill_kind(form, node);
    if let Some(name) = form.text("name", 1..=200) {
        node.name = name;
    }
    if let Some(prefix) = form.text("prefix", 1..=100) {
        check_prefix(form, &prefix);
        node.prefix = prefix;
    }
    if let Some(url) = form.text("baseUrl", 1..=2_000) {
        let kind = NodeKind::find(&node.kind, node.api_type.as_deref());
        node.base_url = kind.map_or_else(|| url.trim().to_owned(), |kind| kind.base_of(&url).to_owned());
    }
    if node.base_url.is_empty() {
        form.problem("baseUrl", "Required");
    }
    for (field, place) in [("chatPath", &mut node.chat_path), ("modelsPath", &mut node.models_path)] {
        if let Some(path) = form.nullable_text(field, 0..=500) {
            let path = path.filter(|path| !path.is_empty());
            if path.as_deref().is_some_and(|path| !is_path(path)) {
                form.problem(field, "Must start with / and hold no spaces, .. or fragment");
            }
            *place = path;
        }
    }
    form.let_pass(["compatMode"]);
    form.let_pass_answer(&view(node));
    check_base_url(call, form, &node.base_url);
}

/// Type, interface and, where none is given, the usual address of the type.
fn fill_kind(form: &mut Form, node: &mut NodeRow) {
    if let Some(kind) = form.text("type", 1..=50) {
        node.kind = kind;
    }
    if let Some(api_type) = form.text("apiType", 1..=50) {
        node.api_type = Some(api_type);
    }
    match NodeKind::find(&node.kind, node.api_type.as_deref()) {
        Some(kind) => {
            node.api_type = kind.api_type.map(str::to_owned);
            if node.base_url.is_empty() {
                kind.base_url.clone_into(&mut node.base_url);
            }
        }
        None if NodeKind::find(&node.kind, None).is_none() => {
            let mut names: Vec<_> = NodeKind::ALL.iter().map(|kind| kind.name).collect();
            names.dedup();
            form.problem("type", format!("`{}` is not offered; use one of: {}", node.kind, names.join(", ")));
        }
        None => {
            let offered = NodeKind::ALL.iter().filter(|kind| kind.name == node.kind);
            let types: Vec<_> = offered.filter_map(|kind| kind.api_type).collect();
            form.problem("apiType", format!("Expected one of: {}", types.join(", ")));
        }
    }
}

/// A prefix of a built-in provider would take its models away.
fn check_prefix(form: &mut Form, prefix: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !prefix.chars().all(plain) {
        form.problem("prefix", "May hold letters, digits, dots, dashes and underscores only");
    } else if prefix == "combo" || prefix == "demo" {
        form.problem("prefix", "This word has a meaning of its own");
    } else if let Some(spec) = Catalog::builtin().by_alias(prefix) {
        form.problem("prefix", format!("This is the prefix of {}", spec.name));
    }
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !path.contains("..") && !path.contains(['#', '\\', ' ', '@'])
}

fn check_base_url(call: &Call, form: &mut Form, text: &str) {
    if text.is_empty() {
        return;
    }
    match Url::parse(text) {
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            form.problem("baseUrl", "A query or a fragment does not belong into it");
        }
        Ok(url) => {
            if let Err(refusal) = call.app.clients.policy().check_url(&url) {
                tracing::warn!(%refusal, "an address for a provider node was refused");
                form.problem("baseUrl", refusal.to_string());
            }
        }
        Err(_) => form.problem("baseUrl", "Is no valid URL"),
    }
}

fn moved(before: &NodeRow, after: &NodeRow) -> bool {
    let origin = |node: &NodeRow| Url::parse(&node.base_url).ok().map(|url| url.origin());
    let (before, after) = (origin(before), origin(after));
    before.is_none() || before != after
}

/// Connections with an address of their own keep their credentials: they do not move along.
async fn clear_credentials(call: &Call, id: &str) -> Result<usize, Refusal> {
    let mut cleared = 0;
    for mut row in connections_of(call, id).await? {
        let own = row.provider_specific_data.get("baseUrl").and_then(Value::as_str).is_some_and(|url| !url.is_empty());
        if !own && (row.credential.is_some() || row.credential_unreadable) {
            (row.credential, row.credential_unreadable, row.updated_at) = (None, false, call.now());
            call.app.store.connections().update(&row).await.or_else(gone_is_fine)?;
            cleared += 1;
        }
    }
    Ok(cleared)
}

async fn connections_of(call: &Call, id: &str) -> Result<Vec<ConnectionRow>, Refusal> {
    let mut rows = call.app.store.connections().list().await?;
    rows.retain(|row| row.provider == id);
    Ok(rows)
}

fn gone_is_fine(error: StoreError) -> Result<(), StoreError> {
    if matches!(error, StoreError::NotFound) { Ok(()) } else { Err(error) }
}

async fn get(call: &Call, id: &str) -> Result<NodeRow, Refusal> {
    call.app.store.nodes().get(id).await.map_err(|error| match error {
        StoreError::NotFound => Refusal::not_found(NOT_FOUND),
        other => other.into(),
    })
}

fn taken(error: StoreError) -> Refusal {
    match error {
        StoreError::Conflict(_) => Refusal::conflict("Another node has this prefix"),
        StoreError::NotFound => Refusal::not_found(NOT_FOUND),
        other => other.into(),
    }
}

fn particulars(node: &NodeRow) -> Value {
    json!({"name": node.name, "prefix": node.prefix, "baseUrl": node.base_url})
}

fn view(node: &NodeRow) -> Value {
    json!({
        "id": node.id,
        "type": node.kind,
        "name": node.name,
        "prefix": node.prefix,
        "apiType": node.api_type,
        "baseUrl": node.base_url,
        "chatPath": node.chat_path,
        "modelsPath": node.models_path,
        "createdAt": iso(node.created_at),
        "updatedAt": iso(node.updated_at),
    })
}
