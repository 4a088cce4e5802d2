//! `/api/auth/*` and `/api/init`.

use futures_util::future::join_all;
use omniroute_testkit::gateway::PASSWORD;
use omniroute_testkit::http::{self, Request, Response};
use serde_json::json;

use crate::common::{PATIENCE, Site, calm, eventually, program};

async fn login(site: &Site, password: &str) -> Response {
    let request = Request::post("/api/auth/login", &json!({"password": password}));
    site.gateway.ask(&request.header("Origin", &format!("http://{}", site.gateway.addr))).await
}

async fn authenticated(site: &Site, cookie: &str) -> serde_json::Value {
    let answer = site.gateway.ask(&Request::get("/api/auth/status").header("Cookie", cookie)).await;
    answer.json()["authenticated"].clone()
}

#[tokio::test]
async fn a_login_sets_a_cookie_that_scripts_cannot_read_and_says_no_token_in_the_body() {
    let site = Site::open(calm()).await;

    let answer = login(&site, PASSWORD).await;

    assert_eq!((answer.status(), &answer.json()["success"]), (200, &json!(true)));
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["auth_token=", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let token = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
    assert!(token.len() >= 32 && !answer.text().contains(token));
    assert_eq!(authenticated(&site, &format!("auth_token={token}")).await, true);
}

#[tokio::test]
async fn a_wrong_password_is_a_401_and_too_many_lock_the_address_out() {
    let site = Site::open(calm().set("auth.login_attempts", "3")).await;

    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(login(&site, "wrong").await.status());
    }
    let locked = login(&site, PASSWORD).await;

    assert_eq!((statuses, locked.status()), (vec![401; 3], 429));
    assert!(locked.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn a_logout_ends_the_session_on_the_server() {
    let site = Site::open(calm()).await;
    let other = site.gateway.admin().await;
    let cookie = other.cookie().to_owned();

    let before = authenticated(&site, &cookie).await;
    other.post("/api/auth/logout", &json!({})).await;
    let after = authenticated(&site, &cookie).await;
    let refused = site.gateway.ask(&Request::get("/api/providers").header("Cookie", &cookie)).await.status();

    assert_eq!((before, after, refused), (json!(true), json!(false), 401));
    assert_eq!(authenticated(&site, site.admin.cookie()).await, true, "and only that session");
}

#[tokio::test]
async fn a_session_survives_a_restart() {
    let mut site = Site::open(calm()).await;

    site.gateway.kill_and_restart().await;

    assert_eq!(authenticated(&site, site.admin.cookie()).await, true);
}

#[tokio::test]
async fn a_request_of_another_sites_page_changes_nothing() {
    let site = Site::open(calm()).await;
    let body = json!({"name": "stolen"});

    for (name, value) in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        let request = Request::post("/api/keys", &body).header("Cookie", site.admin.cookie()).header(name, value);
        assert_eq!(site.gateway.ask(&request).await.status(), 403, "{name}");
    }
    assert!(!site.admin.get("/api/keys").await.to_string().contains("stolen"));
}

#[tokio::test]
async fn a_fresh_installation_is_set_up_once_with_the_printed_token() {
    let gateway = program().env("INITIAL_PASSWORD", "").start().await;
    let log = gateway.log();
    let token = log.split("\"token\": \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token in the log");
    let set_up = async |token: &str| {
        let body = json!({"token": token, "password": "a password of my own"});
        gateway.ask(&Request::post("/api/init", &body)).await
    };

    let before = gateway.ask(&Request::get("/api/init")).await.json();
    let wrong = set_up("not-the-token").await;
    let right = set_up(token).await;
    let again = set_up(token).await;
    let after = gateway.ask(&Request::get("/api/init")).await.json();

    assert_eq!((&before["initialized"], &after["initialized"]), (&json!(false), &json!(true)));
    assert_eq!((wrong.status(), right.status()), (401, 200), "{}", right.text());
    assert!(again.status() >= 400);
    let login = Request::post("/api/auth/login", &json!({"password": "a password of my own"}));
    assert_eq!(gateway.ask(&login).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logins_delays_no_call_for_long_and_is_sent_away_when_all_places_are_taken() {
    let site = Site::open(calm().set("server.trusted_proxies", "127.0.0.1")).await;
    let flood = join_all((0..200).map(|n| {
        let request = Request::post("/api/auth/login", &json!({"password": PASSWORD}));
        let request = request.header("Origin", &format!("http://{}", site.gateway.addr));
        let request = request.header("X-Forwarded-For", &format!("203.0.113.{n}"));
        async move { http::request(site.gateway.addr, &request).await.expect("an answer to each login") }
    }));
    let calls = async {
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(site.ask(false).await.status());
        }
        statuses
    };

    let (logins, calls) = tokio::join!(flood, calls);

    assert_eq!(calls, vec![200; 20]);
    let count = |status: u16| logins.iter().filter(|answer| answer.status() == status).count();
    let (let_in, locked, busy) = (count(200), count(429), count(503));
    assert_eq!(let_in + locked + busy, 200, "nobody is left without an answer that says what to do");
    assert!(let_in > 0 && busy > 0, "{let_in} let in, {locked} locked out, {busy} sent away");
    for refused in logins.iter().filter(|answer| answer.status() != 200) {
        assert!(
            refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()),
            "{}",
            refused.text()
        );
    }
    // Who was sent away has failed at nothing; what the account's own lock is about ends by itself.
    let in_the_end = eventually(PATIENCE, async || Some(login(&site, PASSWORD).await.status()).filter(|s| *s == 200));
    assert_eq!(in_the_end.await, Some(200));
}
