//! `/api/settings/ip-filter`: who is let in at all.

use omniroute_testkit::http::Request;
use serde_json::json;

use crate::common::{Site, calm, chat};

const FILTER: &str = "/api/settings/ip-filter";

/// The real client is what the proxy (the test itself, on loopback) says.
fn from(request: Request, address: &str) -> Request {
    request.header("X-Forwarded-For", address)
}

#[tokio::test]
async fn a_blocked_address_is_refused_before_anything_else_in_the_form_of_its_client() {
    let site = Site::open(calm().set("server.trusted_proxies", "127.0.0.0/8")).await;

    site.admin.put(FILTER, &json!({"enabled": true, "addBlacklist": ["203.0.113.0/24", "2001:db8::/32"]})).await;
    let chat_answer = site.gateway.ask(&from(chat("a/m", false), "203.0.113.9")).await;
    let body = json!({"model": "a/m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let anthropic = site.gateway.ask(&from(Request::post("/v1/messages", &body), "2001:db8::7")).await;
    let mapped = site.gateway.ask(&from(Request::get("/v1/models"), "::ffff:203.0.113.9")).await;
    let login =
        site.gateway.ask(&from(Request::post("/api/auth/login", &json!({"password": "x"})), "203.0.113.9")).await;
    let other = site.gateway.ask(&from(chat("a/m", false), "203.0.114.9")).await;

    let statuses = [&chat_answer, &anthropic, &mapped, &login].map(|answer| answer.status());
    assert_eq!((statuses, other.status()), ([403; 4], 200), "{}", chat_answer.text());
    assert_eq!(chat_answer.json()["error"]["code"], "ip_blocked");
    assert_eq!(
        (&anthropic.json()["type"], &anthropic.json()["error"]["type"]),
        (&json!("error"), &json!("permission_error"))
    );
    assert_eq!(site.gateway.ask(&from(Request::get("/livez"), "203.0.113.9")).await.status(), 200);
}

#[tokio::test]
async fn a_blocked_address_leaves_one_row_however_often_it_knocks() {
    let site = Site::open(calm().set("server.trusted_proxies", "127.0.0.0/8")).await;
    site.admin.put(FILTER, &json!({"enabled": true, "addBlacklist": ["203.0.113.0/24", "2001:db8::/32"]})).await;

    for address in ["203.0.113.9", "203.0.113.9", "2001:db8::7", "203.0.113.9", "2001:db8::8"] {
        assert_eq!(site.gateway.ask(&from(Request::get("/v1/models"), address)).await.status(), 403);
    }

    let log = site.admin.get("/api/compliance/audit-log?action=access.ip_blocked").await;
    let rows = log.as_array().unwrap();
    let mut from: Vec<_> = rows.iter().filter_map(|row| row["ip"].as_str()).collect();
    from.sort_unstable();
    assert_eq!(from, ["2001:db8::7", "203.0.113.9"], "{log}");
    let told = |row: &serde_json::Value| row["target"] == "/v1/models" && row["status"] == "refused";
    assert!(rows.iter().all(told), "{log}");
}

#[tokio::test]
async fn an_address_that_a_client_claims_for_itself_opens_nothing() {
    let site = Site::open(calm().set("server.trusted_proxies", "127.0.0.0/8")).await;
    let allowed = json!({"enabled": true, "mode": "whitelist", "whitelist": ["127.0.0.1", "198.51.100.7"]});
    site.admin.put(FILTER, &allowed).await;
    let status = async |forwarded: &str| site.gateway.ask(&from(chat("a/m", false), forwarded)).await.status();

    assert_eq!(status("198.51.100.7").await, 200);
    for spoofed in [
        "198.51.100.7, 203.0.113.9",
        "127.0.0.1, 203.0.113.9",
        "198.51.100.7, 127.0.0.1, 203.0.113.9",
        "203.0.113.9:80",
        "[::ffff:203.0.113.9]:80",
        "198.51.100.8",
    ] {
        assert_eq!(status(spoofed).await, 403, "{spoofed}");
    }
    for header in ["X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP"] {
        let request = from(chat("a/m", false), "203.0.113.9").header(header, "198.51.100.7");
        assert_eq!(site.gateway.ask(&request).await.status(), 403, "{header}");
    }
}

#[tokio::test]
async fn nobody_locks_themselves_out_by_mistake() {
    let site = Site::open(calm()).await;
    let put = async |body: serde_json::Value| site.admin.send(Request::new("PUT", FILTER).json(&body)).await;

    let out = put(json!({"enabled": true, "blacklist": ["127.0.0.0/8"]})).await;
    let empty = put(json!({"enabled": true, "mode": "allowlist"})).await;
    let ban = put(json!({"enabled": true, "tempBan": {"ip": "::ffff:127.0.0.1"}})).await;
    let wrong = put(json!({"blacklist": ["999.1.1.1"], "mode": "grey", "tempBan": {"durationMs": 0}})).await;

    assert_eq!([out.status(), empty.status(), ban.status(), wrong.status()], [409, 409, 409, 400], "{}", out.text());
    assert_eq!(out.json()["callerAddress"], "127.0.0.1");
    assert!(["blacklist", "mode", "tempBan.ip", "tempBan.durationMs"].iter().all(|field| wrong.text().contains(field)));
    assert_eq!(site.admin.get(FILTER).await["enabled"], false, "nothing of it was stored");

    assert_eq!(put(json!({"enabled": true, "blacklist": ["127.0.0.0/8"], "force": true})).await.status(), 200);
    assert_eq!(site.ask(false).await.status(), 403);
}

#[tokio::test]
async fn bans_end_when_they_are_taken_back_and_outlive_a_restart() {
    let mut site = Site::open(calm().set("server.trusted_proxies", "127.0.0.0/8")).await;
    let banned = json!({"enabled": true, "tempBan": {"ip": "203.0.113.9", "durationMs": 3_600_000, "reason": "noise"}});

    let shown = site.admin.put(FILTER, &banned).await;
    site.gateway.restart().await;
    let blocked = site.gateway.ask(&from(chat("a/m", false), "203.0.113.9")).await;
    let admin = site.gateway.admin().await;
    admin.put(FILTER, &json!({"removeBan": "203.0.113.9"})).await;
    let free = site.gateway.ask(&from(chat("a/m", false), "203.0.113.9")).await;

    let ban = &shown["tempBans"][0];
    assert_eq!((&ban["ip"], &ban["reason"]), (&json!("203.0.113.9"), &json!("noise")));
    assert!(ban["remainingMs"].as_i64().unwrap() > 3_000_000 && ban["until"].is_string(), "{ban}");
    assert_eq!((blocked.status(), free.status()), (403, 200));
}
