//! Rows about limits, refused accounts, wrong requests and counts that cannot be.

use std::time::{Duration, Instant};

use omniroute_testkit::mock::Behaviour;
use serde_json::json;

use super::{forget, named};
use crate::common::{PATIENCE, Site, calm, chat, eventually};

#[tokio::test]
async fn absurd_usage_is_clamped_or_estimated_and_the_answer_passes() {
    let site = Site::open(calm()).await;
    let usages = [
        (r#"{"prompt_tokens":-5,"completion_tokens":-7,"total_tokens":-12}"#, true),
        (r#"{"prompt_tokens":9223372036854775808,"completion_tokens":18446744073709551616}"#, true),
        (r#"{"prompt_tokens":1e400,"completion_tokens":3.7}"#, true),
        (r#"{"prompt_tokens":"many","completion_tokens":null}"#, true),
        ("null", true),
        ("[]", true),
        (r#"{"prompt_tokens":NaN}"#, false),
    ];

    for (place, (usage, is_json)) in usages.iter().enumerate() {
        let choice = r#"{"index":0,"message":{"role":"assistant","content":"hello you"},"finish_reason":"stop"}"#;
        let body = format!(
            r#"{{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{choice}],"usage":{usage}}}"#
        );
        site.a.control.always(Behaviour::from_json(&json!({"name": "status", "code": 200, "body": body})).unwrap());
        let id = format!("usage-{place}");

        let answer = site.gateway.ask(&named("a/m", false, &id)).await;

        let record = site.record(&id).await;
        assert_eq!(answer.status(), if *is_json { 200 } else { 502 }, "{usage}: {}", answer.text());
        for tokens in [record.prompt_tokens, record.completion_tokens] {
            assert!((0..=100_000_000).contains(&tokens), "{usage}: {record:?}");
        }
    }
}

#[tokio::test]
async fn a_hint_of_nothing_rests_a_second_and_only_that_account() {
    let site = Site::open(calm()).await;
    let second = json!({"provider": site.at_a.node, "name": "second", "apiKey": "sk-second", "priority": 2});
    site.admin.create_connection_with(&second).await;
    site.a.control.account("sk-a").script(["status code=429 retry_after=0"]);

    let begin = Instant::now();
    let first = site.ask(false).await;
    while site.a.control.account("sk-a").counts().started == 1 && begin.elapsed() < PATIENCE {
        assert_eq!(site.ask(false).await.status(), 200, "the other account is not touched");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rested = begin.elapsed();

    assert_eq!((first.status(), first.header("x-omniroute-attempts")), (200, Some("2")));
    assert!(rested >= Duration::from_millis(990) && rested < Duration::from_millis(2_000), "{rested:?}");
}

#[tokio::test]
async fn limits_without_a_hint_climb_the_ladder() {
    let apikey = "resilience.connection_cooldown.apikey";
    let site = Site::open(calm().set(&format!("{apikey}.base_cooldown_ms"), "1000")).await;
    site.a.control.always("status code=429");

    let mut rests = Vec::new();
    for level in 1..=2 {
        assert_eq!(site.ask(false).await.status(), 429);
        let now = site.state_of_a().await;
        assert_eq!(now["backoffLevel"], level, "{now}");
        let wait: u64 = site.ask(false).await.header("retry-after-ms").unwrap().parse().unwrap();
        rests.push(wait);
        tokio::time::sleep(Duration::from_millis(wait + 20)).await;
    }

    // What the second grew by is drawn, down to the first step again.
    assert!((800..=1_100).contains(&rests[0]) && (800..=2_000).contains(&rests[1]), "{rests:?}");
    assert_eq!(site.a.control.settled().await.total.started, 2, "nobody asked while it rested");
}

#[tokio::test]
async fn a_refused_account_rests_and_is_no_failure_of_the_provider() {
    let site = Site::open(calm()).await;

    for (code, outcome) in [(401, "auth_refused"), (403, "forbidden")] {
        forget(&site).await;
        site.a.control.always(format!("status code={code}").as_str());

        let answer = site.gateway.ask(&named("team", code == 401, outcome)).await;
        let again = site.gateway.ask(&chat("a/m", false)).await;

        assert_eq!((answer.status(), answer.header("x-omniroute-attempts")), (200, Some("2")), "{code}");
        assert_eq!((again.status(), site.a.control.settled().await.total.started), (429, 1), "{code}: asked once");
        let now = site.state_of_a().await;
        assert_eq!((&now["state"], &now["counts"]["windowFailures"]), (&json!("cooling_down"), &json!(0)), "{now}");
        assert_eq!((&now["lastError"]["outcome"], &now["cooldown"]["reason"]), (&json!(outcome), &json!(outcome)));
    }
}

#[tokio::test]
async fn what_the_client_got_wrong_is_said_once_and_a_missing_model_is_looked_for_elsewhere() {
    let site = Site::open(calm()).await;

    for code in [400, 413, 422] {
        forget(&site).await;
        site.a.control.always(format!("status code={code}").as_str());
        let id = format!("wrong-{code}");

        let answer = site.gateway.ask(&named("team", code == 413, &id)).await;

        assert_eq!((answer.status(), answer.header("x-should-retry")), (code, Some("false")), "{}", answer.text());
        let asked = (site.a.control.settled().await.total.started, site.b.control.stats().total.started);
        assert_eq!((asked, site.record(&id).await.outcome.as_str()), ((1, 0), "client_fault"), "{code}");
    }
    forget(&site).await;
    site.a.control.always("status code=404");

    let found = site.ask_team(false).await;

    assert_eq!((found.status(), found.header("x-omniroute-attempts")), (200, Some("2")));
    let locked = eventually(PATIENCE, async || {
        Some(site.state_of_a().await).filter(|now| now["lockouts"][0]["model"] == "m" && now["state"] == "ready")
    });
    assert!(locked.await.is_some(), "{}", site.state_of_a().await);
}
