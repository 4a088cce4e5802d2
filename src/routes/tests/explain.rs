//! What would happen, what happened, and what is remembered.

use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::lease::Settlement;
use omniroute_actors::resilience::health::ErrorNote;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::usage::record::{AttemptRecord, Tokens, UsageRecord};
use serde_json::{Value, json};

use crate::gateway::directory::{Directory, DirectoryParts};
use crate::infra::stats::{Finished, SessionName};
use crate::routes::testing::{Bed, signed_in};

fn finished(combo: &str, session: &str) -> Finished {
    let attempt = AttemptRecord {
        connection: "env-openai".into(),
        provider: "openai".into(),
        model: "x".into(),
        outcome: "success".into(),
        status: 200,
        started_ms: 0,
        took_ms: 30,
        ..AttemptRecord::default()
    };
    let record = UsageRecord {
        request_id: "r".into(),
        at: UnixMillis(0),
        key_id: Some("k".into()),
        connection: Some("env-openai".into()),
        provider: Some("openai".into()),
        model: Some("x".into()),
        requested_model: combo.into(),
        combo: Some(combo.into()),
        status: 200,
        outcome: "success".into(),
        streamed: false,
        tokens: Tokens::default(),
        first_content_ms: Some(10),
        total_ms: 40,
        session: None,
        attempts: vec![attempt],
    };
    Finished { session: Some(SessionName::Named(session.into())), ..Finished::of(&record, 3) }
}

#[actix_web::test]
async fn an_explanation_tells_the_way_the_order_and_the_price() {
    let site = signed_in().await;
    let models = json!([{"id": "one", "model": "openai/gpt-5.5"}, {"id": "two", "model": "openai/o3-mini"}]);
    site.ok("POST", "/api/combos", Some(json!({"name": "team", "models": models}))).await;
    site.ok("POST", "/api/models/alias", Some(json!({"alias": "crew", "model": "team"}))).await;
    let body =
        json!({"model": "crew", "features": {"promptTokens": 1_000_000, "outputTokens": 0, "needs": ["vision"]}});

    let told = site.ok("POST", "/api/explain", Some(body.clone())).await;
    let same = site.ok("POST", "/api/combos/explain", Some(body)).await;

    assert_eq!((&told["combo"], &told["strategy"]), (&json!("team"), &json!("priority")));
    assert!(told["path"].as_array().unwrap()[0].as_str().unwrap().contains("alias crew"), "{told}");
    let first = &told["candidates"][0];
    assert_eq!((&first["executionKey"], &first["expectedCost"]), (&json!("one"), &json!("5")), "{told}");
    assert_eq!(
        (&first["connections"][0]["connectionId"], &first["connections"][0]["skipped"]),
        (&json!("env-openai"), &Value::Null)
    );
    assert_eq!((&told["wouldServe"]["connectionId"], &same), (&json!("env-openai"), &told));
    let out = told["excluded"].as_array().unwrap();
    assert_eq!((out.len(), &out[0]["stepId"]), (1, &json!("two")), "{told}");
}

#[actix_web::test]
async fn what_cannot_be_explained_says_why() {
    let site = signed_in().await;
    let ask = async |body| site.ask("POST", "/api/explain", Some(body)).await;

    assert_eq!(ask(json!({})).await.fields(), ["model"]);
    assert_eq!(ask(json!({"model": "nobody-knows"})).await.status, 404);
    assert_eq!(ask(json!({"model": "a/../b"})).await.status, 400);
    assert_eq!(ask(json!({"model": "openai/x", "apiKeyId": "ghost"})).await.status, 404);
    let wrong = json!({"model": "openai/x", "features": {"needs": ["flight"], "budget": "much", "speed": 1}});
    assert_eq!(ask(wrong).await.fields(), ["features.needs", "features.budget", "features.speed"]);
}

#[actix_web::test]
async fn a_dry_test_of_a_combo_asks_nobody() {
    let site = signed_in().await;
    let models = json!([{"id": "one", "label": "main", "model": "openai/gpt-5.5"}, {"id": "two", "model": "groq/x"}]);
    site.ok("POST", "/api/combos", Some(json!({"name": "team", "models": models}))).await;

    let tested = site.ok("POST", "/api/combos/test", Some(json!({"comboName": "team"}))).await;

    assert_eq!((&tested["resolvedBy"], &tested["live"]), (&json!("openai/gpt-5.5"), &json!(false)));
    assert_eq!((&tested["results"][0]["status"], &tested["results"][0]["label"]), (&json!("ok"), &json!("main")));
    let others = tested["results"].as_array().unwrap().iter().skip(1);
    assert!(others.clone().all(|result| result["status"] == json!("error")), "{tested}");
    assert_eq!(site.ask("POST", "/api/combos/test", Some(json!({"comboName": "ghost"}))).await.status, 404);
    assert_eq!(site.ask("POST", "/api/combos/test", Some(json!({}))).await.status, 400);
}

