//! `/api/resilience*` and `/api/rate-limit*`: what operators see, change and reset.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{Site, calm, chat, touchy};

#[tokio::test]
async fn configuration_and_live_state_are_shown_together() {
    let site = Site::open(touchy(60_000)).await;
    site.open_breaker_of_a().await;

    let all = site.admin.resilience().await;
    let a = site.state_of_a().await;

    assert_eq!(all["providerBreaker"]["apikey"]["failureThreshold"], 2);
    assert_eq!(all["connectionCooldown"]["apikey"]["baseCooldownMs"], 3000);
    assert_eq!(all["waitForCooldown"]["enabled"], false);
    assert!(all["requestQueue"]["requestsPerMinute"].is_u64() && all["legacy"]["profiles"].is_object(), "{all}");
    assert_eq!((&a["state"], &a["reason"]), (&json!("open"), &json!("server_fault")));
    assert_eq!(a["lastError"]["status"], 500);
    assert!(a["since"].is_string() && a["until"].is_string() && a["generation"].is_u64(), "{a}");
    assert_eq!((&a["counts"]["failed"], &a["counts"]["admitted"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn a_reset_without_a_body_closes_breakers_before_it_answers_and_nothing_else() {
    let site = Site::open(touchy(60_000)).await;
    site.open_breaker_of_a().await;
    site.b.control.script(["status code=429 retry_after=600"]);
    site.gateway.ask(&chat("b/m", false)).await;
    let generation = site.state_of_a().await["generation"].as_u64().unwrap();

    let answer = site.admin.reset(&Value::Null).await;
    let served = site.ask(false).await.status();
    let still_cooling = site.gateway.ask(&chat("b/m", false)).await.status();

    assert_eq!((&answer["ok"], served, still_cooling), (&json!(true), 200, 429));
    assert!(answer["resetCount"].as_u64().unwrap() >= 1 && answer["message"].is_string(), "{answer}");
    let now = site.state_of_a().await;
    assert!(now["state"] == "ready" && now["generation"].as_u64().unwrap() > generation, "{now}");
}

#[tokio::test]
async fn each_scope_clears_its_own() {
    let site = Site::open(touchy(60_000)).await;
    let b = site.at_b.connections[0].clone();
    site.open_breaker_of_a().await;
    site.b.control.script(["status code=404", "status code=429 retry_after=600"]);
    site.gateway.ask(&chat("b/gone", false)).await;
    site.gateway.ask(&chat("b/m", false)).await;
    let ask = async |model: &str| site.gateway.ask(&chat(model, false)).await.status();
    let blocked = (ask("a/m").await, ask("b/m").await);

    site.admin.reset(&json!({"scope": "cooldowns", "connectionId": b})).await;
    let after_cooldowns = (ask("a/m").await, ask("b/m").await, ask("b/gone").await);
    site.admin.reset(&json!({"scope": "lockouts", "connectionId": b, "model": "gone"})).await;
    let after_lockouts = (ask("a/m").await, ask("b/gone").await);
    site.admin.reset(&json!({"scope": "all", "provider": site.at_a.node})).await;

    assert_eq!(blocked, (503, 429));
    assert_eq!(after_cooldowns, (503, 200, 429));
    assert_eq!((after_lockouts, ask("a/m").await), ((503, 200), 200));
}

#[tokio::test]
async fn a_reset_touches_only_what_it_names_and_refuses_what_is_not_there() {
    let site = Site::open(touchy(60_000)).await;
    site.open_breaker_of_a().await;

    site.admin.reset(&json!({"scope": "all", "connectionId": site.at_b.connections[0]})).await;
    let still = site.ask(false).await.status();
    let wrong = [json!({"scope": "everything"}), json!({"scope": "all", "connectionId": "nobody"})];

    assert_eq!(still, 503);
    for body in wrong {
        let answer = site.admin.send(Request::post("/api/resilience/reset", &body)).await;
        assert!([400, 404].contains(&answer.status()), "{body}: {} {}", answer.status(), answer.text());
    }
}

#[tokio::test]
async fn a_reset_is_audited() {
    let site = Site::open(touchy(60_000)).await;
    site.open_breaker_of_a().await;

    site.admin.reset(&Value::Null).await;

    let mut connection = crate::common::database::open(&site.gateway.data_dir);
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        entries: i64,
    }
    let query = "SELECT count(*) AS entries FROM audit WHERE action LIKE '%resilience%' OR action LIKE '%reset%'";
    let found: Count = diesel::RunQueryDsl::get_result(diesel::sql_query(query), &mut connection).unwrap();
    assert_eq!(found.entries, 1);
}

#[tokio::test]
async fn put_and_patch_change_running_breakers_and_outlive_a_restart() {
    let mut site = Site::open(calm()).await;

    for method in ["PUT", "PATCH"] {
        let body = json!({"providerBreaker": {"apikey": {"failureThreshold": 3, "resetTimeoutMs": 60000}}});
        let answer = site.admin.send(Request::new(method, "/api/resilience").json(&body)).await;
        assert_eq!((answer.status(), &answer.json()["ok"]), (200, &json!(true)), "{}", answer.text());
    }
    site.gateway.restart().await;
    site.admin = site.gateway.admin().await;
    let shown = site.admin.resilience().await;
    site.a.control.always("status code=500");
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(site.ask(false).await.status());
    }
    site.a_becomes("open").await;

    assert_eq!(shown["providerBreaker"]["apikey"]["failureThreshold"], 3);
    assert_eq!(statuses, [502; 3]);
}

#[tokio::test]
async fn a_change_that_makes_no_sense_changes_nothing() {
    let site = Site::open(calm()).await;
    let before = site.admin.resilience().await["providerBreaker"].clone();
    let wrong = [
        json!({}),
        json!({"unknown": 1}),
        json!({"providerBreaker": {"apikey": {"failureThreshold": "many"}}}),
        json!({"providerBreaker": {"apikey": {"nonsense": 1}}}),
    ];

    for body in wrong {
        let answer = site.admin.send(Request::new("PATCH", "/api/resilience").json(&body)).await;
        assert_eq!(answer.status(), 400, "{body}: {}", answer.text());
    }
    assert_eq!(site.admin.resilience().await["providerBreaker"], before);
}

#[tokio::test]
async fn the_old_shape_of_profiles_is_understood() {
    let site = Site::open(calm()).await;
    let profile = json!({"transientCooldown": 4000, "rateLimitCooldown": 4000, "maxBackoffLevel": 4,
        "circuitBreakerThreshold": 9, "circuitBreakerReset": 45000});

    site.admin.put("/api/resilience", &json!({"profiles": {"apikey": profile, "oauth": profile}})).await;

    let shown = site.admin.resilience().await;
    assert_eq!(shown["providerBreaker"]["apikey"]["failureThreshold"], 9);
    assert_eq!(shown["providerBreaker"]["oauth"]["resetTimeoutMs"], 45000);
    assert_eq!(shown["connectionCooldown"]["apikey"]["baseCooldownMs"], 4000);
}

#[tokio::test]
async fn rate_limits_are_shown_per_connection_and_switched() {
    let site = Site::open(calm()).await;
    let id = &site.at_a.connections[0];

    let before = site.admin.get("/api/rate-limits").await;
    site.admin.post("/api/rate-limits", &json!({"connectionId": id, "enabled": true})).await;
    let after = site.admin.get("/api/rate-limits").await;

    let of = |all: &Value| {
        let list = all["connections"].as_array().cloned().unwrap_or_default();
        list.into_iter().find(|entry| entry["connectionId"] == id.as_str()).expect("the connection")
    };
    assert_eq!(
        (&of(&before)["rateLimitProtection"], &of(&after)["rateLimitProtection"]),
        (&json!(false), &json!(true))
    );
    let answer = site.admin.send(Request::get("/api/rate-limit")).await;
    assert!([200, 308].contains(&answer.status()));
}

#[tokio::test]
async fn every_connection_with_a_key_is_paced_when_the_configuration_says_so() {
    let queue = "resilience.request_queue";
    let builder = calm().set(&format!("{queue}.auto_enable_api_key_providers"), "true");
    let builder = builder.set(&format!("{queue}.requests_per_minute"), "3");
    let builder = builder.set(&format!("{queue}.min_time_between_requests_ms"), "0");
    let site = Site::open(builder.set(&format!("{queue}.max_wait_ms"), "1000")).await;

    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(site.ask(false).await.status());
    }
    let refused = site.ask(false).await;

    assert_eq!(statuses[..3], [200; 3]);
    assert_eq!((refused.status(), &refused.json()["error"]["code"]), (429, &json!("local_rate_limit")), "{statuses:?}");
    assert_eq!(refused.header("x-should-retry"), Some("true"));
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn a_paced_connection_is_held_to_its_calls_per_minute() {
    let paced = calm().set("resilience.request_queue.requests_per_minute", "5");
    let site = Site::open(paced.set("resilience.request_queue.min_time_between_requests_ms", "0")).await;
    site.admin.post("/api/rate-limits", &json!({"connectionId": site.at_a.connections[0], "enabled": true})).await;

    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(site.ask_team(false).await.status());
    }

    assert_eq!(statuses, [200; 8], "what is too much for a goes to b");
    let (a, b) = (site.a.control.settled().await.total.answered, site.b.control.settled().await.total.answered);
    assert!(a >= 5 && b >= 2, "{a} and {b}");
}
