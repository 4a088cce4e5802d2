//! Requests both ways.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::{json, target};
use crate::chat::arbitrary::{self, Shape};
use crate::chat::{
    Effort, Format, Media, Message, OutputFormat, Part, PartKind, Reasoning, ReasoningMode, Request, Role, Source,
    Tool, ToolChoice, ToolKind,
};
use crate::ollama::{Load, decode_generate, decode_request, encode_request, rewrite};

fn read(value: &serde_json::Value) -> Request {
    decode_request(value.to_string().as_bytes()).unwrap()
}

proptest! {
    #[test]
    fn a_conversation_survives_the_way_through(request in arbitrary::shaped(Shape::of(Format::Ollama))) {
        let mut target = target(&request.model);
        target.stream = request.stream;

        let encoded = encode_request(&request, &target).unwrap();

        prop_assert_eq!(decode_request(&encoded.body).unwrap(), request);
    }

    #[test]
    fn another_formats_conversation_arrives_as_it_was(request in arbitrary::shaped(Shape::of(Format::Ollama).said_by(Format::OpenAiChat))) {
        let encoded = encode_request(&request, &target("m")).unwrap();

        let again = decode_request(&encoded.body).unwrap();
        prop_assert_eq!((again.messages, again.tools), (request.messages, request.tools));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_request(&body);
        let _ = decode_generate(&body);
        let _ = rewrite(&Bytes::from(body), "m");
    }
}

#[test]
fn everything_of_the_format_comes_back_from_a_rewrite() {
    let body = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "hi", "images": ["iVBORw0KGgo="]},
            {"role": "assistant", "content": "so", "thinking": "hm",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": 1, "n": null}}}]},
            {"role": "tool", "content": "x", "tool_call_id": "1", "tool_name": "f"},
        ],
        "stream": true,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}, "description": "d"}}],
        "format": {"type": "object"},
        "think": "high",
        "logprobs": true,
        "top_logprobs": 2,
        "keep_alive": "5m",
        "options": {"num_predict": 5, "temperature": 0.5, "top_p": 0.5, "top_k": 4, "min_p": 0.25, "seed": 7,
            "presence_penalty": 0.5, "frequency_penalty": 0.25, "stop": ["X"], "num_ctx": 4096},
    });

    let encoded = encode_request(&read(&body), &target("m")).unwrap();

    assert_eq!(json(&encoded.body), body);
    assert_eq!(encoded.dropped, []);
}

#[test]
fn a_request_that_does_not_say_so_wants_a_stream() {
    let request = read(
        &json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "options": {"num_predict": -1, "stop": "a"}, "think": true, "format": "json"}),
    );

    assert!(request.stream);
    assert_eq!(request.sampling.max_tokens, None);
    assert_eq!(request.sampling.stop, ["a"]);
    assert_eq!(request.reasoning.unwrap().mode, ReasoningMode::On);
    assert_eq!(request.output, OutputFormat::JsonObject);
}

#[test]
fn a_prompt_is_a_conversation_of_one_question() {
    let body =
        json!({"model": "m", "system": "S", "prompt": "hi", "images": ["/9j/AA"], "suffix": "end", "stream": false});

    let request = decode_generate(body.to_string().as_bytes()).unwrap();

    let source = Source::Base64 { mime: "image/jpeg".into(), data: "/9j/AA".into() };
    let image = Part::new(PartKind::Image(Media { source, detail: None, name: None }));
    let question = Message::new(Role::User, vec![Part::text("hi"), image]);
    assert_eq!(request.messages, [Message::text(Role::System, "S"), question]);
    assert!(!request.stream);
    let encoded = encode_request(&request, &target("m")).unwrap();
    assert_eq!(encoded.dropped[0].field, "suffix");
}

