//! Requests of other formats' clients, and what providers differ in.

use serde_json::{Value, json};

use super::super::encode_request;
use super::requests::{asking, decoded, encoded, user};
use super::target;
use crate::chat::*;

#[test]
fn the_traits_of_a_provider_are_kept() {
    let mut request = decoded(asking(
        json!({"max_tokens": 5, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"a": 1}}}}),
    ));
    request.messages.insert(0, Message::text(Role::Developer, "be brief"));
    let traits = Traits {
        max_completion_tokens: true,
        no_stream_options: true,
        no_developer_role: true,
        no_json_schema: true,
        ..Traits::default()
    };
    let target = EncodeTarget { model: "m", stream: true, traits };

    let body: Value = serde_json::from_slice(&encode_request(&request, &target).unwrap().body).unwrap();

    assert_eq!((&body["max_completion_tokens"], body.get("max_tokens")), (&json!(5), None));
    assert_eq!((&body["stream"], body.get("stream_options")), (&json!(true), None));
    assert_eq!(body["messages"][0]["role"], "system");
    assert!(body["messages"][1]["content"].as_str().unwrap().ends_with("{\"a\":1}"), "{body}");
    assert_eq!(body["response_format"], json!({"type": "json_object"}));
    let plain = EncodeTarget { model: "m", stream: true, traits: Traits::default() };
    let body: Value = serde_json::from_slice(&encode_request(&request, &plain).unwrap().body).unwrap();
    assert_eq!(body["stream_options"], json!({"include_usage": true}));
}

#[test]
fn what_another_formats_client_says_and_chat_cannot_is_named() {
    let mut request = Request::new(Format::Anthropic, "m");
    request.messages = vec![Message::text(Role::User, "hi")];
    request.sampling.top_k = Some(3);
    request.sampling.stop = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    request.metadata = Some(serde_json::Map::new());
    request.service_tier = Some("standard_only".into());
    request.tools = vec![Tool { kind: ToolKind::Native(json!({"type": "bash"})), cache: None }];
    request.rest.insert("container".into(), "x".into());

    let (body, dropped) = encoded(&request, Traits::default());

    assert_eq!(dropped, ["top_k", "container", "tools[0]", "stop", "metadata", "service_tier"]);
    assert_eq!(
        body,
        json!({"model": "upstream-model", "messages": [user("hi")], "stream": false, "stop": ["a", "b", "c", "d"]})
    );
}

#[test]
fn a_document_behind_a_url_is_refused_when_it_is_asked_about_and_dropped_later() {
    let source = Source::Url { url: "https://x/a.pdf".into(), mime: None };
    let file = Message::new(Role::User, vec![Part::new(PartKind::File(Media { source, detail: None, name: None }))]);
    let mut request = Request::new(Format::Anthropic, "m");
    request.messages = vec![file.clone()];

    let refused = encode_request(&request, &target(Traits::default())).unwrap_err();
    request.messages = vec![file, Message::text(Role::Assistant, "read"), Message::text(Role::User, "so?")];
    let (_, dropped) = encoded(&request, Traits::default());

    assert_eq!(refused.field, "messages[0].file");
    assert_eq!(dropped, ["messages[0].file"]);
}

#[test]
fn custom_tools_of_other_formats_become_functions_and_come_back() {
    let mut request = Request::new(Format::OpenAiResponses, "m");
    let format = json!({"type": "grammar", "syntax": "lark", "definition": "start: x"});
    request.tools = vec![Tool {
        kind: ToolKind::Custom { name: "patch".into(), namespace: None, description: None, format: Some(format) },
        cache: None,
    }];
    request.tool_choice = Some(ToolChoice::Named("patch".into()));
    let call = ToolCall {
        id: "1".into(),
        name: "patch".into(),
        namespace: None,
        arguments: "*** x".into(),
        custom: true,
        seal: None,
    };
    request.messages = vec![Message::new(Role::Assistant, vec![Part::new(PartKind::ToolCall(call))])];

    let encoded = encode_request(&request, &target(Traits::default())).unwrap();

    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert!(body["tools"][0]["function"]["description"].as_str().unwrap().ends_with("start: x"));
    assert_eq!(body["tool_choice"]["type"], "function");
    assert_eq!(body["messages"][0]["tool_calls"][0]["function"]["arguments"], r#"{"input":"*** x"}"#);
    assert!(!encoded.way_back.is_empty());
}

#[test]
fn a_choice_among_some_tools_offers_no_others_to_strangers() {
    let tool = |name: &str| {
        let name = name.to_owned();
        Tool {
            kind: ToolKind::Function { name, namespace: None, description: None, schema: None, strict: None },
            cache: None,
        }
    };
    let mut request = Request::new(Format::Gemini, "m");
    request.tools = vec![tool("a"), tool("b")];
    request.tool_choice = Some(ToolChoice::Allowed { required: true, names: vec!["b".into()] });

    let (body, _) = encoded(&request, Traits::default());

    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!((&body["tools"][0]["function"]["name"], &body["tool_choice"]), (&json!("b"), &json!("required")));
}

#[test]
fn a_picture_in_a_result_follows_all_results_of_the_turn() {
    let call = |id: &str| {
        let (id, name, arguments) = (id.into(), "f".into(), "{}".into());
        Part::new(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None }))
    };
    let result = |id: &str, parts, is_error| {
        Part::new(PartKind::ToolResult(ToolResult { call_id: id.into(), name: None, parts, is_error, custom: false }))
    };
    let source = Source::Base64 { mime: "image/png".into(), data: "AAAA".into() };
    let image = Part::new(PartKind::Image(Media { source, detail: None, name: None }));
    let mut request = Request::new(Format::Anthropic, "m");
    request.messages = vec![
        Message::text(Role::User, "hi"),
        Message::new(Role::Assistant, vec![call("1"), call("2")]),
        Message::new(Role::User, vec![Part::text("then"), result("2", vec![Part::text("bad")], true)]),
        Message::new(Role::User, vec![result("1", vec![Part::text("seen"), image], false)]),
    ];

    let (body, _) = encoded(&request, Traits::default());

    let roles: Vec<&str> =
        body["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "user"]);
    assert_eq!(body["messages"][2], json!({"role": "tool", "tool_call_id": "1", "content": "seen"}));
    assert_eq!(body["messages"][3]["content"], "Error: bad");
    assert_eq!(body["messages"][4]["content"][1]["image_url"]["url"], "data:image/png;base64,AAAA");
    assert_eq!(body["messages"][4]["content"][2]["text"], "then");
}

#[test]
fn the_session_of_an_anthropic_client_names_the_cached_prompt_at_openai_only() {
    let mut request = Request::new(Format::Anthropic, "m");
    request.messages = vec![Message::text(Role::User, "hi")];
    request.user = Some("user_ab_account__session_0f-1".into());
    let openai = Traits { max_completion_tokens: true, ..Traits::default() };

    let (there, _) = encoded(&request, openai);
    let (elsewhere, _) = encoded(&request, Traits::default());

    assert_eq!((&there["prompt_cache_key"], elsewhere.get("prompt_cache_key")), (&json!("0f-1"), None));
}
