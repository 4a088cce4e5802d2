//! Upstreams that break their own protocol: a broken answer never looks like success, and a whole one is never refused.

use std::time::Duration;

use omniroute_testkit::gateway::Builder;
use omniroute_testkit::http::content;
use omniroute_testkit::mock::Behaviour;
use serde_json::{Value, json};

use crate::common::{End, PATIENCE, Site, calm, chat, chat_with, end_of, error_of};

/// Broken whatever was asked for, before any content reached the client.
const BEFORE_CONTENT: &[&str] = &[
    "empty_200",
    "error_in_200",
    "html_200",
    "redirect",
    "storm_1xx n=1000",
    "endless_comments",
    "gzip_bomb",
    "header_bomb",
    "fin_before_any_byte",
    "reset",
    "huge_body bytes=1000000000",
];

/// Broken streams of which the client has seen nothing yet.
const EARLY: &[&str] = &[
    "cut_chunked n=0",
    "rst_after n=0",
    "role_only_then_eof",
    "empty_sse",
    "error_event_first",
    "invalid_json_event n=0",
    "huge_line",
    "huge_token",
];

/// Broken streams of which the client has seen content.
const LATE: &[&str] = &[
    "cut_chunked n=3 delay_ms=30",
    "rst_after n=3 delay_ms=30",
    "no_end_marker delay_ms=1",
    "done_without_finish delay_ms=1",
    "invalid_json_event n=5 delay_ms=20",
    "error_event_mid n=3 delay_ms=30",
];

/// Broken answers that were not asked for as streams.
const WHOLE: &[&str] = &[
    "cut_content_length",
    "cut_chunked",
    "rst_after",
    "invalid_json",
    "role_only_then_eof",
    "huge_token bytes=40000000",
];

/// Deadlines that make the shapes without end affordable.
fn hasty() -> Builder {
    calm().set("deadlines.first_content_ms", "1500").set("deadlines.idle_ms", "1500").set("deadlines.total_ms", "4000")
}

