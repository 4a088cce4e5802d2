//! The live state, the buttons, and the probes of the outside.

use std::time::Duration;

use actix_http::Request;
use actix_web::Error;
use actix_web::body::{BoxBody, EitherBody};
use actix_web::dev::{Service, ServiceResponse};
use omniroute_actors::ids::ModelName;
use omniroute_actors::resilience::outcome::Outcome;
use serde_json::{Value, json};

use crate::routes::testing::{Site, bed, signed_in, site};

/// A connection with an open breaker, a cooldown and a locked model; its id.
async fn broken<S>(site: &Site<S>) -> String
where
    S: Service<Request, Response = ServiceResponse<EitherBody<BoxBody, BoxBody>>, Error = Error>,
{
    let body = json!({"provider": "groq", "name": "broken", "apiKey": "k"});
    let made = site.ok("POST", "/api/providers", Some(body)).await;
    let id = made["connection"]["id"].as_str().unwrap().to_owned();
    let plan = site.bed.app.plan.load_full();
    let handle = plan.providers["groq"].connections[0].clone();
    let attempts =
        std::iter::once(("locked", Outcome::ModelFault)).chain(std::iter::repeat_n(("m", Outcome::ServerFault), 12));
    for (model, outcome) in attempts {
        if let Ok(mut permit) = handle.acquire(&ModelName::from(model), &site.bed.app.clock) {
            permit.settle(outcome);
        }
        actix_web::rt::time::sleep(Duration::from_millis(2)).await;
    }
    let until = site.bed.app.clock.wall().0 + 3_600_000;
    site.ok("PATCH", &format!("/api/providers/{id}"), Some(json!({"rateLimitedUntil": until}))).await;
    id
}

fn of<'a>(resilience: &'a Value, id: &str) -> &'a Value {
    let all = resilience["state"]["connections"].as_array().unwrap();
    all.iter().find(|connection| connection["id"] == json!(id)).unwrap()
}

#[actix_web::test]
async fn the_state_tells_why_since_when_and_until_when() {
    let site = signed_in().await;
    let id = broken(&site).await;

    let shown = site.ok("GET", "/api/resilience", None).await;

    let connection = of(&shown, &id);
    assert_eq!((&connection["state"], &connection["breaker"]), (&json!("open"), &json!("OPEN")));
    assert!(connection["until"].is_string() && connection["since"].is_string() && connection["cooldown"].is_object());
    assert_eq!(connection["lockouts"][0]["model"], json!("locked"));
    assert!(connection["counts"]["admitted"].as_u64().unwrap() >= 10);
    let providers = shown["state"]["providers"].as_array().unwrap();
    let states: Vec<_> = providers.iter().map(|provider| (&provider["provider"], &provider["state"])).collect();
    assert_eq!(states, [(&json!("groq"), &json!("open")), (&json!("openai"), &json!("ready"))]);
    assert_eq!(shown["providerBreaker"]["oauth"]["failureThreshold"], json!(8));
    assert_eq!(shown["legacy"]["profiles"]["apikey"]["circuitBreakerThreshold"], json!(12));
}

