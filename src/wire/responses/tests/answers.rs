use proptest::prelude::*;
use serde_json::{Value, json};

use super::{decoded, reply};
use crate::chat::*;
use crate::responses::{decode_answer, encode_answer, error_body};
use crate::usage::Usage;

fn whole() -> Value {
    json!({"id": "resp_1", "object": "response", "created_at": 1_750_000_000, "status": "completed", "model": "gpt-x", "service_tier": "flex",
        "output": [
            {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gAAA"},
            {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": "Hi", "logprobs": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}],
                 "annotations": [{"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 2},
                                 {"type": "file_citation", "file_id": "f", "filename": "n", "index": 1}]}]},
            {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "read", "namespace": "fs", "arguments": "{ }"},
            {"id": "ctc_1", "type": "custom_tool_call", "status": "completed", "call_id": "call_2", "name": "patch", "input": "*** x"},
            {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "iVBORw0K"}],
        "usage": {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 100}, "output_tokens": 50,
                  "output_tokens_details": {"reasoning_tokens": 20}, "total_tokens": 1050}})
}

fn read(body: &Value) -> Answer {
    decode_answer(body.to_string().as_bytes()).unwrap()
}

#[test]
fn a_whole_answer_is_read_in_order_with_everything_in_it() {
    let answer = read(&whole());

    let parts = &answer.choices[0].parts;
    let PartKind::Thinking(thinking) = &parts[0].kind else { panic!() };
    let PartKind::Text { text, citations } = &parts[2].kind else { panic!() };
    let PartKind::ToolCall(call) = &parts[3].kind else { panic!() };
    assert_eq!((thinking.text.as_str(), thinking.seal.as_ref().unwrap().data.as_str()), ("hm", "gAAA"));
    assert!(matches!(&parts[1].kind, PartKind::Native(item) if item["id"] == "ws_1"));
    assert_eq!((text.as_str(), citations[0].span, citations.len()), ("Hi", Some((0, 2)), 2));
    assert_eq!((call.id.as_str(), call.arguments.as_str(), call.namespace.as_deref()), ("call_1", "{ }", Some("fs")));
    assert!(matches!(&parts[4].kind, PartKind::ToolCall(call) if call.custom && call.arguments == "*** x"));
    assert!(matches!(&parts[5].kind, PartKind::Image(_)));
    assert_eq!(answer.choices[0].stop, Stop::ToolCalls);
    assert_eq!(answer.choices[0].logprobs.as_ref().unwrap()["content"][0]["token"], "Hi");
    assert_eq!((answer.begin.id.as_deref(), answer.begin.service_tier.as_deref()), (Some("resp_1"), Some("flex")));
}

#[test]
fn an_answer_that_is_written_and_read_again_is_the_same_answer() {
    let answer = read(&whole());

    let written = encode_answer(&answer, &reply(Request::new(Format::OpenAiResponses, "m")));
    let again = decode_answer(&written).unwrap();

    assert_eq!(again, answer);
}

#[test]
fn the_object_is_full_and_repeats_what_the_client_asked() {
    let request = decoded(
        &json!({"model": "m", "instructions": "Be brief.", "input": "hi", "store": false, "temperature": 0.5,
        "reasoning": {"effort": "low"}, "metadata": {"a": "b"}, "previous_response_id": "resp_0", "truncation": "auto", "user": "u",
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true}, {"type": "web_search"}],
        "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": false, "max_output_tokens": 99,
        "text": {"format": {"type": "json_object"}}, "service_tier": "priority"}),
    );
    let choice = Choice { index: 0, parts: vec![Part::text("Hi")], stop: Stop::Done, logprobs: None };
    let answer = Answer { choices: vec![choice], ..Answer::default() };

    let written: Value = serde_json::from_slice(&encode_answer(&answer, &reply(request))).unwrap();

    let expected = json!({"id": "resp_0198ab", "object": "response", "created_at": 1_750_000_000, "model": "fast", "status": "completed",
        "error": null, "incomplete_details": null,
        "output": [{"id": "msg_0198ab_0", "type": "message", "status": "completed", "role": "assistant",
                    "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}]}],
        "usage": {"input_tokens": 0, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 0,
                  "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 0},
        "background": false, "conversation": null, "instructions": "Be brief.", "max_output_tokens": 99, "max_tool_calls": null,
        "metadata": {"a": "b"}, "parallel_tool_calls": false, "previous_response_id": "resp_0", "prompt_cache_key": null,
        "reasoning": {"effort": "low", "summary": null}, "safety_identifier": null, "service_tier": "priority", "store": false,
        "temperature": 0.5, "text": {"format": {"type": "json_object"}, "verbosity": "medium"},
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true}, {"type": "web_search"}],
        "top_logprobs": 0, "top_p": 1.0, "truncation": "auto", "user": "u"});
    assert_eq!(written, expected);
}

#[test]
fn keys_to_other_peoples_servers_are_not_repeated() {
    let request = decoded(&json!({"model": "m", "input": "hi", "tools": [
        {"type": "mcp", "server_label": "s", "server_url": "https://s", "authorization": "secret", "headers": {"x": "secret"}}]}));

    let written = encode_answer(&Answer::default(), &reply(request));

    let written = String::from_utf8(written.to_vec()).unwrap();
    assert!(written.contains("server_label") && !written.contains("secret"), "{written}");
}

