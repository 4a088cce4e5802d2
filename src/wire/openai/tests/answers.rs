//! Whole answers, both ways.

use serde_json::{Value, json};

use super::super::{decode_answer, encode_answer, error_body};
use super::{any_reply, reply};
use crate::chat::*;
use crate::openai_error::ErrorBody;

fn decoded(body: &Value) -> Answer {
    decode_answer(body.to_string().as_bytes()).unwrap()
}

fn encoded(answer: &Answer, reply: &Reply) -> Value {
    serde_json::from_slice(&encode_answer(answer, reply)).unwrap()
}

fn message(parts: Vec<Part>, stop: Stop) -> Value {
    let choice = Choice { index: 0, parts, stop, logprobs: None };
    encoded(&Answer { choices: vec![choice], ..Answer::default() }, &any_reply())["choices"][0].clone()
}

#[test]
fn an_answer_with_everything_is_read_and_written_the_same() {
    let body = json!({
        "id": "c7", "object": "chat.completion", "created": 5, "model": "m", "service_tier": "default", "system_fingerprint": "fp",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "so", "reasoning_content": "hm", "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}],
                "refusal": null,
                "annotations": [{"type": "url_citation", "url_citation": {"url": "https://x", "title": "t", "start_index": 0, "end_index": 2}}],
                "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "index": 0}],
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1}"}, "extra_content": {"google": {"thought_signature": "g"}}},
                    {"id": "b", "type": "custom", "custom": {"name": "p", "input": "x"}}]},
                "logprobs": {"content": [{"token": "so", "logprob": -0.5, "bytes": null, "top_logprobs": []}]}, "finish_reason": "tool_calls"},
            {"index": 1, "message": {"role": "assistant", "content": null, "refusal": "no", "annotations": []}, "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
            "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 0}}});

    assert_eq!(encoded(&decoded(&body), &any_reply()), body);
    assert_eq!(
        decoded(&body).usage.map(|usage| (usage.input_fresh, usage.cache_read, usage.output_reasoning)),
        Some((400, 600, 20))
    );
}

#[rstest::rstest]
#[case(Stop::Done, "stop")]
#[case(Stop::Sequence(Some("x".into())), "stop")]
#[case(Stop::Length, "length")]
#[case(Stop::ContextFull, "length")]
#[case(Stop::Filtered, "content_filter")]
#[case(Stop::Refused, "content_filter")]
#[case(Stop::Paused, "stop")]
#[case(Stop::ToolCalls, "stop")]
#[case(Stop::MalformedCall, "stop")]
#[case(Stop::Other("x".into()), "stop")]
fn a_stop_is_written_in_openais_words(#[case] stop: Stop, #[case] reason: &str) {
    assert_eq!(message(vec![Part::text("a")], stop)["finish_reason"], reason);
}

#[test]
fn a_refusal_with_words_stops_and_an_empty_answer_has_a_text() {
    let refused = message(vec![Part::new(PartKind::Refusal("no".into()))], Stop::Refused);
    let empty = encoded(&Answer::default(), &any_reply());

    assert_eq!(
        (&refused["finish_reason"], &refused["message"]["refusal"], &refused["message"]["content"]),
        (&json!("stop"), &json!("no"), &Value::Null)
    );
    assert_eq!(empty["choices"][0]["message"]["content"], "");
    assert_eq!(
        (&empty["id"], &empty["model"], &empty["created"]),
        (&json!("chatcmpl-r1"), &json!("client-model"), &json!(7))
    );
}

#[test]
fn calls_that_a_provider_writes_carelessly_are_read() {
    let answer = decoded(&json!({"choices": [{"message": {"content": "", "tool_calls": [
        {"id": "", "function": {"name": "f", "arguments": {"a": 1}}},
        {"index": 0, "id": "", "function": {"name": "f", "arguments": null}}]}, "finish_reason": "stop"}]}));

    let calls: Vec<(&str, &str)> = answer.choices[0]
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::ToolCall(call) => (call.name.as_str(), call.arguments.as_str()),
            _ => panic!(),
        })
        .collect();
    assert_eq!(calls, [("f", "{\"a\":1}"), ("f", "")]);
    assert_eq!(answer.choices[0].stop, Stop::ToolCalls);
}

#[test]
fn a_client_of_functions_gets_a_function_call() {
    let mut request = Request::new(Format::OpenAiChat, "m");
    request.functions_form = true;
    let answer = decoded(
        &json!({"choices": [{"message": {"function_call": {"name": "f", "arguments": "{}"}}, "finish_reason": "function_call"}]}),
    );

    let choice = encoded(&answer, &reply(request))["choices"][0].clone();

    assert_eq!(choice["message"]["function_call"], json!({"name": "f", "arguments": "{}"}));
    assert_eq!((&choice["finish_reason"], choice["message"].get("tool_calls")), (&json!("function_call"), None));
}

#[rstest::rstest]
#[case("<html>", BadAnswer::NotJson)]
#[case("", BadAnswer::NotJson)]
#[case("7", BadAnswer::Broken("a chunk is no object".into()))]
#[case(r#"{"id":"x","choices":[]}"#, BadAnswer::Broken("it says nothing".into()))]
#[case(r#"{"id":"x","choices":[{"message":{"content":null},"finish_reason":""}]}"#, BadAnswer::Broken("it says nothing".into()))]
fn what_is_no_answer_is_named(#[case] body: &str, #[case] bad: BadAnswer) {
    assert_eq!(decode_answer(body.as_bytes()), Err(bad));
}

#[test]
fn an_error_with_a_good_status_is_an_error() {
    let bad = decode_answer(br#"{"error":{"message":"no","type":"t"}}"#).unwrap_err();

    assert!(matches!(bad, BadAnswer::Error(error) if error.message == "no"));
}

#[test]
fn an_error_for_a_client_has_openais_shape() {
    let error =
        ErrorBody { message: "no".into(), kind: "invalid_request_error".into(), param: Some("n".into()), code: None };

    let body: Value = serde_json::from_slice(&error_body(&error, 400, Some("r"))).unwrap();

    assert_eq!(body, json!({"error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": null}}));
}
