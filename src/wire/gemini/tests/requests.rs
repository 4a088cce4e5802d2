//! Requests both ways.

use proptest::prelude::*;
use serde_json::json;

use super::{json, target};
use crate::chat::arbitrary::{self, Shape};
use crate::chat::{
    Effort, Family, Format, Media, Message, OutputFormat, Part, PartKind, Reasoning, ReasoningMode, Request, Role,
    Seal, Source, Thinking, ToolCall, ToolChoice, ToolKind, ToolResult,
};
use crate::gemini::{decode_count_tokens, decode_request, encode_request};

fn read(value: &serde_json::Value) -> Request {
    decode_request(value.to_string().as_bytes(), "gemini-3-pro", false).unwrap()
}

fn again(request: &Request) -> Request {
    let encoded = encode_request(request, &target(&request.model)).unwrap();
    decode_request(&encoded.body, &request.model, request.stream).unwrap()
}

proptest! {
    #[test]
    fn a_conversation_survives_the_way_through(request in arbitrary::shaped(Shape::of(Format::Gemini))) {
        prop_assert_eq!(again(&request), request);
    }

    #[test]
    fn another_formats_conversation_arrives_as_it_was(request in arbitrary::shaped(Shape::of(Format::Gemini).said_by(Format::OpenAiChat))) {
        let again = again(&request);

        prop_assert_eq!((again.messages, again.tools), (request.messages, request.tools));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_request(&body, "m", false);
        let _ = decode_count_tokens(&body, "m");
    }
}

#[test]
fn everything_of_the_format_comes_back_from_a_rewrite() {
    let body = json!({
        "contents": [
            {"role": "user", "parts": [
                {"text": "hi"},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA", "displayName": "a.png"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "https://x/y"}},
            ]},
            {"role": "model", "parts": [
                {"text": "hm", "thought": true},
                {"text": "so", "thoughtSignature": "T1"},
                {"functionCall": {"id": "a", "name": "f", "args": {"a": 1, "n": null}}, "thoughtSignature": "Q2"},
                {"functionCall": {"id": "b", "name": "f", "args": {}}},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "a", "name": "f", "response": {"result": "x"}}},
                {"functionResponse": {"id": "b", "name": "f", "response": {"deep": {"y": 1}},
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": "BBBB"}}]}},
            ]},
        ],
        "systemInstruction": {"parts": [{"text": "S"}]},
        "tools": [
            {"functionDeclarations": [{"name": "f", "description": "d",
                "parametersJsonSchema": {"type": "object", "properties": {"a": {"type": "integer"}}}}]},
            {"googleSearch": {"timeRangeFilter": {}}},
            {"codeExecution": {}},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}, "retrievalConfig": {"languageCode": "de"}},
        "generationConfig": {
            "maxOutputTokens": 100, "temperature": 1.5, "topP": 0.5, "topK": 40, "seed": 1, "presencePenalty": 0.5,
            "frequencyPenalty": 0.25, "candidateCount": 2, "responseLogprobs": true, "logprobs": 3, "stopSequences": ["X"],
            "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": true},
            "responseMimeType": "application/json", "responseJsonSchema": {"type": "object", "properties": {"k": {"type": "string"}}},
            "responseModalities": ["TEXT", "IMAGE"], "speechConfig": {"languageCode": "de"}, "mediaResolution": "MEDIA_RESOLUTION_LOW",
        },
        "safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "OFF"}],
        "cachedContent": "cachedContents/x",
        "labels": {"my_team": "a"},
    });

    let encoded = encode_request(&read(&body), &target("gemini-3-pro")).unwrap();

    assert_eq!(json(&encoded.body), body);
    assert_eq!(encoded.dropped, []);
}

