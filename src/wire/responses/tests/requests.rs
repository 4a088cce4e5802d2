use proptest::prelude::*;
use serde_json::{Value, json};

use super::{decoded, dropped, encoded, target};
use crate::chat::arbitrary::{self, Shape};
use crate::chat::*;
use crate::responses::{decode_request, encode_request, extras, rewrite};

fn kinds(message: &Message) -> Vec<&'static str> {
    let kind = |part: &Part| match &part.kind {
        PartKind::Text { .. } => "text",
        PartKind::Image(_) => "image",
        PartKind::Audio(_) => "audio",
        PartKind::Video(_) => "video",
        PartKind::File(_) => "file",
        PartKind::ToolCall(_) => "call",
        PartKind::ToolResult(_) => "result",
        PartKind::Thinking(_) => "thinking",
        PartKind::Refusal(_) => "refusal",
        PartKind::Native(_) => "native",
    };
    message.parts.iter().map(kind).collect()
}

fn shape(request: &Request) -> Vec<(Role, Vec<&'static str>)> {
    request.messages.iter().map(|message| (message.role, kinds(message))).collect()
}

fn call(request: &Request, message: usize, part: usize) -> ToolCall {
    match &request.messages[message].parts[part].kind {
        PartKind::ToolCall(call) => call.clone(),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_request_that_is_written_and_read_again_is_the_same_request(request in arbitrary::shaped(Shape::of(Format::OpenAiResponses))) {
        let encoded = encode_request(&request, &target()).unwrap();
        let again = decode_request(&encoded.body).unwrap();

        prop_assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
        prop_assert_eq!(repair::merged(again.messages), repair::merged(request.messages));
        prop_assert_eq!((again.tools, again.sampling), (request.tools, request.sampling));
    }

    #[test]
    fn a_foreign_conversation_keeps_roles_ids_arguments_and_images(request in arbitrary::shaped(Shape::of(Format::OpenAiResponses).said_by(Format::OpenAiChat))) {
        let again = decode_request(&encode_request(&request, &target()).unwrap().body).unwrap();

        let plain = |messages: Vec<Message>| -> Vec<Message> {
            repair::merged(messages).into_iter().map(|mut message| {
                message.parts.iter_mut().for_each(|part| part.cache = None);
                message
            }).collect()
        };
        prop_assert_eq!(plain(again.messages), plain(request.messages));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_request(&bytes);
    }
}

#[test]
fn an_agents_history_becomes_turns_with_calls_and_results_together() {
    let request = decoded(&json!({"model": "m", "instructions": "Be brief.", "store": false, "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "sandbox"}]},
        {"role": "user", "content": "list and read"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "two"}, {"type": "summary_text", "text": "calls"}], "encrypted_content": "gAAA"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Sure.", "annotations": []}]},
        {"type": "function_call", "call_id": "call_1", "name": "ls", "arguments": "{ \"p\" : 1}", "id": "fc_1"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "*** Begin"},
        {"type": "function_call", "call_id": "call_3", "name": "read", "namespace": "fs", "arguments": ""},
        {"type": "function_call_output", "call_id": "call_1", "output": "a.txt"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "ok"},
        {"type": "function_call_output", "call_id": "call_3", "output": [{"type": "input_text", "text": "b"}, {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}, {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}]}
    ]}));

    assert_eq!(
        shape(&request),
        [
            (Role::System, vec!["text"]),
            (Role::Developer, vec!["text"]),
            (Role::User, vec!["text"]),
            (Role::Assistant, vec!["thinking", "text", "call", "call", "call"]),
            (Role::User, vec!["result", "result", "result"]),
            (Role::User, vec!["text", "file"]),
        ]
    );
    let PartKind::Thinking(thinking) = &request.messages[3].parts[0].kind else { panic!() };
    assert_eq!((thinking.text.as_str(), thinking.summary), ("two\n\ncalls", true));
    assert_eq!(thinking.seal, Some(Seal { family: Family::OpenAi, data: "gAAA".into() }));
    assert_eq!(call(&request, 3, 2).arguments, "{ \"p\" : 1}");
    assert!(call(&request, 3, 3).custom);
    assert_eq!(call(&request, 3, 4).namespace.as_deref(), Some("fs"));
}

#[test]
fn foreign_seals_come_back_to_the_thought_or_the_call_that_they_seal() {
    let request = decoded(&json!({"model": "m", "input": [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "omr1.anthropic.Eq=="},
        {"type": "reasoning", "summary": [], "encrypted_content": "omr1.redacted.anthropic.Em=="},
        {"type": "reasoning", "summary": [], "encrypted_content": "omr1.google.c2ln"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "summary": [], "encrypted_content": "omr1.call.google.2.c2c2ln"},
        {"type": "reasoning", "summary": [], "encrypted_content": "omr1.google.bGFzdA"}
    ]}));

    let google = |data: &str| Some(Seal { family: Family::Google, data: data.into() });
    let PartKind::Thinking(hidden) = &request.messages[1].parts[1].kind else { panic!() };
    assert_eq!(shape(&request)[1], (Role::Assistant, vec!["thinking", "thinking", "call", "call", "thinking"]));
    assert!(hidden.redacted);
    assert_eq!(call(&request, 1, 2).seal, google("c2ln"));
    assert_eq!(call(&request, 1, 3).seal, google("c2ln"));
}

