use bytes::Bytes;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::*;
use crate::chat::*;

fn target(model: &str) -> EncodeTarget<'_> {
    EncodeTarget { model, stream: false, traits: Traits::default() }
}

fn decoded(body: &Value) -> Request {
    decode_request(body.to_string().as_bytes()).unwrap()
}

fn encoded(request: &Request, model: &str) -> (Value, Encoded) {
    let encoded = encode_request(request, &target(model)).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), encoded)
}

fn dropped(encoded: &Encoded) -> Vec<&str> {
    encoded.dropped.iter().map(|dropped| dropped.field.as_str()).collect()
}

fn asking(from: Format) -> Request {
    let mut request = Request::new(from, "m");
    request.messages = vec![Message::text(Role::User, "hi")];
    request
}

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

#[rstest]
#[case("claude-3-5-sonnet-20241022", json!(null), json!(null), &["reasoning"])]
#[case("claude-3-7-sonnet-20250219", json!({"type": "enabled", "budget_tokens": 16384}), json!(null), &[])]
#[case("us.anthropic.claude-opus-4-20250514-v1:0", json!({"type": "enabled", "budget_tokens": 16384}), json!(null), &[])]
#[case("kimi-k2", json!({"type": "enabled", "budget_tokens": 16384}), json!(null), &[])]
#[case("claude-opus-4-6", json!({"type": "adaptive"}), json!("high"), &[])]
#[case("anthropic/claude-sonnet-4.6", json!({"type": "adaptive"}), json!("high"), &[])]
#[case("claude-opus-5", json!({"type": "adaptive"}), json!("high"), &[])]
#[case("claude-mythos-preview", json!({"type": "adaptive"}), json!("high"), &[])]
fn an_effort_becomes_what_the_model_understands(
    #[case] model: &str,
    #[case] thinking: Value,
    #[case] effort: Value,
    #[case] lost: &[&str],
) {
    let mut request = asking(Format::OpenAiChat);
    request.reasoning = Some(Reasoning {
        mode: ReasoningMode::On,
        effort: Some(Effort::High),
        budget: None,
        show: None,
        summary: None,
    });

    let (body, encoded) = encoded(&request, model);

    assert_eq!(body["thinking"], thinking);
    assert_eq!(body["output_config"]["effort"], effort);
    assert_eq!(dropped(&encoded), lost);
    let budget = thinking["budget_tokens"].as_u64().unwrap_or(0);
    assert!(body["max_tokens"].as_u64().unwrap() > budget);
}

#[test]
fn a_thinking_model_keeps_its_own_sampling_and_is_not_forced() {
    let mut request = asking(Format::OpenAiChat);
    request.reasoning =
        Some(Reasoning { mode: ReasoningMode::On, effort: None, budget: Some(500), show: None, summary: None });
    request.sampling.temperature = Some(0.2);
    request.sampling.stop = vec!["\n\n".into(), "END".into()];
    request.sampling.seed = Some(1);
    let kind = ToolKind::Function { name: "f".into(), namespace: None, description: None, schema: None, strict: None };
    request.tools = vec![Tool { kind, cache: None }];
    request.tool_choice = Some(ToolChoice::Required);

    let (body, encoded) = encoded(&request, "claude-sonnet-4-5");

    assert_eq!(body["thinking"]["budget_tokens"], 1024);
    assert_eq!(body["tool_choice"], json!({"type": "auto"}));
    assert_eq!(body["tools"][0]["input_schema"], json!({"type": "object", "properties": {}}));
    assert!(body.get("temperature").is_none());
    assert_eq!(body["stop_sequences"], json!(["END"]));
    assert_eq!(dropped(&encoded), ["seed", "tool_choice", "temperature", "stop"]);
}

#[test]
fn a_temperature_is_cut_to_one() {
    let mut request = asking(Format::OpenAiChat);
    request.sampling.temperature = Some(1.7);

    let (body, encoded) = encoded(&request, "claude-3-5-haiku");

    assert_eq!(body["temperature"], 1.0);
    assert_eq!(dropped(&encoded), ["temperature"]);
}

#[rstest]
#[case("claude-sonnet-4-5", false)]
#[case("claude-3-7-sonnet", true)]
fn a_schema_is_a_member_or_on_older_models_a_tool(#[case] model: &str, #[case] by_tool: bool) {
    let mut request = asking(Format::OpenAiChat);
    let schema = json!({"type": "object", "properties": {"a": {"type": "object", "properties": {}}}});
    request.output =
        OutputFormat::JsonSchema { name: "x".into(), description: None, schema: schema.clone(), strict: None };

    let (body, encoded) = encoded(&request, model);

    if by_tool {
        assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "json_output"}));
        assert_eq!(body["tools"][0]["input_schema"], schema);
        assert!(!encoded.way_back.is_empty());
    } else {
        let format = &body["output_config"]["format"];
        assert_eq!(format["schema"]["additionalProperties"], false);
        assert_eq!(format["schema"]["properties"]["a"]["additionalProperties"], false);
        assert!(encoded.way_back.is_empty());
    }
}

#[test]
fn any_json_object_is_asked_for_as_a_call_and_thinking_gives_way() {
    let mut request = asking(Format::OpenAiChat);
    request.output = OutputFormat::JsonObject;
    request.reasoning =
        Some(Reasoning { mode: ReasoningMode::On, effort: None, budget: None, show: None, summary: None });

    let (body, encoded) = encoded(&request, "claude-opus-4-6");

    assert_eq!(body["tool_choice"]["name"], "json_output");
    assert!(body.get("thinking").is_none());
    assert_eq!(dropped(&encoded), ["reasoning"]);
}