#[test]
fn snake_case_and_short_forms_mean_the_same() {
    let snake = json!({
        "system_instruction": "S",
        "contents": [{"parts": [{"text": "a"}, {"inline_data": {"mime_type": "image/png", "data": "A-_A"}}]}],
        "generation_config": {"max_output_tokens": 5.0, "top_p": 0.5, "thinking_config": {"thinking_budget": -1}},
        "tools": [{"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties":
            {"snake_name": {"type": "ARRAY", "nullable": true, "min_items": "2", "items": {"type": "STRING", "enum": ["A"]}}}}}]}],
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
    });

    let request = read(&snake);

    assert_eq!(request.messages[0], Message::text(Role::System, "S"));
    assert_eq!(request.sampling.max_tokens, Some(5));
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("f".into())));
    assert_eq!(request.reasoning.as_ref().unwrap().mode, ReasoningMode::Adaptive);
    let PartKind::Image(Media { source: Source::Base64 { data, .. }, .. }) = &request.messages[1].parts[1].kind else {
        panic!()
    };
    assert_eq!(data, "A+/A");
    let ToolKind::Function { schema: Some(schema), .. } = &request.tools[0].kind else { panic!() };
    let member = json!({"type": ["array", "null"], "minItems": 2, "items": {"type": "string", "enum": ["A"]}});
    assert_eq!(schema, &json!({"type": "object", "properties": {"snake_name": member}}));
}

#[rstest::rstest]
#[case(json!({}), "contents")]
#[case(json!({"contents": []}), "contents")]
#[case(json!({"contents": [{"role": "robot", "parts": [{"text": ""}]}]}), "contents[0].role")]
#[case(json!({"contents": [{"role": "user"}]}), "contents[0].parts")]
#[case(json!({"contents": [{"parts": [{}]}]}), "contents[0].parts[0].text")]
#[case(json!({"contents": [{"parts": [{"text": 7}]}]}), "contents[0].parts[0].text")]
#[case(json!({"contents": [{"parts": [{"functionCall": {}}]}]}), "contents[0].parts[0].functionCall.name")]
#[case(json!({"contents": [{"parts": [{"inlineData": {"data": ""}}]}]}), "contents[0].parts[0].inlineData.mimeType")]
#[case(json!({"contents": "x", "generationConfig": {"topK": -1}}), "generationConfig.topK")]
#[case(json!({"contents": "x", "generationConfig": {"thinkingConfig": {"thinkingLevel": "HUGE"}}}), "generationConfig.thinkingConfig.thinkingLevel")]
#[case(json!({"contents": "x", "toolConfig": {"functionCallingConfig": {"mode": "MUST"}}}), "toolConfig.functionCallingConfig.mode")]
#[case(json!({"contents": "x", "tools": [{"functionDeclarations": [{}]}]}), "tools[0].functionDeclarations[0].name")]
fn what_is_wrong_is_named(#[case] body: serde_json::Value, #[case] field: &str) {
    let bad = decode_request(body.to_string().as_bytes(), "m", false).unwrap_err();

    assert_eq!(bad.param.as_deref(), Some(field));
}

#[test]
fn results_without_ids_pair_by_name_and_order() {
    let call = |name: &str| json!({"functionCall": {"name": name, "args": {}}});
    let response = |name: &str, text: &str| json!({"functionResponse": {"name": name, "response": {"output": text}}});
    let body = json!({"contents": [
        {"role": "user", "parts": [{"text": "go"}]},
        {"role": "model", "parts": [call("f"), call("g"), call("f")]},
        {"role": "function", "parts": [response("g", "2"), response("f", "1"), response("f", "3")]},
    ]});

    let request = read(&body);

    let ids: Vec<String> = request.messages[1]
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::ToolCall(call) => call.id.clone(),
            _ => panic!(),
        })
        .collect();
    let answers: Vec<(String, String)> = request.messages[2]
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::ToolResult(result) => (result.call_id.clone(), result.parts[0].as_text().unwrap().to_owned()),
            _ => panic!(),
        })
        .collect();
    let expected = [(1, "2"), (0, "1"), (2, "3")].map(|(at, text): (usize, &str)| (ids[at].clone(), text.to_owned()));
    assert_eq!(answers, expected);
    assert_ne!(ids[0], ids[2]);
    assert_eq!(request, read(&body));
}