/// What the client of a single target sees: an error status in OpenAI's shape, or a stream with an error at its end.
async fn fails_openly(site: &Site, behaviour: &str, stream: bool) {
    site.a.control.always(behaviour);
    let asked = tokio::time::timeout(PATIENCE, site.gateway.stream(&chat("a/m", stream))).await;
    let answer = asked.unwrap_or_else(|_| panic!("{behaviour} stream={stream}: no answer"));
    let status = answer.head.status;
    let headers = answer.head.clone();
    let tail = tokio::time::timeout(PATIENCE, answer.rest()).await;
    let tail = tail.unwrap_or_else(|_| panic!("{behaviour} stream={stream}: no end"));

    if status == 200 {
        assert!(
            stream,
            "{behaviour}: a broken answer was passed on: {}",
            tail.text.chars().take(300).collect::<String>()
        );
        assert_eq!(
            end_of(&tail),
            End::Error,
            "{behaviour}: {:?}",
            tail.text.chars().rev().take(300).collect::<String>()
        );
        return;
    }
    assert!(status >= 500, "{behaviour} stream={stream}: {status} {}", tail.text);
    assert!(tail.cut.is_none() && headers.interim == 0, "{behaviour}: {tail:?}");
    let error: Value = serde_json::from_str(&tail.text).unwrap();
    assert!(error["error"]["message"].is_string() && error["error"]["type"].is_string(), "{behaviour}: {error}");
    assert!(!tail.text.contains("127.0.0.1") && !tail.text.contains("sk-a"), "{behaviour} tells too much: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_answer_is_an_error_for_a_client_that_did_not_ask_for_a_stream() {
    let site = Site::open(hasty()).await;

    for behaviour in BEFORE_CONTENT.iter().chain(WHOLE) {
        fails_openly(&site, behaviour, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_is_an_error_status_or_ends_with_an_error_event() {
    let site = Site::open(hasty()).await;

    for behaviour in BEFORE_CONTENT.iter().chain(EARLY).chain(LATE) {
        fails_openly(&site, behaviour, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_broke_after_content_keeps_what_came_and_is_not_spliced() {
    let site = Site::open(hasty()).await;

    for behaviour in ["cut_chunked n=3 delay_ms=30", "error_event_mid n=3 delay_ms=30", "rst_after n=3 delay_ms=30"] {
        site.a.control.always(behaviour);
        let tail = site.gateway.stream(&chat("team", true)).await.rest().await;

        assert_eq!((content(&tail.events()).as_str(), end_of(&tail)), ("tok0 tok1 tok2", End::Error), "{behaviour}");
    }
    assert_eq!(site.b.control.stats().total.started, 0, "nobody else was asked for the rest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_first_target_is_invisible_while_another_lives() {
    let site = Site::open(hasty().set("deadlines.total_ms", "9000")).await;
    site.b.control.always("ok text=from+b");

    for (behaviours, stream) in [([BEFORE_CONTENT, WHOLE].concat(), false), ([BEFORE_CONTENT, EARLY].concat(), true)] {
        // Blanks before a whole answer are how some providers keep a client waiting: only the total ends them.
        for behaviour in behaviours.into_iter().filter(|one| stream || *one != "endless_comments") {
            site.a.control.always(behaviour);
            let asked = tokio::time::timeout(PATIENCE, site.ask_team(stream)).await;
            let answer = asked.unwrap_or_else(|_| panic!("{behaviour} stream={stream}: no answer"));

            assert_eq!(answer.status(), 200, "{behaviour} stream={stream}: {}", answer.text());
            let text = if stream {
                content(&answer.events())
            } else {
                answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
            };
            assert_eq!((text.as_str(), answer.header("x-omniroute-attempts")), ("from b", Some("2")), "{behaviour}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_said_done_is_whole_although_more_was_announced() {
    let site = Site::open(calm()).await;
    site.a.control.always("cut_content_length");

    let tail = site.gateway.stream(&chat("a/m", true)).await.rest().await;

    assert_eq!(end_of(&tail), End::Whole, "{}", tail.text);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_goes_nowhere() {
    let site = Site::open(calm()).await;
    let elsewhere = format!("redirect location=http://{}/v1/chat/completions", site.b.addr);
    site.a.control.always(elsewhere.as_str());

    let answer = site.ask(false).await;

    assert_eq!((answer.status(), &error_of(&answer)["type"]), (502, &json!("server_error")));
    assert_eq!(site.b.control.stats().connections, 0);
}

#[tokio::test]
async fn an_error_inside_a_good_status_counts_by_its_code() {
    let site = Site::open(calm()).await;

    site.a.control.script(["error_in_200 code=429"]);
    let limited = site.ask(false).await;

    assert_eq!(limited.status(), 429, "{}", limited.text());
    site.a_becomes("cooling_down").await;
}

#[tokio::test]
async fn an_upstream_that_echoes_our_key_does_not_tell_it_to_the_client() {
    let site = Site::open(calm()).await;
    let body = r#"{"error":{"message":"bad key sk-a-really-secret","type":"invalid_request_error","code":null}}"#;
    let secret = site.admin.create_connection(&site.at_a.node, "secret", "sk-a-really-secret").await;
    let behaviour = Behaviour::from_json(&json!({"name": "status", "code": 400, "body": body})).unwrap();
    site.a.control.always(behaviour);

    let answer = site.gateway.ask(&chat("a/m", false).header("x-omniroute-connection", &secret)).await;

    assert_eq!(answer.status(), 400);
    assert!(!answer.text().contains("really-secret"), "{}", answer.text());
    let everything = format!("{}{}", site.gateway.log(), site.admin.resilience().await);
    assert!(!everything.contains("really-secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_answer_does_not_become_a_huge_process() {
    let site = Site::open(hasty()).await;
    site.ask(false).await;
    let before = site.gateway.rss_bytes();
    site.a.control.always("huge_body bytes=1000000000");

    let answer = tokio::time::timeout(PATIENCE, site.ask(false)).await.unwrap();

    let grown = site.gateway.rss_bytes().saturating_sub(before);
    assert!(answer.status() >= 500);
    assert!(grown < 2 * 32 * 1024 * 1024, "grown by {grown} bytes");
}

// --- whole answers that look odd ---

#[tokio::test]
async fn odd_but_whole_answers_pass() {
    let site = Site::open(calm()).await;
    let cases = [
        "crlf",
        "storm_1xx n=3",
        "split_utf8",
        "one_byte_chunks",
        "bom",
        "ok coalesce=on",
        "wrong_content_type",
        "reasoning",
    ];

    for behaviour in cases {
        site.a.control.always(behaviour);
        let streamed = site.gateway.stream(&chat("a/m", true)).await;
        let (status, tail) = (streamed.head.status, streamed.rest().await);
        let whole = site.ask(false).await;

        assert_eq!((status, end_of(&tail)), (200, End::Whole), "{behaviour}: {}", tail.text);
        assert_eq!(whole.status(), 200, "{behaviour}: {}", whole.text());
        let text = content(&tail.events());
        assert_eq!(whole.json()["choices"][0]["message"]["content"], text, "{behaviour}");
        if behaviour == "split_utf8" {
            assert_eq!(text, "Grüße aus 東京 🚀");
        }
    }
}

#[tokio::test]
async fn an_answer_cut_by_max_tokens_before_any_text_is_whole() {
    let site = Site::open(calm()).await;
    let whole = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"length"}]}"#;
    let chunk = |delta: &str, finish: &str| {
        format!(
            r#"data: {{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#
        )
    };
    let role = chunk(r#"{"role":"assistant","content":""}"#, "null");
    let stream = format!("{role}\n\n{}\n\ndata: [DONE]\n\n", chunk("{}", r#""length""#));
    let with_body = |body: &str| Behaviour::from_json(&json!({"name": "status", "code": 200, "body": body})).unwrap();

    site.a.control.always(with_body(whole));
    let answer = site.gateway.ask(&chat_with("a/m", &json!({"max_tokens": 1}))).await;
    site.a.control.always(with_body(&stream));
    let request = chat_with("a/m", &json!({"max_tokens": 1, "stream": true}));
    let tail = site.gateway.stream(&request).await.rest().await;

    assert_eq!((answer.status(), answer.text().as_str()), (200, whole));
    assert_eq!(end_of(&tail), End::Whole, "{}", tail.text);
}

#[tokio::test]
async fn an_answer_of_tool_calls_alone_is_whole() {
    let site = Site::open(calm()).await;
    site.a.control.always("tool_call");

    let streamed = site.gateway.stream(&chat("a/m", true)).await.rest().await;
    let whole = site.ask(false).await;

    assert_eq!((end_of(&streamed), whole.status()), (End::Whole, 200));
}

#[tokio::test]
async fn a_large_token_below_the_limit_passes() {
    let site = Site::open(calm()).await;
    site.a.control.always("huge_token bytes=900000");

    let stream = site.gateway.stream(&chat("a/m", true)).await;
    let tail = tokio::time::timeout(Duration::from_secs(5), stream.rest()).await.unwrap();

    assert_eq!((content(&tail.events()).len(), end_of(&tail)), (900_000, End::Whole));
}
