//! Thoughts of earlier turns, and how much to think.

use serde_json::{Value, json};

use super::super::encode_request;
use super::requests::{decoded, encoded, user};
use crate::chat::*;

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
