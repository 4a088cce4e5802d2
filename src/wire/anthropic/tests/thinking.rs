//! How much a model thinks, and how it chooses words.

use rstest::rstest;
use serde_json::{Value, json};

use super::{asking, decoded, dropped, encoded};
use crate::chat::*;

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
    request.sampling.top_p = Some(0.9);

    let (newest, lost) = encoded(&request, "claude-opus-4-7");
    let (older, one) = encoded(&request, "claude-sonnet-4-5");

    assert_eq!((newest.get("temperature"), newest.get("top_p")), (None, None));
    assert_eq!(dropped(&lost), ["temperature", "top_p"]);
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

#[rstest]
#[case(0.7, 0.9, (Some(0.7), None), &["top_p"])]
#[case(1.0, 0.9, (None, Some(0.9)), &[])]
#[case(0.7, 1.0, (Some(0.7), None), &[])]
#[case(1.8, 0.9, (None, Some(0.9)), &["temperature"])]
fn of_temperature_and_top_p_the_one_that_says_something_is_sent(
    #[case] temperature: f64,
    #[case] top_p: f64,
    #[case] sent: (Option<f64>, Option<f64>),
    #[case] lost: &[&str],
) {
    let mut request = asking(Format::OpenAiChat);
    (request.sampling.temperature, request.sampling.top_p) = (Some(temperature), Some(top_p));

    let (body, encoded) = encoded(&request, "claude-sonnet-4-5");

    assert_eq!((body["temperature"].as_f64(), body["top_p"].as_f64()), sent);
    assert_eq!(dropped(&encoded), lost);
}