#[test]
fn thoughts_in_pieces_are_one_thought_until_it_is_sealed() {
    let body = json!({"contents": [{"role": "model", "parts": [
        {"text": "a", "thought": true}, {"text": "b", "thought": true},
        {"text": "", "thought": true, "thoughtSignature": "b21yMS5hbnRocm9waWMuUw=="}, {"text": "c", "thought": true},
    ]}]});

    let parts = read(&body).messages.remove(0).parts;

    let seal = Some(Seal { family: Family::Anthropic, data: "S".into() });
    let first = Thinking { text: "ab".into(), seal, ..Thinking::default() };
    let second = Thinking { text: "c".into(), ..Thinking::default() };
    assert_eq!(parts, [first, second].map(|thinking| Part::new(PartKind::Thinking(thinking))));
}

fn chat(messages: Vec<Message>) -> Request {
    let mut request = Request::new(Format::Anthropic, "m");
    request.messages = messages;
    request
}

fn call(id: &str, seal: Option<Seal>) -> Part {
    let (name, arguments) = ("f".into(), "{\"a\": 1.50}".into());
    Part::new(PartKind::ToolCall(ToolCall { id: id.into(), name, namespace: None, arguments, custom: false, seal }))
}

fn thought(text: &str, family: Family) -> Part {
    let seal = Some(Seal { family, data: "Q".into() });
    Part::new(PartKind::Thinking(Thinking { text: text.into(), seal, ..Thinking::default() }))
}

fn result(call_id: &str) -> Part {
    let (call_id, parts) = (call_id.into(), vec![Part::text("r")]);
    Part::new(PartKind::ToolResult(ToolResult { call_id, name: None, parts, is_error: true, custom: false }))
}

#[test]
fn calls_of_the_current_turn_are_signed_for_the_third_generation() {
    let tool_turns = |first: Vec<Part>| {
        chat(vec![
            Message::text(Role::User, "old"),
            Message::new(Role::Assistant, vec![call("1", None)]),
            Message::new(Role::User, vec![result("1"), Part::text("new")]),
            Message::new(Role::Assistant, first),
            Message::new(Role::User, vec![result("2"), result("3")]),
        ])
    };
    let signatures = |request: &Request, model: &str| {
        let body = json(&encode_request(request, &target(model)).unwrap().body);
        let of = |at: usize, part: usize| {
            body["contents"][at]["parts"][part]["thoughtSignature"].as_str().map(str::to_owned)
        };
        [of(1, 0), of(3, 0), of(3, 1)]
    };

    let foreign = tool_turns(vec![thought("t", Family::Anthropic), call("2", None), call("3", None)]);
    let own = tool_turns(vec![thought("", Family::Google), call("2", None), call("3", None)]);

    let skip = Some("skip_thought_signature_validator".to_owned());
    assert_eq!(signatures(&foreign, "gemini-3-flash"), [None, skip, None]);
    assert_eq!(signatures(&foreign, "gemini-2.5-pro"), [None, None, None]);
    assert_eq!(signatures(&own, "gemini-3-flash"), [None, Some("Q".to_owned()), None]);
    let dropped = encode_request(&foreign, &target("gemini-3-flash")).unwrap().dropped;
    assert_eq!(dropped[0].field, "messages[3].thinking");
}

