//! `/api/oauth/*`, and what becomes of the accounts that are signed in.

use std::sync::atomic::Ordering::SeqCst;

use futures_util::future::join_all;
use omniroute_testkit::admin::Admin;
use omniroute_testkit::gateway::Gateway;
use omniroute_testkit::http::{Request, Response};
use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};

use crate::common::authorization::AuthorizationServer;
use crate::common::postgres::Postgres;
use crate::common::{calm, chat, state_of};

const REDIRECT: &str = "http://localhost:8080/callback";

/// A gateway, one endpoint of the operator's own whose accounts are signed in at `server`, and the operator.
struct Place {
    gateway: Gateway,
    admin: Admin,
    upstream: MockUpstream,
    server: AuthorizationServer,
    _file: tempfile::TempDir,
}

impl Place {
    async fn open() -> Self {
        Self::with(|server| server.entry("acme", "up")).await
    }

    async fn with(entry: impl Fn(&AuthorizationServer) -> String) -> Self {
        let server = AuthorizationServer::start().await;
        let file = tempfile::tempdir().unwrap();
        let path = file.path().join("oauth.toml");
        std::fs::write(&path, entry(&server)).unwrap();
        let gateway = calm().set("oauth.file", path.to_str().unwrap()).start().await;
        let (admin, upstream) = (gateway.admin().await, MockUpstream::start().await);
        admin.create_node("up", &upstream.base_url()).await;
        Self { gateway, admin, upstream, server, _file: file }
    }

    async fn call(&self, action: &str, body: &Value) -> Response {
        self.admin.send(Request::post(&format!("/api/oauth/acme/{action}"), body)).await
    }

    /// Sign in with a browser's code; the answer to the exchange.
    async fn sign_in(&self) -> Value {
        let begun = self.admin.get("/api/oauth/acme/authorize").await;
        let code = format!("code.{}", begun["codeChallenge"].as_str().unwrap());
        let body = json!({"code": code, "redirectUri": REDIRECT, "state": begun["state"]});
        self.admin.post("/api/oauth/acme/exchange", &body).await
    }

    /// An account whose access token has ended, so that the first request needs the next one.
    async fn import_ended(&self) -> String {
        self.server.accepts(7);
        let body =
            json!({"accessToken": "at-ended", "refreshToken": "rt7", "expiresAt": "2020-01-01T00:00:00Z", "name": "x"});
        let made = self.admin.post("/api/oauth/acme/import", &body).await;
        made["connection"]["id"].as_str().unwrap().to_owned()
    }

    async fn ask(&self) -> Response {
        self.gateway.ask(&chat("up/m", false)).await
    }

    /// The tokens that the provider saw.
    fn seen(&self) -> Vec<String> {
        self.upstream.control.requests().into_iter().map(|request| request.key).collect()
    }
}

#[tokio::test]
async fn a_browser_signs_an_account_in_and_requests_are_sent_with_its_token() {
    let place = Place::open().await;

    let begun = place.admin.get("/api/oauth/acme/authorize").await;
    let address = url::Url::parse(begun["authUrl"].as_str().unwrap()).unwrap();
    let made = place.sign_in().await;
    let served = place.ask().await;
    let id = made["connection"]["id"].as_str().unwrap();
    let shown = place.admin.get(&format!("/api/providers/{id}")).await;

    let query: std::collections::HashMap<_, _> = address.query_pairs().into_owned().collect();
    assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", "our-client"));
    assert_eq!((query["code_challenge_method"].as_str(), query["redirect_uri"].as_str()), ("S256", REDIRECT));
    assert_eq!((&query["state"], &begun["codeVerifier"]), (&begun["state"].as_str().unwrap().to_owned(), &Value::Null));
    assert_eq!(made["connection"]["email"], json!("ann@acme.example"), "{made}");
    assert_eq!((served.status(), place.seen()), (200, vec!["at1".to_owned()]), "{}", served.text());
    let shown = &shown["connection"];
    assert_eq!((&shown["authType"], &shown["displayName"]), (&json!("oauth"), &json!("Ann")), "{shown}");
    assert!(shown["tokenExpiresAt"].is_string() && shown["scope"] == "models", "{shown}");
}

