//! `/api/models/alias`: other names for models and combos. `*` and `?` in an alias stand for any characters; of several
//! that fit, the most exact counts. What an alias leads to is no alias again, so there are no circles.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use omniroute_actors::router::resolve::{Resolved, Unresolved};
use serde_json::{Value, json};

use super::combo_check::{World, home_of};
use super::models::alias_map;
use crate::providers::Catalog;
use crate::routes::body::put as put_field;
use crate::routes::v1::models::CATALOG_HEADER;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ModelAliasRow, StoreError};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/models/alias";
    vec![
        RouteSpec::get(path, M, "All aliases, or what one name leads to", show),
        RouteSpec::post(path, M, "Store an alias", put),
        RouteSpec::put(path, M, "Store an alias", put),
        RouteSpec::delete(path, M, "Remove an alias", delete),
    ]
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    alias: Option<String>,
}

async fn show(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let rows = call.app.directory.routing();
    let version = rows.models_version();
    let answer = match query.into_inner().alias {
        None => json!({"aliases": alias_map(&rows.aliases), "catalogVersion": version}),
        Some(alias) => {
            let resolved = resolve(&call, alias.trim(), &rows.aliases)?;
            json!({"alias": alias, "resolved": resolved, "catalogVersion": version})
        }
    };
    Ok(HttpResponse::Ok().insert_header((CATALOG_HEADER, version.as_str())).json(answer))
}

/// Where requests for this name go.
pub(super) fn resolve(call: &Call, name: &str, rows: &[ModelAliasRow]) -> Result<Value, Refusal> {
    if name.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "MODEL_NOT_MAPPED", "The name is empty"));
    }
    let plan = call.app.plan.load();
    let resolved = plan.resolve(name).map_err(|why| match why {
        Unresolved::Ambiguous(candidates) => {
            Refusal::new(StatusCode::CONFLICT, "MODEL_ALIAS_AMBIGUOUS", "Several providers serve this model")
                .beside("candidates", candidates)
        }
        other => Refusal::new(StatusCode::NOT_FOUND, "MODEL_NOT_MAPPED", other.to_string()),
    })?;
    let stored = rows.iter().any(|row| row.alias == name);
    let source = if stored { "stored_alias" } else { "direct_model" };
    let via = resolved.steps();
    let mut answer = match resolved.resolved {
        Resolved::Combo(combo) => json!({
            "provider": null, "providerAlias": null, "model": null, "combo": combo, "qualifiedId": combo,
            "source": if stored { "stored_alias" } else { "combo" }, "target": combo, "metadata": {},
        }),
        Resolved::Auto { .. } => json!({
            "provider": null, "providerAlias": null, "model": null, "combo": name, "qualifiedId": name,
            "source": "auto", "target": name, "metadata": {},
        }),
        Resolved::Direct { provider, model } => {
            let spec = Catalog::builtin().get(provider.as_str());
            let known = plan.providers.get(&provider).and_then(|entry| entry.models.get(&model));
            let context = known.and_then(|facts| facts.context).or_else(|| spec.and_then(|spec| spec.context));
            json!({
                "provider": provider, "providerAlias": spec.map_or(provider.as_str(), |spec| &spec.alias),
                "model": model, "combo": null, "qualifiedId": format!("{provider}/{model}"), "source": source,
                "target": format!("{provider}/{model}"),
                "metadata": {"contextLength": context},
            })
        }
    };
    put_field(&mut answer, "via", json!(via));
    Ok(answer)
}

async fn put(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let row = read(&call, &mut form, 200);
    form.finish()?;
    store(&call, &row).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "model": row.target, "alias": row.alias})))
}

/// An alias as a caller writes it, checked against what there is.
pub(super) fn read(call: &Call, form: &mut Form, most: usize) -> ModelAliasRow {
    form.require("model");
    form.require("alias");
    let plain = |text: &str| text.trim() == text && !text.chars().any(char::is_control) && !text.contains("../");
    let target = form.text("model", 1..=512).unwrap_or_default();
    let alias = form.text("alias", 1..=most).unwrap_or_default();
    for (field, text) in [("model", &target), ("alias", &alias)] {
        if !plain(text) {
            form.problem(field, "Must not begin or end with a space or hold control characters");
        }
    }
    if !target.is_empty() && !leads_somewhere(call, &target) {
        form.problem("model", "Leads to no combo, provider or model");
    }
    let routing = call.app.directory.routing();
    if alias == target || routing.aliases.iter().any(|row| row.alias == target && row.alias != alias) {
        form.problem("model", "Is an alias itself; an alias leads to a model or a combo");
    }
    if call.app.directory.combos().iter().any(|combo| combo.name == alias) {
        form.problem("alias", "A combo has this name and would always answer first");
    }
    let now = call.now();
    ModelAliasRow { alias, target, created_at: now, updated_at: now }
}

/// A provider need not have a connection yet.
fn leads_somewhere(call: &Call, target: &str) -> bool {
    let directory = &call.app.directory;
    let combos = directory.combos();
    let name = target.strip_prefix("combo/").unwrap_or(target);
    let nodes = directory.nodes();
    let world = World { combos: &combos, nodes: &nodes, connections: &[], max_depth: 1 };
    combos.iter().any(|combo| combo.name == target || combo.name == name)
        || home_of(None, target, &world).is_ok()
        || call.app.plan.load().resolve(target).is_ok()
}

/// Store it and put it into force.
pub(super) async fn store(call: &Call, row: &ModelAliasRow) -> Result<(), Refusal> {
    call.app.store.model_aliases().put(row).await?;
    call.audit("model_alias.stored", &row.alias, json!({"model": row.target})).await;
    call.refresh().await
}

async fn delete(call: Call, query: web::Query<Query>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = match body.0 {
        None => Form::default(),
        given => Form::of(JsonBody(given))?,
    };
    let alias = form.text("alias", 1..=512).or(query.into_inner().alias);
    if alias.is_none() {
        form.problem("alias", "Required");
    }
    form.finish()?;
    forget(&call, &alias.unwrap_or_default()).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

/// Remove it and put that into force.
pub(super) async fn forget(call: &Call, alias: &str) -> Result<(), Refusal> {
    call.app.store.model_aliases().delete(alias).await.map_err(|error| match error {
        StoreError::NotFound => Refusal::not_found("There is no such alias"),
        other => other.into(),
    })?;
    call.audit("model_alias.deleted", alias, json!({})).await;
    call.refresh().await
}
