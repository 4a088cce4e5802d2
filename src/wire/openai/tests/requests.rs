//! Requests, both ways.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{decode_request, encode_request, must_mend};
use super::target;
use crate::chat::arbitrary::{self, Shape};
use crate::chat::*;

fn decoded(body: Value) -> Request {
    decode_request(body.to_string().as_bytes()).unwrap()
}

fn refused(body: Value) -> (String, &'static str) {
    let bad = decode_request(body.to_string().as_bytes()).unwrap_err();
    (bad.param.unwrap_or_default(), bad.code)
}

fn encoded(request: &Request, traits: Traits) -> (Value, Vec<String>) {
    let encoded = encode_request(request, &target(traits)).unwrap();
    let dropped = encoded.dropped.into_iter().map(|dropped| dropped.field).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), dropped)
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn asking(more: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [user("hi")]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Who says what in which order, cache hints left out: they are for clients of this format.
fn essence(request: &Request) -> Vec<(Role, PartKind)> {
    let parts = |message: &Message| {
        let role = message.role;
        message.parts.iter().map(move |part| (role, part.kind.clone())).collect::<Vec<_>>()
    };
    request.messages.iter().flat_map(parts).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_request_that_is_written_and_read_again_is_the_same(request in arbitrary::shaped(Shape::of(Format::OpenAiChat))) {
        let target = EncodeTarget { model: &request.model, stream: request.stream, traits: Traits::default() };

        let encoded = encode_request(&request, &target).unwrap();

        prop_assert_eq!(encoded.dropped, vec![]);
        prop_assert_eq!(decode_request(&encoded.body).unwrap(), request);
    }

    #[test]
    fn a_foreign_conversation_keeps_roles_order_ids_arguments_and_pictures(request in arbitrary::shaped(Shape { long_results: false, ..Shape::of(Format::OpenAiChat).said_by(Format::Anthropic) })) {
        let target = EncodeTarget { model: &request.model, stream: request.stream, traits: Traits::default() };

        let again = decode_request(&encode_request(&request, &target).unwrap().body).unwrap();

        prop_assert_eq!(essence(&again), essence(&request));
    }

    #[test]
    fn random_bytes_are_no_request_but_no_panic_either(body in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(decode_request(&body).is_err());
    }
}

#[test]
fn every_member_comes_back_when_the_provider_speaks_the_same_format() {
    let body = json!({
        "model": "upstream-model",
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "name": "ann", "content": [
                {"type": "text", "text": "look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}]},
            {"role": "assistant", "content": "so", "refusal": "no", "audio": {"id": "audio_1"}, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1,  \"a\":2}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "*** x"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "2"}, {"type": "text", "text": "3"}]}],
        "stream": false,
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}},
            {"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}},
            {"type": "web_search", "x": 1}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
            {"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "patch"}}]}},
        "parallel_tool_calls": false,
        "max_tokens": 9, "temperature": 2.0, "top_p": 0.5, "n": 2, "seed": -3, "presence_penalty": -1.5,
        "frequency_penalty": 0.5, "logit_bias": {"5": -100}, "logprobs": true, "top_logprobs": 3, "top_k": 4, "min_p": 0.25,
        "stop": ["a", "b", "c", "d", "e"], "reasoning_effort": "xhigh",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "description": "d", "strict": true, "schema": {"z": 1, "a": 2}}},
        "verbosity": "low", "modalities": ["text", "audio"], "user": "u", "prompt_cache_key": "k", "metadata": {"l": "v"},
        "service_tier": "flex", "audio": {"voice": "x", "format": "wav"}, "store": true, "web_search_options": {},
        "prediction": {"type": "content", "content": "p"}, "safety_identifier": "s"});

    let (again, dropped) = encoded(&decoded(body.clone()), Traits::default());

    assert_eq!(again, body);
    assert_eq!(dropped, Vec::<String>::new());
}

#[rstest::rstest]
#[case(json!({"reasoning_effort": "none"}))]
#[case(json!({"reasoning": {"effort": "high"}}))]
#[case(json!({"reasoning": {"max_tokens": 2000, "exclude": true}}))]
#[case(json!({"reasoning": {"enabled": true}}))]
#[case(json!({"thinking": {"type": "enabled", "budget_tokens": 5000}}))]
#[case(json!({"thinking": {"type": "disabled"}}))]
#[case(json!({"thinking": {"type": "adaptive"}}))]
#[case(json!({"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": [{"type": "function", "function": {"name": "f"}}]}))]
#[case(json!({"response_format": {"type": "json_object"}}))]
fn a_choice_is_written_back_in_the_clients_own_way(#[case] members: Value) {
    let (again, _) = encoded(&decoded(asking(members.clone())), Traits::default());

    for (name, value) in members.as_object().unwrap() {
        assert_eq!(again.get(name), Some(value), "{again}");
    }
}

#[rstest::rstest]
#[case(json!({}), "model", "missing_required_parameter")]
#[case(json!({"model": "m"}), "messages", "missing_required_parameter")]
#[case(json!({"model": "m", "messages": []}), "messages", "invalid_value")]
#[case(json!({"model": 7, "messages": []}), "model", "invalid_type")]
#[case(json!({"model": "m", "messages": [{"role": "robot", "content": ""}]}), "messages[0].role", "invalid_value")]
#[case(json!({"model": "m", "messages": [{"role": "user"}]}), "messages[0].content", "missing_required_parameter")]
#[case(json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "smell"}]}]}), "messages[0].content[0].type", "invalid_value")]
#[case(json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}), "messages[0].content[0].image_url.url", "missing_required_parameter")]
#[case(json!({"model": "m", "messages": [{"role": "tool", "content": "x"}]}), "messages[0].tool_call_id", "missing_required_parameter")]
#[case(json!({"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {}}]}]}), "messages[0].tool_calls[0].function.name", "missing_required_parameter")]
#[case(asking(json!({"tools": []})), "tools", "invalid_value")]
#[case(asking(json!({"tools": [{"type": "function", "function": {"parameters": {}}}]})), "tools[0].function.name", "missing_required_parameter")]
#[case(asking(json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": 7}}]})), "tools[0].function.parameters", "invalid_type")]
#[case(asking(json!({"tool_choice": "sometimes"})), "tool_choice", "invalid_value")]
#[case(asking(json!({"temperature": 2.5})), "temperature", "invalid_value")]
#[case(asking(json!({"max_tokens": 0})), "max_tokens", "invalid_value")]
#[case(asking(json!({"n": 129})), "n", "invalid_value")]
#[case(asking(json!({"stop": [1]})), "stop", "invalid_type")]
#[case(asking(json!({"reasoning_effort": "heroic"})), "reasoning_effort", "invalid_value")]
#[case(asking(json!({"response_format": {"type": "xml"}})), "response_format.type", "invalid_value")]
#[case(asking(json!({"response_format": {"type": "json_schema"}})), "response_format.json_schema", "missing_required_parameter")]
#[case(asking(json!({"metadata": []})), "metadata", "invalid_type")]
#[case(asking(json!({"verbosity": "loud"})), "verbosity", "invalid_value")]
fn a_wrong_request_is_refused_with_the_field(#[case] body: Value, #[case] param: &str, #[case] code: &str) {
    assert_eq!(refused(body), (param.to_owned(), code));
}

#[test]
fn functions_of_older_clients_are_tools_and_pair_by_name() {
    let request = decoded(json!({
        "model": "m",
        "functions": [{"name": "f", "parameters": {"type": "object"}}],
        "function_call": {"name": "f"},
        "messages": [user("hi"),
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"}]}));

    let (body, _) = encoded(&request, Traits::default());

    assert!(request.functions_form);
    assert_eq!(body["tools"][0]["function"]["name"], "f");
    assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": "f"}}));
    assert_eq!(body["messages"][1]["tool_calls"][0]["id"], body["messages"][2]["tool_call_id"]);
    assert_eq!((body.get("functions"), body.get("function_call")), (None, None));
}

#[test]
fn thoughts_of_earlier_turns_are_read_under_every_name() {
    let thought = |message: Value| {
        let mut message = message;
        message["role"] = "assistant".into();
        message["content"] = "x".into();
        decoded(json!({"model": "m", "messages": [message]})).messages.remove(0).parts.remove(0).kind
    };
    let sealed = |family| Some(Seal { family, data: "s".into() });
    let plain = |text: &str, seal| PartKind::Thinking(Thinking { text: text.into(), seal, ..Thinking::default() });

    assert_eq!(thought(json!({"reasoning_content": "a"})), plain("a", None));
    assert_eq!(thought(json!({"reasoning": "a"})), plain("a", None));
    assert_eq!(
        thought(
            json!({"thinking_blocks": [{"type": "thinking", "thinking": "a", "signature": "s"}], "reasoning_content": "a"})
        ),
        plain("a", sealed(Family::Anthropic))
    );
    assert_eq!(
        thought(json!({"reasoning_content": "ab", "reasoning_details": [
            {"type": "reasoning.text", "text": "a", "index": 0}, {"type": "reasoning.text", "text": "b", "signature": "s", "index": 0}]})),
        plain("ab", sealed(Family::Anthropic))
    );
    assert_eq!(
        thought(json!({"reasoning_details": [
            {"type": "reasoning.summary", "summary": "a", "id": "rs", "format": "openai-responses-v1"},
            {"type": "reasoning.encrypted", "data": "s", "id": "rs", "format": "openai-responses-v1"}]})),
        PartKind::Thinking(Thinking {
            id: Some("rs".into()),
            text: "a".into(),
            summary: true,
            redacted: false,
            seal: sealed(Family::OpenAi)
        })
    );
    assert_eq!(
        thought(json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "omr1.google.s"}]})),
        PartKind::Thinking(Thinking { redacted: true, seal: sealed(Family::Google), ..Thinking::default() })
    );
}

#[test]
fn thoughts_go_back_only_to_a_provider_that_wants_them_and_a_model_that_can_read_them() {
    let sealed =
        |family| Thinking { text: "hm".into(), seal: Some(Seal { family, data: "s".into() }), ..Thinking::default() };
    let part = |thought| Part::new(PartKind::Thinking(thought));
    let mut request = Request::new(Format::Anthropic, "m");
    request.messages = vec![
        Message::text(Role::User, "hi"),
        Message::new(
            Role::Assistant,
            vec![
                part(sealed(Family::Anthropic)),
                part(Thinking { text: "free".into(), ..Thinking::default() }),
                Part::text("so"),
            ],
        ),
    ];
    let wanted = Traits { reasoning_content: true, ..Traits::default() };

    let (silent, dropped) = encoded(&request, Traits::default());
    let (foreign, also_dropped) = encoded(&request, wanted);
    let claude = EncodeTarget { model: "anthropic/claude-x", stream: false, traits: wanted };
    let own: Value = serde_json::from_slice(&encode_request(&request, &claude).unwrap().body).unwrap();

    assert_eq!(silent["messages"][1], json!({"role": "assistant", "content": "so"}));
    assert_eq!(
        (dropped, also_dropped),
        (vec!["messages[1].thinking".to_owned()], vec!["messages[1].thinking".to_owned()])
    );
    assert_eq!(foreign["messages"][1]["reasoning_content"], "free");
    assert_eq!(own["messages"][1]["reasoning_details"][0]["signature"], "s");
}

#[test]
fn a_provider_that_wants_thoughts_gets_an_empty_one_with_every_call() {
    let request = decoded(json!({"model": "m", "messages": [user("hi"),
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]}]}));

    let (body, _) = encoded(&request, Traits { reasoning_content: true, ..Traits::default() });

    assert_eq!(body["messages"][1]["reasoning_content"], "");
    assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["arguments"], "{}");
    assert_eq!(body["messages"][2], json!({"role": "tool", "tool_call_id": "1", "content": "(no result)"}));
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

    assert_eq!(dropped, ["tools[0]", "top_k", "stop", "metadata", "service_tier", "container"]);
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