#[tokio::test]
async fn no_secret_of_a_sign_in_leaves_the_gateway() {
    let place = Place::open().await;
    let id = place.import_ended().await;
    place.ask().await;
    let device = place.admin.get("/api/oauth/acme/device-code").await;
    let refreshed = place.admin.post(&format!("/api/providers/{id}/refresh"), &json!({})).await;

    let mut told = vec![device, refreshed];
    for path in
        ["/api/oauth", "/api/providers", "/api/token-health", "/api/providers/expiration", "/api/compliance/audit-log"]
    {
        told.push(place.admin.get(path).await);
    }
    let told = format!("{told:?}{}", place.gateway.log());

    for secret in ["at-ended", "at8", "at9", "rt7", "rt8", "rt9", "our-secret", "the-secret-device-code"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

#[tokio::test]
async fn a_state_works_once_for_the_session_that_it_was_given_to() {
    let place = Place::open().await;
    let begun = place.admin.get("/api/oauth/acme/authorize").await;
    let code = format!("code.{}", begun["codeChallenge"].as_str().unwrap());
    let body = json!({"code": code, "redirectUri": REDIRECT, "state": begun["state"]});
    let stranger = place.gateway.admin().await;
    let elsewhere = Request::post("/api/oauth/acme/exchange", &body);

    let stolen = stranger.send(elsewhere).await;
    let first = place.call("exchange", &body).await;
    let second = place.call("exchange", &body).await;
    let missing = place.call("exchange", &json!({"code": "c", "redirectUri": REDIRECT})).await;

    assert_eq!((stolen.status(), first.status(), second.status(), missing.status()), (400, 200, 400, 400));
    assert!(missing.text().contains("state"), "{}", missing.text());
    assert_eq!(place.server.asked().await.len(), 1, "a state that does not fit asks nobody");
}

#[tokio::test]
async fn a_code_that_another_verifier_belongs_to_is_refused_and_ends_the_sign_in() {
    let place = Place::open().await;
    let begun = place.admin.get("/api/oauth/acme/authorize").await;
    let body = json!({"code": "code.of-somebody-else", "redirectUri": REDIRECT, "state": begun["state"]});

    let refused = place.call("exchange", &body).await;

    assert_eq!((refused.status(), &refused.json()["oauthError"]), (400, &json!("invalid_grant")), "{}", refused.text());
    assert_eq!(place.call("exchange", &body).await.status(), 400);
    assert_eq!(place.server.asked().await.len(), 1);
}

#[tokio::test]
async fn a_code_comes_back_to_nobody_but_the_operator() {
    let place = Place::open().await;
    let address = |redirect: &str| {
        let query: String = url::form_urlencoded::byte_serialize(redirect.as_bytes()).collect();
        Request::get(&format!("/api/oauth/acme/authorize?redirect_uri={query}"))
    };

    for evil in [
        "https://evil.example/callback",
        "http://localhost.evil.example/callback",
        "http://user@localhost/callback",
        "https://evil.example/api/oauth/acme/callback",
        "javascript:alert(1)",
    ] {
        assert_eq!(place.admin.send(address(evil)).await.status(), 400, "{evil}");
    }
    for own in ["http://127.0.0.1:5555/x", "http://[::1]:1/x", REDIRECT] {
        assert_eq!(place.admin.send(address(own)).await.status(), 200, "{own}");
    }
}

#[tokio::test]
async fn a_device_is_let_in_when_a_person_has_entered_its_code() {
    let place = Place::open().await;
    place.server.state.device_waits.store(1, SeqCst);
    let device = place.admin.get("/api/oauth/acme/device-code").await;
    let body = json!({"deviceCode": device["device_code"]});

    let early = place.admin.post("/api/oauth/acme/poll", &body).await;
    let done = place.admin.post("/api/oauth/acme/poll", &body).await;
    let again = place.admin.post("/api/oauth/acme/poll", &body).await;

    assert_eq!(
        (&device["user_code"], &device["verification_uri"]),
        (&json!("ABCD-EFGH"), &json!("https://acme.example/device"))
    );
    assert_eq!((&early["pending"], &early["error"]), (&json!(true), &json!("authorization_pending")), "{early}");
    assert_eq!(done["success"], json!(true), "{done}");
    assert_eq!((&again["success"], &again["pending"]), (&json!(false), &json!(false)), "{again}");
    assert_eq!((place.ask().await.status(), place.seen()), (200, vec!["at1".to_owned()]));
}

#[tokio::test]
async fn a_device_that_is_refused_is_over() {
    let place = Place::open().await;
    place.server.state.denies.store(true, SeqCst);
    let device = place.admin.get("/api/oauth/acme/device-code").await;
    let body = json!({"deviceCode": device["device_code"]});

    let denied = place.admin.post("/api/oauth/acme/poll", &body).await;
    let after = place.admin.post("/api/oauth/acme/poll", &body).await;

    assert_eq!((&denied["error"], &denied["pending"]), (&json!("access_denied"), &json!(false)), "{denied}");
    assert_eq!((&after["error"], place.server.asked().await.len()), (&json!("expired_token"), 1), "{after}");
}

#[tokio::test]
async fn the_gateway_signs_in_as_itself() {
    let place = Place::open().await;

    let made = place.admin.post("/api/oauth/acme/client-credentials", &json!({"name": "machine"})).await;
    let served = place.ask().await;
    place.upstream.control.script(["status code=401"]);
    let again = place.ask().await;

    assert_eq!((served.status(), again.status()), (200, 200), "{made} {}", again.text());
    assert_eq!(place.server.asked().await[0]["scope"], "models email");
    assert_eq!(place.server.asked().await.len(), 2, "a refused token is got anew in the same way");
}

#[tokio::test]
async fn a_server_that_is_known_by_its_name_is_found_by_its_metadata() {
    let place = Place::with(|server| server.discovered_entry("acme", "up")).await;

    let begun = place.admin.get("/api/oauth/acme/authorize").await;
    let made = place.sign_in().await;

    assert!(begun["authUrl"].as_str().unwrap().starts_with("https://acme.example/found?"), "{begun}");
    assert_eq!((&made["success"], place.ask().await.status()), (&json!(true), 200));
}

#[tokio::test]
async fn the_same_account_signed_in_again_is_the_same_connection() {
    let place = Place::open().await;

    let first = place.sign_in().await;
    let second = place.sign_in().await;
    place.ask().await;
    let named = json!({"accessToken": "at-named", "expiresIn": 3600, "connectionId": first["connection"]["id"]});
    let third = place.admin.post("/api/oauth/acme/import", &named).await;
    place.ask().await;

    assert_eq!(first["connection"]["id"], second["connection"]["id"]);
    assert_eq!(first["connection"]["id"], third["connection"]["id"]);
    assert_eq!(place.seen(), ["at2", "at-named"], "the new sign-in counts");
}

#[tokio::test]
async fn each_rotated_token_is_used_once_and_survives_a_crash_before_its_first_use() {
    let mut place = Place::open().await;
    let id = place.import_ended().await;
    let (gateway, admin) = (&place.gateway, &place.admin);
    let refreshed = admin.send(Request::post(&format!("/api/providers/{id}/refresh"), &json!({}))).await;
    assert_eq!((refreshed.status(), gateway.ask(&chat("up/nothing", false)).await.status()), (200, 200));
    let rotations = place.server.refreshes().await;

    place.gateway.kill_and_restart().await;
    let served = place.ask().await;
    let after_the_crash = place.server.refreshes().await;
    place.upstream.control.script(["status code=401"]);
    let renewed = place.ask().await;

    assert_eq!((served.status(), renewed.status()), (200, 200), "{} {}", served.text(), renewed.text());
    assert_eq!(after_the_crash, rotations, "the stored token is used, nothing is asked");
    assert_eq!((place.server.refreshes().await, place.server.state.void.load(SeqCst)), (rotations + 1, 0));
    assert_eq!(place.seen().last().unwrap(), &format!("at{}", 8 + rotations));
}

#[tokio::test]
async fn fifty_requests_at_once_renew_a_token_once() {
    let place = Place::open().await;
    place.import_ended().await;

    let statuses = join_all((0..50).map(|_| async { place.ask().await.status() })).await;

    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!((place.server.refreshes().await, place.server.state.void.load(SeqCst)), (1, 0));
    assert!(place.seen().iter().all(|token| token == "at8"), "{:?}", place.seen());
}

#[tokio::test]
async fn two_instances_renew_a_token_once() {
    let Some(database) = Postgres::start().await else { return };
    let server = AuthorizationServer::start().await;
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("oauth.toml");
    std::fs::write(&path, server.entry("acme", "up")).unwrap();
    let instance = || {
        let shared =
            calm().env("DATABASE_URL", &database.url()).set("storage.master_key", &"0123456789abcdef".repeat(4));
        shared.set("oauth.file", path.to_str().unwrap())
    };
    let one = instance().start().await;
    let (admin, upstream) = (one.admin().await, MockUpstream::start().await);
    admin.create_node("up", &upstream.base_url()).await;
    server.accepts(7);
    let body = json!({"accessToken": "at-ended", "refreshToken": "rt7", "expiresAt": "2020-01-01T00:00:00Z"});
    admin.post("/api/oauth/acme/import", &body).await;
    let other = instance().start().await;

    let (asked, questions) = (chat("up/m", false), 0..20);
    let both = join_all(questions.map(|nth| if nth % 2 == 0 { one.ask(&asked) } else { other.ask(&asked) })).await;

    assert!(
        both.iter().all(|answer| answer.status() == 200),
        "{:?}",
        both.iter().map(Response::text).collect::<Vec<_>>()
    );
    assert_eq!((server.refreshes().await, server.state.void.load(SeqCst)), (1, 0));
    assert!(upstream.control.requests().iter().all(|request| request.key == "at8"));
}

#[tokio::test]
async fn a_void_refresh_token_needs_a_person_and_a_new_sign_in_brings_the_account_back() {
    let place = Place::open().await;
    let made = place.sign_in().await;
    let id = made["connection"]["id"].as_str().unwrap().to_owned();
    place.server.accepts(99);
    place.upstream.control.script(["status code=401"]);

    let failed = place.ask().await;
    let state = state_of(&place.admin, &id).await;
    let refused = place.admin.send(Request::post(&format!("/api/providers/{id}/refresh"), &json!({}))).await;
    let health = place.admin.get("/api/token-health").await;
    let expiration = place.admin.get("/api/providers/expiration").await;
    place.sign_in().await;
    let served = place.ask().await;

    assert!(failed.status() >= 400, "{}", failed.text());
    assert_eq!(state["terminal"], json!("expired"), "{state}");
    assert_eq!((refused.status(), &refused.json()["requiresReauth"]), (401, &json!(true)), "{}", refused.text());
    assert_eq!((&health["status"], &health["errored"]), (&json!("error"), &json!(1)), "{health}");
    assert_eq!((&expiration["summary"]["expired"], &expiration["list"][0]["status"]), (&json!(1), &json!("expired")));
    assert_eq!((served.status(), &place.admin.get("/api/token-health").await["status"]), (200, &json!("healthy")));
}

#[tokio::test]
async fn a_server_that_is_away_makes_the_connection_rest_and_ends_nothing() {
    let place = Place::open().await;
    let id = place.import_ended().await;
    place.server.state.is_down.store(true, SeqCst);

    let failed = place.ask().await;
    let state = state_of(&place.admin, &id).await;
    let away = place.admin.send(Request::post(&format!("/api/providers/{id}/refresh"), &json!({}))).await;
    place.server.state.is_down.store(false, SeqCst);
    let refreshed = place.admin.send(Request::post(&format!("/api/providers/{id}/refresh"), &json!({}))).await;
    let served = place.ask().await;

    assert!(failed.status() >= 500, "{}", failed.text());
    assert_eq!((&state["terminal"], &state["state"]), (&Value::Null, &json!("cooling_down")), "{state}");
    assert_eq!((away.status(), refreshed.status(), served.status()), (502, 200, 200), "{}", served.text());
    assert_eq!(place.server.state.void.load(SeqCst), 0);
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let place = Place::open().await;
    let id = place.admin.create_connection("openai", "keyed", "sk-x").await;
    let oauth = place.import_ended().await;

    let unknown = place.admin.send(Request::get("/api/oauth/nobody/authorize")).await;
    let action = place.admin.send(Request::get("/api/oauth/acme/start-callback-server")).await;
    let unready = place.admin.send(Request::get("/api/oauth/gitlab/authorize")).await;
    let keyed = place.admin.send(Request::post(&format!("/api/providers/{id}/refresh"), &json!({}))).await;
    let key = place
        .admin
        .send(Request::new("PUT", &format!("/api/providers/{oauth}")).json(&json!({"apiKey": "sk-y"})))
        .await;
    let nothing = place.call("import", &json!({})).await;
    let foreign = place.call("import", &json!({"accessToken": "a", "connectionId": id})).await;
    let both = place.call("import", &json!({"accessToken": "a", "connectionId": oauth, "name": "other"})).await;
    let misspelt = place.call("import", &json!({"refreshTokn": "r", "accessToken": "a"})).await;

    assert_eq!((unknown.status(), action.status(), unready.status()), (404, 400, 409), "{}", unready.text());
    assert_eq!((keyed.status(), key.status(), nothing.status(), misspelt.status()), (400, 400, 400, 400));
    assert_eq!((foreign.status(), both.status()), (400, 400), "{}", foreign.text());
    assert_eq!(unready.json()["missing"], json!(["client_id"]));
}

#[tokio::test]
async fn the_page_that_a_browser_comes_back_to_changes_nothing_and_needs_no_session() {
    let place = Place::open().await;

    let page = place.gateway.ask(&Request::get("/api/oauth/acme/callback?code=c&state=s")).await;
    let script = place.gateway.ask(&Request::get("/api/oauth/callback.js")).await;
    let begun = place.admin.get("/api/oauth/acme/authorize").await;
    let code = format!("code.{}", begun["codeChallenge"].as_str().unwrap());
    let handed = place.call("callback", &json!({"code": code, "state": begun["state"], "redirectUri": REDIRECT})).await;

    assert_eq!((page.status(), page.header("cache-control"), script.status()), (200, Some("no-store"), 200));
    assert!(page.text().contains("/api/oauth/callback.js") && !page.text().contains("code=c"), "{}", page.text());
    assert_eq!(handed.status(), 200, "{}", handed.text());
}

#[tokio::test]
async fn tokens_that_are_brought_later_take_the_place_of_those_of_the_account() {
    let place = Place::open().await;
    let id = place.sign_in().await["connection"]["id"].as_str().unwrap().to_owned();
    assert_eq!(place.ask().await.status(), 200);
    let node = place.admin.get(&format!("/api/providers/{id}")).await["connection"]["provider"].clone();
    let update = async |credentials: Value| {
        let body = json!({"provider": node, "credentials": credentials});
        place.admin.send(Request::post("/api/cloud/credentials/update", &body)).await.status()
    };
    let account = async || {
        let connections = place.admin.post("/api/cloud/auth", &json!({})).await["connections"].clone();
        connections.as_array().unwrap().iter().find(|row| row["id"] == json!(id)).cloned().unwrap()
    };
    let signed_in = account().await;

    let brought = update(json!({"accessToken": "at-brought", "expiresIn": 3_600})).await;
    let served = place.ask().await;
    let after = account().await;
    place.server.accepts(7);
    let ended = update(json!({"refreshToken": "rt7", "accessToken": "at-ended", "expiresIn": 1})).await;
    let renewed = place.admin.post(&format!("/api/providers/{id}/refresh"), &json!({})).await;
    let wrong = update(json!({"accessToken": "not one\nline"})).await;

    assert_eq!([brought, ended, wrong], [200, 200, 400]);
    assert_eq!(
        (served.status(), place.seen().last().map(String::as_str)),
        (200, Some("at-brought")),
        "{}",
        served.text()
    );
    let facts = |row: &Value| ["hasApiKey", "hasAccessToken", "hasRefreshToken"].map(|name| row[name] == json!(true));
    assert_eq!((facts(&signed_in), facts(&after)), ([false, true, true], [false, true, true]), "{after}");
    assert!(after["expiresAt"].is_string() && after["expiresAt"] != signed_in["expiresAt"], "{after}");
    assert_eq!(renewed["success"], json!(true), "the refresh token that was brought works: {renewed}");
    assert!(!format!("{after}").contains("at-brought"));
}
