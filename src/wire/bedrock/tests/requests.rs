use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::*;
use crate::chat::arbitrary::{self, Shape};
use crate::chat::*;

const CLAUDE: &str = "anthropic.claude-sonnet-4-5-20250929-v1:0";

fn encoded(request: &Request, model: &str) -> (Value, Encoded) {
    let target = EncodeTarget { model, stream: true, traits: Traits::default() };
    let encoded = encode_request(request, &target).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), encoded)
}

fn dropped(encoded: &Encoded) -> Vec<&str> {
    encoded.dropped.iter().map(|dropped| dropped.field.as_str()).collect()
}

fn asking() -> Request {
    let mut request = Request::new(Format::OpenAiChat, "m");
    request.messages = vec![Message::text(Role::User, "hi")];
    request
}

fn call(id: &str, arguments: &str) -> Part {
    let (id, name, arguments) = (id.to_owned(), "f".to_owned(), arguments.to_owned());
    Part::new(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None }))
}

fn result(id: &str, is_error: bool) -> Part {
    let parts = vec![Part::text("r")];
    Part::new(PartKind::ToolResult(ToolResult { call_id: id.into(), name: None, parts, is_error, custom: false }))
}

fn media(mime: &str, name: Option<&str>) -> Media {
    let source = Source::Base64 { mime: mime.into(), data: "AAAA".into() };
    Media { source, detail: None, name: name.map(str::to_owned) }
}

#[test]
fn a_whole_conversation_is_written() {
    let mut request = asking();
    let hint = Some(CacheHint { ttl: Some("1h".into()) });
    let seal = |data: &str| Some(Seal { family: Family::Anthropic, data: data.into() });
    request.messages = vec![
        Message::new(Role::System, vec![Part { cache: hint.clone(), ..Part::text("be kind") }]),
        Message::new(
            Role::User,
            vec![
                Part::new(PartKind::Image(media("image/jpeg", None))),
                Part::new(PartKind::File(media("application/pdf", Some("my_paper: v2.pdf")))),
                Part::text("look"),
            ],
        ),
        Message::new(
            Role::Assistant,
            vec![
                Part::new(PartKind::Thinking(Thinking { text: "hm".into(), seal: seal("s"), ..Thinking::default() })),
                Part::new(PartKind::Thinking(Thinking { redacted: true, seal: seal("cg=="), ..Thinking::default() })),
                call("t.1", "{\"a\": 1.0}"),
            ],
        ),
        Message::new(Role::User, vec![result("t.1", true), Part::text("go on")]),
    ];
    request.sampling.max_tokens = Some(100);
    request.sampling.temperature = Some(0.5);
    request.sampling.stop = vec!["END".into()];
    request.sampling.top_k = Some(5);
    let kind = ToolKind::Function {
        name: "f".into(),
        namespace: None,
        description: Some("d".into()),
        schema: Some(json!({"type": "object"})),
        strict: None,
    };
    request.tools = vec![Tool { kind, cache: hint }];
    request.tool_choice = Some(ToolChoice::Named("f".into()));

    let (body, encoded) = encoded(&request, "amazon.nova-pro-v1:0");

    let id = body["messages"][1]["content"][2]["toolUse"]["toolUseId"].clone();
    assert_eq!(
        body,
        json!({
            "messages": [
                {"role": "user", "content": [
                    {"image": {"format": "jpeg", "source": {"bytes": "AAAA"}}},
                    {"document": {"format": "pdf", "name": "my paper v2 1", "source": {"bytes": "AAAA"}}},
                    {"text": "look"}]},
                {"role": "assistant", "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                    {"reasoningContent": {"redactedContent": "cg=="}},
                    {"toolUse": {"toolUseId": id, "name": "f", "input": {"a": 1.0}}}]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": id, "content": [{"text": "r"}], "status": "error"}},
                    {"text": "go on"}]}
            ],
            "system": [{"text": "be kind"}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
            "inferenceConfig": {"maxTokens": 100, "temperature": 0.5, "stopSequences": ["END"]},
            "toolConfig": {
                "tools": [
                    {"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": {"type": "object"}}}},
                    {"cachePoint": {"type": "default", "ttl": "1h"}}],
                "toolChoice": {"tool": {"name": "f"}}
            },
            "additionalModelRequestFields": {"top_k": 5}
        })
    );
    assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
}

#[rstest]
#[case(CLAUDE, json!({"thinking": {"type": "enabled", "budget_tokens": 16384}}), &[])]
#[case("us.anthropic.claude-opus-4-6-v1", json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}), &[])]
#[case("amazon.nova-pro-v1:0", json!(null), &["reasoning"])]
fn thinking_is_asked_of_claude_only(#[case] model: &str, #[case] fields: Value, #[case] lost: &[&str]) {
    let mut request = asking();
    request.reasoning = Some(Reasoning {
        mode: ReasoningMode::On,
        effort: Some(Effort::High),
        budget: None,
        show: None,
        summary: None,
    });

    let (body, encoded) = encoded(&request, model);

    assert_eq!(body["additionalModelRequestFields"], fields);
    assert_eq!(dropped(&encoded), lost);
    if model == CLAUDE {
        assert_eq!(body["inferenceConfig"]["maxTokens"], 16384 + 4096);
    }
}