#[test]
fn tools_of_every_kind_are_read_and_written_back_as_they_were() {
    let body = json!({"model": "gpt-x", "input": "hi", "tools": [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true},
        {"type": "custom", "name": "patch", "description": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "namespace", "name": "fs", "description": "files", "tools": [
            {"type": "function", "name": "read", "parameters": {"type": "object"}},
            {"type": "custom", "name": "patch_all"},
            {"type": "function", "name": "write"}]},
        {"type": "namespace", "name": "db", "description": "", "tools": [{"type": "custom", "name": "sql"}, {"type": "function", "name": "ask"}]},
        {"type": "web_search", "filters": {"allowed_domains": ["a.b"]}}
    ], "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "patch"}, {"type": "function", "name": "read"}]}});

    let request = decoded(&body);
    let again = encoded(&request);

    assert_eq!(request.tools.len(), 8);
    assert_eq!(again["tools"], body["tools"]);
    assert_eq!(again["tool_choice"], body["tool_choice"]);
}

#[test]
fn what_the_model_does_not_hold_goes_back_to_its_own_format() {
    let body = json!({"model": "gpt-x", "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"type": "item_reference", "id": "rs_1"}],
        "reasoning": {"effort": "xhigh", "summary": "detailed", "context": "all_turns"}, "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object", "default": null}, "strict": true}, "verbosity": "low"},
        "include": ["reasoning.encrypted_content"], "store": false, "background": false, "truncation": "auto", "max_tool_calls": 3, "metadata": {"a": "b"},
        "parallel_tool_calls": false, "prompt_cache_key": "k", "service_tier": "flex", "client_metadata": {"x": 1}, "tool_choice": {"type": "web_search"}, "top_logprobs": 2,
        "conversation": {"id": "conv_1"}, "user": "u", "temperature": 0.5, "top_p": 1.0, "max_output_tokens": 5, "stream": true});

    let request = decoded(&body);
    let (again, asked) = (encoded(&request), extras(&request));

    let mut expected = body.clone();
    expected["include"] = json!(["reasoning.encrypted_content", "message.output_text.logprobs"]);
    assert_eq!(again, expected);
    assert_eq!((asked.store, asked.background, asked.max_tool_calls), (Some(false), false, Some(3)));
    assert_eq!((asked.conversation.as_deref(), asked.truncation.as_deref()), (Some("conv_1"), Some("auto")));
    assert!(asked.include.contains(&"reasoning.encrypted_content".to_owned()));
    assert!(dropped(&request).is_empty());
}

#[rstest::rstest]
#[case(json!({"input": "x"}), "model")]
#[case(json!({"model": "m"}), "input")]
#[case(json!({"model": "m", "input": []}), "input")]
#[case(json!({"model": "m", "input": 7}), "input")]
#[case(json!({"model": "m", "input": [7]}), "input[0]")]
#[case(json!({"model": "m", "input": [{"role": "tool", "content": "x"}]}), "input[0].role")]
#[case(json!({"model": "m", "input": [{"role": "user"}]}), "input[0].content")]
#[case(json!({"model": "m", "input": [{"role": "user", "content": [{"type": "image"}]}]}), "input[0].content[0].type")]
#[case(json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_image"}]}]}), "input[0].content[0].image_url")]
#[case(json!({"model": "m", "input": [{"type": "function_call", "name": "f"}]}), "input[0].call_id")]
#[case(json!({"model": "m", "input": [{"type": "function_call_output", "call_id": "c"}]}), "input[0].output")]
#[case(json!({"model": "m", "input": "x", "tools": [{"type": "function"}]}), "tools[0].name")]
#[case(json!({"model": "m", "input": "x", "tools": {"a": 1}}), "tools")]
#[case(json!({"model": "m", "input": "x", "tool_choice": "maybe"}), "tool_choice")]
#[case(json!({"model": "m", "input": "x", "text": {"format": {"type": "xml"}}}), "text.format.type")]
#[case(json!({"model": "m", "input": "x", "text": {"format": {"type": "json_schema", "name": "n"}}}), "text.format.schema")]
#[case(json!({"model": "m", "input": "x", "reasoning": {"effort": "huge"}}), "reasoning.effort")]
#[case(json!({"model": "m", "input": "x", "truncation": "some"}), "truncation")]
#[case(json!({"model": "m", "input": "x", "store": "yes"}), "store")]
#[case(json!({"model": "m", "input": "x", "include": [1]}), "include")]
#[case(json!({"model": "m", "input": "x", "previous_response_id": "a", "conversation": "b"}), "previous_response_id")]
fn a_wrong_field_is_named(#[case] body: Value, #[case] field: &str) {
    let error = decode_request(body.to_string().as_bytes()).unwrap_err();

    assert_eq!(error.param.as_deref(), Some(field), "{}", error.message);
}