#[rstest::rstest]
#[case(Some(Effort::Low), None, ReasoningMode::On, json!("low"))]
#[case(None, Some(9_000), ReasoningMode::On, json!("high"))]
#[case(None, None, ReasoningMode::On, json!("medium"))]
#[case(None, None, ReasoningMode::Adaptive, Value::Null)]
#[case(None, Some(0), ReasoningMode::Off, json!("none"))]
fn thinking_of_other_formats_becomes_a_word(
    #[case] effort: Option<Effort>,
    #[case] budget: Option<u64>,
    #[case] mode: ReasoningMode,
    #[case] word: Value,
) {
    let mut request = Request::new(Format::Anthropic, "m");
    request.reasoning = Some(Reasoning { mode, effort, budget, show: None, summary: None });

    let (body, _) = encoded(&request, Traits::default());

    assert_eq!(body["reasoning_effort"], word);
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
fn where_user_and_model_must_take_turns_they_do() {
    let traits = Traits { alternate_roles: true, ..Traits::default() };
    let odd = decoded(json!({"model": "m", "messages": [{"role": "system", "content": "s"}, user("a"), user("b"),
        {"role": "assistant", "content": "c"}, {"role": "system", "content": "late"}, user("d")]}));
    let even =
        decoded(json!({"model": "m", "messages": [user("a"), {"role": "assistant", "content": "c"}, user("d")]}));

    let (body, _) = encoded(&odd, traits);

    let roles: Vec<&str> =
        body["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    assert_eq!(body["messages"][1]["content"][1]["text"], "b");
    assert!(body["messages"][3].to_string().contains("late"), "{body}");
    assert!(must_mend(&odd, traits) && !must_mend(&even, traits) && !must_mend(&odd, Traits::default()));
}

#[test]
fn mistral_gets_ids_of_nine_characters_that_still_pair() {
    let traits = Traits { short_call_ids: true, ..Traits::default() };
    let turns = |id: &str| {
        decoded(json!({"model": "m", "messages": [user("hi"),
            {"role": "assistant", "tool_calls": [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": id, "content": "r"}]}))
    };
    let (foreign, own) = (turns("call_0123456789abcdef"), turns("AbC123xyZ"));

    let (body, _) = encoded(&foreign, traits);

    let id = body["messages"][1]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric()), "{id}");
    assert_eq!(body["messages"][2]["tool_call_id"], id);
    assert!(must_mend(&foreign, traits) && !must_mend(&own, traits));
    assert_eq!(encoded(&own, traits).0["messages"][2]["tool_call_id"], "AbC123xyZ");
}