#[actix_web::test]
async fn what_happened_is_told_and_can_be_forgotten() {
    let site = signed_in().await;
    site.ok("POST", "/api/combos", Some(json!({"name": "team", "models": ["openai/x"]}))).await;
    (0..3).for_each(|_| site.bed.app.stats.finished(finished("team", "ext:s")));

    let metrics = site.ok("GET", "/api/combos/metrics", None).await;
    let one = site.ok("GET", "/api/combos/metrics?combo=team", None).await;
    let none = site.ok("GET", "/api/combos/metrics?combo=ghost", None).await;
    let telemetry = site.ok("GET", "/api/telemetry/summary", None).await;
    let sessions = site.ok("GET", "/api/sessions", None).await;
    let cleared = site.ok("DELETE", "/api/combos/metrics?combo=team", None).await;

    assert_eq!(
        (&metrics["metrics"]["team"]["totalSuccesses"], &one["metrics"]["strategy"]),
        (&json!(3), &json!("priority"))
    );
    assert_eq!((&none["metrics"], none["message"].is_string()), (&Value::Null, true));
    assert_eq!(
        (&telemetry["providers"]["openai"]["p95"], &telemetry["sessions"]["activeCount"]),
        (&json!(40), &json!(1))
    );
    assert_eq!((&sessions["count"], &sessions["byApiKey"]), (&json!(1), &json!({"k": 1})));
    assert_eq!(sessions["sessions"][0]["requestCount"], json!(3));
    assert_eq!((&cleared["success"], &cleared["cleared"]), (&json!(true), &json!(1)));
    assert_eq!(site.ok("GET", "/api/combos/metrics", None).await["metrics"], json!({}));
}

fn failure() -> Settlement {
    let error = ErrorNote {
        outcome: Outcome::ServerFault,
        status: 500,
        code: None,
        message: "broken".into(),
        needs_attention: false,
    };
    Settlement { error: Some(error), ..Settlement::from(Outcome::ServerFault) }
}

#[actix_web::test]
async fn transitions_are_shown_with_their_cause_and_written_into_the_audit_log() {
    let site = signed_in().await;
    let made = json!({"provider": "groq", "name": "broken", "apiKey": "k"});
    let id = site.ok("POST", "/api/providers", Some(made)).await["connection"]["id"].as_str().unwrap().to_owned();
    let handle = site.bed.app.plan.load().providers["groq"].connections[0].clone();
    for _ in 0..14 {
        if let Ok(mut permit) = handle.acquire(&"m".into(), &site.bed.app.clock) {
            permit.settle(failure());
        }
        actix_web::rt::time::sleep(std::time::Duration::from_millis(2)).await;
    }

    let shown = site.ok("GET", &format!("/api/resilience?connectionId={id}&include=slowStart"), None).await;

    let events = shown["events"].as_array().unwrap();
    let opened = events.iter().find(|event| event["kind"] == json!("breaker_opened")).unwrap();
    assert_eq!((&opened["connectionId"], &opened["name"]), (&json!(id), &json!("broken")));
    assert!(
        opened["cause"] == json!(Outcome::ServerFault.as_str()) && opened["change"].as_str().unwrap().contains("open"),
        "{opened}"
    );
    let mut log = Value::Null;
    for _ in 0..50 {
        log = site.ok("GET", "/api/compliance/audit-log?action=connection.breaker_opened", None).await;
        if !log.as_array().unwrap().is_empty() {
            break;
        }
        actix_web::rt::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!((&log[0]["actor"], &log[0]["target"]), (&json!("system"), &json!(id)));
}

fn restarted(bed: &Bed) -> Directory {
    Directory::new(DirectoryParts {
        config: bed.app.config.clone(),
        store: bed.app.store.clone(),
        registry: bed.app.registry.clone(),
        plan: Default::default(),
        environment: Vec::new(),
        demo_url: None,
        egress: None,
    })
}

#[actix_web::test]
async fn a_combo_goes_on_with_its_turn_after_a_restart() {
    let site = signed_in().await;
    let body = json!({"name": "team", "strategy": "round-robin", "models": ["openai/x", "openai/y"]});
    site.ok("POST", "/api/combos", Some(body)).await;
    let state = site.bed.app.plan.load().combos["team"].state.clone();
    for _ in 0..5 {
        state.take_turn();
    }

    let kept = site.bed.app.directory.keep(1).await.unwrap();
    let again = site.bed.app.directory.keep(2).await.unwrap();
    let after = restarted(&site.bed);
    after.recall().await.unwrap();
    let plan = after.refresh().await.unwrap();

    assert_eq!((kept, again, plan.combos["team"].state.turn()), (1, 0, 5));
    let later = after.refresh().await.unwrap();
    assert_eq!(later.combos["team"].state.turn(), 5);
}