#[test]
fn arguments_reach_the_provider_byte_for_byte_and_errors_as_errors() {
    let request = chat(vec![
        Message::text(Role::User, "go"),
        Message::new(Role::Assistant, vec![call("1", None)]),
        Message::new(Role::User, vec![result("1")]),
    ]);

    let body = encode_request(&request, &target("gemini-2.5-pro")).unwrap().body;

    let body = std::str::from_utf8(&body).unwrap();
    assert!(body.contains(r#""args":{"a": 1.50}"#), "{body}");
    assert!(body.contains(r#""response":{"error":"r"}"#), "{body}");
}

#[rstest::rstest]
#[case("gemini-3-flash", ReasoningMode::On, Some(Effort::Medium), None, json!({"thinkingLevel": "MEDIUM", "includeThoughts": true}))]
#[case("gemini-3-pro", ReasoningMode::On, Some(Effort::Medium), None, json!({"thinkingLevel": "HIGH", "includeThoughts": true}))]
#[case("gemini-3-flash", ReasoningMode::Off, None, None, json!({"thinkingLevel": "MINIMAL", "includeThoughts": false}))]
#[case("gemini-3.1-pro", ReasoningMode::On, None, Some(2_000), json!({"thinkingLevel": "LOW", "includeThoughts": true}))]
#[case("gemini-2.5-flash", ReasoningMode::Off, None, None, json!({"thinkingBudget": 0, "includeThoughts": false}))]
#[case("gemini-2.5-pro", ReasoningMode::Off, None, None, json!({"thinkingBudget": 128, "includeThoughts": false}))]
#[case("models/gemini-2.5-flash", ReasoningMode::On, Some(Effort::Max), None, json!({"thinkingBudget": 24_576, "includeThoughts": true}))]
#[case("gemini-flash-latest", ReasoningMode::Adaptive, None, None, json!({"thinkingBudget": -1, "includeThoughts": true}))]
#[case("gemini-2.0-flash", ReasoningMode::On, Some(Effort::Low), None, json!(null))]
fn thinking_is_asked_for_as_the_model_knows_it(
    #[case] model: &str,
    #[case] mode: ReasoningMode,
    #[case] effort: Option<Effort>,
    #[case] budget: Option<u64>,
    #[case] expected: serde_json::Value,
) {
    let mut request = chat(vec![Message::text(Role::User, "hi")]);
    request.reasoning = Some(Reasoning { mode, effort, budget, show: None, summary: None });

    let encoded = encode_request(&request, &target(model)).unwrap();

    assert_eq!(json(&encoded.body)["generationConfig"]["thinkingConfig"], expected);
    assert_eq!(encoded.dropped.len(), usize::from(expected.is_null()));
}

#[test]
fn what_cannot_be_carried_is_named() {
    let mut request = chat(vec![Message::text(Role::User, "hi")]);
    request.from = Format::OpenAiChat;
    request.messages[0].name = Some("bob".into());
    request.sampling.min_p = Some(0.1);
    request.sampling.logit_bias = Some(json!({}));
    request.sampling.stop = (0..7).map(|n| n.to_string()).collect();
    request.parallel_tools = Some(false);
    request.user = Some("u".into());
    request.rest.insert("store".into(), json!(true));
    request.tools.push(crate::chat::Tool { kind: ToolKind::Native(json!({"type": "computer"})), cache: None });

    let encoded = encode_request(&request, &target("gemini-2.5-pro")).unwrap();

    let fields: Vec<&str> = encoded.dropped.iter().map(|dropped| dropped.field.as_str()).collect();
    assert_eq!(
        fields,
        ["tools[0]", "stop", "messages[0].name", "min_p", "logit_bias", "parallel_tools", "user", "store"]
    );
    assert_eq!(json(&encoded.body)["generationConfig"]["stopSequences"], json!(["0", "1", "2", "3", "4"]));
}

#[test]
fn json_beside_functions_is_refused_where_the_model_cannot() {
    let mut request = chat(vec![Message::text(Role::User, "hi")]);
    request.output = OutputFormat::JsonObject;
    let kind = ToolKind::Function { name: "f".into(), namespace: None, description: None, schema: None, strict: None };
    request.tools.push(crate::chat::Tool { kind, cache: None });

    assert_eq!(encode_request(&request, &target("gemini-2.5-pro")).unwrap_err().field, "response_format");
    assert!(encode_request(&request, &target("gemini-3-pro")).is_ok());
}

#[test]
fn a_file_of_another_store_is_refused_in_the_question_and_dropped_before() {
    let media = Media { source: Source::FileId("file-1".into()), detail: None, name: None };
    let file = Message::new(Role::User, vec![Part::text("see"), Part::new(PartKind::File(media))]);
    let old = chat(vec![file.clone(), Message::text(Role::Assistant, "ok"), Message::text(Role::User, "next")]);

    assert_eq!(encode_request(&chat(vec![file]), &target("m")).unwrap_err().field, "messages[0].file");
    assert_eq!(encode_request(&old, &target("m")).unwrap().dropped[0].field, "messages[0].file");
}

#[test]
fn instructions_later_on_are_words_of_the_user_and_alone_they_are_the_question() {
    let later = chat(vec![
        Message::text(Role::System, "S"),
        Message::text(Role::User, "a"),
        Message::text(Role::Developer, "b"),
    ]);

    let body = json(&encode_request(&later, &target("m")).unwrap().body);
    let alone = json(&encode_request(&chat(vec![Message::text(Role::System, "S")]), &target("m")).unwrap().body);

    assert_eq!(body["contents"], json!([{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]));
    assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "S"}]}));
    assert_eq!(alone, json!({"contents": [{"role": "user", "parts": [{"text": "S"}]}]}));
}

