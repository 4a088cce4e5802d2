//! The demo provider, asked through the gateway's own client.

use std::time::{Duration, Instant};

use actix_http::header::HeaderMap;
use awc::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::upstream::{
    BodyError, ClientFactory, CollectLimits, SendErrorKind, UpstreamRequest, UpstreamResponse, UpstreamSettings,
    collect, send,
};

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Result<String, BodyError>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(self.body.as_ref().unwrap()).unwrap()
    }

    /// The events of a stream without `[DONE]`, which must be the last one.
    fn events(&self) -> Vec<Value> {
        let body = self.body.as_ref().unwrap().strip_suffix("data: [DONE]\n\n").expect("no end marker");
        body.split_terminator("\n\n")
            .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
            .collect()
    }
}

fn demo(failure_percent: u8) -> DemoServer {
    Demo::start(DemoOptions { seed: 7, failure_percent }).unwrap()
}

fn request(demo: &DemoServer, key: &str, path: &str, body: &str) -> UpstreamRequest {
    let mut headers = HeaderMap::new();
    headers.insert("authorization".parse().unwrap(), format!("Bearer {key}").parse().unwrap());
    headers.insert("content-type".parse().unwrap(), "application/json".parse().unwrap());
    let method = if body.is_empty() { Method::GET } else { Method::POST };
    let url = Url::parse(&format!("http://{}{path}", demo.addr)).unwrap();
    UpstreamRequest { method, url, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
}

async fn send_it(request: UpstreamRequest) -> Result<UpstreamResponse, SendErrorKind> {
    let settings = UpstreamSettings { allow_private_hosts: vec!["127.0.0.1:*".to_owned()], ..Default::default() };
    let client = ClientFactory::new(settings).unwrap().client();
    let deadline = tokio::time::Instant::now() + Duration::from_millis(1500);
    send(&client, request, deadline).await.map_err(|error| error.kind)
}

async fn reply(request: UpstreamRequest) -> Reply {
    let response = send_it(request).await.unwrap();
    let (status, headers) = (response.status.as_u16(), response.headers.clone());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let limits = CollectLimits { cap: 1 << 20, idle: Duration::from_secs(2), deadline };
    let body = collect(response.body, limits).await.map(|body| String::from_utf8(body.to_vec()).unwrap());
    Reply { status, headers, body }
}

fn chat(demo: &DemoServer, key: &str, body: &Value) -> UpstreamRequest {
    request(demo, key, "/v1/chat/completions", &body.to_string())
}

fn with_fault(mut request: UpstreamRequest, fault: &str) -> UpstreamRequest {
    request.headers.insert("x-demo-fault".parse().unwrap(), fault.parse().unwrap());
    request
}

async fn ask(body: Value) -> Reply {
    let demo = demo(0);
    let reply = reply(chat(&demo, STEADY, &body)).await;
    demo.stop().await;
    reply
}

fn hello() -> Value {
    json!({"model": "demo-small", "messages": [{"role": "user", "content": "hello there"}]})
}

fn with(mut body: Value, extra: Value) -> Value {
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn weather_tool() -> Value {
    json!([{"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"]
    }}}])
}

fn content_of(events: &[Value], index: usize) -> String {
    events
        .iter()
        .flat_map(|event| event["choices"].as_array().unwrap())
        .filter(|choice| choice["index"] == index)
        .filter_map(|choice| choice["delta"]["content"].as_str())
        .collect()
}

