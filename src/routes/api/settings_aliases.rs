//! `/api/settings/model-aliases`: the aliases of `/api/models/alias` under the names that other clients know them by.

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

use super::model_aliases::{forget, read, store};
use super::models::alias_map;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::{ModelAliasRow, StoreError};

/// The longest alias, and the most of them in one body.
const ALIAS_CHARS: usize = 200;
const MOST_ALIASES: usize = 1_000;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/settings/model-aliases";
    vec![
        RouteSpec::get(path, M, "All aliases of models", show),
        RouteSpec::put(path, M, "Replace all aliases of models", replace),
        RouteSpec::patch(path, M, "Replace all aliases of models", replace),
        RouteSpec::post(path, M, "Store an alias of a model", add),
        RouteSpec::delete(path, M, "Remove an alias of a model", remove),
    ]
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let rows = call.app.directory.routing();
    let custom = alias_map(&rows.aliases);
    Ok(HttpResponse::Ok().json(json!({"builtIn": {}, "custom": custom, "all": custom})))
}

fn done(call: &Call) -> HttpResponse {
    let rows = call.app.directory.routing();
    let custom = alias_map(&rows.aliases);
    HttpResponse::Ok().json(json!({"success": true, "custom": custom}))
}

/// One alias, checked as everywhere; its problems are named under `path`.
fn checked(call: &Call, form: &mut Form, [from, to]: [Value; 2], path: &str) -> ModelAliasRow {
    let fields = Map::from_iter([("alias".to_owned(), from), ("model".to_owned(), to)]);
    let mut part = Form::part(fields, path);
    let row = read(call, &mut part, ALIAS_CHARS);
    form.problems(part.into_problems());
    row
}

async fn replace(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("aliases");
    let wanted = form.object("aliases").unwrap_or_default();
    if wanted.len() > MOST_ALIASES {
        form.problem("aliases", format!("Expected at most {MOST_ALIASES} aliases"));
    }
    let mut rows = Vec::with_capacity(wanted.len());
    for (from, to) in wanted.into_iter().take(MOST_ALIASES) {
        let path = format!("aliases.{from}");
        rows.push(checked(&call, &mut form, [json!(from), to], &path));
    }
    form.finish()?;
    for row in &rows {
        call.app.store.model_aliases().put(row).await?;
    }
    let known = call.app.directory.routing();
    let gone: Vec<&ModelAliasRow> =
        known.aliases.iter().filter(|known| rows.iter().all(|row| row.alias != known.alias)).collect();
    for row in &gone {
        match call.app.store.model_aliases().delete(&row.alias).await {
            // Somebody else was faster.
            Err(StoreError::NotFound) => {}
            other => other?,
        }
    }
    let names = |rows: &mut dyn Iterator<Item = &ModelAliasRow>| rows.map(|row| row.alias.clone()).collect::<Vec<_>>();
    let particulars = json!({"stored": names(&mut rows.iter()), "removed": names(&mut gone.into_iter())});
    call.audit("model_alias.replaced", "all", particulars).await;
    call.refresh().await?;
    Ok(done(&call))
}

async fn add(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("from");
    form.require("to");
    let pair = [form.any("from"), form.any("to")].map(Option::unwrap_or_default);
    let row = if pair.iter().any(Value::is_null) { None } else { Some(checked(&call, &mut form, pair, "")) };
    form.finish()?;
    if let Some(row) = row {
        store(&call, &row).await?;
    }
    Ok(done(&call))
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    from: Option<String>,
}

/// Some clients cannot send a body with DELETE.
async fn remove(call: Call, query: web::Query<Query>, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = match body.0 {
        None => Form::default(),
        given => Form::of(JsonBody(given))?,
    };
    let from = form.text("from", 1..=512).or(query.into_inner().from);
    if from.is_none() {
        form.problem("from", "Required");
    }
    form.finish()?;
    forget(&call, &from.unwrap_or_default()).await?;
    Ok(done(&call))
}