#[test]
fn a_conversation_that_lies_with_the_server_needs_no_input() {
    let request = decoded(&json!({"model": "m", "previous_response_id": "resp_1"}));

    assert_eq!(extras(&request).previous_response_id.as_deref(), Some("resp_1"));
    assert!(request.messages.is_empty());
}

#[test]
fn a_foreign_request_is_stateless_says_strict_and_asks_for_encrypted_reasoning() {
    let mut request = Request::new(Format::Anthropic, "m");
    request.messages = vec![
        Message::new(Role::System, vec![Part::text("a"), Part::text("b")]),
        Message::text(Role::User, "hi"),
        Message::new(Role::Assistant, vec![call_part("toolu:1")]),
    ];
    let search = json!({"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["x.y"]});
    let function =
        ToolKind::Function { name: "a.b".into(), namespace: None, description: None, schema: None, strict: None };
    let bash = json!({"type": "bash_20250124", "name": "bash"});
    request.tools = [function, ToolKind::Native(search), ToolKind::Native(bash)]
        .into_iter()
        .map(|kind| Tool { kind, cache: None })
        .collect();
    request.reasoning =
        Some(Reasoning { mode: ReasoningMode::On, effort: None, budget: Some(31_999), show: None, summary: None });
    request.sampling = Sampling { max_tokens: Some(1), top_k: Some(3), stop: vec!["x".into()], ..Sampling::default() };
    request.rest.insert("context_management".into(), json!({}));

    let body = encoded(&request);

    assert_eq!(body["instructions"], "a\n\nb");
    assert_eq!((&body["store"], &body["include"]), (&json!(false), &json!(["reasoning.encrypted_content"])));
    assert_eq!(body["reasoning"], json!({"effort": "max", "summary": "auto"}));
    assert_eq!(body["tools"][0]["strict"], false);
    assert_eq!(body["tools"][0]["parameters"], json!({"type": "object", "properties": {}}));
    assert_eq!(body["tools"][1], json!({"type": "web_search", "filters": {"allowed_domains": ["x.y"]}}));
    assert_eq!(body["max_output_tokens"], 16);
    let ids: Vec<&Value> = body["input"].as_array().unwrap().iter().map(|item| &item["call_id"]).collect();
    assert_eq!((ids.len(), ids[1]), (3, ids[2]), "the open call is answered");
    assert_eq!(dropped(&request), ["tools[2]", "max_tokens", "top_k", "stop", "context_management"]);
}

fn call_part(id: &str) -> Part {
    Part::new(PartKind::ToolCall(ToolCall {
        id: id.into(),
        name: "a.b".into(),
        namespace: None,
        arguments: "{}".into(),
        custom: false,
        seal: None,
    }))
}

#[test]
fn thoughts_that_another_provider_sealed_are_left_out_and_named() {
    let mut request = Request::new(Format::Anthropic, "m");
    let seal = Some(Seal { family: Family::Anthropic, data: "s".into() });
    let thinking = Thinking { text: "secret".into(), seal, ..Thinking::default() };
    request.messages = vec![
        Message::text(Role::User, "hi"),
        Message::new(Role::Assistant, vec![Part::new(PartKind::Thinking(thinking)), Part::text("yes")]),
        Message::text(Role::User, "and?"),
    ];

    let body = encoded(&request);

    assert_eq!(dropped(&request), ["messages[1].thinking"]);
    assert!(!body.to_string().contains("secret"));
}

#[test]
fn what_changes_the_meaning_is_refused() {
    let mut twice = Request::new(Format::OpenAiChat, "m");
    twice.sampling.n = Some(2);
    let mut seen = Request::new(Format::Gemini, "m");
    let media = Media { source: Source::FileId("files/1".into()), detail: None, name: None };
    seen.messages = vec![Message::new(Role::User, vec![Part::new(PartKind::Video(media))])];
    let mut spoken = Request::new(Format::OpenAiChat, "m");
    spoken.modalities = vec!["text".into(), "audio".into()];

    let refused = [twice, seen, spoken].map(|request| encode_request(&request, &target()).unwrap_err().field);

    assert_eq!(refused, ["n", "messages[0].video", "modalities"]);
}

#[test]
fn passing_through_changes_the_model_and_not_one_byte_more() {
    let body = bytes::Bytes::from_static(b"{ \"model\" : \"a\", \"input\":[ {\"model\":\"a\"} ] }");

    let rewritten = rewrite(&body, "b/c");

    assert_eq!(rewritten, &b"{ \"model\" : \"b/c\", \"input\":[ {\"model\":\"a\"} ] }"[..]);
    assert_eq!(rewrite(&body, "a"), body);
    assert_eq!(rewrite(&bytes::Bytes::from_static(b"nonsense"), "b"), "nonsense");
}
