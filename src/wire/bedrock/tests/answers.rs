use rstest::rstest;
use serde_json::json;

use super::super::errors::status_of_exception;
use super::super::*;
use crate::chat::*;
use crate::usage::Usage;

#[test]
fn a_whole_answer_is_read() {
    let body = json!({
        "output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
            {"reasoningContent": {"redactedContent": "cg=="}},
            {"text": "Hi"},
            {"citationsContent": {"content": [{"text": "see"}], "citations": [
                {"title": "A", "location": {"web": {"url": "https://a.invalid"}}, "sourceContent": [{"text": "w"}]}]}},
            {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}},
            {"somethingNew": {"x": 1}}
        ]}},
        "stopReason": "tool_use",
        "usage": {"inputTokens": 30, "outputTokens": 5, "totalTokens": 135, "cacheReadInputTokens": 60,
                  "cacheWriteInputTokens": 40, "cacheDetails": [{"ttl": "1h", "inputTokens": 15}]},
        "metrics": {"latencyMs": 1}
    });

    let answer = decode_answer(body.to_string().as_bytes()).unwrap();

    let parts: Vec<&PartKind> = answer.choices[0].parts.iter().map(|part| &part.kind).collect();
    let seal = |data: &str| Some(Seal { family: Family::Anthropic, data: data.into() });
    assert_eq!(parts[0], &PartKind::Thinking(Thinking { text: "hm".into(), seal: seal("s"), ..Thinking::default() }));
    assert_eq!(parts[1], &PartKind::Thinking(Thinking { redacted: true, seal: seal("cg=="), ..Thinking::default() }));
    assert_eq!(answer.choices[0].parts[2].as_text(), Some("Hi"));
    let PartKind::Text { text, citations } = parts[3] else { panic!() };
    assert_eq!((text.as_str(), citations[0].url.as_deref()), ("see", Some("https://a.invalid")));
    let PartKind::ToolCall(call) = parts[4] else { panic!() };
    assert_eq!((call.id.as_str(), call.arguments.as_str()), ("t", "{\"a\":1}"));
    assert_eq!(parts[5], &PartKind::Native(json!({"somethingNew": {"x": 1}})));
    let expected = Usage {
        input_fresh: 30,
        cache_read: 60,
        cache_write_5m: 25,
        cache_write_1h: 15,
        output_text: 5,
        ..Usage::default()
    };
    assert_eq!((answer.usage, &answer.choices[0].stop), (Some(expected), &Stop::ToolCalls));
}

#[rstest]
#[case("end_turn", Stop::Done)]
#[case("tool_use", Stop::Done)]
#[case("max_tokens", Stop::Length)]
#[case("stop_sequence", Stop::Sequence(None))]
#[case("guardrail_intervened", Stop::Filtered)]
#[case("content_filtered", Stop::Filtered)]
#[case("malformed_tool_use", Stop::MalformedCall)]
#[case("model_context_window_exceeded", Stop::ContextFull)]
#[case("new_reason", Stop::Other("new_reason".into()))]
fn every_reason_is_known(#[case] reason: &str, #[case] stop: Stop) {
    let body = json!({"output": {"message": {"content": [{"text": "x"}]}}, "stopReason": reason}).to_string();

    assert_eq!(decode_answer(body.as_bytes()).unwrap().choices[0].stop, stop);
}

#[rstest]
#[case(r#"{"message":"slow down"}"#, "slow down", None)]
#[case(r#"{"Message":"no such model"}"#, "no such model", None)]
#[case(r#"{"__type":"com.amazon.coral#ThrottlingException","message":"slow"}"#, "slow", Some("ThrottlingException"))]
fn an_error_is_no_answer(#[case] body: &str, #[case] message: &str, #[case] kind: Option<&str>) {
    let BadAnswer::Error(error) = decode_answer(body.as_bytes()).unwrap_err() else { panic!() };

    assert_eq!((error.message.as_str(), error.kind.as_deref()), (message, kind));
}

#[test]
fn what_is_no_answer_is_said_to_be_none() {
    assert_eq!(decode_answer(b"<html>").unwrap_err(), BadAnswer::NotJson);
    assert!(matches!(decode_answer(b"{}").unwrap_err(), BadAnswer::Broken(_)));
    assert!(matches!(decode_answer(b"null").unwrap_err(), BadAnswer::Broken(_)));
}

#[rstest]
#[case("throttlingException", Some(429))]
#[case("ThrottlingException", Some(429))]
#[case("validationException", Some(400))]
#[case("modelStreamErrorException", Some(424))]
#[case("serviceUnavailableException", Some(503))]
#[case("whatever", None)]
#[case("", None)]
fn exceptions_have_a_status(#[case] name: &str, #[case] status: Option<u16>) {
    assert_eq!(status_of_exception(name), status);
}