#[test]
fn who_spoke_of_tools_offers_them_again() {
    let mut request = asking();
    request.messages.extend([
        Message::new(Role::Assistant, vec![call("t", "")]),
        Message::new(Role::User, vec![result("t", false)]),
    ]);

    let (body, _) = encoded(&request, CLAUDE);

    let tools = json!([{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]);
    assert_eq!(body["toolConfig"], json!({ "tools": tools }));
    assert_eq!(body["messages"][1]["content"][0]["toolUse"]["input"], json!({}));
}

#[test]
fn no_tool_means_no_tools() {
    let mut request = asking();
    let kind = ToolKind::Function { name: "f".into(), namespace: None, description: None, schema: None, strict: None };
    request.tools = vec![Tool { kind, cache: None }];
    request.tool_choice = Some(ToolChoice::None);

    let (body, encoded) = encoded(&request, CLAUDE);

    assert!(body.get("toolConfig").is_none());
    assert!(encoded.dropped.is_empty());
}

#[test]
fn a_schema_is_asked_for_as_a_call() {
    let mut request = asking();
    let schema = json!({"type": "object", "properties": {}});
    request.output = OutputFormat::JsonSchema { name: "x".into(), description: None, schema, strict: Some(true) };

    let (body, encoded) = encoded(&request, CLAUDE);

    assert_eq!(body["toolConfig"]["toolChoice"], json!({"tool": {"name": "json_output"}}));
    assert_eq!(
        body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"],
        json!({"type": "object", "properties": {}, "title": "x"})
    );
    assert_eq!(dropped(&encoded), ["response_format.strict"]);
    assert!(!encoded.way_back.is_empty());
}

#[test]
fn what_the_format_lacks_is_named_or_refused() {
    let mut request = asking();
    request.sampling.seed = Some(1);
    request.sampling.logprobs = Some(true);
    request.user = Some("u".into());
    request.rest.insert("store".into(), true.into());
    request.tools = vec![Tool { kind: ToolKind::Native(json!({"type": "web_search"})), cache: None }];
    let url =
        Media { source: Source::Url { url: "https://a.invalid/x.png".into(), mime: None }, detail: None, name: None };
    let mut looking = request.clone();
    looking.messages[0].parts.push(Part::new(PartKind::Image(url.clone())));
    request.messages.insert(0, Message::new(Role::Assistant, vec![Part::text("x"), Part::new(PartKind::Image(url))]));

    let (body, encoded) = encoded(&request, CLAUDE);
    let target = EncodeTarget { model: CLAUDE, stream: false, traits: Traits::default() };

    assert_eq!(encode_request(&looking, &target).unwrap_err().field, "messages[0].image");
    assert_eq!(dropped(&encoded), ["seed", "logprobs", "user", "store", "messages[0].image", "tools[0]"]);
    assert_eq!(body["messages"][0], json!({"role": "user", "content": [{"text": "(conversation continues)"}]}));
}

#[test]
fn a_document_is_never_alone() {
    let mut request = asking();
    request.messages[0].parts = vec![Part::new(PartKind::File(media("text/csv", None)))];

    let (body, _) = encoded(&request, CLAUDE);

    let content = &body["messages"][0]["content"];
    assert_eq!(content[0]["document"]["name"], "document 1");
    assert!(content[1]["text"].is_string());
}

proptest! {
    #[test]
    fn every_conversation_keeps_its_turns_its_calls_and_four_points(request in arbitrary::shaped(Shape { urls: false, ..Shape::of(Format::Anthropic) })) {
        let (body, encoded) = encoded(&request, CLAUDE);

        let turns = request.messages.iter().filter(|message| !message.role.instructs());
        let roles: Vec<&str> = turns.map(|turn| if turn.role == Role::User { "user" } else { "assistant" }).collect();
        let written: Vec<&str> = body["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
        prop_assert_eq!(written, roles);
        let text = String::from_utf8(encoded.body.to_vec()).unwrap();
        for part in request.messages.iter().flat_map(|message| &message.parts) {
            if let PartKind::ToolCall(call) = &part.kind {
                prop_assert!(text.contains(&call.arguments) && text.contains(&call.id));
            }
        }
        prop_assert!(text.matches("cachePoint").count() <= 4);
        prop_assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
    }
}

#[test]
fn a_client_that_speaks_anthropics_format_is_spared_what_bedrock_refuses() {
    let mut request = asking();
    request.from = Format::Anthropic;
    (request.sampling.temperature, request.sampling.top_p) = (Some(1.0), Some(0.95));

    let (body, encoded) = encoded(&request, CLAUDE);

    assert_eq!(body["inferenceConfig"], json!({"topP": 0.95}));
    assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
}
