//! A PostgreSQL server that stands still: connected, accepting, and silent. Worse than one that is gone, for nothing fails.

use std::time::{Duration, Instant};

use omniroute_testkit::http::{self, Request};
use serde_json::json;

use crate::common::postgres::Postgres;
use crate::common::{PATIENCE, Site, calm, chat, eventually};

const CALLS: usize = 60;

async fn ready(site: &Site) -> http::Response {
    http::request(site.gateway.addr, &Request::get("/readyz")).await.expect("readiness answers")
}

#[tokio::test]
async fn while_the_database_stands_still_calls_are_answered_and_their_records_stored_once_afterwards() {
    let Some(server) = Postgres::start().await else { return };
    let shared = calm().env("DATABASE_URL", &server.url()).set("storage.master_key", &"0123456789abcdef".repeat(4));
    let site = Site::open(shared).await;
    let key = site.admin.create_key("known").await.key;
    let ask = async |n: usize| {
        let request = Request::chat("a/m", "hello", n.is_multiple_of(2)).key(&key);
        site.gateway.ask(&request.header("x-request-id", &format!("f{n}"))).await
    };
    assert_eq!(ask(0).await.status(), 200);

    server.freeze();
    let (begin, mut slowest) = (Instant::now(), Duration::ZERO);
    for n in 1..CALLS {
        let one = Instant::now();
        assert_eq!(ask(n).await.status(), 200, "call {n} after {:?}", begin.elapsed());
        slowest = slowest.max(one.elapsed());
        // Longer than the store waits for an answer, so that writes are given up that may still happen.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let (not_ready, alive) = (ready(&site).await, site.gateway.ask(&Request::get("/livez")).await);
    let managing = site.admin.send(Request::get("/api/keys")).await;
    server.thaw();

    assert!(slowest < Duration::from_secs(1), "a call took {slowest:?}");
    assert_eq!((not_ready.status(), alive.status()), (503, 200));
    assert_eq!(not_ready.json()["reasons"], json!(["the store does not answer"]));
    assert_eq!((managing.status(), managing.header("retry-after").is_some()), (503, true), "{}", managing.text());
    let back = eventually(PATIENCE * 3, async || (ready(&site).await.status() == 200).then_some(())).await;
    assert!(back.is_some(), "it never became ready again; the log:\n{}", site.gateway.log());
    assert_eq!(site.gateway.ask(&chat("a/m", false).header("x-request-id", "after")).await.status(), 200);
    let wanted = (0..CALLS).map(|n| (format!("f{n}"), 1)).chain([("after".to_owned(), 1)]).collect();
    let stored = eventually(PATIENCE * 3, async || Some(server.usage()).filter(|usage| usage.len() > CALLS)).await;
    assert_eq!(stored.unwrap_or_else(|| server.usage()), wanted, "the log:\n{}", site.gateway.log());
}