#[actix_web::test]
async fn a_reset_without_a_body_closes_breakers_and_nothing_else_before_it_answers() {
    let site = signed_in().await;
    let id = broken(&site).await;

    let answer = site.ok("POST", "/api/resilience/reset", Some(json!({}))).await;

    assert_eq!((&answer["ok"], &answer["resetCount"]), (&json!(true), &json!(1)), "{answer}");
    assert_eq!(answer["message"], json!("Reset 1 circuit breaker(s)"));
    let shown = site.ok("GET", "/api/resilience", None).await;
    let connection = of(&shown, &id);
    assert_eq!((&connection["breaker"], &connection["state"]), (&json!("CLOSED"), &json!("cooling_down")));
    assert_eq!(connection["lockouts"].as_array().unwrap().len(), 1);
    let log = site.ok("GET", "/api/compliance/audit-log?action=resilience.reset", None).await;
    assert_eq!(log.as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn each_scope_clears_its_own() {
    let site = signed_in().await;
    let id = broken(&site).await;
    let reset = async |body| site.ok("POST", "/api/resilience/reset", Some(body)).await["resetCount"].clone();

    let other = reset(json!({"scope": "all", "provider": "openai"})).await;
    let cooldowns = reset(json!({"scope": "cooldowns", "connectionId": id})).await;
    let wrong_model = reset(json!({"scope": "lockouts", "model": "other"})).await;
    let lockouts = reset(json!({"scope": "lockouts", "model": "locked", "provider": "groq"})).await;
    let all = reset(json!({"scope": "all"})).await;

    assert_eq!([other, cooldowns, wrong_model, lockouts, all], [json!(0), json!(1), json!(0), json!(1), json!(1)]);
    let shown = site.ok("GET", "/api/resilience", None).await;
    assert_eq!(of(&shown, &id)["state"], json!("ready"));
}

#[actix_web::test]
async fn a_reset_of_what_does_not_exist_is_a_mistake() {
    let site = signed_in().await;
    let reset = async |body| site.ask("POST", "/api/resilience/reset", Some(body)).await;

    assert_eq!(reset(json!({"scope": "everything"})).await.fields(), ["scope"]);
    assert_eq!(reset(json!({"scope": "all", "model": "m"})).await.fields(), ["model"]);
    assert_eq!(reset(json!({"connectionId": "ghost"})).await.status, 404);
}

#[actix_web::test]
async fn locked_models_are_listed_and_unlocked() {
    let site = signed_in().await;
    broken(&site).await;
    let path = "/api/resilience/model-cooldowns";

    let listed = site.ok("GET", path, None).await;
    let nothing = site.ask("DELETE", path, None).await;
    let cleared = site.ok("DELETE", path, Some(json!({"provider": "groq", "model": "locked"}))).await;

    assert_eq!(listed["items"][0]["model"], json!("locked"));
    assert_eq!(nothing.status, 400);
    assert_eq!(cleared, json!({"ok": true, "cleared": true}));
    assert_eq!(site.ok("GET", path, None).await["items"], json!([]));
}

#[actix_web::test]
async fn changed_numbers_are_stored_clamped_and_in_force() {
    let site = signed_in().await;

    let body = json!({"providerBreaker": {"apikey": {"failureThreshold": 3, "resetTimeoutMs": 5}}});
    let changed = site.ok("PUT", "/api/resilience", Some(body)).await;
    let shown = site.ok("GET", "/api/resilience", None).await;
    let unknown = site.ask("PATCH", "/api/resilience", Some(json!({"speed": 1}))).await;
    let empty = site.ask("PATCH", "/api/resilience", Some(json!({}))).await;

    assert_eq!((&changed["ok"], &changed["clamped"][0]["used"]), (&json!(true), &json!(1000)));
    assert_eq!(shown["providerBreaker"]["apikey"]["failureThreshold"], json!(3));
    assert_eq!(shown["providerBreaker"]["oauth"]["failureThreshold"], json!(8));
    assert_eq!(unknown.fields(), ["speed"]);
    assert!(empty.status == 400 && empty.text.contains("Must provide resilience settings to update"));
}

#[actix_web::test]
async fn a_writer_that_read_an_older_version_is_told_so() {
    let site = signed_in().await;
    let body = || Some(json!({"waitForCooldown": {"maxRetries": 1}}));
    let own = ("sec-fetch-site", "same-origin");

    let first = site.send("PATCH", "/api/resilience", body(), &[own, ("if-match", "\"0\"")]).await;
    let stale = site.send("PATCH", "/api/resilience", body(), &[own, ("if-match", "\"0\"")]).await;
    let fresh =
        site.send("PATCH", "/api/resilience", body(), &[own, ("if-match", first.header("etag").unwrap())]).await;

    assert_eq!([first.status, stale.status, fresh.status], [200, 412, 200]);
}

#[actix_web::test]
async fn the_pace_of_all_connections_and_the_guard_of_one_can_be_changed() {
    let site = signed_in().await;
    let made = site.ok("POST", "/api/providers", Some(json!({"provider": "groq", "name": "a", "apiKey": "k"}))).await;
    let id = made["connection"]["id"].as_str().unwrap();

    let queue = site.ok("POST", "/api/rate-limit", Some(json!({"requestsPerMinute": 42}))).await;
    let guard = site.ok("POST", "/api/rate-limits", Some(json!({"connectionId": id, "enabled": true}))).await;
    let limits = site.ok("GET", "/api/rate-limits", None).await;

    assert_eq!((&queue["requestsPerMinute"], &queue["requestQueue"]["requestsPerMinute"]), (&json!(42), &json!(42)));
    assert_eq!(site.ok("GET", "/api/rate-limit", None).await["requestsPerMinute"], json!(42));
    assert_eq!(guard, json!({"success": true, "connectionId": id, "enabled": true}));
    let of = limits["connections"].as_array().unwrap().iter().find(|row| row["connectionId"] == json!(id)).unwrap();
    assert_eq!(of["enabled"], json!(true));
}

#[actix_web::test]
async fn a_stranger_sees_that_it_runs_and_the_administrator_sees_everything() {
    let site = signed_in().await;
    let full = site.ok("GET", "/api/monitoring/health", None).await;

    site.carry(&[]);
    let little = site.ok("GET", "/api/monitoring/health", None).await;

    let names: Vec<_> = little.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["status", "reasons", "timestamp", "version", "uptime", "circuitBreakers"]);
    assert_eq!((&full["providerSummary"]["configuredCount"], &full["setupComplete"]), (&json!(1), &json!(true)));
    assert!(full["memoryUsage"]["rss"].as_u64().unwrap() > 1_000_000);
}

#[actix_web::test]
async fn deleting_the_health_closes_breakers() {
    let site = signed_in().await;
    broken(&site).await;

    let answer = site.ok("DELETE", "/api/monitoring/health", None).await;

    assert_eq!((&answer["success"], &answer["resetCount"]), (&json!(true), &json!(1)));
}

#[actix_web::test]
async fn readiness_ends_with_the_drain_and_life_does_not() {
    let site = site(bed().await).await;
    assert_eq!(site.send("GET", "/readyz", None, &[]).await.status, 200);

    site.bed.app.lifecycle.drain();

    let ready = site.send("GET", "/readyz", None, &[]).await;
    assert_eq!((ready.status, ready.json()["reasons"].clone()), (503, json!(["draining"])));
    assert_eq!(site.send("GET", "/health", None, &[]).await.status, 503);
    assert_eq!(site.send("GET", "/livez", None, &[]).await.status, 200);
}

#[actix_web::test]
async fn the_configuration_is_read_again_on_demand() {
    let site = signed_in().await;

    let answer = site.ok("POST", "/api/config/reload", Some(json!({}))).await;

    assert_eq!((&answer["ok"], &answer["unchanged"]), (&json!(true), &json!(1)));
}
