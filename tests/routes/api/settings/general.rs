//! `/api/settings` itself.

use omniroute_testkit::admin::Admin;
use omniroute_testkit::http::{Request, Response};
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm, chat, database};

const PATH: &str = "/api/settings";

async fn put(admin: &Admin, body: Value) -> Response {
    admin.send(Request::new("PUT", PATH).json(&body)).await
}

#[tokio::test]
async fn what_is_set_has_its_effect_at_once_and_after_a_restart() {
    let mut site = Site::open(calm().set("server.max_body_bytes", "4096")).await;
    let large = || Request::chat("a/m", &"x".repeat(100_000), false).key(KEY);
    let page = || chat("a/m", false).header("Origin", "https://app.example");
    assert_eq!(site.gateway.ask(&large()).await.status(), 413);

    let set = json!({"maxBodySizeMb": 1, "corsOrigins": "https://app.example, https://b.example", "instanceName": "west",
        "requestRetry": 2, "maxRetryIntervalSec": 7, "fallbackStrategy": "round-robin", "stickyRoundRobinLimit": 4});
    let answer = put(&site.admin, set.clone()).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    for restarted in [false, true] {
        if restarted {
            site.gateway.restart().await;
            site.admin = site.gateway.admin().await;
        }
        let shown = site.admin.get(PATH).await;
        for (field, value) in set.as_object().unwrap().iter().filter(|(field, _)| *field != "corsOrigins") {
            assert_eq!(&shown[field], value, "{field}: {shown}");
        }
        assert_eq!(site.gateway.ask(&large()).await.status(), 200);
        let allowed = site.gateway.ask(&page()).await;
        assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
        let resilience = site.admin.resilience().await;
        let wait = json!({"enabled": true, "maxRetries": 2, "maxRetryWaitSec": 7});
        assert_eq!(resilience["waitForCooldown"], wait);
        let defaults = site.admin.get("/api/settings/combo-defaults").await["comboDefaults"].clone();
        assert_eq!(
            (&defaults["fallbackStrategy"], &defaults["stickyRoundRobinLimit"]),
            (&json!("round-robin"), &json!(4))
        );
        let health = site.admin.get("/api/monitoring/health").await;
        assert_eq!(health["system"]["instanceName"], "west");
    }
    site.admin.put(PATH, &json!({"maxBodySizeMb": null, "corsOrigins": null})).await;
    assert_eq!(site.gateway.ask(&large()).await.status(), 413);
    assert_eq!(site.gateway.ask(&page()).await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_blocked_provider_is_asked_nothing() {
    let site = Site::open(calm()).await;

    let shown = site.admin.put(PATH, &json!({"blockedProviders": ["a"]})).await;
    let alone = site.ask(false).await;
    let around = site.ask_team(false).await;
    site.admin.put(PATH, &json!({"blockedProviders": []})).await;
    let again = site.ask(false).await;

    assert_eq!(shown["blockedProviders"], json!([site.at_a.node]));
    assert!(alone.status() >= 400, "{}", alone.text());
    assert_eq!((around.status(), again.status()), (200, 200));
    assert_eq!(site.a.control.stats().total.started, 1);
}

#[tokio::test]
async fn what_is_unknown_fixed_or_wrong_is_refused_and_what_means_nothing_is_said() {
    let site = Site::open(calm()).await;

    let wrong = json!({"requestRety": 1, "requireLogin": false, "bruteForceProtection": false, "maxBodySizeMb": 501,
        "corsOrigins": "app.example", "blockedProviders": ["nobody"], "wildcardAliases": [], "fallbackStrategy": "luck"});
    let refused = put(&site.admin, wrong.clone()).await;
    let idle = site.admin.put(PATH, &json!({"theme": "dark", "instanceName": "x", "requireLogin": true})).await;
    let mut whole = site.admin.get(PATH).await;
    let unchanged = put(&site.admin, whole.clone()).await;
    let kept = database::setting(&site.gateway.data_dir, "general");
    assert_eq!(kept, r#"{"instanceName":"x"}"#, "what is configured is not held on to");
    whole["version"] = json!(0);
    let stale = put(&site.admin, whole).await;

    assert_eq!(refused.status(), 400);
    for field in wrong.as_object().unwrap().keys() {
        assert!(refused.text().contains(&format!("\"{field}\"")), "{field}: {}", refused.text());
    }
    assert!(refused.text().contains("did you mean `requestRetry`"), "{}", refused.text());
    assert_eq!((&idle["warnings"][0]["field"], &idle["theme"]), (&json!("theme"), &Value::Null));
    assert_eq!((unchanged.status(), stale.status()), (200, 409), "{}", unchanged.text());
    assert_eq!(put(&site.admin, json!({})).await.status(), 400);
}

#[tokio::test]
async fn two_writers_who_read_the_same_version_do_not_overwrite_each_other() {
    let site = Site::open(calm()).await;
    let read = site.admin.send(Request::get(PATH)).await;
    let version = read.header("etag").unwrap().to_owned();
    let write = async |name: &str| {
        let request = Request::new("PATCH", PATH).json(&json!({"instanceName": name})).header("If-Match", &version);
        site.admin.send(request).await
    };

    let (first, second) = (write("first").await, write("second").await);

    assert_eq!((first.status(), second.status()), (200, 412));
    assert_eq!(first.header("etag"), Some("\"1\""));
    assert_eq!(site.admin.get(PATH).await["instanceName"], "first");
}

#[tokio::test]
async fn a_password_is_changed_with_the_current_one_only() {
    let site = Site::open(calm().password("the first password")).await;

    let without = put(&site.admin, json!({"newPassword": "the second password"})).await;
    let wrong = put(&site.admin, json!({"newPassword": "the second password", "currentPassword": "no"})).await;
    let right = json!({"newPassword": "the second password", "currentPassword": "the first password"});
    let changed = put(&site.admin, right).await;

    assert_eq!([without.status(), wrong.status(), changed.status()], [400, 401, 200], "{}", changed.text());
    assert!(changed.header("set-cookie").is_some_and(|cookie| cookie.contains("auth_token=")));
    assert_eq!(site.admin.send(Request::get(PATH)).await.status(), 401, "other sessions have ended");
    Admin::login(site.gateway.addr, "the second password").await;
}

#[tokio::test]
async fn stored_nonsense_does_not_keep_the_gateway_from_starting() {
    let mut site = Site::open(calm()).await;
    site.gateway.kill().await;
    for key in ["general", "ipFilter", "systemPrompt", "thinkingBudget", "proxies", "comboDefaults", "resilience"] {
        database::put_setting(&site.gateway.data_dir, key, r#"{"enabled": "yes", "keys": 7, "maxBodySizeMb": []}"#);
    }

    site.gateway.start_again().await;

    assert_eq!(site.ask(false).await.status(), 200);
}
