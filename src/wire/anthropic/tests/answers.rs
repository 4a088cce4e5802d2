use std::sync::Arc;

use rstest::rstest;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::*;
use crate::chat::*;
use crate::openai_error::{ErrorBody, UpstreamErrorBody};
use crate::usage::Usage;

pub(super) fn reply() -> Reply {
    Reply {
        id: "r1".into(),
        created: 0,
        model: "client-model".into(),
        include_usage: false,
        as_array: false,
        request: Arc::new(Request::new(Format::Anthropic, "client-model")),
    }
}

fn answer(parts: Vec<Part>, stop: Stop) -> Answer {
    Answer { choices: vec![Choice { index: 0, parts, stop, logprobs: None }], ..Answer::default() }
}

fn written(answer: &Answer) -> Value {
    serde_json::from_slice(&encode_answer(answer, &reply())).unwrap()
}

fn whole() -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-6",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "Eq"},
            {"type": "redacted_thinking", "data": "hidden"},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "text", "text": "Hi", "citations": [{"type": "char_location", "cited_text": "w", "document_index": 0,
                "document_title": "d", "start_char_index": 0, "end_char_index": 1}]},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 300, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 600,
            "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
            "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20}}
    })
}

#[test]
fn a_whole_answer_is_read_and_written_back_as_it_was() {
    let read = decode_answer(whole().to_string().as_bytes()).unwrap();

    let expected = Usage {
        input_fresh: 300,
        cache_read: 600,
        cache_write_5m: 60,
        cache_write_1h: 40,
        output_text: 30,
        output_reasoning: 20,
        ..Usage::default()
    };
    assert_eq!(read.usage, Some(expected));
    assert_eq!(read.choices[0].stop, Stop::ToolCalls);
    assert_eq!(written(&read), whole());
}

#[rstest]
#[case("end_turn", Stop::Done)]
#[case("stop_sequence", Stop::Sequence(Some("END".into())))]
#[case("max_tokens", Stop::Length)]
#[case("refusal", Stop::Refused)]
#[case("pause_turn", Stop::Paused)]
#[case("model_context_window_exceeded", Stop::ContextFull)]
fn reasons_are_the_same_both_ways(#[case] reason: &str, #[case] stop: Stop) {
    let sequence = (reason == "stop_sequence").then_some("END");
    let body = json!({"content": [], "stop_reason": reason, "stop_sequence": sequence}).to_string();

    let read = decode_answer(body.as_bytes()).unwrap();
    let written = written(&read);

    assert_eq!(read.choices[0].stop, stop);
    assert_eq!((written["stop_reason"].as_str(), written["stop_sequence"].as_str()), (Some(reason), sequence));
    assert_eq!(written["content"], json!([{"type": "text", "text": ""}]));
}

#[rstest]
#[case(Stop::Filtered, "refusal")]
#[case(Stop::MalformedCall, "refusal")]
#[case(Stop::ToolCalls, "end_turn")]
#[case(Stop::Other("weird".into()), "end_turn")]
fn reasons_of_others_have_a_word_here(#[case] stop: Stop, #[case] reason: &str) {
    assert_eq!(written(&answer(vec![Part::text("x")], stop))["stop_reason"], reason);
}

#[test]
fn a_refusal_is_explained() {
    let body = json!({"content": [], "stop_reason": "refusal",
        "stop_details": {"type": "refusal", "category": "cyber", "explanation": "not this"}})
    .to_string();

    let read = decode_answer(body.as_bytes()).unwrap();

    assert_eq!(read.choices[0].parts, [Part::new(PartKind::Refusal("not this".into()))]);
}

#[rstest]
#[case("{\"input_tokens\":3,\"cache_creation_input_tokens\":9,\"output_tokens\":null}", 3, 9, 0, 0)]
#[case("{\"output_tokens\":7,\"output_tokens_details\":{\"thinking_tokens\":99}}", 0, 0, 0, 7)]
#[case(
    "{\"input_tokens\":1,\"cache_creation_input_tokens\":5,\"cache_creation\":{\"ephemeral_1h_input_tokens\":5}}",
    1,
    0,
    5,
    0
)]
fn sloppy_usage_falls_into_disjoint_buckets(
    #[case] json: &str,
    #[case] fresh: u64,
    #[case] short: u64,
    #[case] long: u64,
    #[case] reasoning: u64,
) {
    let usage = Usage::from_anthropic(serde_json::from_str::<&RawValue>(json).unwrap()).unwrap();

    let got = (usage.input_fresh, usage.cache_write_5m, usage.cache_write_1h, usage.output_reasoning);
    assert_eq!(got, (fresh, short, long, reasoning));
}

#[rstest]
#[case("{}")]
#[case("[]")]
#[case("7")]
#[case("{\"input_tokens\":\"x\"}")]
fn an_object_without_counts_is_no_usage(#[case] json: &str) {
    assert_eq!(Usage::from_anthropic(serde_json::from_str::<&RawValue>(json).unwrap()), None);
}

#[test]
fn an_error_is_no_answer() {
    let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"req_1"}"#;

    let BadAnswer::Error(error) = decode_answer(body).unwrap_err() else { panic!() };

    assert_eq!((error.message.as_str(), error.kind.as_deref()), ("busy", Some("overloaded_error")));
    assert_eq!(decode_answer(b"<html>").unwrap_err(), BadAnswer::NotJson);
    assert!(matches!(decode_answer(b"{}").unwrap_err(), BadAnswer::Broken(_)));
    assert!(matches!(decode_answer(b"[1]").unwrap_err(), BadAnswer::Broken(_)));
}

