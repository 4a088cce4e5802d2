//! Conversations for property tests: such as every format can carry.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::usage::Usage;

/// A conversation that begins with instructions, alternates, and answers every call at once.
pub fn request(from: Format) -> impl Strategy<Value = Request> {
    let turns = prop::collection::vec((user_parts(), assistant_parts()), 0..3);
    (turns, user_parts(), any::<bool>()).prop_map(move |(turns, last, stream)| {
        let mut request = Request::new(from, "a-model");
        request.stream = stream;
        request.messages.push(Message::text(Role::System, "Be brief."));
        let mut answered = Vec::new();
        for (turn, (user, mut assistant)) in turns.into_iter().enumerate() {
            request.messages.push(Message::new(Role::User, answered.drain(..).chain(user).collect()));
            for (at, part) in assistant.iter_mut().enumerate() {
                if let PartKind::ToolCall(call) = &mut part.kind {
                    call.id = format!("call_{turn}_{at}");
                    answered.push(result(call));
                }
            }
            request.messages.push(Message::new(Role::Assistant, assistant));
        }
        request.messages.push(Message::new(Role::User, answered.into_iter().chain(last).collect()));
        request.tools = vec![tool("look"), tool("find")];
        request
    })
}

fn words() -> impl Strategy<Value = String> {
    "[a-z][a-zé\u{2028}\"\\\\]{0,11}"
}

fn user_parts() -> impl Strategy<Value = Vec<Part>> {
    let picture = Media {
        source: Source::Base64 { mime: "image/png".into(), data: "iVBORw0KGgo=".into() },
        detail: None,
        name: None,
    };
    let image = any::<bool>().prop_map(move |some| some.then(|| Part::new(PartKind::Image(picture.clone()))));
    (words(), image).prop_map(|(text, image)| std::iter::once(Part::text(text)).chain(image).collect())
}

fn assistant_parts() -> impl Strategy<Value = Vec<Part>> {
    let call = (prop::sample::select(vec!["look", "find"]), words()).prop_map(|(name, word)| {
        let arguments = json!({"word": word, "n": 1.5, "none": null}).to_string();
        Part::new(PartKind::ToolCall(ToolCall {
            id: String::new(),
            name: name.into(),
            namespace: None,
            arguments,
            custom: false,
            seal: None,
        }))
    });
    (words(), prop::collection::vec(call, 0..3))
        .prop_map(|(text, calls)| std::iter::once(Part::text(text)).chain(calls).collect())
}

fn result(call: &ToolCall) -> Part {
    Part::new(PartKind::ToolResult(ToolResult {
        call_id: call.id.clone(),
        name: Some(call.name.clone()),
        parts: vec![Part::text(format!("result of {}", call.id))],
        is_error: false,
        custom: false,
    }))
}

fn tool(name: &str) -> Tool {
    let schema = json!({"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]});
    let kind = ToolKind::Function {
        name: name.into(),
        namespace: None,
        description: Some("Looks.".into()),
        schema: Some(schema),
        strict: None,
    };
    Tool { kind, cache: None }
}

/// Events in any order, legal or not.
pub fn events() -> impl Strategy<Value = Vec<Event>> {
    let text = "[a-zé\u{2028}{}\"]{0,6}";
    let seal = || Seal { family: Family::Anthropic, data: "s".into() };
    let what = prop_oneof![
        Just(Opening::Text),
        Just(Opening::Refusal),
        Just(Opening::Thinking { id: None, summary: false, redacted: false }),
        text.prop_map(|id| Opening::ToolCall { id, name: "f".into(), namespace: None, custom: false }),
        Just(Opening::Whole(Part::new(PartKind::Native(json!({"type": "x"}))))),
    ];
    let delta = prop_oneof![
        text.prop_map(Delta::Text),
        text.prop_map(Delta::Arguments),
        Just(Delta::Arguments("{\"a\":1}".into())),
        Just(Delta::Seal(seal())),
        Just(Delta::Citation(Citation { url: Some("https://x".into()), span: Some((0, 3)), ..Citation::default() })),
    ];
    let event = prop_oneof![
        Just(Event::Begin(Begin { id: Some("id".into()), ..Begin::default() })),
        (0..4_u32, 0..2_u32, what).prop_map(|(block, choice, what)| Event::Open { block, choice, what }),
        (0..4_u32, delta).prop_map(|(block, delta)| Event::Delta { block, delta }),
        (0..4_u32).prop_map(|block| Event::Close { block }),
        Just(Event::Logprobs { choice: 0, logprobs: json!({"content": []}) }),
        (0..2_u32).prop_map(|choice| Event::Stop { choice, stop: Stop::Length }),
        Just(Event::Usage(Usage::default())),
    ];
    prop::collection::vec(event, 0..24)
}

/// What an encoder is told of the request.
pub fn reply(from: Format) -> Reply {
    Reply {
        id: "r-1".into(),
        created: 1_700_000_000,
        model: "a-model".into(),
        include_usage: true,
        as_array: false,
        request: std::sync::Arc::new(Request::new(from, "a-model")),
    }
}
