//! A stream that breaks off goes on with another target, where its combo allows that and the answer is plain text.

use omniroute_testkit::http::{Request, content};
use serde_json::{Value, json};

use crate::common::{End, KEY, PATIENCE, Site, calm, chat_with, end_of};

/// `team` may go on with `b`, which knows how to.
async fn site() -> Site {
    let site = Site::open(calm()).await;
    let combo =
        json!({"name": "relay", "strategy": "priority", "models": ["a/m", "b/m"], "config": {"continuation": true}});
    site.admin.create_combo_with(&combo).await;
    prefill(&site, "assistant").await;
    site
}

async fn prefill(site: &Site, how: &str) {
    let path = format!("/api/providers/{}", site.at_b.connections[0]);
    site.admin.patch(&path, &json!({"providerSpecificData": {"prefill": how}})).await;
}

fn attempts(record: &str) -> Vec<Value> {
    serde_json::from_str(record).unwrap()
}

#[tokio::test]
async fn a_broken_stream_goes_on_elsewhere_in_one_piece() {
    let site = site().await;
    site.a.control.always("rst_after n=3 text=one+two+three+four+five+six");
    site.b.control.always("ok text=three+four+five prompt_tokens=20");

    let answer = site.gateway.stream(&chat_with("relay", &json!({"stream": true}))).await;
    let id = answer.head.header("x-request-id").unwrap_or_default().to_owned();
    let tail = answer.rest().await;

    assert_eq!((content(&tail.events()).as_str(), end_of(&tail)), ("one two three four five", End::Whole));
    assert!(tail.text.contains(": x-omniroute-continued="), "{}", tail.text);
    let sent = site.b.control.requests().pop().unwrap().json();
    let last = sent["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last, json!({"role": "assistant", "content": "one two three"}));
    let record = site.record(&id).await;
    let tried = attempts(&record.attempts);
    let [broken, rest] = tried.as_slice() else { panic!("{tried:?}") };
    assert_eq!((&broken["outcome"], &broken["class"]), (&json!("broken_answer"), &json!("started")));
    assert_eq!((&rest["outcome"], &rest["role"]), (&json!("success"), &json!("continuation")));
    let of = |name: &str| broken["tokens"][name].as_i64().unwrap() + rest["tokens"][name].as_i64().unwrap();
    assert_eq!((record.prompt_tokens, record.completion_tokens), (of("prompt"), of("completion")));
    assert_eq!(record.connection_id.as_ref(), site.at_b.connections.first());
}

#[tokio::test]
async fn the_beginning_is_marked_the_way_a_provider_wants_it_and_the_cap_is_what_is_left() {
    let site = site().await;
    prefill(&site, "prefix").await;
    site.a.control.always("cut_chunked n=2 text=one+two+three+four");
    site.b.control.always("ok text=three");

    let request = chat_with("relay", &json!({"stream": true, "max_tokens": 100}));
    let answer = site.gateway.ask(&request).await;

    assert_eq!(answer.status(), 200);
    let sent = site.b.control.requests().pop().unwrap().json();
    assert_eq!(sent["messages"][1]["prefix"], true);
    let cap = sent["max_tokens"].as_u64().unwrap();
    assert!(cap > 0 && cap < 100, "{cap}");
}

#[tokio::test]
async fn usage_that_a_client_reads_is_of_both_parts() {
    let site = site().await;
    site.a.control.always("rst_after n=2 text=one+two+three");
    site.b.control.always("ok text=three prompt_tokens=20");

    let request = chat_with("relay", &json!({"stream": true, "stream_options": {"include_usage": true}}));
    let answer = site.gateway.ask(&request).await;

    let usage = answer.events().iter().rev().find_map(|event| {
        let event: Value = serde_json::from_str(event).ok()?;
        event["usage"].is_object().then(|| event["usage"].clone())
    });
    let record = site.record(answer.header("x-request-id").unwrap()).await;
    let usage = usage.expect("usage");
    assert_eq!(usage["prompt_tokens"], record.prompt_tokens);
    assert_eq!(usage["completion_tokens"], record.completion_tokens);
    assert!(record.prompt_tokens > 20, "{record:?}");
}

#[tokio::test]
async fn every_client_format_reads_one_answer() {
    let site = site().await;
    let words = json!([{"role": "user", "content": "hello"}]);
    let contents = json!([{"role": "user", "parts": [{"text": "hello"}]}]);
    let requests = [
        ("/v1/messages", json!({"model": "relay", "max_tokens": 500, "stream": true, "messages": words})),
        ("/v1/responses", json!({"model": "relay", "stream": true, "input": "hello"})),
        ("/v1beta/models/relay:streamGenerateContent?alt=sse", json!({"contents": contents})),
        ("/v1beta/models/relay:streamGenerateContent", json!({"contents": contents})),
        ("/api/chat", json!({"model": "relay", "messages": words})),
        ("/v1/completions", json!({"model": "relay", "stream": true, "prompt": "hello"})),
    ];
    for (path, body) in requests {
        site.a.control.always("rst_after n=2 text=first+second+three+four");
        site.b.control.always("ok text=second+three+four");

        let answer = site.gateway.ask(&Request::post(path, &body).key(KEY)).await;

        let text = answer.text();
        assert_eq!(answer.status(), 200, "{path}: {text}");
        assert!(text.contains("x-omniroute-continued="), "{path}: {text}");
        assert_eq!(said(path, &text).as_deref(), Some("first second three four"), "{path}: {text}");
    }
}

/// The text of a stream, put together as the format's clients do.
fn said(path: &str, body: &str) -> Option<String> {
    if path.ends_with("streamGenerateContent") {
        let all: Value = serde_json::from_str(body).ok()?;
        return Some(all.as_array()?.iter().filter_map(piece).collect());
    }
    let lines = body.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Some(events.filter_map(|event| piece(&event)).collect())
}

fn piece(event: &Value) -> Option<String> {
    let at = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    match at("/type").as_deref() {
        Some("response.output_text.delta") => at("/delta"),
        Some("content_block_delta") => at("/delta/text"),
        Some(_) => None,
        None => at("/candidates/0/content/parts/0/text")
            .or_else(|| at("/message/content"))
            .or_else(|| at("/choices/0/text")),
    }
}

#[tokio::test]
async fn what_is_no_plain_text_and_what_nobody_can_go_on_with_ends_with_the_error_event() {
    let site = site().await;
    site.a.control.always("rst_after n=2 text=one+two+three");
    let schema = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}});
    for members in [json!({"stream": true, "n": 2}), json!({"stream": true, "response_format": schema})] {
        let tail = site.gateway.stream(&chat_with("relay", &members)).await.rest().await;
        assert_eq!(end_of(&tail), End::Error, "{members}");
    }
    let stop = json!({"stream": true, "stop": ["two three"]});
    assert_eq!(end_of(&site.gateway.stream(&chat_with("relay", &stop)).await.rest().await), End::Error);
    prefill(&site, "none").await;
    let tail = site.gateway.stream(&chat_with("relay", &json!({"stream": true}))).await.rest().await;
    assert_eq!((content(&tail.events()).as_str(), end_of(&tail)), ("one two ", End::Error));
    let tail = site.gateway.stream(&chat_with("team", &json!({"stream": true}))).await.rest().await;
    assert_eq!(end_of(&tail), End::Error, "without the combo's word");
    assert_eq!(site.b.control.settled().await.total.started, 0);
}

