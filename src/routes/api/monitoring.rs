//! `/api/monitoring/health`, `/livez`, `/readyz`, `/health`: for operators, and for what watches processes.
//!
//! Alive: the process answers. Ready: it should be given requests. A stranger learns whether it runs, which version,
//! since when and how many of its connections work; everything else is the administrator's.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::HttpResponse;
use omniroute_actors::connection::snapshot::Standing;
use omniroute_actors::resilience::gate::BreakerState;
use serde_json::{Map, Value, json};

use super::{live, resilience};
use crate::auth::{Role, SetUp};
use crate::infra::lifecycle::Phase;
use crate::infra::memory;
use crate::providers::Catalog;
use crate::routes::body::{iso, iso_or_null};
use crate::routes::{Call, Refusal, RouteSpec, Scope, guard};

/// How long readiness waits for the store before it calls it gone.
const STORE_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Vec<RouteSpec> {
    vec![
        RouteSpec::get("/livez", Scope::Public, "Whether the process answers", alive),
        RouteSpec::get("/readyz", Scope::Public, "Whether it should be given requests", ready),
        RouteSpec::get("/health", Scope::Public, "Whether it should be given requests", ready).also("/api/health"),
        RouteSpec::get("/api/health/ping", Scope::Public, "Whether the process answers", alive),
        RouteSpec::get("/api/monitoring/health", Scope::Public, "Health; details for the administrator", show),
        RouteSpec::delete("/api/monitoring/health", Scope::Management, "Close all breakers", reset),
    ]
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

async fn ready(call: Call) -> HttpResponse {
    let reasons = reasons(&call).await;
    if reasons.is_empty() {
        return HttpResponse::Ok().json(json!({"status": "ready"}));
    }
    HttpResponse::ServiceUnavailable()
        .insert_header(("Retry-After", "1"))
        .json(json!({"status": "not_ready", "reasons": reasons}))
}

/// Why it should be given no requests.
async fn reasons(call: &Call) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    match call.app.lifecycle.phase() {
        Phase::Starting => reasons.push("starting"),
        Phase::Draining => reasons.push("draining"),
        Phase::Ready => {}
    }
    // Asking a database that is about to be closed would only slow the end down.
    if call.app.lifecycle.phase() != Phase::Draining {
        let answer = tokio::time::timeout(STORE_WITHIN, call.app.store.ping()).await;
        match answer {
            Ok(Ok(())) => {}
            _ if call.app.store.damage().is_some() => {
                reasons.push("the database is damaged: restore a backup and restart");
            }
            _ => reasons.push("the store does not answer"),
        }
    }
    reasons
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    // What was published: a silent actor must not make the page fail that people open to find out what is wrong.
    let standings = live::standings(&call.app);
    let mut answer = public(&call, &standings).await;
    if guard::manager(Role::Viewer, &call.request).await.is_some()
        && let (Value::Object(answer), Value::Object(more)) = (&mut answer, details(&call, &standings).await)
    {
        answer.extend(more);
    }
    Ok(HttpResponse::Ok().json(answer))
}

async fn public(call: &Call, standings: &[Standing]) -> Value {
    let uptime = call.app.clock.now().since(call.app.lifecycle.started_at()).as_secs_f64();
    let reasons = reasons(call).await;
    json!({
        "status": if reasons.is_empty() { "healthy" } else { "degraded" },
        "reasons": reasons,
        "timestamp": iso(call.now()),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": uptime,
        "circuitBreakers": breakers(standings),
    })
}

fn breakers(standings: &[Standing]) -> Value {
    let count = |state: BreakerState| standings.iter().filter(|standing| standing.breaker == state).count();
    json!({
        "open": count(BreakerState::Open),
        "halfOpen": count(BreakerState::HalfOpen),
        "degraded": count(BreakerState::Degraded),
        "closed": count(BreakerState::Closed),
        "total": standings.len(),
    })
}

