//! Going away: readiness first, then the streams, then the process; and configuration that is read again.

use std::time::{Duration, Instant};

use omniroute_testkit::gateway::Signal;
use omniroute_testkit::http::{self, Request, content};

use crate::common::{End, PATIENCE, Site, calm, chat, end_of, eventually};

async fn ready(site: &Site) -> Option<u16> {
    http::request(site.gateway.addr, &Request::get("/readyz")).await.ok().map(|answer| answer.status())
}

#[tokio::test]
async fn after_sigterm_readiness_says_no_at_once_and_accepted_streams_finish() {
    let mut site = Site::open(calm().set("server.drain_delay_ms", "700").set("server.drain_timeout_s", "20")).await;
    site.a.control.always("ok tokens=20 delay_ms=100");
    let mut stream = site.gateway.stream(&chat("a/m", true)).await;
    stream.read_until("tok0").await.unwrap();

    site.gateway.signal(Signal::TERM);
    let not_ready = eventually(Duration::from_millis(500), async || ready(&site).await.filter(|status| *status == 503));
    assert!(not_ready.await.is_some(), "readiness did not change");
    let alive = http::request(site.gateway.addr, &Request::get("/livez")).await.unwrap().status();
    let during_delay = http::request(site.gateway.addr, &chat("b/m", false)).await.map(|answer| answer.status());
    let tail = stream.rest().await;
    let status = site.gateway.ended(PATIENCE).await;

    assert_eq!((alive, during_delay.ok()), (200, Some(200)), "calls are accepted while balancers take notice");
    assert_eq!(end_of(&tail), End::Whole, "{}", tail.text);
    assert!(content(&tail.events()).ends_with("tok19"));
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_stream_that_outlasts_the_drain_gets_an_error_event_and_no_bare_cut() {
    let mut site = Site::open(calm().set("server.drain_timeout_s", "2")).await;
    site.a.control.always("ok tokens=2000 delay_ms=50");
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = site.gateway.stream(&chat("a/m", true)).await;
        stream.read_until("tok0").await.unwrap();
        streams.push(tokio::spawn(stream.rest()));
    }

    let begin = Instant::now();
    site.gateway.signal(Signal::TERM);
    for stream in streams {
        let tail = stream.await.unwrap();
        assert_eq!(end_of(&tail), End::Error, "{:?}", tail.cut);
        assert!(tail.text.contains("shutting_down"));
    }
    let status = site.gateway.ended(PATIENCE).await;

    assert_eq!(status.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn an_idle_gateway_ends_at_once_after_its_delay() {
    let mut site = Site::open(calm().set("server.drain_timeout_s", "60")).await;

    let begin = Instant::now();
    site.gateway.signal(Signal::TERM);
    let status = site.gateway.ended(PATIENCE).await;

    assert_eq!(status.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once_and_keeps_the_records() {
    let mut site = Site::open(calm().set("server.drain_timeout_s", "600")).await;
    site.gateway.ask(&chat("b/m", false).header("x-request-id", "before-the-end")).await;
    site.a.control.always("ok tokens=2000 delay_ms=50");
    let mut stream = site.gateway.stream(&chat("a/m", true)).await;
    stream.read_until("tok0").await.unwrap();

    site.gateway.signal(Signal::TERM);
    assert!(
        eventually(PATIENCE, async || ready(&site).await.is_none_or(|status| status == 503).then_some(()))
            .await
            .is_some()
    );
    let begin = Instant::now();
    site.gateway.signal(Signal::TERM);
    site.gateway.ended(PATIENCE).await;
    let took = begin.elapsed();
    site.gateway.start_again().await;

    assert!(took < Duration::from_secs(3), "{took:?}");
    site.record("before-the-end").await;
}

#[tokio::test]
async fn sighup_with_an_invalid_file_keeps_the_configuration_in_force() {
    let mut site = Site::open(calm().config_file("[deadlines]\ntotal_ms = 60000\n")).await;

    site.gateway.rewrite_config("[deadlines]\ntotal_ms = 300\nno_such_key = 1\n");
    site.gateway.signal(Signal::HUP);
    let complained = eventually(PATIENCE, async || site.gateway.log().contains("no_such_key").then_some(())).await;
    site.a.control.always("ok first_delay_ms=600");
    let answer = site.ask(false).await;

    assert!(complained.is_some(), "{}", site.gateway.log());
    assert_eq!(answer.status(), 200, "the old deadline holds: {}", answer.text());
    assert!(site.gateway.is_running());
}

#[tokio::test]
async fn sighup_with_a_valid_file_changes_what_may_change() {
    let site = Site::open(calm().config_file("[deadlines]\ntotal_ms = 60000\n")).await;
    site.a.control.always("ok first_delay_ms=1500");

    site.gateway.rewrite_config("[deadlines]\nfirst_content_ms = 300\nidle_ms = 300\ntotal_ms = 300\n");
    site.gateway.signal(Signal::HUP);
    let changed =
        eventually(PATIENCE, async || Some(site.ask(false).await).filter(|answer| answer.status() == 504)).await;

    assert!(changed.is_some(), "{}", site.gateway.log());
}

#[tokio::test]
async fn the_kept_alive_connection_of_a_client_is_told_to_close_while_draining() {
    let mut site = Site::open(calm().set("server.drain_delay_ms", "1500")).await;
    let mut client = http::Connection::open(site.gateway.addr).await.unwrap();
    assert_eq!(client.ask(&chat("a/m", false)).await.unwrap().status(), 200);

    site.gateway.signal(Signal::TERM);
    assert!(eventually(PATIENCE, async || ready(&site).await.filter(|status| *status == 503)).await.is_some());
    let answer = client.ask(&chat("a/m", false)).await.unwrap();
    site.gateway.ended(PATIENCE).await;

    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
}