#[tokio::test]
async fn an_answer_is_gone_on_with_once() {
    let site = site().await;
    site.a.control.always("rst_after n=2 text=one+two+three");
    site.b.control.always("rst_after n=1 text=three+four");

    let tail = site.gateway.stream(&chat_with("relay", &json!({"stream": true}))).await.rest().await;

    assert_eq!((content(&tail.events()).as_str(), end_of(&tail)), ("one two three ", End::Error));
    assert_eq!(site.b.control.settled().await.total.started, 1);
}

#[tokio::test]
async fn a_client_that_leaves_while_somebody_is_looked_for_cancels_that_too_and_is_billed() {
    let site = site().await;
    site.a.control.always("rst_after n=2 text=one+two+three");
    site.b.control.always("hang_before_head");

    let mut stream = site.gateway.stream(&chat_with("relay", &json!({"stream": true}))).await;
    let id = stream.head.header("x-request-id").unwrap_or_default().to_owned();
    stream.read_until("two").await.unwrap();
    assert!(site.b.control.wait_until(PATIENCE, |stats| stats.total.in_flight == 1).await);
    drop(stream);

    assert!(site.b.control.wait_until(PATIENCE, |stats| stats.total.cancelled == 1).await);
    let record = site.record(&id).await;
    assert_eq!((record.status, record.outcome.as_str()), (499, "client_gone"));
    let tried = attempts(&record.attempts);
    assert!(tried.len() == 2 && tried.iter().all(|one| one["tokens"].is_object()), "{tried:?}");
    assert!(record.completion_tokens > 0);
}
