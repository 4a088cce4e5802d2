//! Requests of the format's own clients, both ways.

use bytes::Bytes;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::*;
use super::{decoded, dropped, encoded, target};
use crate::chat::*;

proptest! {
    #[test]
    fn a_conversation_survives_writing_and_reading(request in arbitrary::shaped(arbitrary::Shape::of(Format::Anthropic))) {
        let (_, encoded) = encoded(&request, "model");

        let again = decode_request(&encoded.body).unwrap();

        prop_assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
        prop_assert_eq!(&again.messages, &request.messages);
        prop_assert_eq!(&again, &request);
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_request(&body);
    }
}

/// Everything that the format knows, in one request.
fn full() -> Value {
    json!({
        "model": "claude-opus-4-6", "max_tokens": 40000, "stream": true,
        "temperature": 1, "top_k": 5, "stop_sequences": ["END"],
        "system": [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "image", "source": {"type": "url", "url": "https://a.invalid/x.png"}},
                {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
                 "title": "paper", "context": "why", "citations": {"enabled": true},
                 "cache_control": {"type": "ephemeral"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
                {"type": "document", "source": {"type": "content", "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}},
                {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "c"}]},
                {"type": "text", "text": "look"}
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "EqSig"},
                {"type": "redacted_thinking", "data": "hidden"},
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                {"type": "text", "text": "see", "citations": [
                    {"type": "web_search_result_location", "url": "https://a.invalid", "title": "A",
                     "encrypted_index": "Eo8", "cited_text": "words"}]},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1.0},
                 "caller": {"type": "direct"}}
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [
                    {"type": "text", "text": "no"},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "w"}, "context": "c"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
                {"type": "text", "text": "go on", "cache_control": {"type": "ephemeral", "ttl": "5m"}}
            ]}
        ],
        "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true,
             "defer_loading": true, "input_examples": [{"a": 1}], "cache_control": {"type": "ephemeral"}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}},
                          "task_budget": {"type": "tokens", "total": 50}},
        "metadata": {"user_id": "u"}, "service_tier": "standard_only",
        "context_management": {"edits": []}, "mcp_servers": [], "container": "c", "speed": "fast"
    })
}

/// Key order of objects is free, the rest is not.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|r| same(value, r)))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

#[test]
fn the_same_format_gets_every_member_back() {
    let mut body = full();
    body["top_k"].take();
    body.as_object_mut().unwrap().retain(|_, value| !value.is_null());

    let request = decoded(&body);
    let mut target = target("claude-opus-4-6");
    target.stream = true;
    let encoded = encode_request(&request, &target).unwrap();

    let written: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(dropped(&encoded), Vec::<&str>::new());
    for (name, value) in body.as_object().unwrap() {
        assert!(same(&written[name], value), "{name}:\n{}\n{value}", written[name]);
    }
    assert_eq!(written.as_object().unwrap().len(), body.as_object().unwrap().len());
}

#[test]
fn arguments_of_past_calls_keep_their_bytes() {
    let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[
        {"type":"tool_use","id":"t","name":"f","input":{"b" : 12345678901234567890123, "a":1.50}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"ok"}]}]}"#;

    let request = decode_request(body.as_bytes()).unwrap();
    let encoded = encode_request(&request, &target("m")).unwrap();

    let written = std::str::from_utf8(&encoded.body).unwrap();
    assert!(written.contains(r#""input":{"b" : 12345678901234567890123, "a":1.50}"#), "{written}");
}

#[rstest]
#[case(json!({"max_tokens": 1, "messages": []}), "model")]
#[case(json!({"model": "m", "messages": []}), "max_tokens")]
#[case(json!({"model": "m", "max_tokens": 1}), "messages")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [{"content": "x"}]}), "messages[0].role")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [{"role": "tool", "content": "x"}]}), "messages[0].role")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user"}]}), "messages[0].content")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"text": "x"}]}]}), "messages[0].content[0].type")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text"}]}]}), "messages[0].content[0].text")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [], "tool_choice": {"type": "must"}}), "tool_choice.type")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [], "thinking": {"type": "enabled"}}), "thinking.budget_tokens")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [], "tools": [{"name": "f"}]}), "tools[0].input_schema")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [], "output_config": {"effort": "huge"}}), "output_config.effort")]
#[case(json!({"model": "m", "max_tokens": 1, "messages": [], "service_tier": "gold"}), "service_tier")]
fn a_wrong_request_is_refused_with_its_field(#[case] body: Value, #[case] field: &str) {
    let refused = decode_request(body.to_string().as_bytes()).unwrap_err();

    assert_eq!(refused.param.as_deref(), Some(field), "{}", refused.message);
}

#[test]
fn a_count_needs_no_cap() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}).to_string();

    assert_eq!(decode_count_request(body.as_bytes()).unwrap().sampling.max_tokens, None);
    assert_eq!(count_answer(7), Bytes::from("{\"input_tokens\":7}"));
}

#[rstest]
#[case(r#"{"model":"a" , "max_tokens": 1.0}"#, r#"{"model":"claude" , "max_tokens": 1.0}"#)]
#[case(r#"{"model":"a","x":{"model":"a"}}"#, r#"{"model":"claude","x":{"model":"a"}}"#)]
#[case("no json", "no json")]
fn only_the_model_is_rewritten(#[case] body: &'static str, #[case] expected: &str) {
    assert_eq!(rewrite(&Bytes::from(body), "claude"), expected);
}

#[test]
fn members_of_a_call_find_it_though_a_foreign_thought_before_it_is_left_out() {
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "omr1.openai.gAAA"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]});

    let (written, encoded) = encoded(&decoded(&body), "m");

    assert_eq!(written["messages"][1]["content"][0]["caller"], json!({"type": "direct"}));
    assert_eq!(dropped(&encoded), ["messages[1].thinking"]);
}
