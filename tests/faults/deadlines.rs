//! No upstream holds a client for longer than the deadlines say.

use std::time::{Duration, Instant};

use omniroute_testkit::gateway::Builder;
use omniroute_testkit::http::content;
use omniroute_testkit::mock::Blackhole;
use serde_json::json;

use crate::common::{End, PATIENCE, Site, calm, chat, end_of, error_of};

fn with(first_content_ms: u64, idle_ms: u64, total_ms: u64) -> Builder {
    let builder = calm().set("deadlines.first_content_ms", &first_content_ms.to_string());
    builder.set("deadlines.idle_ms", &idle_ms.to_string()).set("deadlines.total_ms", &total_ms.to_string())
}

/// What the client waits at most, by promise: the limit, a tenth, and 250 ms. A busy machine gets as much again.
fn bound(limit_ms: u64) -> Duration {
    Duration::from_millis(limit_ms + limit_ms / 10 + 500)
}

#[tokio::test]
async fn a_stream_whose_first_content_does_not_come_is_a_504_in_time() {
    let site = Site::open(with(500, 60_000, 60_000)).await;
    let silent =
        ["hang_before_head", "hang_after_head", "dribble part=head delay_ms=50", "endless_comments", "stall_after n=0"];

    for behaviour in silent {
        site.a.control.always(behaviour);
        let begin = Instant::now();
        let answer = site.ask(true).await;

        assert_eq!((answer.status(), &error_of(&answer)["code"]), (504, &json!("gateway_timeout")), "{behaviour}");
        assert!(begin.elapsed() < bound(500), "{behaviour}: {:?}", begin.elapsed());
        assert!(begin.elapsed() >= Duration::from_millis(490), "{behaviour}: {:?}", begin.elapsed());
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    assert!(
        site.a.control.wait_until(PATIENCE, |stats| stats.total.in_flight == 0).await,
        "and the upstream is let go"
    );
}

#[tokio::test]
async fn a_silent_first_target_is_left_for_the_next_one() {
    let site = Site::open(with(400, 60_000, 60_000)).await;
    site.a.control.always("hang_before_head");

    let begin = Instant::now();
    let answer = site.ask_team(true).await;

    assert_eq!((answer.status(), answer.header("x-omniroute-attempts")), (200, Some("2")));
    assert!(begin.elapsed() < bound(400), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_stream_that_stalls_ends_with_an_error_event() {
    let site = Site::open(with(5_000, 500, 60_000)).await;
    site.a.control.always("stall_after n=2");

    let begin = Instant::now();
    let stream = site.gateway.stream(&chat("a/m", true)).await;
    let tail = stream.rest().await;

    assert_eq!((content(&tail.events()).as_str(), end_of(&tail)), ("tok0 tok1", End::Error));
    assert!(tail.text.contains("stream_idle_timeout"), "{}", tail.text);
    assert!(begin.elapsed() < bound(500), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn comments_are_no_content_and_do_not_keep_a_stream_alive() {
    let site = Site::open(with(600, 600, 60_000)).await;
    site.a.control.always("endless_comments delay_ms=20");

    let begin = Instant::now();
    let answer = site.ask(true).await;

    assert_eq!(answer.status(), 504);
    assert!(begin.elapsed() < bound(600), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_slow_stream_with_content_in_time_is_not_cut() {
    let site = Site::open(with(500, 300, 60_000)).await;
    site.a.control.always("ok tokens=12 delay_ms=100");

    let tail = site.gateway.stream(&chat("a/m", true)).await.rest().await;

    assert_eq!(end_of(&tail), End::Whole, "{}", tail.text);
}

#[tokio::test]
async fn the_total_ends_a_stream_that_would_go_on() {
    let site = Site::open(with(500, 500, 1_000)).await;
    site.a.control.always("ok tokens=2000 delay_ms=20");

    let begin = Instant::now();
    let tail = site.gateway.stream(&chat("a/m", true)).await.rest().await;

    assert_eq!(end_of(&tail), End::Error, "{:?} after {:?}: {:?}", tail.cut, begin.elapsed(), tail.events().last());
    assert!(tail.text.contains("deadline_exceeded"), "{:?}", tail.events().last());
    assert!(begin.elapsed() < bound(1_000), "{:?}", begin.elapsed());
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.cancelled == 1).await);
}

#[tokio::test]
async fn the_total_ends_a_whole_answer_that_does_not_come() {
    let site = Site::open(with(700, 700, 700)).await;

    for behaviour in ["hang_before_head", "hang_after_head", "dribble delay_ms=50", "stall_after"] {
        site.a.control.always(behaviour);
        let begin = Instant::now();
        let answer = site.ask(false).await;

        assert_eq!((answer.status(), &error_of(&answer)["type"]), (504, &json!("server_error")), "{behaviour}");
        assert!(begin.elapsed() < bound(700), "{behaviour}: {:?}", begin.elapsed());
    }
    let now = site.state_of_a().await;
    assert_eq!(now["state"], "ready", "the request's own time is nobody's fault: {now}");
}

#[tokio::test]
async fn a_client_may_shorten_the_total_and_not_lengthen_it() {
    let site = Site::open(with(800, 800, 800)).await;
    site.a.control.always("hang_before_head");

    for (asked, limit) in [("300", 300), ("60000", 800)] {
        let begin = Instant::now();
        let answer = site.gateway.ask(&chat("a/m", false).header("x-omniroute-timeout-ms", asked)).await;

        assert_eq!(answer.status(), 504);
        assert!(begin.elapsed() < bound(limit), "{asked}: {:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_given_up_at_its_own_limit() {
    let site = Site::open(calm().set("upstream.connect_timeout_ms", "400")).await;
    let hole = Blackhole::dig().await;
    let node = site.admin.create_node("full", &hole.base_url()).await;
    site.admin.create_connection(&node, "full", "sk-x").await;

    let begin = Instant::now();
    let answer = site.gateway.ask(&chat("full/m", false)).await;

    assert!(answer.status() >= 500, "{}", answer.text());
    assert!(begin.elapsed() < bound(400) && begin.elapsed() > Duration::from_millis(350), "{:?}", begin.elapsed());
}