#[actix_rt::test]
async fn an_answer_quotes_the_question_and_counts_its_tokens() {
    let first = ask(hello()).await.json();
    let second = ask(hello()).await.json();

    let text = first["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains("hello there") && text.contains("demo provider"), "{text}");
    assert_eq!(first["choices"], second["choices"]);
    assert_eq!(first["choices"][0]["finish_reason"], "stop");
    let count = text.split_inclusive(' ').count();
    assert_eq!(first["usage"], json!({"prompt_tokens": 6, "completion_tokens": count, "total_tokens": 6 + count}));
}

#[actix_rt::test]
async fn a_stream_has_the_same_text_piece_by_piece_and_usage_only_when_asked() {
    let whole = ask(hello()).await.json();
    let started = Instant::now();
    let plain = ask(with(hello(), json!({"stream": true}))).await;
    let took = started.elapsed();
    let counted = ask(with(hello(), json!({"stream": true, "stream_options": {"include_usage": true}}))).await;

    assert_eq!(plain.headers.get("content-type").unwrap(), "text/event-stream");
    assert_eq!(content_of(&plain.events(), 0), whole["choices"][0]["message"]["content"]);
    assert!(took >= Duration::from_millis(15 * 10), "{took:?}");
    assert!(plain.events().iter().all(|event| event.get("usage").is_none()));
    let events = counted.events();
    let last = events.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
    assert!(events[..events.len() - 1].iter().all(|event| event["usage"].is_null()));
}

#[actix_rt::test]
async fn the_limit_and_the_stop_sequence_are_respected() {
    let limited = ask(with(hello(), json!({"max_tokens": 3}))).await.json();
    let stopped = ask(with(hello(), json!({"stop": ["there"]}))).await.json();

    assert_eq!(limited["choices"][0]["finish_reason"], "length");
    assert_eq!(limited["usage"]["completion_tokens"], 3);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert_eq!(stopped["choices"][0]["message"]["content"], "You said: \"hello ");
}

#[actix_rt::test]
async fn several_choices_are_several_choices_in_both_shapes() {
    let whole = ask(with(hello(), json!({"n": 3}))).await.json();
    let events = ask(with(hello(), json!({"n": 2, "stream": true}))).await.events();

    assert_eq!(whole["choices"].as_array().unwrap().len(), 3);
    assert_eq!(whole["choices"][2]["index"], 2);
    assert!(!content_of(&events, 1).is_empty());
    assert_eq!(content_of(&events, 0), content_of(&events, 1));
}

#[actix_rt::test]
async fn a_tool_is_called_when_required_named_or_spoken_of_and_not_otherwise() {
    let tools = json!({"tools": weather_tool()});
    let named = json!({"tool_choice": {"type": "function", "function": {"name": "get_weather"}}});
    let spoken = json!({"messages": [{"role": "user", "content": "please use get_weather"}]});

    for extra in [json!({"tool_choice": "required"}), named, spoken.clone()] {
        let answer = ask(with(with(hello(), tools.clone()), extra)).await.json();
        let choice = &answer["choices"][0];
        let call = &choice["message"]["tool_calls"][0];
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&choice["finish_reason"], &call["function"]["name"]),
            (&json!("tool_calls"), &json!("get_weather"))
        );
        assert_eq!(arguments, json!({"city": "sample", "days": 1}));
    }
    for extra in [json!({}), with(spoken, json!({"tool_choice": "none"}))] {
        let answer = ask(with(with(hello(), tools.clone()), extra)).await.json();
        assert!(answer["choices"][0]["message"].get("tool_calls").is_none());
    }
}

#[actix_rt::test]
async fn tool_arguments_come_in_fragments_and_a_tool_result_gets_text() {
    let spaced = json!([{"type": "function", "function": {"name": "note", "parameters": {
        "type": "object", "properties": {"text": {"const": "three small words"}}, "required": ["text"]}}}]);
    let body = with(hello(), json!({"tools": spaced, "tool_choice": "required", "stream": true}));
    let events = ask(body).await.events();
    let fragments: Vec<&str> = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str())
        .collect();
    let after = ask(json!({"model": "demo-small", "tools": weather_tool(), "tool_choice": "required", "messages": [
        {"role": "user", "content": "get_weather"},
        {"role": "assistant", "tool_calls": []},
        {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"}
    ]}))
    .await
    .json();

    assert!(fragments.len() > 2, "{fragments:?}");
    assert_eq!(serde_json::from_str::<Value>(&fragments.concat()).unwrap(), json!({"text": "three small words"}));
    assert!(after["choices"][0]["message"]["content"].as_str().unwrap().contains("12 degrees"));
    assert_eq!(after["choices"][0]["finish_reason"], "stop");
}

#[actix_rt::test]
async fn a_response_format_is_answered_with_json_that_fits() {
    let object = ask(with(hello(), json!({"response_format": {"type": "json_object"}}))).await.json();
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let fitting = ask(with(hello(), json!({"response_format": format}))).await.json();

    let text = |answer: &Value| answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert!(serde_json::from_str::<Value>(&text(&object)).unwrap().is_object());
    assert_eq!(serde_json::from_str::<Value>(&text(&fitting)).unwrap(), json!({"ok": true}));
}

