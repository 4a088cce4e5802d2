//! `/api/sync/*` between two built gateways.

use std::time::Duration;

use omniroute_testkit::gateway::{Builder, Gateway};
use omniroute_testkit::http::{Request, Response};
use omniroute_testkit::proxy::{Kind, Proxy};
use serde_json::{Value, json};

use crate::common::{Site, calm, chat, eventually};

const SHARED: &str = "a key that both operators share, long enough";

/// A gateway with a configuration worth having, and one without that knows it as its peer.
async fn pair(with_credentials: bool, shared: &str) -> (Site, Gateway) {
    let with = if with_credentials { "true" } else { "false" };
    let source = Site::open(
        calm().set("sync.shared_key", SHARED).set("sync.include_credentials", with).set("sync.accept", "true"),
    )
    .await;
    let token = source.admin.post("/api/sync/tokens", &json!({"name": "the other"})).await["token"].clone();
    let reader = reading(&source, &token, shared).start().await;
    (source, reader)
}

/// A gateway that knows this one as its peer.
fn reading(source: &Site, token: &Value, shared: &str) -> Builder {
    calm()
        .set("sync.peer_url", &format!("http://{}", source.gateway.addr))
        .set("sync.peer_token", token.as_str().unwrap())
        .set("sync.shared_key", shared)
        .set("upstream.allow_private_hosts", "127.0.0.1:*")
        .set("upstream.allow_http", "true")
}

#[tokio::test]
async fn without_a_peer_nothing_is_synchronised_and_everything_says_so() {
    let site = Site::open(calm()).await;

    let shown = site.admin.get("/api/sync/cloud").await;
    let enabled = site.admin.send(Request::post("/api/sync/cloud", &json!({"action": "enable"}))).await;
    let stranger = site.gateway.ask(&Request::get("/api/sync/bundle")).await;

    assert_eq!((shown["enabled"].clone(), enabled.status(), stranger.status()), (json!(false), 400, 401));
}

#[tokio::test]
async fn a_pulled_configuration_answers_calls_with_the_credentials_that_came_along() {
    let (source, reader) = pair(true, SHARED).await;
    let admin = reader.admin().await;
    let sync = async |body: Value| admin.post("/api/sync/cloud", &body).await;
    assert_eq!(admin.post("/api/sync/cloud", &json!({"action": "enable"})).await["verified"], true);

    let preview = sync(json!({"action": "sync", "dryRun": true})).await;
    let before = admin.get("/api/combos").await;
    let done = sync(json!({"action": "sync"})).await;
    let again = sync(json!({"action": "sync"})).await;

    assert_eq!(preview["changes"]["kinds"]["nodes"]["added"].as_array().unwrap().len(), 2);
    assert!(!before.to_string().contains("team"), "{before}");
    assert_eq!(done["changes"], preview["changes"]);
    assert_eq!(again["changes"]["kinds"]["combos"]["unchanged"], 1, "{again}");
    let answer = reader.ask(&chat("team", false)).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(admin.get("/api/sync/cloud").await["connected"], true);
    assert_eq!(source.a.control.requests().len(), 1);
}

const SETTINGS: &str = "/api/settings";
const PROXY: &str = "/api/settings/proxy";

/// Operator settings of every kind, and how they are told by whoever has them.
async fn set_everything(site: &Site, proxy: &Proxy) {
    let admin = &site.admin;
    admin.patch(SETTINGS, &json!({"instanceName": "north", "maxBodySizeMb": 7})).await;
    admin.put("/api/settings/ip-filter", &json!({"enabled": true, "addBlacklist": ["203.0.113.0/24"]})).await;
    admin.put("/api/settings/system-prompt", &json!({"enabled": true, "prompt": "be brief"})).await;
    admin.put("/api/settings/thinking-budget", &json!({"mode": "auto"})).await;
    admin.put(PROXY, &json!({"providers": {"a": format!("http://name:c4nary@{}", proxy.addr)}})).await;
    admin.post("/api/provider-models", &json!({"provider": "a", "modelId": "own-1", "modelName": "Own"})).await;
}

#[tokio::test]
async fn every_setting_of_the_operator_goes_along_and_what_belongs_to_an_instance_does_not() {
    let (source, reader) = pair(true, SHARED).await;
    // `name:c4nary` in base64.
    let proxy = Proxy::start(Kind::Http, Some("bmFtZTpjNG5hcnk=")).await;
    set_everything(&source, &proxy).await;
    let admin = reader.admin().await;
    admin.patch(SETTINGS, &json!({"instanceName": "south"})).await;

    let done = admin.post("/api/sync/cloud", &json!({"action": "sync"})).await;
    let again = admin.post("/api/sync/cloud", &json!({"action": "sync"})).await;

    let settings = admin.get(SETTINGS).await;
    assert_eq!((&settings["instanceName"], &settings["maxBodySizeMb"]), (&json!("south"), &json!(7)), "{done}");
    for path in ["ip-filter", "system-prompt", "thinking-budget"] {
        let path = format!("/api/settings/{path}");
        assert_eq!(admin.get(&path).await, source.admin.get(&path).await, "{path}");
    }
    let kept = |answer: &Value, kind: &str| answer["changes"]["kinds"][kind]["unchanged"].clone();
    assert_eq!((kept(&again, "settings"), kept(&again, "providerModels")), (json!(5), json!(1)), "{again}");
    assert_eq!(reader.ask(&chat("a/own-1", false)).await.status(), 200, "{}", reader.log());
    assert_eq!(proxy.asked().len(), 1, "the call takes the proxy that came along, with its password");
    let bundle = source.admin.send(Request::get("/api/sync/bundle")).await.text();
    assert!(!bundle.contains("c4nary") && !bundle.contains("admin_password") && !bundle.contains("north"), "{bundle}");
}

