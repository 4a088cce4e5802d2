//! Requests of every shape, for the round trips of all formats: turns alternate, every call is answered at once.

use proptest::prelude::*;
use serde_json::json;

use crate::chat::*;

fn words() -> impl Strategy<Value = String> {
    "[a-zA-Zé\u{2028}\"\\\\\n ]{0,12}x"
}

fn media() -> impl Strategy<Value = Part> {
    let bytes = || Source::Base64 { mime: "image/png".into(), data: "iVBORw0KGgo=".into() };
    let url = || Source::Url { url: "https://example.com/a.png".into(), mime: None };
    prop_oneof![Just(bytes()), Just(url())]
        .prop_map(|source| Part::new(PartKind::Image(Media { source, detail: Some("auto".into()), name: None })))
}

fn said() -> impl Strategy<Value = Part> {
    prop_oneof![3 => words().prop_map(Part::text), 1 => media()].prop_flat_map(|part| {
        prop::bool::weighted(0.2)
            .prop_map(move |cached| Part { cache: cached.then(CacheHint::default), ..part.clone() })
    })
}

/// A turn of the model with calls, and their results.
fn exchange(family: Family) -> impl Strategy<Value = Vec<Message>> {
    let thought = (words(), prop::bool::ANY).prop_map(move |(text, summary)| {
        let seal = Some(Seal { family, data: "c2VhbA==".into() });
        Part::new(PartKind::Thinking(Thinking { text, summary, seal, ..Thinking::default() }))
    });
    let call = ("[a-z_]{1,8}", words(), prop::collection::vec(words(), 1..3));
    (prop::option::of(thought), prop::option::of(words()), prop::collection::vec(call, 0..3), any::<u32>()).prop_map(
        |(thought, text, calls, salt)| {
            let mut spoken: Vec<Part> = thought.into_iter().chain(text.map(Part::text)).collect();
            let mut results = Vec::new();
            for (index, (name, argument, texts)) in calls.into_iter().enumerate() {
                let id = format!("call_{salt}_{index}");
                let arguments = json!({ "a": argument }).to_string();
                spoken.push(Part::new(PartKind::ToolCall(ToolCall {
                    id: id.clone(),
                    name,
                    namespace: None,
                    arguments,
                    custom: false,
                    seal: None,
                })));
                let parts = texts.into_iter().map(Part::text).collect();
                let result = ToolResult { call_id: id, name: None, parts, is_error: false, custom: false };
                results.push(Part::new(PartKind::ToolResult(result)));
            }
            let messages = [Message::new(Role::Assistant, spoken), Message::new(Role::User, results)];
            messages.into_iter().filter(|message| !message.parts.is_empty()).collect()
        },
    )
}

fn sampling() -> impl Strategy<Value = Sampling> {
    (prop::option::of(16u64..9_000), prop::option::of(0u8..=4), prop::option::of(1u8..=4)).prop_map(
        |(max_tokens, temperature, top_p)| Sampling {
            max_tokens,
            temperature: temperature.map(|quarters| f64::from(quarters) / 4.0),
            top_p: top_p.map(|quarters| f64::from(quarters) / 4.0),
            ..Sampling::default()
        },
    )
}

/// A request of this format; its thoughts carry seals of the format's own family.
pub fn request(from: Format) -> impl Strategy<Value = Request> {
    let family = from.family();
    let turns = prop::collection::vec((prop::collection::vec(said(), 1..3), exchange(family)), 1..4);
    (prop::option::of(words()), turns, sampling(), any::<bool>(), prop::collection::vec("[a-z]{1,6}", 0..3)).prop_map(
        move |(system, turns, sampling, stream, tools)| {
            let mut request = Request::new(from, "model-1");
            request.messages.extend(system.map(|text| Message::text(Role::System, text)));
            for (parts, exchange) in turns {
                request.messages.push(Message::new(Role::User, parts));
                request.messages.extend(exchange);
            }
            request.messages.push(Message::text(Role::User, "go on"));
            request.sampling = sampling;
            request.stream = stream;
            request.tools = tools.into_iter().enumerate().map(|(index, name)| tool(index, &name)).collect();
            request
        },
    )
}

fn tool(index: usize, name: &str) -> Tool {
    let kind = ToolKind::Function {
        name: format!("{name}_{index}"),
        namespace: None,
        description: Some("what it does".into()),
        schema: Some(json!({"type": "object", "properties": {"a": {"type": "string"}}})),
        strict: Some(index == 0),
    };
    Tool { kind, cache: None }
}