async fn details(call: &Call, standings: &[Standing]) -> Value {
    let uptime = call.app.clock.now().since(call.app.lifecycle.started_at()).as_secs_f64();
    let memory = json!({"rss": memory::resident(), "limit": memory::limit()});
    let listed = call.app.directory.listed();
    let (mut breakers, mut health) = (Vec::new(), Map::new());
    let mut by_provider: HashMap<&str, Vec<&Standing>> = HashMap::new();
    for standing in standings {
        by_provider.entry(standing.provider.as_str()).or_default().push(standing);
    }
    for provider in live::providers(standings) {
        let id = provider.get("provider").and_then(Value::as_str).unwrap_or_default().to_owned();
        let own = by_provider.remove(id.as_str()).unwrap_or_default();
        let row = provider_breaker(&id, &provider, &own, call.now());
        health.insert(
            id,
            json!({
                "state": row.get("state"), "failures": row.get("failureCount"),
                "lastFailure": row.get("lastFailure"), "retryAfterMs": row.get("retryAfterMs"),
            }),
        );
        breakers.push(row);
    }
    let providers = listed.iter().map(|entry| entry.row.provider.as_str()).collect::<std::collections::BTreeSet<_>>();
    let active: std::collections::BTreeSet<_> =
        listed.iter().filter(|entry| entry.row.is_active).map(|entry| entry.row.provider.as_str()).collect();
    let config = call.app.config.load_full();
    let setup = matches!(call.management.admin.set_up().await, Ok(SetUp::Done));
    json!({
        "system": {
            "instanceName": call.app.directory.settings().general.instance_name,
            "version": env!("CARGO_PKG_VERSION"), "nodeVersion": null, "uptime": uptime, "memoryUsage": memory,
            "pid": std::process::id(), "platform": std::env::consts::OS,
        },
        "memoryUsage": memory,
        "activeConnections": call.app.lifecycle.in_flight(),
        "providerBreakers": breakers,
        "providerHealth": health,
        "providerSummary": {
            "catalogCount": Catalog::builtin().iter().count(),
            "configuredCount": providers.len(),
            "activeCount": active.len(),
            "monitoredCount": standings.len(),
        },
        "localProviders": {},
        "rateLimitStatus": {},
        "learnedLimits": {},
        "lockouts": live::lockouts(&call.app),
        "quotaMonitor": {"active": 0, "alerting": 0, "exhausted": 0, "errors": 0, "statusCounts": {}, "monitors": []},
        "sessions": sessions(call).await,
        "dedup": {"inflightRequests": 0},
        "cryptography": {"status": "healthy", "provider": "aes-256-gcm"},
        "setupComplete": setup,
        "database": call.app.store.engine().as_str(),
        "securityWarnings": security_warnings(&config.server, config.auth.require_api_key),
        "problems": listed.iter().filter_map(|entry| {
            Some(json!({"connectionId": entry.row.id, "provider": entry.row.provider, "problem": entry.problem.as_ref()?}))
        }).collect::<Vec<_>>(),
    })
}

async fn sessions(call: &Call) -> Value {
    let now = call.now();
    let kept = call.app.stats.ask(move |kept| kept.sessions.to_json(now, 10)).await.unwrap_or_default();
    let part = |name: &str| kept.get(name).cloned().unwrap_or_default();
    json!({"activeCount": part("count"), "stickyBoundCount": 0, "byApiKey": part("byApiKey"), "top": part("sessions")})
}

fn provider_breaker(id: &str, provider: &Value, own: &[&Standing], now: i64) -> Value {
    let last = own.iter().filter_map(|standing| standing.last_error).map(|at| at.0).max();
    let until = own.iter().filter_map(|standing| standing.until).map(|until| until.0).min();
    let open = provider.get("breaker").and_then(Value::as_str) == Some("OPEN");
    json!({
        "provider": id,
        "state": provider.get("breaker"),
        "failureCount": provider.get("failures"),
        "lastFailure": iso_or_null(last),
        "retryAfterMs": until.filter(|_| open).map_or(0, |until| until.saturating_sub(now).max(0)),
    })
}

fn security_warnings(server: &crate::config::Server, require_api_key: bool) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    if !server.is_loopback() && server.trusted_proxies.is_empty() {
        warnings.push("the gateway listens beyond this machine without a trusted proxy: keys and cookies may travel in clear text");
    }
    if !require_api_key {
        warnings.push("the data plane asks for no key");
    }
    if server.cors_allowed_origins.iter().any(|origin| origin == "*") {
        warnings.push("pages of every origin may call the data plane");
    }
    warnings
}

async fn reset(call: Call) -> Result<HttpResponse, Refusal> {
    let count = resilience::reset_breakers(&call).await?;
    let message = format!("Reset {count} circuit breaker(s)");
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": message, "resetCount": count})))
}