#[rstest::rstest]
#[case(json!({"messages": [{"role": "user", "content": "a"}]}), "model")]
#[case(json!({"model": "m"}), "messages")]
#[case(json!({"model": "m", "messages": []}), "messages")]
#[case(json!({"model": "m", "messages": [{"content": "a"}]}), "messages[0].role")]
#[case(json!({"model": "m", "messages": [{"role": "robot"}]}), "messages[0].role")]
#[case(json!({"model": "m", "messages": [{"role": "user", "content": [1]}]}), "messages[0].content")]
#[case(json!({"model": "m", "messages": [{"role": "user", "images": [1]}]}), "messages[0].images")]
#[case(json!({"model": "m", "messages": [{"role": "assistant", "tool_calls": [{}]}]}), "messages[0].tool_calls[0].function")]
#[case(json!({"model": "m", "messages": [{"role": "user"}], "think": 1}), "think")]
#[case(json!({"model": "m", "messages": [{"role": "user"}], "format": "xml"}), "format")]
#[case(json!({"model": "m", "messages": [{"role": "user"}], "stream": "yes"}), "stream")]
#[case(json!({"model": "m", "messages": [{"role": "user"}], "options": {"top_k": -1}}), "options.top_k")]
fn what_is_wrong_is_named(#[case] body: serde_json::Value, #[case] field: &str) {
    let bad = decode_request(body.to_string().as_bytes()).unwrap_err();

    assert_eq!(bad.param.as_deref(), Some(field));
}

#[test]
fn results_pair_by_name_and_by_order() {
    let call = |name: &str| json!({"function": {"name": name, "arguments": {}}});
    let result = |name: Option<&str>, text: &str| json!({"role": "tool", "tool_name": name, "content": text});
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [call("f"), call("g"), call("f")]},
        result(Some("g"), "2"), result(None, "1"), result(Some("f"), "3"),
        {"role": "user", "content": "and?"},
    ]});

    let request = read(&body);

    let id = |part: &Part| match &part.kind {
        PartKind::ToolCall(call) => call.id.clone(),
        PartKind::ToolResult(result) => result.call_id.clone(),
        _ => String::new(),
    };
    let calls: Vec<String> = request.messages[1].parts.iter().map(id).collect();
    let answers: Vec<String> = request.messages[2].parts.iter().map(id).collect();
    assert_eq!(answers, [calls[1].clone(), calls[0].clone(), calls[2].clone(), String::new()]);
    assert_ne!(calls[0], calls[2]);
    assert_eq!(request.messages.len(), 3);
}

fn chat(parts: Vec<Part>) -> Request {
    let mut request = Request::new(Format::OpenAiChat, "m");
    request.messages = vec![Message::new(Role::User, parts)];
    request
}

#[rstest::rstest]
#[case("llama3", ReasoningMode::On, Some(Effort::Low), json!(true))]
#[case("gpt-oss:20b", ReasoningMode::On, Some(Effort::Minimal), json!("low"))]
#[case("gpt-oss:20b", ReasoningMode::Adaptive, None, json!(true))]
#[case("llama3", ReasoningMode::Off, None, json!(false))]
fn thinking_is_asked_for_as_the_model_knows_it(
    #[case] model: &str,
    #[case] mode: ReasoningMode,
    #[case] effort: Option<Effort>,
    #[case] think: serde_json::Value,
) {
    let mut request = chat(vec![Part::text("hi")]);
    request.reasoning = Some(Reasoning { mode, effort, budget: None, show: None, summary: None });

    let body = json(&encode_request(&request, &target(model)).unwrap().body);

    assert_eq!(body["think"], think);
}

#[test]
fn what_cannot_be_carried_is_named_or_refused() {
    let url = Media { source: Source::Url { url: "https://x/a.png".into(), mime: None }, detail: None, name: None };
    let image = Part::new(PartKind::Image(url));
    let mut request = chat(vec![Part::text("see"), image]);
    let refused = encode_request(&request, &target("m")).unwrap_err();
    request.messages.push(Message::text(Role::Assistant, "ok"));
    request.messages.push(Message::text(Role::User, "next"));
    request.tool_choice = Some(ToolChoice::Required);
    request.rest.insert("store".into(), json!(true));
    request.user = Some("u".into());

    let encoded = encode_request(&request, &target("m")).unwrap();

    let fields: Vec<&str> = encoded.dropped.iter().map(|dropped| dropped.field.as_str()).collect();
    assert_eq!(refused.field, "messages[0].image");
    assert_eq!(fields, ["messages[0].image", "tool_choice", "user", "store"]);
    request.sampling.n = Some(2);
    assert_eq!(encode_request(&request, &target("m")).unwrap_err().field, "n");
}

