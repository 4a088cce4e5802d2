//! Requests of every shape, for the round trips of all formats: turns alternate, every call is answered at once.
//! Conversations for property tests: well-formed ones, so that no format has a reason to repair them.
//! Conversations for property tests: such as every format can carry.

use proptest::prelude::*;
use serde_json::json;

use super::*;

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
/// A text that is more than white space, with characters that break careless framing.
fn text() -> impl Strategy<Value = String> {
    "[a-z]{1,6}[ \"\\\\é\u{2028}\n]{0,3}[a-z]{1,4}"
}

fn image() -> impl Strategy<Value = Part> {
    let bytes = "[A-Za-z0-9+/]{4}".prop_map(|data| Source::Base64 { mime: "image/png".into(), data });
    let url =
        "[a-z]{1,5}".prop_map(|name| Source::Url { url: format!("https://images.invalid/{name}.png"), mime: None });
    prop_oneof![bytes, url].prop_map(|source| Part::new(PartKind::Image(Media { source, detail: None, name: None })))
}

fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{}".to_owned()),
        Just("{\"b\": 1.0, \"a\":[1e3,12345678901234567890]}".to_owned()),
        text().prop_map(|text| json!({ "q": text }).to_string()),
    ]
}

/// What the user says, what the model answers, and the arguments of the calls it makes with their results.
type Round = (Vec<Part>, Option<String>, Vec<(String, String, bool)>);

fn round() -> impl Strategy<Value = Round> {
    let said = prop::collection::vec(prop_oneof![3 => text().prop_map(Part::text), 1 => image()], 1..3);
    let calls = prop::collection::vec((arguments(), text(), any::<bool>()), 0..3);
    (said, prop::option::of(text()), calls)
}

/// A request of that format: instructions, some rounds with calls and results, and a last question. Hints to cache stand on
/// the instructions, the last question and the last tool.
pub(crate) fn request(from: Format) -> impl Strategy<Value = Request> {
    let rounds = prop::collection::vec(round(), 0..4);
    let last = prop::collection::vec(text().prop_map(Part::text), 1..3);
    (prop::option::of(text()), rounds, last, any::<bool>()).prop_map(move |(system, rounds, last, cached)| {
        let mut request = Request::new(from, "model");
        request.sampling.max_tokens = Some(100);
        request.messages.extend(system.map(|text| Message::text(Role::System, text)));
        for (turn, round) in rounds.into_iter().enumerate() {
            add_round(&mut request.messages, turn, round);
        }
        match request.messages.last_mut() {
            Some(message) if message.role == Role::User => message.parts.extend(last),
            _ => request.messages.push(Message::new(Role::User, last)),
        }
        request.tools = ["f", "g"].map(tool).to_vec();
        if cached {
            put_hints(&mut request);
        }
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

fn add_round(messages: &mut Vec<Message>, turn: usize, (said, answer, calls): Round) {
    match messages.last_mut() {
        Some(message) if message.role == Role::User => message.parts.extend(said),
        _ => messages.push(Message::new(Role::User, said)),
    }
    let answer = answer.or_else(|| calls.is_empty().then(|| "well".to_owned()));
    let mut parts: Vec<Part> = answer.map(Part::text).into_iter().collect();
    let mut results = Vec::new();
    for (index, (arguments, output, is_error)) in calls.into_iter().enumerate() {
        let id = format!("call_{turn}_{index}");
        let call = ToolCall { id: id.clone(), name: "f".into(), namespace: None, arguments, custom: false, seal: None };
        parts.push(Part::new(PartKind::ToolCall(call)));
        let result = ToolResult { call_id: id, name: None, parts: vec![Part::text(output)], is_error, custom: false };
        results.push(Part::new(PartKind::ToolResult(result)));
    }
    messages.push(Message::new(Role::Assistant, parts));
    if !results.is_empty() {
        messages.push(Message::new(Role::User, results));
    }
}

fn tool(name: &str) -> Tool {
    let kind = ToolKind::Function {
        name: name.into(),
        namespace: None,
        description: Some("does something".into()),
        schema: Some(json!({"type": "object", "properties": {"q": {"type": "string"}}})),
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

fn put_hints(request: &mut Request) {
    let hint = CacheHint { ttl: Some("1h".into()) };
    if let Some(tool) = request.tools.last_mut() {
        tool.cache = Some(hint.clone());
    }
    let count = request.messages.len();
    let ends = request.messages.iter_mut().enumerate().filter(|(index, _)| *index == 0 || *index + 1 == count);
    for part in ends.filter_map(|(_, message)| message.parts.last_mut()) {
        part.cache = Some(hint.clone());
    }
}

/// One event of a stream that keeps no rules: blocks overlap, repeat, grow by what is not theirs, and are never closed.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let opening = prop_oneof![
        Just(Opening::Text),
        Just(Opening::Refusal),
        any::<bool>().prop_map(|redacted| Opening::Thinking { id: None, summary: false, redacted }),
        any::<bool>().prop_map(|custom| Opening::ToolCall {
            id: "i".into(),
            name: "f".into(),
            namespace: None,
            custom
        }),
        Just(Opening::Whole(Part::new(PartKind::Native(json!({"type": "server_tool_use", "id": "s"}))))),
        image().prop_map(Opening::Whole),
    ];
    let delta = prop_oneof![
        text().prop_map(Delta::Text),
        text().prop_map(Delta::Arguments),
        Just(Delta::Seal(Seal { family: Family::Google, data: "sig".into() })),
        Just(Delta::Citation(Citation { url: Some("https://a.invalid".into()), ..Citation::default() })),
    ];
    let stop = prop_oneof![Just(Stop::Done), Just(Stop::Length), Just(Stop::ToolCalls), Just(Stop::MalformedCall)];
    prop_oneof![
        1 => Just(Event::Begin(Begin { id: Some("msg_1".into()), ..Begin::default() })),
        4 => (0..4_u32, 0..2_u32, opening).prop_map(|(block, choice, what)| Event::Open { block, choice, what }),
        8 => (0..4_u32, delta).prop_map(|(block, delta)| Event::Delta { block, delta }),
        3 => (0..4_u32).prop_map(|block| Event::Close { block }),
        1 => (0..2_u32, stop).prop_map(|(choice, stop)| Event::Stop { choice, stop }),
        1 => Just(Event::Usage(crate::usage::Usage { input_fresh: 3, output_text: 2, ..Default::default() })),
    ]
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
