//! Tools, and shapes of the answer that are asked for by one.

use rstest::rstest;
use serde_json::json;

use super::{asking, dropped, encoded};
use crate::chat::*;

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
        let mut titled = schema;
        titled["title"] = json!("x");
        assert_eq!(body["tools"][0]["input_schema"], titled);
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

#[test]
fn a_search_that_a_choice_among_other_tools_leaves_out_is_named() {
    let mut request = asking(Format::OpenAiResponses);
    let kind = ToolKind::Function { name: "f".into(), namespace: None, description: None, schema: None, strict: None };
    let search = ToolKind::Native(json!({"type": "web_search"}));
    request.tools = vec![Tool { kind: search, cache: None }, Tool { kind, cache: None }];
    request.tool_choice = Some(ToolChoice::Allowed { required: false, names: vec!["f".into()] });

    let (body, encoded) = encoded(&request, "claude-sonnet-4-5");

    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!(dropped(&encoded), ["tools[0]"]);
}

#[test]
fn the_words_for_a_schema_stand_in_the_schema_unless_it_has_others() {
    let mut request = asking(Format::OpenAiChat);
    let schema = json!({"type": "object", "properties": {}, "description": "another"});
    let description = Some("what was seen".into());
    request.output = OutputFormat::JsonSchema { name: "seen".into(), description, schema, strict: Some(true) };

    let (newer, named) = encoded(&request, "claude-sonnet-4-5");
    let (_, older) = encoded(&request, "claude-3-7-sonnet");

    let schema = &newer["output_config"]["format"]["schema"];
    assert_eq!((&schema["title"], &schema["description"]), (&json!("seen"), &json!("another")));
    assert_eq!(dropped(&named), ["response_format.description"]);
    assert_eq!(dropped(&older), ["response_format.description", "response_format.strict"]);
}