#[test]
fn tools_that_may_not_be_called_are_not_offered() {
    let mut request = chat(vec![Part::text("hi")]);
    let kind = ToolKind::Custom { name: "patch".into(), namespace: None, description: None, format: None };
    request.tools.push(Tool { kind, cache: None });
    let offered = json(&encode_request(&request, &target("m")).unwrap().body);
    request.tool_choice = Some(ToolChoice::None);

    let body = json(&encode_request(&request, &target("m")).unwrap().body);

    assert_eq!(offered["tools"][0]["function"]["parameters"]["required"], json!(["input"]));
    assert_eq!(body.get("tools"), None);
}

#[rstest::rstest]
#[case(ToolChoice::Named("g".into()), &["g"], true)]
#[case(ToolChoice::Allowed { required: true, names: vec!["g".into()] }, &["g"], true)]
#[case(ToolChoice::Allowed { required: false, names: vec!["g".into()] }, &["g"], false)]
#[case(ToolChoice::Auto, &["f", "g"], false)]
fn a_choice_among_tools_is_made_by_offering_no_others(
    #[case] choice: ToolChoice,
    #[case] offered: &[&str],
    #[case] loses: bool,
) {
    let mut request = chat(vec![Part::text("hi")]);
    let kind = |name: &str| ToolKind::Custom { name: name.into(), namespace: None, description: None, format: None };
    request.tools = ["f", "g"].map(|name| Tool { kind: kind(name), cache: None }).to_vec();
    request.tool_choice = Some(choice);

    let encoded = encode_request(&request, &target("m")).unwrap();

    let body = json(&encoded.body);
    let names: Vec<&str> =
        body["tools"].as_array().unwrap().iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, offered);
    assert_eq!(encoded.dropped.iter().any(|dropped| dropped.field == "tool_choice"), loses);
}

#[test]
fn only_the_model_changes_in_a_body_that_passes() {
    let body = Bytes::from_static(b"{ \"mod\\u0065l\" : \"a\", \"n\": 1.50, \"x\":{\"model\":1} }");

    assert_eq!(rewrite(&body, "b\"c"), "{ \"mod\\u0065l\" : \"b\\\"c\", \"n\": 1.50, \"x\":{\"model\":1} }");
    assert_eq!(rewrite(&body, "a"), body);
}

#[rstest::rstest]
#[case(Load::of_chat(br#"{"model":"m"}"#), Some(("load", false)))]
#[case(Load::of_chat(br#"{"model":"m","messages":[],"keep_alive":0}"#), Some(("unload", false)))]
#[case(Load::of_generate(br#"{"model":"m","prompt":"","keep_alive":"5m"}"#), Some(("load", true)))]
#[case(Load::of_chat(br#"{"model":"m","messages":[{"role":"user"}]}"#), None)]
#[case(Load::of_generate(br#"{"model":"m","prompt":"hi"}"#), None)]
#[case(Load::of_generate(br#"{"model":"m","images":["AA"]}"#), None)]
#[case(Load::of_chat(b"{}"), None)]
#[case(Load::of_chat(b"["), None)]
fn a_request_without_a_question_only_loads(#[case] load: Option<Load>, #[case] expected: Option<(&str, bool)>) {
    let answer = load.map(|load| json(&load.answer(0)));

    let got = answer.as_ref().map(|body| (body["done_reason"].as_str().unwrap(), body.get("response").is_some()));
    assert_eq!(got, expected);
    assert!(answer.is_none_or(|body| body["done"] == true && body["created_at"] == "1970-01-01T00:00:00Z"));
}
