//! Requests for property tests: conversations that every format can carry.

use proptest::prelude::*;
use serde_json::json;

use crate::chat::*;

fn words() -> impl Strategy<Value = String> {
    "[a-z\u{e9}\u{2028}\"\\\\\n ]{0,10}[a-z]"
}

fn hint() -> impl Strategy<Value = Option<CacheHint>> {
    prop_oneof![4 => Just(None), 1 => Just(Some(CacheHint { ttl: None })), 1 => Just(Some(CacheHint { ttl: Some("1h".into()) }))]
}

fn said() -> impl Strategy<Value = Part> {
    let image = |source| PartKind::Image(Media { source, detail: None, name: None });
    let kind = prop_oneof![
        3 => words().prop_map(|text| PartKind::Text { text, citations: Vec::new() }),
        1 => Just(image(Source::Base64 { mime: "image/png".into(), data: "iVBORw0KGgo=".into() })),
    ];
    (kind, hint()).prop_map(|(kind, cache)| Part { kind, cache })
}

fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![Just("{}".to_owned()), words().prop_map(|text| json!({"a": text, "b": [1.5, null]}).to_string())]
}

/// One round: the user asks, the model says something and may call tools, which answer.
fn round(turn: usize) -> impl Strategy<Value = Vec<Message>> {
    let calls = prop::collection::vec(("[a-z]{1,5}", arguments(), words()), 0..3);
    (prop::collection::vec(said(), 1..3), words(), calls).prop_map(move |(asked, answer, calls)| {
        let mut model = vec![Part::text(answer)];
        let mut results = Vec::new();
        for (at, (name, arguments, result)) in calls.into_iter().enumerate() {
            let id = format!("call_{turn}_{at}");
            let call = ToolCall { id: id.clone(), name, namespace: None, arguments, custom: false, seal: None };
            model.push(Part::new(PartKind::ToolCall(call)));
            let parts = vec![Part::text(result)];
            results.push(Part::new(PartKind::ToolResult(ToolResult {
                call_id: id,
                name: None,
                parts,
                is_error: false,
                custom: false,
            })));
        }
        let mut round = vec![Message::new(Role::User, asked), Message::new(Role::Assistant, model)];
        if !results.is_empty() {
            round.push(Message::new(Role::User, results));
        }
        round
    })
}

fn conversation() -> impl Strategy<Value = Vec<Message>> {
    let system = prop::option::of(words().prop_map(|text| vec![Message::text(Role::System, text)]));
    let last = prop::collection::vec(said(), 1..3).prop_map(|parts| vec![Message::new(Role::User, parts)]);
    (system, prop::option::of(round(0)), prop::option::of(round(1)), last).prop_map(|(system, first, second, last)| {
        [system, first, second, Some(last)].into_iter().flatten().flatten().collect()
    })
}

fn tools() -> impl Strategy<Value = Vec<Tool>> {
    let tool = |at: usize, description, cache| Tool {
        kind: ToolKind::Function {
            name: format!("tool_{at}"),
            namespace: None,
            description,
            schema: Some(json!({"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "number"}}})),
            strict: None,
        },
        cache,
    };
    prop::collection::vec((prop::option::of(words()), hint()), 0..3).prop_map(move |tools| {
        tools.into_iter().enumerate().map(|(at, (description, cache))| tool(at, description, cache)).collect()
    })
}

/// Requests of a client of this format.
pub(super) fn request(from: Format) -> impl Strategy<Value = Request> {
    let numbers =
        (prop::option::of(1..9_000_u64), prop::option::of(0..=4_u8), prop::collection::vec("[a-z]{1,4}", 0..3));
    (conversation(), tools(), any::<bool>(), numbers).prop_map(move |(messages, tools, stream, numbers)| {
        let (max_tokens, quarters, stop) = numbers;
        let mut request = Request::new(from, "some-model");
        request.tool_choice = (!tools.is_empty()).then_some(ToolChoice::Auto);
        (request.messages, request.tools, request.stream) = (messages, tools, stream);
        request.include_usage = stream;
        let temperature = quarters.map(|quarters| f64::from(quarters) / 4.0);
        request.sampling = Sampling { max_tokens, temperature, stop, ..Sampling::default() };
        request
    })
}