#[test]
fn foreign_thoughts_go_and_an_open_loop_without_own_ones_is_not_thought_about() {
    let mut request = asking(Format::Anthropic);
    request.reasoning =
        Some(Reasoning { mode: ReasoningMode::On, effort: None, budget: Some(2000), show: None, summary: None });
    let seal = |family| Some(Seal { family, data: "s".into() });
    let thought = |family| {
        Part::new(PartKind::Thinking(Thinking { text: "hm".into(), seal: seal(family), ..Thinking::default() }))
    };
    let call = ToolCall {
        id: "t".into(),
        name: "f".into(),
        namespace: None,
        arguments: "{}".into(),
        custom: false,
        seal: None,
    };
    let result = ToolResult { call_id: "t".into(), name: None, parts: vec![], is_error: false, custom: false };
    request
        .messages
        .push(Message::new(Role::Assistant, vec![thought(Family::Google), Part::new(PartKind::ToolCall(call))]));
    request.messages.push(Message::new(Role::User, vec![Part::new(PartKind::ToolResult(result))]));
    let mut sealed = request.clone();
    sealed.messages[1].parts[0] = thought(Family::Anthropic);

    let (foreign, lost) = encoded(&request, "claude-sonnet-4-5");
    let (own, kept) = encoded(&sealed, "claude-sonnet-4-5");

    assert_eq!(foreign["messages"][1]["content"][0]["type"], "tool_use");
    assert!(foreign.get("thinking").is_none());
    assert_eq!(dropped(&lost), ["messages[1].thinking", "reasoning"]);
    assert_eq!(own["messages"][1]["content"][0], json!({"type": "thinking", "thinking": "hm", "signature": "s"}));
    assert_eq!(own["thinking"]["budget_tokens"], 2000);
    assert!(kept.dropped.is_empty());
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
fn hosted_tools_of_others_go_but_the_search_of_the_web_is_known() {
    let mut request = asking(Format::OpenAiResponses);
    request.sampling.n = Some(1);
    request.rest.insert("truncation".into(), "auto".into());
    request.tools = [json!({"type": "web_search"}), json!({"type": "code_interpreter"})]
        .map(|tool| Tool { kind: ToolKind::Native(tool), cache: None })
        .to_vec();

    let (body, encoded) = encoded(&request, "claude-opus-4-5");

    assert_eq!(body["tools"], json!([{"type": "web_search_20250305", "name": "web_search"}]));
    assert_eq!(dropped(&encoded), ["truncation", "tools[1]"]);
}

#[test]
fn several_answers_at_once_are_refused() {
    let mut request = asking(Format::OpenAiChat);
    request.sampling.n = Some(2);

    assert_eq!(encode_request(&request, &target("m")).unwrap_err().field, "n");
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

#[rstest]
#[case("claude-opus-4-5", json!({"type": "disabled"}))]
#[case("glm-5", json!({"type": "disabled"}))]
#[case("claude-opus-4-8", json!(null))]
#[case("claude-3-haiku", json!(null))]
fn no_thinking_is_said_where_the_word_is_known(#[case] model: &str, #[case] thinking: Value) {
    let mut request = asking(Format::OpenAiChat);
    request.reasoning =
        Some(Reasoning { mode: ReasoningMode::Off, effort: None, budget: None, show: None, summary: None });

    let (body, encoded) = encoded(&request, model);

    assert_eq!(body["thinking"], thinking);
    assert!(encoded.dropped.is_empty());
}

#[test]
fn the_newest_models_choose_words_by_themselves() {
    let mut request = asking(Format::OpenAiChat);
    request.sampling.temperature = Some(0.7);
    request.sampling.top_p = Some(1.0);

    let (newest, lost) = encoded(&request, "claude-opus-4-7");
    let (older, one) = encoded(&request, "claude-sonnet-4-5");

    assert_eq!((newest.get("temperature"), newest.get("top_p")), (None, None));
    assert_eq!(dropped(&lost), ["temperature"]);
    assert_eq!((older["temperature"].as_f64(), older.get("top_p")), (Some(0.7), None));
    assert_eq!(dropped(&one), ["top_p"]);
}

#[test]
fn an_effort_alone_stays_alone_for_the_same_format() {
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}],
        "output_config": {"effort": "low"}});

    let (written, _) = encoded(&decoded(&body), "claude-opus-4-6");

    assert_eq!(written["output_config"], json!({"effort": "low"}));
    assert!(written.get("thinking").is_none());
}

#[test]
fn a_named_tool_is_the_answer_even_where_json_was_asked_for() {
    let mut request = asking(Format::OpenAiChat);
    request.output = OutputFormat::JsonObject;
    let kind = ToolKind::Function { name: "f".into(), namespace: None, description: None, schema: None, strict: None };
    request.tools = vec![Tool { kind, cache: None }];

    let (free, _) = encoded(&request, "m");
    request.tool_choice = Some(ToolChoice::Named("f".into()));
    let (named, way) = encoded(&request, "m");

    assert_eq!((free["tools"].as_array().unwrap().len(), &free["tool_choice"]), (2, &json!({"type": "any"})));
    assert_eq!((named["tools"].as_array().unwrap().len(), &named["tool_choice"]["name"]), (1, &json!("f")));
    assert!(way.way_back.is_empty());
}