#[actix_rt::test]
async fn bad_requests_and_unknown_keys_get_openai_errors() {
    let demo = demo(0);
    let bad = [
        json!({"messages": [{"role": "user", "content": "x"}]}),
        json!({"model": "demo-small"}),
        json!({"model": "demo-small", "messages": "x"}),
        with(hello(), json!({"max_tokens": 0})),
        with(hello(), json!({"n": 0})),
        with(hello(), json!({"tool_choice": "required"})),
        with(hello(), json!({"stream_options": {"include_usage": true}})),
    ];

    for body in &bad {
        let refused = reply(chat(&demo, STEADY, body)).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["type"]),
            (400, &json!("invalid_request_error")),
            "{body}"
        );
    }
    let broken = reply(request(&demo, STEADY, "/v1/chat/completions", "{")).await;
    let model = reply(chat(&demo, STEADY, &with(hello(), json!({"model": "gpt-x"})))).await;
    let key = reply(chat(&demo, "sk-other", &hello())).await;
    assert_eq!(broken.status, 400);
    assert_eq!((model.status, &model.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!((key.status, &key.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    demo.stop().await;
}

#[actix_rt::test]
async fn the_models_are_listed() {
    let demo = demo(0);

    let list = reply(request(&demo, STEADY, "/v1/models", "")).await.json();
    let refused = reply(request(&demo, "nobody", "/v1/models", "")).await;

    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, MODELS);
    assert_eq!(refused.status, 401);
    demo.stop().await;
}

#[actix_rt::test]
async fn each_fault_can_be_asked_for() {
    let demo = demo(0);
    let plain = || chat(&demo, STEADY, &hello());
    let streamed = || chat(&demo, STEADY, &with(hello(), json!({"stream": true})));

    let down = reply(with_fault(plain(), "status=503")).await;
    let limited = reply(with_fault(plain(), "rate=10")).await;
    let hung = send_it(with_fault(plain(), "hang")).await;
    let cut = reply(with_fault(streamed(), "cut=3")).await;
    let cut_whole = reply(with_fault(plain(), "cut=0")).await;
    let started = Instant::now();
    let slow =
        reply(with_fault(chat(&demo, STEADY, &with(hello(), json!({"stream": true, "max_tokens": 2}))), "slow=200"));
    let slow = slow.await;
    let nonsense = reply(with_fault(plain(), "teapot")).await;

    assert_eq!(down.status, 503);
    assert_eq!((limited.status, limited.headers.get("retry-after").unwrap().to_str().unwrap()), (429, "10"));
    assert!(matches!(hung, Err(SendErrorKind::HeadTimeout)), "{hung:?}");
    assert!(cut.body.is_err() && cut_whole.body.is_err());
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(slow.events().len(), 4);
    assert_eq!(nonsense.status, 400);
    demo.stop().await;
}

#[actix_rt::test]
async fn an_account_can_be_switched_and_the_other_one_is_untouched() {
    let demo = demo(0);
    let switch = |body: Value| request(&demo, STEADY, "/demo/faults", &body.to_string());

    let done = reply(switch(json!({"account": FLAKY, "mode": "rate_limited", "retryAfter": 7}))).await;
    let limited = reply(chat(&demo, FLAKY, &hello())).await;
    let other = reply(chat(&demo, STEADY, &hello())).await;
    reply(switch(json!({"account": FLAKY, "mode": "down"}))).await;
    let down = reply(chat(&demo, FLAKY, &hello())).await;
    reply(switch(json!({"account": FLAKY, "mode": "healthy"}))).await;
    let healed = reply(chat(&demo, FLAKY, &hello())).await;
    let wrong = reply(switch(json!({"account": "nobody", "mode": "down"}))).await;

    assert_eq!(done.json(), json!({"account": FLAKY, "mode": "rate_limited"}));
    assert_eq!((limited.status, limited.headers.get("retry-after").unwrap().to_str().unwrap()), (429, "7"));
    assert_eq!((other.status, down.status, healed.status, wrong.status), (200, 503, 200, 400));
    demo.stop().await;
}

#[actix_rt::test]
async fn the_flaky_account_always_fails_at_a_hundred_percent_and_the_steady_one_never() {
    let demo = demo(100);
    let short = with(hello(), json!({"stream": true, "max_tokens": 1}));
    let mut failures = 0;
    let mut slow = 0;

    for _ in 0..12 {
        let started = Instant::now();
        let flaky = reply(chat(&demo, FLAKY, &short)).await;
        match started.elapsed() >= Duration::from_millis(800) {
            true => slow += 1,
            false if flaky.status != 200 || flaky.body.is_err() => failures += 1,
            false => panic!("a request went through: {}", flaky.status),
        }
        assert_eq!(reply(chat(&demo, STEADY, &short)).await.events().len(), 3);
    }

    assert_eq!(failures + slow, 12);
    assert!(failures > 0);
    demo.stop().await;
}

#[test]
fn the_combo_tries_the_flaky_account_first() {
    let mut connections = connections();
    connections.sort_by_key(|connection| connection.priority);

    assert_eq!(connections.map(|connection| connection.name), [FLAKY, STEADY]);
}
