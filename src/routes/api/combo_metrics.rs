//! `/api/combos/metrics`: what combos did since the start of this process, or since it was cleared.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::routes::{Call, Refusal, RouteSpec, Scope};

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/combos/metrics", M, "What combos did lately, by model and by target", show),
        RouteSpec::delete("/api/combos/metrics", M, "Forget what combos did: of one, or of all", clear),
    ]
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    combo: Option<String>,
}

async fn show(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let plan = call.app.plan.load_full();
    let strategy = move |name: &str| plan.combos.get(name).map(|combo| combo.strategy.as_str().to_owned());
    let asked = call.app.stats.ask(move |kept| kept.combos.to_json(strategy)).await;
    let mut metrics = asked.ok_or_else(silent)?;
    let answer = match query.into_inner().combo {
        None => json!({ "metrics": metrics }),
        Some(name) => match metrics.remove(&name) {
            Some(one) => json!({ "metrics": one }),
            None => json!({"metrics": null, "message": format!("No metrics for combo {name} yet")}),
        },
    };
    Ok(HttpResponse::Ok().json(answer))
}

async fn clear(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let combo = query.into_inner().combo;
    let named = combo.clone();
    let forgotten = call.app.stats.ask(move |kept| kept.combos.forget(named.as_deref())).await.ok_or_else(silent)?;
    call.audit("combo_metrics.cleared", combo.as_deref().unwrap_or("all"), json!({"combos": forgotten})).await;
    let message = match combo {
        Some(name) => format!("Metrics of combo {name} cleared"),
        None => "Metrics of all combos cleared".to_owned(),
    };
    let answer: Value = json!({"success": true, "message": message, "cleared": forgotten});
    Ok(HttpResponse::Ok().json(answer))
}

/// Who keeps the numbers is gone: a defect, but nothing that a request depends on.
pub(super) fn silent() -> Refusal {
    tracing::error!("who keeps the numbers does not answer an operator");
    Refusal::unavailable("The numbers are not available; try again")
}