#[tokio::test]
async fn what_is_enabled_with_an_interval_comes_by_itself_and_tells_how_it_went() {
    let source = Site::open(calm().set("sync.shared_key", SHARED)).await;
    let token = source.admin.post("/api/sync/tokens", &json!({"name": "the other"})).await["token"].clone();
    let reader = reading(&source, &token, SHARED).set("sync.every_min", "1440").start().await;
    let admin = reader.admin().await;
    assert_eq!(admin.get("/api/sync/cloud").await["schedule"]["nextAt"], json!(null));

    admin.post("/api/sync/cloud", &json!({"action": "enable"})).await;
    let combos = eventually(Duration::from_secs(60), async || {
        let combos = admin.get("/api/combos").await.to_string();
        combos.contains("team").then_some(combos)
    });

    assert!(combos.await.is_some(), "{}", reader.log());
    let shown = eventually(Duration::from_secs(60), async || {
        let shown = admin.get("/api/sync/cloud").await;
        shown["schedule"]["nextAt"].is_string().then_some(shown)
    });
    let shown = shown.await.unwrap();
    assert_eq!((&shown["connected"], &shown["schedule"]["failures"]), (&json!(true), &json!(0)), "{shown}");
    let page = admin.send(Request::get("/metrics")).await.text();
    assert!(page.contains("omniroute_sync_exchanges_total{direction=\"pull\",result=\"ok\"} 1"), "{page}");
    let log = admin.get("/api/compliance/audit-log?action=sync.exchanged").await;
    assert_eq!((log.as_array().unwrap().len(), &log[0]["actor"]), (1, &json!("system")), "{log}");
}

#[tokio::test]
async fn credentials_stay_at_home_unless_the_operator_wants_it() {
    let (source, reader) = pair(false, SHARED).await;
    let admin = reader.admin().await;
    source.admin.create_connection(&source.at_a.node, "third", "canary-of-the-house").await;

    admin.post("/api/sync/cloud", &json!({"action": "sync"})).await;
    let bundle = source.admin.send(Request::get("/api/sync/bundle")).await;

    assert!(bundle.text().contains("third") && !bundle.text().contains("canary"), "{}", bundle.text());
    assert_eq!(bundle.json()["credentials"], json!({}));
    let same = Request::get("/api/sync/bundle").header("If-None-Match", bundle.header("etag").unwrap());
    assert_eq!(source.admin.send(same).await.status(), 304);
}

#[tokio::test]
async fn a_bundle_under_another_key_is_not_believed() {
    let (_source, reader) = pair(true, "another key, as long as the other one was").await;
    let admin = reader.admin().await;

    let refused: Response = admin.send(Request::post("/api/sync/cloud", &json!({"action": "sync"}))).await;

    assert_eq!(refused.status(), 502, "{}", refused.text());
    assert!(!admin.get("/api/combos").await.to_string().contains("team"));
}

#[tokio::test]
async fn a_pushed_configuration_is_applied_there_once_and_only_with_a_good_token() {
    let (source, writer) = pair(true, SHARED).await;
    let admin = writer.admin().await;
    admin.create_combo("pushed", "priority", &["openai/gpt-5.5"]).await;

    let done = admin.post("/api/sync/cloud", &json!({"action": "sync", "direction": "push"})).await;
    let own = admin.send(Request::get("/api/sync/bundle")).await.text();
    let tokens = source.admin.get("/api/sync/tokens").await;
    let made = source.admin.post("/api/sync/tokens", &json!({"name": "replay"})).await;
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    let bring = async |text: &str| {
        let request = Request::post("/api/sync/bundle", &json!({"envelope": text})).header("Authorization", &token);
        source.gateway.ask(&request).await.status()
    };
    let (first, replayed, forged) =
        (bring(&own).await, bring(&own).await, bring(&own.replace("pushed", "forged")).await);
    source.admin.delete(&format!("/api/sync/tokens/{}", made["syncToken"]["id"].as_str().unwrap())).await;
    let revoked = bring(&own).await;

    assert_eq!(done["changes"]["kinds"]["combos"]["added"].as_array().unwrap().len(), 1, "{done}");
    assert!(source.admin.get("/api/combos").await.to_string().contains("pushed"));
    assert!(source.admin.get("/api/combos").await.to_string().contains("team"), "merging removes nothing");
    assert!(tokens["tokens"][0]["lastUsedAt"].is_string(), "{tokens}");
    assert_eq!((first, replayed, forged, revoked), (200, 409, 403, 401));
}
