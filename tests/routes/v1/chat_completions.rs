//! `POST /v1/chat/completions`: what passes, unchanged.

use omniroute_testkit::http::{Request, content};
use omniroute_testkit::mock::Behaviour;
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm, chat, chat_with};

/// A behaviour that answers with this very body.
fn verbatim(body: &str) -> Behaviour {
    Behaviour::from_json(&json!({"name": "status", "code": 200, "body": body})).unwrap()
}

#[tokio::test]
async fn a_whole_answer_is_the_upstreams_to_the_byte() {
    let site = Site::open(calm()).await;
    let body = concat!(
        r#"{ "id":"x-1", "object":"chat.completion","created":1750000000.0,"model":"m-2026","#,
        r#""choices":[{"index":0,"message":{"role":"assistant","content":"Gr\u00fc\u00dfe","audio":{"id":"a"}},"#,
        r#""finish_reason":"stop","x_unknown":[1, 2]}],"usage":{"prompt_tokens":3,"completion_tokens":1,"#,
        r#""total_tokens":4},"service_tier":"default","vendor":{"k":1e3} }"#
    );
    site.a.control.always(verbatim(body));

    let answer = site.ask(false).await;

    assert_eq!((answer.status(), answer.text().as_str()), (200, body));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn unknown_fields_of_the_request_reach_the_upstream_and_only_what_must_changes() {
    let site = Site::open(calm()).await;
    let sent = r#"{"temperature": 0.30, "model":"a/vendor/m-7","x_custom":{"b":1,"a":[1e2]},
        "messages":[{"role":"user","content":"h\u00e9","name":"n","x":null}],"seed":9007199254740993}"#;

    let request = Request::new("POST", "/v1/chat/completions").key(KEY).header("Content-Type", "application/json");
    let answer = site.gateway.ask(&request.body(sent)).await;

    assert_eq!(answer.status(), 200, "{}", answer.text());
    let received = site.a.control.requests().pop().unwrap();
    let wanted = sent.replace("a/vendor/m-7", "vendor/m-7").replace("993}", "993,\"stream\":false}");
    assert_eq!(received.body, wanted);
    assert_eq!(received.path, "/v1/chat/completions");
}

#[tokio::test]
async fn the_upstream_gets_its_own_key_and_no_header_of_the_client() {
    let site = Site::open(calm()).await;

    let request = chat("a/m", false).header("Cookie", "c=1").header("X-Forwarded-For", "1.2.3.4");
    assert_eq!(site.gateway.ask(&request).await.status(), 200);

    let received = site.a.control.requests().pop().unwrap();
    assert_eq!(received.header("authorization"), Some("Bearer sk-a"));
    assert_eq!(received.header("accept-encoding"), Some("identity"));
    assert!(received.header("cookie").is_none() && received.header("x-forwarded-for").is_none());
    assert!(!format!("{:?}", received.headers).contains(KEY));
}

#[tokio::test]
async fn a_stream_arrives_event_by_event_and_not_at_its_end() {
    let site = Site::open(calm()).await;
    site.a.control.always("ok tokens=3 delay_ms=400");

    let mut stream = site.gateway.stream(&chat("a/m", true)).await;
    stream.read_until("tok0").await.unwrap();
    let then = site.a.control.stats().total;
    let tail = stream.rest().await;

    assert_eq!((then.in_flight, then.answered), (1, 0), "the first event was held back");
    assert!(tail.cut.is_none());
    assert_eq!(content(&tail.events()), " tok1 tok2");
    assert_eq!(tail.events().last().map(String::as_str), Some("[DONE]"));
}

#[tokio::test]
async fn a_stream_is_sent_with_the_headers_that_proxies_need() {
    let site = Site::open(calm()).await;

    let answer = site.ask(true).await;

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
}

#[tokio::test]
async fn each_event_of_a_stream_is_the_upstreams() {
    let site = Site::open(calm()).await;
    site.a.control.always("reasoning tokens=4");

    let request = chat_with("a/m", &json!({"stream": true, "stream_options": {"include_usage": true}}));
    let through = site.gateway.ask(&request).await;
    let direct = omniroute_testkit::http::request(
        site.a.addr,
        &chat_with(
            "m",
            &json!({
        "stream": true, "stream_options": {"include_usage": true}}),
        ),
    )
    .await
    .unwrap();

    assert_eq!(through.events(), direct.events());
}

