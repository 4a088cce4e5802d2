//! Conversations of other formats' clients.

use serde_json::{Value, json};

use super::super::*;
use super::{asking, decoded, dropped, encoded, target};
use crate::chat::*;

#[test]
fn turns_alternate_begin_with_the_user_and_answer_every_call() {
    let mut request = Request::new(Format::OpenAiChat, "m");
    let call = |id: &str| {
        let (id, name, arguments) = (id.to_owned(), "f".to_owned(), String::new());
        Part::new(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None }))
    };
    let result = |id: &str| {
        let (call_id, parts) = (id.to_owned(), vec![Part::text("r")]);
        Part::new(PartKind::ToolResult(ToolResult { call_id, name: None, parts, is_error: false, custom: false }))
    };
    request.messages = vec![
        Message::text(Role::System, "one"),
        Message::text(Role::Developer, "two"),
        Message::text(Role::Assistant, "hello"),
        Message::new(Role::Assistant, vec![Part::text(" "), call("a.1"), call("b")]),
        Message::new(Role::User, vec![result("a.1")]),
        Message::text(Role::User, "now"),
        Message::text(Role::System, "mind this"),
    ];

    let (body, encoded) = encoded(&request, "claude-opus-4-5");

    let id = body["messages"][1]["content"][1]["id"].as_str().unwrap();
    assert!(id.starts_with("a_1_"));
    assert_eq!(body["system"], json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": "(conversation continues)"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "hello"},
                {"type": "tool_use", "id": id, "name": "f", "input": {}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": id, "content": "r"},
                {"type": "tool_result", "tool_use_id": "b", "content": "(no result)"},
                {"type": "text", "text": "now"},
                {"type": "text", "text": "<system-reminder>\nmind this\n</system-reminder>"}]}
        ])
    );
    assert_eq!(body["max_tokens"], 4096);
    assert!(encoded.dropped.is_empty());
}

#[test]
fn instructions_between_turns_stay_where_the_model_takes_them() {
    let body = json!({"model": "m", "max_tokens": 1, "messages": [
        {"role": "user", "content": "x"}, {"role": "system", "content": "mind this"}]});

    let (newer, _) = encoded(&decoded(&body), "claude-opus-4-8");
    let (older, _) = encoded(&decoded(&body), "claude-opus-4-5");

    assert_eq!(newer["messages"][1], json!({"role": "system", "content": "mind this"}));
    assert_eq!(older["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn of_six_marks_the_first_two_go_and_are_reported() {
    let mut request = asking(Format::Anthropic);
    let hint = Some(CacheHint::default());
    request.messages[0].parts = (0..5).map(|n| Part { cache: hint.clone(), ..Part::text(format!("{n}")) }).collect();
    request.messages.insert(0, Message::new(Role::System, vec![Part { cache: hint, ..Part::text("s") }]));

    let (body, encoded) = encoded(&request, "m");

    assert_eq!(body["system"], json!([{"type": "text", "text": "s"}]));
    let marked = |block: &Value| block.get("cache_control").is_some();
    let marks: Vec<bool> = body["messages"][0]["content"].as_array().unwrap().iter().map(marked).collect();
    assert_eq!(marks, [false, true, true, true, true]);
    assert_eq!(dropped(&encoded), ["cache_control"]);
}

#[test]
fn what_is_asked_about_is_refused_and_what_was_said_before_is_left_out() {
    let media =
        || Media { source: Source::Base64 { mime: "audio/wav".into(), data: "AAAA".into() }, detail: None, name: None };
    let mut request = asking(Format::OpenAiChat);
    request.messages[0].parts.push(Part::new(PartKind::Audio(media())));
    let refused = encode_request(&request, &target("m")).unwrap_err();
    request.messages.push(Message::text(Role::Assistant, "heard"));
    request.messages.push(Message::text(Role::User, "and?"));

    let (_, encoded) = encoded(&request, "m");

    assert_eq!(refused.field, "messages[0].audio");
    assert_eq!(dropped(&encoded), ["messages[0].audio"]);
}

#[test]
fn several_answers_at_once_are_refused() {
    let mut request = asking(Format::OpenAiChat);
    request.sampling.n = Some(2);

    assert_eq!(encode_request(&request, &target("m")).unwrap_err().field, "n");
}

#[test]
fn the_proof_of_a_call_comes_back_to_its_call() {
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "", "signature": "omr1.google.Q2"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]});

    let request = decoded(&body);

    let PartKind::ToolCall(call) = &request.messages[1].parts[0].kind else { panic!("{request:?}") };
    assert_eq!(call.seal, Some(Seal { family: Family::Google, data: "Q2".into() }));
    assert_eq!(request.messages[1].parts.len(), 1);
}
