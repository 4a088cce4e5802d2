//! Rows about answers: what breaks before the first content, after it, or never comes.

use std::time::{Duration, Instant};

use omniroute_testkit::gateway::Builder;
use omniroute_testkit::http::content;

use super::{Fate, assert_blame, assert_fate, broken, forget, named};
use crate::common::{End, PATIENCE, Site, calm, chat, end_of, eventually};

/// For faults that show at once: nothing here may come near a deadline.
fn patient() -> Builder {
    calm().set("deadlines.first_content_ms", "8000").set("deadlines.idle_ms", "8000")
}

const fn fails(status: u16, code: &'static str, outcome: &'static str) -> Fate {
    Fate { status, code, outcome, counts: true }
}

const BAD_GATEWAY: Fate = broken("bad_gateway");
const EMPTY: Fate = broken("empty_response");
const NOT_JSON: Fate = broken("not_json");
const SERVER_FAULT: Fate = fails(502, "bad_gateway", "server_fault");
const OVERLOADED: Fate = fails(503, "provider_overloaded", "overloaded");

/// Row, behaviour, stream, what follows.
const BEFORE_CONTENT: &[(u8, &str, bool, Fate)] = &[
    (4, "fin_before_any_byte", false, BAD_GATEWAY),
    (4, "fin_before_any_byte", true, BAD_GATEWAY),
    (5, "reset", false, BAD_GATEWAY),
    (5, "reset", true, BAD_GATEWAY),
    (12, "header_bomb", true, BAD_GATEWAY),
    (12, "header_bomb bytes=1000000", false, BAD_GATEWAY),
    (13, "storm_1xx n=1000", false, BAD_GATEWAY),
    (14, "redirect", false, broken("unexpected_redirect")),
    (14, "redirect", true, broken("unexpected_redirect")),
    (15, "cut_content_length", false, BAD_GATEWAY),
    (16, "cut_chunked", false, BAD_GATEWAY),
    (16, "cut_chunked n=0", true, BAD_GATEWAY),
    (17, "rst_after", false, BAD_GATEWAY),
    (17, "rst_after n=0", true, BAD_GATEWAY),
    (18, "role_only_then_eof", true, EMPTY),
    (19, "empty_200", false, EMPTY),
    (19, "empty_200", true, EMPTY),
    (19, "empty_sse", true, EMPTY),
    (20, "error_in_200 code=500", false, SERVER_FAULT),
    (20, "error_event_first code=500", true, SERVER_FAULT),
    (22, "invalid_json", false, NOT_JSON),
    (23, "invalid_json_event n=0", true, NOT_JSON),
    (24, "html_200", false, NOT_JSON),
    (24, "html_200", true, NOT_JSON),
    (26, "huge_body bytes=100000000", false, BAD_GATEWAY),
    (26, "huge_line", true, BAD_GATEWAY),
    (27, "gzip_bomb", false, BAD_GATEWAY),
    (27, "gzip_bomb", true, BAD_GATEWAY),
    (35, "status code=500", false, SERVER_FAULT),
    (35, "status code=502", true, SERVER_FAULT),
    (35, "status code=503", false, OVERLOADED),
    (35, "status code=504", true, SERVER_FAULT),
    (35, "status code=529", false, OVERLOADED),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_before_content_moves_on_unseen_and_counts() {
    let site = Site::open(patient()).await;
    site.b.control.always("ok text=from+b");

    for (place, (row, behaviour, stream, fate)) in BEFORE_CONTENT.iter().enumerate() {
        let fault = format!("row {row}, {behaviour}, stream={stream}");
        let id = format!("alone-{place}");
        forget(&site).await;
        site.b.control.always("ok text=from+b");
        site.a.control.always(*behaviour);

        let alone = site.gateway.ask(&named("a/m", *stream, &id)).await;
        assert_fate(&site, &alone, fate, &fault, &id).await;
        let other = site.ask_team(*stream).await;

        assert_eq!((other.status(), other.header("x-omniroute-attempts")), (200, Some("2")), "{fault}");
        assert!(other.text().contains("from"), "{fault}: {}", other.text());
        assert_eq!(alone.header("x-omniroute-attempts"), Some("1"), "{fault}");
    }
}

/// Row and behaviour of streams that break after the third token.
const AFTER_CONTENT: &[(u8, &str)] = &[
    (16, "cut_chunked n=3 delay_ms=30"),
    (17, "rst_after n=3 delay_ms=30"),
    (18, "no_end_marker tokens=3 delay_ms=30"),
    (18, "done_without_finish tokens=3 delay_ms=30"),
    (21, "error_event_mid n=3 delay_ms=30"),
    (23, "invalid_json_event n=3 delay_ms=30"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_after_content_ends_in_an_error_event_and_counts() {
    let site = Site::open(patient()).await;

    for (place, (row, behaviour)) in AFTER_CONTENT.iter().enumerate() {
        let fault = format!("row {row}, {behaviour}");
        let id = format!("begun-{place}");
        forget(&site).await;
        site.a.control.always(*behaviour);

        let tail = site.gateway.stream(&named("team", true, &id)).await.rest().await;

        assert_eq!((content(&tail.events()).as_str(), end_of(&tail)), ("tok0 tok1 tok2", End::Error), "{fault}");
        let record = site.record(&id).await;
        let outcome = record.outcome.clone();
        assert!(["broken_answer", "server_fault"].contains(&outcome.as_str()), "{fault}: {record:?}");
        assert!(record.completion_tokens > 0, "{fault}: what came is booked: {record:?}");
        assert_eq!(site.b.control.stats().total.started, 0, "{fault}: nobody else is asked for the rest");
        let fate =
            Fate { outcome: if outcome == "server_fault" { "server_fault" } else { "broken_answer" }, ..BAD_GATEWAY };
        assert_blame(&site, &fate, &fault).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_a_504_in_time_and_counts() {
    const LIMIT: u64 = 400;
    let builder = calm().set("deadlines.first_content_ms", &LIMIT.to_string()).set("deadlines.idle_ms", "60000");
    let site = Site::open(builder).await;
    let fate = fails(504, "gateway_timeout", "first_content_timeout");
    let silent = [
        (3, "hang_before_head"),
        (3, "hang_after_head"),
        (11, "dribble part=head delay_ms=50"),
        (28, "stall_after n=0"),
        (29, "endless_comments"),
    ];

    for (place, (row, behaviour)) in silent.iter().enumerate() {
        let fault = format!("row {row}, {behaviour}");
        let id = format!("silent-{place}");
        forget(&site).await;
        site.a.control.always(*behaviour);

        let begin = Instant::now();
        let alone = site.gateway.ask(&named("a/m", true, &id)).await;
        let took = begin.elapsed();
        assert_fate(&site, &alone, &fate, &fault, &id).await;
        let other = site.ask_team(true).await;

        assert!(took < Duration::from_millis(LIMIT + LIMIT / 10 + 500), "{fault}: {took:?}");
        assert_eq!((other.status(), other.header("x-omniroute-attempts")), (200, Some("2")), "{fault}");
    }
}

#[tokio::test]
async fn a_stall_after_content_ends_in_an_error_event_and_counts() {
    let site = Site::open(calm().set("deadlines.idle_ms", "300")).await;
    site.a.control.always("stall_after n=3");

    let tail = site.gateway.stream(&named("team", true, "stalled")).await.rest().await;

    assert_eq!((content(&tail.events()).as_str(), end_of(&tail)), ("tok0 tok1 tok2", End::Error));
    assert_eq!(site.record("stalled").await.outcome, "idle_timeout");
    assert_blame(&site, &Fate { outcome: "idle_timeout", ..BAD_GATEWAY }, "row 28").await;
    assert_eq!(site.b.control.stats().total.started, 0);
}

#[tokio::test]
async fn an_upstream_with_a_bomb_for_a_head_is_hung_up_on() {
    let site = Site::open(patient()).await;

    for behaviour in ["header_bomb", "header_bomb bytes=1000000"] {
        site.a.control.always(behaviour);
        assert_eq!(site.ask(false).await.status(), 502, "{behaviour}");

        let dropped = site.a.control.wait_until(PATIENCE, |stats| stats.open_connections == 0).await;
        assert!(dropped, "{behaviour}: {:?}", site.a.control.stats());
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_never_reach_a_client_as_they_are() {
    let site = Site::open(patient()).await;
    site.a.control.always("invalid_utf8 tokens=3");

    for stream in [false, true] {
        let answer = site.gateway.stream(&chat("a/m", stream)).await;
        let status = answer.head.status;
        let tail = answer.rest().await;

        // The client's own reading is lossy: a replacement that was sent and one that was read look alike, so the rule is
        // that a good answer has the whole text with exactly the bad bytes replaced, and anything else is an error.
        let replaced =
            tail.text.contains("tok\u{fffd}\u{fffd} tok1 tok2") || content(&tail.events()).contains("\u{fffd}");
        assert!(
            status == 502 || (stream && (end_of(&tail) == End::Error || replaced)),
            "{stream}: {status} {}",
            tail.text
        );
    }
    site.a.control.always("ok");
    assert_eq!(site.ask(false).await.status(), 200, "and the gateway lives");
    assert!(!site.gateway.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_line_does_not_become_a_huge_process() {
    let site = Site::open(patient()).await;
    site.ask(true).await;
    let before = site.gateway.rss_bytes();
    site.a.control.always("huge_line bytes=500000000");

    let answer = tokio::time::timeout(PATIENCE, site.ask(true)).await.unwrap();

    let grown = site.gateway.rss_bytes().saturating_sub(before);
    assert_eq!(answer.status(), 502, "{}", answer.text());
    assert!(grown < 16 * 1024 * 1024, "grown by {grown} bytes");
}

#[tokio::test]
async fn a_web_page_calls_for_attention_until_an_api_answers() {
    let site = Site::open(calm()).await;
    site.a.control.script(["html_200", "status code=503", "ok"]);
    let attention = async || site.state_of_a().await["needsAttention"].clone();

    assert_eq!(site.ask(true).await.status(), 502);
    let marked = eventually(PATIENCE, async || Some(attention().await).filter(|now| now["code"] == "not_json")).await;
    assert_eq!(site.ask(false).await.status(), 503);
    let still = attention().await;
    assert_eq!(site.ask(false).await.status(), 200);
    let over = eventually(PATIENCE, async || attention().await.is_null().then_some(())).await;

    assert!(marked.is_some() && over.is_some());
    assert_eq!(Some(&still), marked.as_ref(), "a later failure does not hide it");
    let actions = async || {
        let log = site.admin.get("/api/compliance/audit-log").await;
        log.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for kind in ["connection.needs_attention", "connection.attention_over"] {
        let logged = eventually(PATIENCE, async || actions().await.iter().any(|one| one == kind).then_some(())).await;
        assert!(logged.is_some(), "{kind}: {:?}", actions().await);
    }
}
