//! The mock keeps its word: each behaviour is what it says, counts are right, hang-ups are noticed.

use std::time::Duration;

use super::*;
use crate::http::{self, HangUp, Moment, Request, Response, content, open_and_hang_up};

const SOON: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(5);

async fn ask(mock: &MockUpstream, fault: &str, stream: bool) -> io::Result<Response> {
    let prompt = format!("hello [[fault:{fault}]]");
    http::request(mock.addr, &Request::chat("m1", &prompt, stream).key("sk-a")).await
}

async fn text_of(mock: &MockUpstream, fault: &str) -> http::Tail {
    let prompt = format!("hello [[fault:{fault}]]");
    http::stream(mock.addr, &Request::chat("m1", &prompt, true)).await.unwrap().rest().await
}

fn is_complete(events: &[String]) -> bool {
    let finished = events.iter().any(|event| event.contains("\"finish_reason\":\"stop\""));
    finished && events.last().is_some_and(|event| event == "[DONE]")
}

fn json_of(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_plain_answer_is_a_complete_openai_answer() {
    let mock = MockUpstream::start().await;

    let whole = ask(&mock, "ok tokens=3", false).await.unwrap().json();
    let events = ask(&mock, "ok text=one+two", true).await.unwrap().events();

    assert_eq!(whole["choices"][0]["message"]["content"], "tok0 tok1 tok2");
    assert_eq!((&whole["model"], &whole["usage"]["completion_tokens"]), (&"m1".into(), &3.into()));
    assert_eq!(content(&events), "one two");
    assert_eq!(json_of(&events[0])["choices"][0]["delta"]["role"], "assistant");
    assert!(is_complete(&events) && !events.concat().contains("usage"));
}

#[tokio::test]
async fn usage_is_streamed_only_when_asked_for_and_not_switched_off() {
    let mock = MockUpstream::start().await;
    let with_usage = |fault: &str| {
        Request::post(
            "/v1/chat/completions",
            &serde_json::json!({"stream": true, "model": "m",
            "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": fault}]}),
        )
    };

    let asked = http::request(mock.addr, &with_usage("[[fault:ok tokens=2]]")).await.unwrap().events();
    let switched_off = http::request(mock.addr, &with_usage("[[fault:ok usage=off]]")).await.unwrap().events();

    let last = json_of(&asked[asked.len() - 2]);
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&serde_json::json!([]), &12.into()));
    assert!(switched_off.iter().all(|event| !event.contains("total_tokens")));
}

