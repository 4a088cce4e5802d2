//! `/api/combos/builder/options`: what a form for combos can offer.

use std::sync::Arc;

use actix_web::HttpResponse;
use omniroute_actors::router::plan::{RoutingPlan, Strategy};
use serde_json::{Value, json};

use super::combo_config;
use super::combo_steps::MOST_STEPS;
use crate::gateway::directory::Listed;
use crate::providers::Catalog;
use crate::routes::{Call, RouteSpec, Scope};

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![RouteSpec::get("/api/combos/builder/options", Scope::Management, "What a form for combos can offer", show)]
}

async fn show(call: Call) -> HttpResponse {
    let (plan, listed, directory) = (call.app.plan.load_full(), call.app.directory.listed(), &call.app.directory);
    let combos: Vec<_> = directory
        .combos()
        .iter()
        .map(|combo| {
            json!({"id": combo.id, "name": combo.name, "strategy": combo.strategy, "isActive": combo.is_active})
        })
        .collect();
    HttpResponse::Ok().json(json!({
        "strategies": Strategy::ALL.into_iter()
            .map(|strategy| json!({"value": strategy.as_str(), "label": label(strategy)}))
            .collect::<Vec<_>>(),
        "providers": providers(&plan, &listed),
        "combos": combos,
        "config": combo_config::limits(),
        "defaults": directory.combo_settings().for_all(),
        "limits": {
            "models": MOST_STEPS,
            "weight": {"min": 0, "max": 100},
            "tags": 20,
            "systemMessage": 50_000,
            "toolFilterRegex": 1_000,
            "contextLength": {"min": 1_000, "max": 2_000_000},
            "maxComboDepth": call.app.config.load().routing.max_combo_depth,
        },
    }))
}

/// `round-robin` as people write it.
fn label(strategy: Strategy) -> String {
    let words = strategy.as_str().replace('-', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Providers that have a connection, each with what it serves and by whom.
fn providers(plan: &RoutingPlan, listed: &[Arc<Listed>]) -> Vec<Value> {
    let mut ids: Vec<&str> = listed.iter().map(|entry| entry.row.provider.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(|id| provider(id, plan, listed)).collect()
}

fn provider(id: &str, plan: &RoutingPlan, listed: &[Arc<Listed>]) -> Value {
    let spec = Catalog::builtin().get(id);
    let entry = plan.providers.iter().find(|(provider, _)| provider.as_str() == id).map(|(_, entry)| entry);
    let own = listed.iter().filter(|entry| entry.row.provider == id);
    let connections: Vec<_> = own
        .map(|entry| {
            let row = &entry.row;
            json!({"id": row.id, "name": row.name, "isActive": row.is_active, "usable": entry.problem.is_none()})
        })
        .collect();
    let mut models: Vec<_> =
        entry.into_iter().flat_map(|entry| entry.models.keys()).map(|model| model.as_str()).collect();
    models.sort_unstable();
    json!({
        "id": id,
        "alias": spec.map_or(id, |spec| &spec.alias),
        "name": spec.map_or(id, |spec| &spec.name),
        "active": own_is_active(id, listed),
        "anyModel": spec.is_none_or(|spec| spec.passthrough_models),
        "models": models,
        "connections": connections,
    })
}

fn own_is_active(id: &str, listed: &[Arc<Listed>]) -> bool {
    listed.iter().any(|entry| entry.row.provider == id && entry.row.is_active && entry.problem.is_none())
}