#[test]
fn counts_of_zero_are_no_counts() {
    let body = json!({"output": [], "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}});

    assert_eq!(read(&body).usage, None);
}

#[rstest::rstest]
#[case(Stop::Done, "completed", None)]
#[case(Stop::Sequence(Some("x".into())), "completed", None)]
#[case(Stop::Length, "incomplete", Some("max_output_tokens"))]
#[case(Stop::ContextFull, "incomplete", Some("max_output_tokens"))]
#[case(Stop::Filtered, "incomplete", Some("content_filter"))]
#[case(Stop::Refused, "completed", None)]
#[case(Stop::Paused, "completed", None)]
#[case(Stop::MalformedCall, "failed", None)]
#[case(Stop::Other("x".into()), "completed", None)]
fn every_end_has_its_status(#[case] stop: Stop, #[case] status: &str, #[case] reason: Option<&str>) {
    let choice = Choice { index: 0, parts: vec![Part::text("Hi")], stop: stop.clone(), logprobs: None };
    let answer = Answer { choices: vec![choice], ..Answer::default() };

    let body = encode_answer(&answer, &reply(Request::new(Format::OpenAiResponses, "m")));
    let written: Value = serde_json::from_slice(&body).unwrap();

    assert_eq!((written["status"].as_str(), written["incomplete_details"]["reason"].as_str()), (Some(status), reason));
    assert_eq!(written["error"].is_null(), status != "failed");
    let item = if status == "incomplete" { "incomplete" } else { "completed" };
    assert_eq!(written["output"][0]["status"], item);
    assert_eq!(written["output"].to_string().contains("refusal"), stop == Stop::Refused);
}

#[rstest::rstest]
#[case("completed", None, false, Stop::Done)]
#[case("completed", None, true, Stop::ToolCalls)]
#[case("incomplete", Some("max_output_tokens"), true, Stop::Length)]
#[case("incomplete", Some("content_filter"), false, Stop::Filtered)]
#[case("incomplete", Some("max_messages"), false, Stop::Other("max_messages".into()))]
#[case("incomplete", None, false, Stop::Length)]
#[case("cancelled", None, false, Stop::Other("cancelled".into()))]
fn every_status_is_an_end(#[case] status: &str, #[case] reason: Option<&str>, #[case] call: bool, #[case] stop: Stop) {
    let item = match call {
        true => json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": null}),
        false => json!({"type": "message", "content": [{"type": "output_text", "text": "x"}]}),
    };
    let body = json!({"status": status, "incomplete_details": {"reason": reason}, "output": [item]});

    assert_eq!(read(&body).choices[0].stop, stop);
}

#[test]
fn a_refusal_is_one_in_both_directions() {
    let body = json!({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]});

    let answer = read(&body);
    let written = encode_answer(&answer, &reply(Request::new(Format::OpenAiResponses, "m")));

    assert_eq!(answer.choices[0].stop, Stop::Refused);
    assert_eq!(decode_answer(&written).unwrap().choices, answer.choices);
}

#[rstest::rstest]
#[case(json!({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow down"}}), "slow down")]
#[case(json!({"status": "failed", "error": null, "output": []}), "the provider reports that the response failed")]
#[case(json!({"error": {"message": "no such model", "type": "invalid_request_error"}}), "no such model")]
#[case(json!({"detail": "gone"}), "gone")]
fn an_error_in_place_of_an_answer_is_reported(#[case] body: Value, #[case] message: &str) {
    let Err(BadAnswer::Error(error)) = decode_answer(body.to_string().as_bytes()) else { panic!() };

    assert_eq!(error.message, message);
}

#[test]
fn what_is_no_answer_is_none() {
    assert_eq!(decode_answer(b"<html>"), Err(BadAnswer::NotJson));
    assert!(matches!(decode_answer(b"{}"), Err(BadAnswer::Broken(_))));
    assert!(matches!(decode_answer(br#"{"status":"queued","output":[]}"#), Err(BadAnswer::Broken(_))));
}

#[test]
fn a_sloppy_answer_is_read_as_far_as_it_goes() {
    let body = json!({"id": null, "created_at": "x", "usage": {"input_tokens": null}, "output": [null, 7, {}, {"type": "reasoning", "summary": null},
        {"type": "message", "content": "plain"}, {"type": "message", "content": [null, {"type": "output_text"}]},
        {"type": "function_call", "id": "fc_1", "name": "f", "arguments": {"a": 1}}, {"type": "something_new", "x": 1}]});

    let answer = read(&body);

    let parts = &answer.choices[0].parts;
    assert_eq!(parts[0], Part::text("plain"));
    assert!(matches!(&parts[3].kind, PartKind::ToolCall(call) if call.id == "fc_1" && call.arguments == "{\"a\":1}"));
    assert!(matches!(&parts[4].kind, PartKind::Native(_)));
    assert_eq!(answer.usage, None);
}

#[test]
fn counts_fall_into_buckets_and_come_back_as_sums() {
    let usage = read(&whole()).usage.unwrap();

    let written: Value = serde_json::from_str(&crate::responses::usage::to_json(&usage)).unwrap();

    let expected = Usage {
        input_fresh: 300,
        cache_read: 600,
        cache_write_5m: 100,
        output_text: 30,
        output_reasoning: 20,
        ..Usage::default()
    };
    assert_eq!(usage, expected);
    assert_eq!(written, whole()["usage"]);
}

#[test]
fn an_error_has_the_shape_of_chat() {
    let error = crate::bad_request::BadRequest::new("no", "input[0]", "invalid_type").body();

    assert_eq!(error_body(&error, 400, None), error.to_json());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_answer(&bytes);
    }
}