#[tokio::test]
async fn tool_calls_and_reasoning_come_in_both_forms() {
    let mock = MockUpstream::start().await;

    let call = ask(&mock, "tool_call", false).await.unwrap().json();
    let deltas = ask(&mock, "tool_call", true).await.unwrap().events();
    let thought = ask(&mock, "reasoning", false).await.unwrap().json();
    let thoughts = ask(&mock, "reasoning", true).await.unwrap().text();

    let call = &call["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(json_of(call["arguments"].as_str().unwrap())["city"], "Bern");
    let fragments = deltas.iter().filter_map(|event| serde_json::from_str::<serde_json::Value>(event).ok());
    let arguments = fragments.filter_map(|event| {
        event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().map(str::to_owned)
    });
    assert_eq!(arguments.collect::<String>(), "{\"city\":\"Bern\"}");
    assert!(deltas.concat().contains("\"finish_reason\":\"tool_calls\""));
    assert_eq!(thought["choices"][0]["message"]["reasoning_content"], "Let me think.");
    assert!(thoughts.contains("\"reasoning_content\":\" think.\"") && thoughts.contains("tok63"));
}

#[tokio::test]
async fn a_status_carries_its_hints_and_an_openai_error() {
    let mock = MockUpstream::start().await;

    let limited = ask(&mock, "status code=429 retry_after=7 retry_after_ms=7100 header=x-foo:bar", true).await.unwrap();
    let named = ask(&mock, "status code=400 error_type=bad error_code=worse", false).await.unwrap().json();

    assert_eq!((limited.status(), limited.header("retry-after")), (429, Some("7")));
    assert_eq!((limited.header("retry-after-ms"), limited.header("x-foo")), (Some("7100"), Some("bar")));
    assert_eq!(limited.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!((&named["error"]["type"], &named["error"]["code"]), (&"bad".into(), &"worse".into()));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_as_cut_by_a_careful_client() {
    let mock = MockUpstream::start().await;

    for fault in ["fin_before_any_byte", "reset", "refuse", "cut_content_length", "cut_chunked", "rst_after"] {
        for stream in [false, true] {
            assert!(ask(&mock, fault, stream).await.is_err(), "{fault} {stream}");
        }
    }
    let cut = text_of(&mock, "cut_chunked n=3").await;
    let reset = text_of(&mock, "rst_after n=3").await;

    assert_eq!(content(&cut.events()), "tok0 tok1 tok2");
    assert_eq!(cut.cut.unwrap().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(content(&reset.events()), "tok0 tok1 tok2");
    assert_eq!(reset.cut.unwrap().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_false_end_is_well_framed_and_lacks_what_it_says_it_lacks() {
    let mock = MockUpstream::start().await;
    let events = async |fault| ask(&mock, fault, true).await.unwrap().events();

    let no_end = events("no_end_marker").await;
    let no_finish = events("done_without_finish").await;
    let no_done = events("finish_without_done").await;
    let role_only = events("role_only_then_eof").await;

    assert!(
        content(&no_end).ends_with("tok63") && !no_end.concat().contains("stop") && !no_end.concat().contains("DONE")
    );
    assert!(no_finish.last().unwrap() == "[DONE]" && !no_finish.concat().contains("stop"));
    assert!(no_done.last().unwrap().contains("\"finish_reason\":\"stop\""));
    assert_eq!((role_only.len(), content(&role_only).as_str()), (1, ""));
    assert!(events("empty_sse").await.is_empty() && events("empty_200").await.is_empty());
    let unfinished = ask(&mock, "no_end_marker", false).await.unwrap().json();
    assert!(unfinished["choices"][0]["finish_reason"].is_null());
}

#[tokio::test]
async fn errors_hide_behind_status_200_where_asked() {
    let mock = MockUpstream::start().await;

    let plain = ask(&mock, "error_in_200 code=429", true).await.unwrap();
    let first = ask(&mock, "error_event_first", true).await.unwrap().events();
    let mid = ask(&mock, "error_event_mid n=2", true).await.unwrap().events();
    let page = ask(&mock, "html_200", false).await.unwrap();
    let redirect = ask(&mock, "redirect location=http://127.0.0.1:1/x", false).await.unwrap();

    assert_eq!((plain.status(), &plain.json()["error"]["code"]), (200, &"rate_limit_exceeded".into()));
    assert!(first.len() == 1 && json_of(&first[0])["error"].is_object());
    assert!(content(&mid) == "tok0 tok1" && json_of(mid.last().unwrap())["error"].is_object());
    assert!(page.status() == 200 && page.text().contains("<form>"));
    assert_eq!((redirect.status(), redirect.header("location")), (302, Some("http://127.0.0.1:1/x")));
}

#[tokio::test]
async fn broken_json_is_broken_only_where_it_should_be() {
    let mock = MockUpstream::start().await;

    let body = ask(&mock, "invalid_json", false).await.unwrap().text();
    let events = ask(&mock, "invalid_json_event n=3", true).await.unwrap().events();

    assert!(serde_json::from_str::<serde_json::Value>(&body).is_err());
    let broken = |event: &&String| *event != "[DONE]" && serde_json::from_str::<serde_json::Value>(event).is_err();
    assert_eq!(events.iter().filter(broken).count(), 1);
    assert!(broken(&&events[4]), "the role comes before the content");
}

#[tokio::test]
async fn odd_framings_carry_a_whole_answer() {
    let mock = MockUpstream::start().await;

    for fault in [
        "crlf",
        "one_byte_chunks",
        "wrong_content_type",
        "storm_1xx n=50",
        "header_bomb n=90",
        "dribble delay_ms=0 tokens=2",
    ] {
        let streamed = ask(&mock, fault, true).await.unwrap();
        let whole = ask(&mock, fault, false).await.unwrap();

        assert!(is_complete(&streamed.events()), "{fault}");
        assert_eq!(whole.json()["choices"][0]["finish_reason"], "stop", "{fault}");
    }
}

#[tokio::test]
async fn odd_framings_are_as_odd_as_they_say() {
    let mock = MockUpstream::start().await;

    let storm = ask(&mock, "storm_1xx n=50", false).await.unwrap();
    let headers = ask(&mock, "header_bomb n=90", false).await.unwrap();
    let wrong = ask(&mock, "wrong_content_type", true).await.unwrap();
    let crlf = ask(&mock, "crlf", true).await.unwrap().text();
    let bom = ask(&mock, "bom", true).await.unwrap();
    let split = ask(&mock, "split_utf8", true).await.unwrap();

    assert_eq!(storm.head.interim, 50);
    assert!(headers.head.headers.len() > 90);
    assert_eq!(wrong.header("content-type"), Some("text/plain"));
    assert!(crlf.contains("\r\n\r\n") && !crlf.replace("\r\n", "").contains('\n'));
    assert!(bom.body.starts_with(b"\xef\xbb\xbfdata:"));
    assert_eq!(content(&split.events()), "Grüße aus 東京 🚀");
}

#[tokio::test]
async fn one_large_header_and_bytes_that_are_no_text_are_sent_as_they_are() {
    let mock = MockUpstream::start().await;

    let large = ask(&mock, "header_bomb bytes=100000", false).await.unwrap();
    let whole = ask(&mock, "invalid_utf8", false).await.unwrap();
    let streamed = ask(&mock, "invalid_utf8", true).await.unwrap();

    assert_eq!(large.header("x-padding").map(str::len), Some(100_000));
    for answer in [whole, streamed] {
        assert!(memchr::memmem::find(&answer.body, b"tok\xff\xfe").is_some());
    }
}

#[tokio::test]
async fn a_fault_with_phases_comes_and_goes_by_the_clock() {
    let mock = MockUpstream::start().await;
    mock.control.always("status code=500 phase_ms=40");
    let mut seen = Vec::new();

    let end = std::time::Instant::now() + Duration::from_millis(400);
    while std::time::Instant::now() < end {
        let answer = http::request(mock.addr, &Request::chat("m", "hello", false)).await.unwrap();
        seen.push(answer.status());
    }

    seen.dedup();
    assert!(seen.contains(&200) && seen.contains(&500) && seen.len() >= 4, "{seen:?}");
}

#[tokio::test]
async fn split_characters_and_single_bytes_are_really_split_on_the_wire() {
    let shape = render::Shape { model: "m".into(), stream: true, include_usage: false };
    let bytes = |fault: &str| match &plan::plan(&fault.into(), &shape)[2] {
        plan::Step::Write(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };

    let split = bytes("split_utf8");
    let single = bytes("one_byte_chunks tokens=1");

    assert!(memchr::memmem::find(&split, "ü".as_bytes()).is_none(), "no character is whole");
    assert!(single.starts_with(b"1\r\nd\r\n1\r\na\r\n"));
}

#[tokio::test]
async fn large_answers_are_as_large_as_asked() {
    let mock = MockUpstream::start().await;

    let body = ask(&mock, "huge_body bytes=3000000", false).await.unwrap();
    let line = ask(&mock, "huge_line bytes=3000000", true).await.unwrap();
    let token = ask(&mock, "huge_token bytes=3000000", true).await.unwrap();
    let bomb = ask(&mock, "gzip_bomb bytes=3000000", false).await.unwrap();

    assert!(body.body.len() > 3_000_000 && body.json()["padding"].is_string());
    assert!(line.events()[1].len() > 3_000_000);
    assert_eq!(content(&token.events()).len(), 3_000_000);
    assert!(bomb.header("content-encoding") == Some("gzip") && bomb.body.len() < 30_000);
    assert!(u32::from_le_bytes(bomb.body[bomb.body.len() - 4..].try_into().unwrap()) > 3_000_000);
}

#[tokio::test]
async fn silence_lasts_until_the_client_leaves_and_the_leaving_is_counted_at_once() {
    let mock = MockUpstream::start().await;
    let silent =
        ["hang_before_head", "hang_after_head", "stall_after n=2", "endless_comments", "ok delay_ms=1000", "dribble"];

    for (fault, stream) in silent.iter().flat_map(|fault| [(fault, true), (fault, false)]) {
        if fault.starts_with("ok") && !stream {
            continue;
        }
        for how in [HangUp::Fin, HangUp::Rst] {
            mock.control.reset();
            let request = Request::chat("m", &format!("[[fault:{fault}]]"), stream).key("sk-a");

            let left = Moment::AfterRequest(Duration::from_millis(20));
            open_and_hang_up(mock.addr, &request, left, how).await.unwrap();

            let left_us = mock.control.now_us();
            assert!(
                mock.control.wait_until(SOON, |stats| stats.total.cancelled == 1).await,
                "{fault} {stream} {how:?}"
            );
            let recorded = mock.control.requests().pop().unwrap();
            assert!(recorded.cancelled_us.unwrap() < left_us + 50_000 && recorded.answered_us.is_none());
            assert_eq!(recorded.head_us.is_some(), !fault.contains("before") && (*fault != "dribble"), "{fault}");
            assert_eq!(mock.control.account("sk-a").counts().in_flight, 0);
        }
    }
}

#[tokio::test]
async fn a_hang_up_is_noticed_while_the_client_reads_nothing_of_a_huge_body() {
    let mock = MockUpstream::start().await;
    let request = Request::chat("m", "[[fault:huge_body]]", false);

    open_and_hang_up(mock.addr, &request, Moment::AfterBytes(100_000), HangUp::Fin).await.unwrap();

    assert!(mock.control.wait_until(SOON, |stats| stats.total.cancelled == 1).await);
}

#[tokio::test]
async fn scripts_are_obeyed_in_their_order_and_per_key() {
    let mock = MockUpstream::start().await;
    mock.control.always("status code=503");
    mock.control.script(["status code=500"]);
    mock.control.account("sk-b").always("status code=401");
    mock.control.account("sk-b").script(["ok tokens=1"]);
    let status =
        async |key: &str| http::request(mock.addr, &Request::chat("m", "x", false).key(key)).await.unwrap().status();

    let of_b = [status("sk-b").await, status("sk-b").await];
    let of_others = [status("sk-a").await, status("sk-a").await];
    let marked = ask(&mock, "ok", false).await.unwrap().status();

    assert_eq!((of_b, of_others, marked), ([200, 401], [500, 503], 200));
    let stats = mock.control.settled().await;
    assert_eq!((stats.total.started, stats.total.answered, stats.keys["sk-b"].started), (5, 5, 2));
}

#[tokio::test]
async fn the_control_interface_works_over_http() {
    let mock = MockUpstream::start().await;
    let control = async |path: &str, body| http::request(mock.addr, &Request::post(path, &body)).await.unwrap();
    let order = serde_json::json!({"default": "ok tokens=1", "queue": [{"name": "status", "code": 429}],
        "keys": {"sk-b": {"default": "status code=403"}}});

    assert_eq!(control("/__mock/behaviour", order).await.status(), 200);
    let first = http::request(mock.addr, &Request::chat("m", "x", false).key("sk-a")).await.unwrap().status();
    let of_b = http::request(mock.addr, &Request::chat("m", "x", false).key("sk-b")).await.unwrap().status();
    let unknown = control("/__mock/behaviour", serde_json::json!({"default": "nonsense"})).await.status();

    assert_eq!((first, of_b, unknown), (429, 403, 400));
    mock.control.settled().await;
    let stats = http::request(mock.addr, &Request::get("/__mock/stats")).await.unwrap().json();
    assert_eq!((&stats["started"], &stats["keys"]["sk-b"]["answered"]), (&2.into(), &1.into()));
    let last = http::request(mock.addr, &Request::get("/__mock/requests?n=1")).await.unwrap().json();
    assert_eq!((&last[0]["key"], &last[0]["behaviour"]), (&"sk-b".into(), &"status".into()));
    assert!(last[0]["headUs"].as_u64() >= last[0]["startedUs"].as_u64());
    control("/__mock/reset", serde_json::json!(null)).await;
    assert_eq!(mock.control.stats().total.started, 0);
}

#[tokio::test]
async fn a_refusing_mock_refuses_and_listens_again_on_the_same_port() {
    let mut mock = MockUpstream::start().await;
    let mut kept = http::Connection::open(mock.addr).await.unwrap();
    kept.ask(&Request::chat("m", "x", false)).await.unwrap();

    mock.refuse().await;
    let refused = http::request(mock.addr, &Request::get("/v1/models")).await.unwrap_err();
    let idle = kept.ask(&Request::chat("m", "x", false)).await;
    mock.listen_again().await;
    let again = http::request(mock.addr, &Request::get("/v1/models")).await.unwrap();

    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert!(idle.is_err(), "an idle connection was closed");
    assert_eq!(again.json()["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_refusing_mock_ends_its_answers_and_a_crashing_one_does_not() {
    let mut mock = MockUpstream::start().await;
    let slow = Request::chat("m", "[[fault:ok tokens=20 delay_ms=5]]", true);

    let ending = http::stream(mock.addr, &slow).await.unwrap();
    mock.refuse().await;
    let ended = ending.rest().await;
    mock.listen_again().await;
    let crashing = http::stream(mock.addr, &slow).await.unwrap();
    mock.crash().await;
    let crashed = crashing.rest().await;

    assert!(ended.cut.is_none() && is_complete(&ended.events()));
    assert!(crashed.cut.is_some());
    assert!(mock.control.wait_until(PATIENCE, |stats| stats.open_connections == 0).await);
}

#[tokio::test]
async fn a_share_of_the_requests_meets_the_fault() {
    let mock = MockUpstream::start().await;
    mock.control.always("status code=503 share=30");
    let mut connection = http::Connection::open(mock.addr).await.unwrap();
    let mut failed = 0;

    for _ in 0..100 {
        failed += u32::from(connection.ask(&Request::chat("m", "x", false)).await.unwrap().status() == 503);
    }

    assert_eq!(failed, 30);
    assert_eq!(mock.control.stats().connections, 1);
}

#[tokio::test]
async fn requests_are_recorded_with_headers_and_body() {
    let mock = MockUpstream::start().await;
    let body = "x".repeat(3_000_000);

    http::request(mock.addr, &Request::chat("m7", &body, false).key("sk-a").header("X-Thing", "7")).await.unwrap();
    http::request(mock.addr, &Request::chat("m8", "short", false)).await.unwrap();

    mock.control.settled().await;
    let recorded = mock.control.requests();
    assert_eq!((recorded[0].key.as_str(), recorded[0].header("x-thing")), ("sk-a", Some("7")));
    assert!(recorded[0].body_bytes > 3_000_000 && recorded[0].body.len() == 1024 * 1024);
    assert_eq!(recorded[1].json()["model"], "m8");
    assert!(recorded[1].answered_us >= recorded[1].head_us && recorded[1].cancelled_us.is_none());
}

#[tokio::test]
async fn a_misspelt_fault_is_a_refusal_and_not_an_answer() {
    let mock = MockUpstream::start().await;

    let refusal = ask(&mock, "stall_afer n=2", true).await.unwrap();

    assert_eq!((refusal.status(), mock.control.stats().total.started), (400, 0));
    assert!(refusal.text().contains("stall_afer"));
}

#[tokio::test]
async fn a_refused_key_gets_no_model_list() {
    let mock = MockUpstream::start().await;
    mock.control.account("sk-bad").always("status code=401");

    let good = http::request(mock.addr, &Request::get("/v1/models").key("sk-good")).await.unwrap();
    let bad = http::request(mock.addr, &Request::get("/v1/models").key("sk-bad")).await.unwrap();

    assert_eq!((good.status(), bad.status(), mock.control.stats().model_lists), (200, 401, 2));
}

#[tokio::test]
async fn several_threads_serve_many_connections_at_once() {
    let settings = Settings { workers: 2, ..Settings::default() };
    let mock = MockUpstream::start_with(settings).await.unwrap();
    let ask = |n| {
        let request = Request::chat("m", "[[fault:ok first_delay_ms=30 tokens=1]]", n % 2 == 0);
        async move { http::request(mock.addr, &request).await.unwrap().status() }
    };

    let tasks: Vec<_> = (0..200).map(|n| tokio::spawn(ask(n))).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }

    let total = mock.control.settled().await.total;
    assert_eq!((total.started, total.answered, total.in_flight), (200, 200, 0));
    assert!(total.peak_in_flight > 1);
    mock.stop().await;
}

#[test]
fn a_gzip_bomb_is_the_gzip_that_other_programs_open() {
    let bomb = gzip::bomb("{\"x\":\"", 600, "\"}");

    // `{"x":"`, 775 letters, `"}`: what gunzip makes of these bytes.
    assert_eq!(hex(&bomb), "1f8b08000000000000ffab56aa50b2524a1c05a3601428d50200c12478a40f030000");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
