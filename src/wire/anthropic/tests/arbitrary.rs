//! Conversations for property tests: well-formed ones, so that no format has a reason to repair them.

use proptest::prelude::*;
use serde_json::json;

use crate::chat::*;

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
}