#[test]
fn odd_members_of_an_answer_do_not_spoil_it() {
    let body = json!({"id": 7, "content": [null, 5, {"type": "text"}, {"type": "tool_use", "name": "f"}, {"type": "new"}],
        "stop_reason": null, "usage": []});

    let read = decode_answer(body.to_string().as_bytes()).unwrap();

    let PartKind::ToolCall(call) = &read.choices[0].parts[3].kind else { panic!("{read:?}") };
    assert!(call.id.starts_with("call_"));
    assert_eq!(read.choices[0].stop, Stop::ToolCalls);
    assert_eq!(read.usage, None);
}

#[test]
fn what_other_models_say_is_legal_here() {
    let call = ToolCall {
        id: "c1".into(),
        name: "f".into(),
        namespace: None,
        arguments: "not json".into(),
        custom: false,
        seal: Some(Seal { family: Family::Google, data: "Q2".into() }),
    };
    let cited = Citation { url: Some("https://a.invalid".into()), ..Citation::default() };
    let parts = vec![
        Part::new(PartKind::Thinking(Thinking { text: "hm".into(), ..Thinking::default() })),
        Part::new(PartKind::Text { text: "see".into(), citations: vec![cited] }),
        Part::new(PartKind::Native(json!({"type": "reasoning_of_another"}))),
        Part::new(PartKind::ToolCall(call)),
    ];

    let written = written(&answer(parts, Stop::Done));

    assert_eq!(
        written["content"],
        json!([
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "see", "citations": [{"type": "web_search_result_location",
                "url": "https://a.invalid", "title": null, "encrypted_index": "", "cited_text": ""}]},
            {"type": "thinking", "thinking": "", "signature": "omr1.google.Q2"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"input": "not json"}},
        ])
    );
    assert_eq!((written["stop_reason"].as_str(), written["model"].as_str()), (Some("tool_use"), Some("client-model")));
    assert_eq!(written["id"], "msg_r1");
}

#[rstest]
#[case(400, "invalid_request_error")]
#[case(401, "authentication_error")]
#[case(402, "billing_error")]
#[case(403, "permission_error")]
#[case(404, "not_found_error")]
#[case(413, "request_too_large")]
#[case(429, "rate_limit_error")]
#[case(500, "api_error")]
#[case(504, "timeout_error")]
#[case(529, "overloaded_error")]
fn an_error_has_the_type_of_its_status(#[case] status: u16, #[case] kind: &str) {
    let error = ErrorBody { message: "why".into(), kind: "server_error".into(), param: None, code: None };

    let body = error_body(&error, status, Some("req_1"));

    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json, json!({"type": "error", "error": {"type": kind, "message": "why"}, "request_id": "req_1"}));
    assert_eq!(status_of_kind(kind), Some(status));
    assert_eq!(UpstreamErrorBody::parse(&body).kind.as_deref(), Some(kind));
}

#[rstest]
#[case(418, "invalid_request_error")]
#[case(502, "api_error")]
#[case(503, "overloaded_error")]
fn other_statuses_have_the_nearest_type(#[case] status: u16, #[case] kind: &str) {
    assert_eq!(kind_of_status(status), kind);
}

fn listed() -> Vec<ListedModel> {
    ["a", "b", "c", "d"]
        .map(|id| ListedModel { id: id.into(), display_name: id.to_uppercase(), created_at: 1_700_000_000 })
        .to_vec()
}

#[rstest]
#[case(None, None, None, "abcd", false)]
#[case(Some(3), None, None, "abc", true)]
#[case(Some(2), Some("b"), None, "cd", false)]
#[case(Some(1), Some("b"), None, "c", true)]
#[case(Some(1), None, Some("c"), "b", true)]
#[case(Some(2), None, Some("c"), "ab", false)]
#[case(None, Some("zz"), None, "", false)]
fn models_are_listed_by_the_page(
    #[case] limit: Option<u64>,
    #[case] after_id: Option<&str>,
    #[case] before_id: Option<&str>,
    #[case] ids: &str,
    #[case] more: bool,
) {
    let page: Value = serde_json::from_slice(&models_page(&listed(), Page { limit, after_id, before_id })).unwrap();

    let got: String = page["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!((got.as_str(), page["has_more"].as_bool()), (ids, Some(more)));
    assert_eq!(page["first_id"].as_str(), ids.get(..1));
    assert_eq!(page["last_id"].as_str(), ids.len().checked_sub(1).and_then(|last| ids.get(last..)));
    if let Some(first) = page["data"].get(0) {
        assert_eq!(first["created_at"], "2023-11-14T22:13:20Z");
    }
}

#[test]
fn an_error_of_minimax_beside_an_empty_answer_is_an_error() {
    let body = br#"{"id":"","type":"message","role":"assistant","content":[],"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#;
    let good = br#"{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","base_resp":{"status_code":0,"status_msg":""}}"#;

    let refused = decode_answer(body).unwrap_err();
    let streamed = Decoder::default().frame(None, body, &mut Vec::new()).unwrap_err();

    for bad in [refused, streamed] {
        let BadAnswer::Error(error) = bad else { panic!("{bad:?}") };
        assert_eq!((error.kind.as_deref(), error.code.as_deref()), (Some("insufficient_balance"), Some("402")));
    }
    assert!(decode_answer(good).is_ok());
}