#[tokio::test]
async fn usage_is_asked_of_the_upstream_and_hidden_from_a_client_that_did_not_ask() {
    let site = Site::open(calm()).await;
    site.a.control.always("ok tokens=5 prompt_tokens=77");

    let answer = site.ask(true).await;

    let received = site.a.control.requests().pop().unwrap().json();
    assert_eq!(received["stream_options"]["include_usage"], true);
    let events = answer.events();
    assert!(events.iter().all(|event| !event.contains("\"usage\"")), "{events:?}");
    assert_eq!(events.len(), 1 + 5 + 1 + 1, "role, content, finish, [DONE]: {events:?}");
    let record = site.record(answer.header("x-request-id").unwrap()).await;
    assert_eq!((record.prompt_tokens, record.completion_tokens), (77, 5));
    assert_eq!((record.status, record.outcome.as_str(), record.streamed), (200, "success", true));
    assert_eq!(record.connection_id.as_ref(), site.at_a.connections.first());
}

#[tokio::test]
async fn usage_is_shown_to_a_client_that_asked() {
    let site = Site::open(calm()).await;
    site.a.control.always("ok tokens=2 prompt_tokens=9");

    let request = chat_with("a/m", &json!({"stream": true, "stream_options": {"include_usage": true}}));
    let events = site.gateway.ask(&request).await.events();

    let last: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(last["usage"], json!({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}));
    assert_eq!(last["choices"], json!([]));
}

#[tokio::test]
async fn an_upstream_that_reports_no_usage_is_estimated_and_the_answer_passes() {
    let site = Site::open(calm()).await;
    site.a.control.always("ok tokens=8 usage=off");

    for stream in [false, true] {
        let answer = site.ask(stream).await;

        assert_eq!(answer.status(), 200);
        let record = site.record(answer.header("x-request-id").unwrap()).await;
        assert!(record.completion_tokens > 0 && record.prompt_tokens > 0, "{record:?}");
    }
}

#[tokio::test]
async fn a_tool_call_arrives_in_the_fragments_that_the_upstream_sent() {
    let site = Site::open(calm()).await;
    site.a.control.always("tool_call");

    let events = site.ask(true).await.events();
    let whole = site.ask(false).await.json();

    let chunks: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    let calls = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]);
    let fragments: Vec<_> = calls.filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(fragments, ["", "{\"ci", "ty\":\"Be", "rn\"}"]);
    assert_eq!(
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).next(),
        Some("tool_calls")
    );
    assert_eq!(whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{\"city\":\"Bern\"}");
}

#[tokio::test]
async fn the_same_answers_come_under_api_v1() {
    let site = Site::open(calm()).await;
    let body = json!({"model": "a/m", "messages": [{"role": "user", "content": "x"}]});

    let answer = site.gateway.ask(&Request::post("/api/v1/chat/completions", &body).key(KEY)).await;
    let models = site.gateway.ask(&Request::get("/api/v1/models").key(KEY)).await;

    assert_eq!((answer.status(), models.status()), (200, 200));
    assert_eq!(models.json()["object"], "list");
}

#[tokio::test]
async fn a_request_that_does_not_say_stream_gets_a_whole_answer() {
    let site = Site::open(calm()).await;

    let answer = site.gateway.ask(&chat_with("a/m", &json!({}))).await;

    assert_eq!(answer.json()["object"], "chat.completion");
}

#[tokio::test]
async fn one_connection_serves_one_request_after_another() {
    let site = Site::open(calm()).await;
    let mut client = omniroute_testkit::http::Connection::open(site.gateway.addr).await.unwrap();

    let mut statuses = Vec::new();
    for turn in 0..20 {
        statuses.push(client.ask(&chat("a/m", turn % 2 == 0)).await.unwrap().status());
    }

    assert_eq!(statuses, [200; 20]);
    assert_eq!(site.a.control.settled().await.total.answered, 20);
}