#[test]
fn a_prompt_is_counted_in_both_shapes() {
    let plain = br#"{"contents":[{"parts":[{"text":"a"}]}]}"#;
    let nested = br#"{"generateContentRequest":{"model":"models/x","contents":[{"parts":[{"text":"a"}]}]}}"#;

    let plain = decode_count_tokens(plain, "m").unwrap();

    assert_eq!(plain, decode_count_tokens(nested, "m").unwrap());
    assert_eq!(crate::gemini::count_tokens_body(7), "{\"totalTokens\":7}");
}

#[test]
fn an_enumeration_as_output_goes_back_to_google_only() {
    let config = json!({"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["A"]}});
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "a"}]}], "generationConfig": config});

    let encoded = encode_request(&read(&body), &target("gemini-2.5-pro")).unwrap();

    assert_eq!(json(&encoded.body), body);
}

#[test]
fn older_models_get_cleaned_schemas_and_newer_ones_the_schema_itself() {
    let mut request = chat(vec![Message::text(Role::User, "hi")]);
    let schema =
        json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "additionalProperties": false});
    let function = |name: &str, schema: serde_json::Value| {
        let (name, schema) = (name.into(), Some(schema));
        let kind = ToolKind::Function { name, namespace: None, description: None, schema, strict: None };
        crate::chat::Tool { kind, cache: None }
    };
    request.tools =
        vec![function("9 lives", schema.clone()), function("plain", json!({"type": "object", "properties": {}}))];

    let newer = encode_request(&request, &target("gemini-2.5-pro")).unwrap();
    let older = json(&encode_request(&request, &target("gemini-2.0-flash")).unwrap().body);

    let body = json(&newer.body);
    let (newer_tool, older_tool) =
        (&body["tools"][0]["functionDeclarations"][0], &older["tools"][0]["functionDeclarations"][0]);
    assert_eq!(newer_tool["parametersJsonSchema"], schema);
    let cleaned = json!({"type": "object", "properties": {"a": {"nullable": true, "type": "string"}}});
    assert_eq!(older_tool["parameters"], cleaned);
    assert_eq!(body["tools"][0]["functionDeclarations"][1], json!({"name": "plain"}));
    assert!(newer_tool["name"].as_str().unwrap().starts_with("_9_lives_"));
    assert!(!newer.way_back.is_empty());
}

#[rstest::rstest]
#[case(Family::Google, "Q+/8=")]
#[case(Family::Anthropic, "a?>~ü")]
#[case(Family::OpenAi, "gAAAA-_==")]
fn a_seal_comes_back_in_either_alphabet(#[case] family: Family, #[case] data: &str) {
    let seal = Seal { family, data: data.into() };

    let field = crate::gemini::seals::field(&seal);
    let other = field.replace('+', "-").replace('/', "_");

    assert_eq!(crate::gemini::seals::read(&field), seal);
    if family != Family::Google {
        assert_eq!(crate::gemini::seals::read(&other), seal);
    }
}
