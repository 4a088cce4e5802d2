//! Rows about the way to the upstream: nobody there, nobody answering, or a pooled connection that died.

use std::time::{Duration, Instant};

use omniroute_testkit::mock::Blackhole;
use serde_json::json;

use super::{Fate, assert_fate, forget, named};
use crate::common::{Site, calm};

const CONNECT_FAILED: Fate = Fate { status: 502, code: "bad_gateway", outcome: "connect_failed", counts: true };

#[tokio::test]
async fn a_refused_connection_costs_next_to_nothing_and_counts() {
    let mut site = Site::open(calm()).await;
    site.a.refuse().await;

    let alone = site.gateway.ask(&named("a/m", false, "refused")).await;
    assert_fate(&site, &alone, &CONNECT_FAILED, "row 1", "refused").await;
    let mut took = Vec::new();
    for round in 0..9 {
        let begin = Instant::now();
        let other = site.ask_team(round % 2 == 0).await;
        took.push(begin.elapsed());
        assert_eq!((other.status(), other.header("x-omniroute-attempts")), (200, Some("2")));
    }

    took.sort_unstable();
    assert!(took[0] < Duration::from_millis(10), "both attempts together: {took:?}");
}

#[tokio::test]
async fn a_black_hole_costs_the_connect_timeout_and_counts() {
    const LIMIT: u64 = 400;
    let site = Site::open(calm().set("upstream.connect_timeout_ms", &LIMIT.to_string())).await;
    let hole = Blackhole::dig().await;
    let node = site.admin.create_node("hole", &hole.base_url()).await;
    let lost = site.admin.create_connection(&node, "hole", "sk-x").await;
    site.admin.create_combo("around", "priority", &["hole/m", "b/m"]).await;

    let begin = Instant::now();
    let alone = site.gateway.ask(&named("hole/m", true, "lost")).await;
    let took = begin.elapsed();
    let other = site.gateway.ask(&named("around", false, "found")).await;

    assert_eq!((alone.status(), site.record("lost").await.outcome.as_str()), (502, "connect_failed"));
    assert!(took >= Duration::from_millis(LIMIT - 10) && took < Duration::from_millis(LIMIT + 500), "{took:?}");
    assert_eq!((other.status(), other.header("x-omniroute-attempts")), (200, Some("2")));
    let now = crate::common::state_of(&site.admin, &lost).await;
    assert_eq!(now["counts"]["windowFailures"], 2, "{now}");
}

#[tokio::test]
async fn a_pooled_connection_that_dies_under_a_request_is_replaced_and_blames_nobody() {
    // One worker has one pool: the second request surely finds the connection of the first.
    let site = Site::open(calm().set("server.workers", "1")).await;

    for death in ["fin_before_any_byte", "reset"] {
        forget(&site).await;
        site.a.control.script(["ok", death, "ok"]);
        assert_eq!(site.ask(false).await.status(), 200);

        let answer = site.gateway.ask(&named("a/m", false, death)).await;

        assert_eq!((answer.status(), answer.header("x-omniroute-attempts")), (200, Some("1")), "{death}");
        let now = site.state_of_a().await;
        assert_eq!(now["counts"]["windowFailures"], 0, "{death}: {now}");
        assert_eq!(site.a.control.settled().await.total.started, 3, "{death}: once more, and no more");

        // What dies on the new connection too is a failure, and is not tried for ever.
        site.a.control.script([death, death]);
        assert_eq!(site.ask(false).await.status(), 502, "{death}");
        let now = site.state_of_a().await;
        assert_eq!(now["counts"]["windowFailures"], 1, "{death}: {now}");
        assert_eq!(site.a.control.settled().await.total.started, 5, "{death}");
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows_moves_on_and_counts() {
    let site = Site::open(calm()).await;
    // No resolver may know a name under `.invalid`.
    let node = site.admin.create_node("gone", "https://provider.invalid/v1").await;
    let gone = site.admin.create_connection(&node, "gone", "sk-x").await;
    site.admin.create_combo("around", "priority", &["gone/m", "b/m"]).await;

    let alone = site.gateway.ask(&named("gone/m", false, "unnamed")).await;
    let other = site.gateway.ask(&named("around", true, "renamed")).await;

    assert_eq!((alone.status(), site.record("unnamed").await.outcome.as_str()), (502, "connect_failed"));
    assert_eq!((other.status(), other.header("x-omniroute-attempts")), (200, Some("2")));
    let now = crate::common::state_of(&site.admin, &gone).await;
    assert_eq!(now["counts"]["windowFailures"], json!(2), "{now}");
}
