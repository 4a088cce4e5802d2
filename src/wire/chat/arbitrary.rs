//! Conversations and streams for the property tests of all formats.
//!
//! [`Shape`] says what a format carries beyond what every format does, so that its round trips are tested with all of it.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::usage::Usage;

/// What a conversation may hold.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The client's format.
    pub from: Format,
    /// Thoughts, sealed by this family.
    pub thoughts: Option<Family>,
    /// Several texts in one message.
    pub texts: bool,
    /// Several texts in one result.
    pub long_results: bool,
    /// The model may call without a word.
    pub silent_calls: bool,
    /// Pictures behind URLs, too.
    pub urls: bool,
    /// How closely to look at every picture.
    pub detail: Option<&'static str>,
    /// Where marks for the cache stand.
    pub hints: Hints,
    /// Arguments are text and not only JSON: their spelling is kept.
    pub spelling: bool,
    /// Results name their tool.
    pub names: bool,
    /// Results say whether the tool failed.
    pub errors: bool,
    /// Results stand in a message of their own, and not with the user's next words.
    pub apart: bool,
    /// What is said of the answer beside the conversation.
    pub asks: Asks,
    /// The first tool keeps to its schema.
    pub strict: bool,
}

/// Where marks for the cache stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hints {
    /// Nowhere.
    No,
    /// At the end of the first message, the last one, and the tools: the few that Anthropic takes.
    Ends,
    /// On anything that the user says.
    Said,
    /// There, and on tools.
    SaidAndTools,
}

/// What is said of the answer beside the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Whether to stream.
    Stream,
    /// How long it may be.
    Cap,
    /// Whether to stream, how long it may be, and how words are chosen.
    Sampling,
    /// All that, when to stop, and whether to call tools.
    All,
}

impl Shape {
    /// What every format carries.
    pub const fn common(from: Format) -> Self {
        Self {
            from,
            thoughts: None,
            texts: false,
            long_results: false,
            silent_calls: true,
            urls: false,
            detail: None,
            hints: Hints::No,
            spelling: false,
            names: true,
            errors: false,
            apart: false,
            asks: Asks::Stream,
            strict: false,
        }
    }

    /// What this format carries from its own client to its own provider.
    pub const fn of(format: Format) -> Self {
        let common = Self::common(format);
        let written = Self { texts: true, long_results: true, urls: true, spelling: true, names: false, ..common };
        match format {
            Format::OpenAiChat => Self { hints: Hints::SaidAndTools, apart: true, asks: Asks::All, ..written },
            Format::OpenAiResponses => Self {
                thoughts: Some(Family::OpenAi),
                detail: Some("auto"),
                hints: Hints::Said,
                apart: true,
                asks: Asks::Sampling,
                strict: true,
                ..written
            },
            Format::Anthropic => Self { hints: Hints::Ends, errors: true, asks: Asks::Cap, ..written },
            Format::Gemini => Self { texts: true, errors: true, ..common },
            Format::Bedrock | Format::Cohere | Format::Ollama => common,
            Format::NlpCloud | Format::GitLab | Format::Petals => common,
        }
    }

    /// The same, as a client of another format says it.
    pub const fn said_by(self, from: Format) -> Self {
        Self { from, ..self }
    }
}

/// A conversation that every format carries.
pub fn request(from: Format) -> impl Strategy<Value = Request> {
    shaped(Shape::common(from))
}

/// A conversation that begins with instructions or not, alternates, answers every call at once, and ends with a question.
pub fn shaped(shape: Shape) -> impl Strategy<Value = Request> {
    let rounds = prop::collection::vec((said(shape), exchange(shape)), 0..4);
    let instructions = prop::option::of(words());
    let tools = prop::collection::vec((prop::option::of(words()), hint(shape, Hints::SaidAndTools)), 0..3);
    (instructions, rounds, said(shape), tools, asks(shape.asks), any::<bool>()).prop_map(
        move |(instructions, rounds, last, tools, asks, ends)| {
            let mut request = Request::new(shape.from, "model");
            request.messages.extend(instructions.map(|text| Message::text(Role::System, text)));
            for (turn, (said, exchange)) in rounds.into_iter().enumerate() {
                add_said(&mut request.messages, said, shape);
                add_exchange(&mut request.messages, turn, exchange, shape);
            }
            add_said(&mut request.messages, last, shape);
            request.tools =
                tools.into_iter().enumerate().map(|(at, (text, cache))| tool(shape, at, text, cache)).collect();
            asks.put(&mut request);
            if ends && shape.hints == Hints::Ends {
                put_hints(&mut request);
            }
            request
        },
    )
}

/// A text that says something, with characters that break careless framing.
fn words() -> impl Strategy<Value = String> {
    "[a-zA-Zé\u{2028}\"\\\\\n ]{0,12}[a-z]"
}

fn hint(shape: Shape, least: Hints) -> impl Strategy<Value = Option<CacheHint>> {
    let wanted = shape.hints == least || (least == Hints::Said && shape.hints == Hints::SaidAndTools);
    (0..6_u8).prop_map(move |dice| match dice {
        0 if wanted => Some(CacheHint { ttl: None }),
        1 if wanted => Some(CacheHint { ttl: Some("1h".into()) }),
        _ => None,
    })
}

fn image(shape: Shape) -> impl Strategy<Value = PartKind> {
    let bytes = "iVBORw0KGgo[A-Za-z0-9+/]{5}";
    (bytes, "[a-z]{1,5}", any::<bool>()).prop_map(move |(data, name, behind)| {
        let source = match behind && shape.urls {
            true => Source::Url { url: format!("https://images.invalid/{name}.png"), mime: None },
            false => Source::Base64 { mime: "image/png".into(), data },
        };
        PartKind::Image(Media { source, detail: shape.detail.map(str::to_owned), name: None })
    })
}

/// What the user says: words and pictures, with words first where a format keeps one text.
fn said(shape: Shape) -> impl Strategy<Value = Vec<Part>> {
    let text = || words().prop_map(|text| Part::text(text).kind);
    let more = prop_oneof![2 => text(), 1 => image(shape)]
        .prop_filter("one text", move |kind| shape.texts || !matches!(kind, PartKind::Text { .. }));
    let mark = || hint(shape, Hints::Said);
    let first = prop_oneof![3 => text(), 1 => image(shape)]
        .prop_filter("words first", move |kind| shape.texts || matches!(kind, PartKind::Text { .. }));
    ((first, mark()), prop::collection::vec((more, mark()), 0..3)).prop_map(|(first, more)| {
        let all = std::iter::once(first).chain(more);
        all.map(|(kind, cache)| Part { kind, cache }).collect()
    })
}

/// A turn of the model: what it thought, said and called.
type Exchange = (Option<(String, bool)>, Option<String>, Vec<Called>);

#[derive(Debug, Clone)]
struct Called {
    name: String,
    arguments: String,
    result: Vec<String>,
    failed: bool,
}

fn exchange(shape: Shape) -> impl Strategy<Value = Exchange> {
    let thought =
        prop::option::of((words(), any::<bool>())).prop_map(move |some| some.filter(|_| shape.thoughts.is_some()));
    let results = prop::collection::vec(words(), 1..if shape.long_results { 3 } else { 2 });
    let call =
        ("[a-z_]{1,8}", arguments(shape), results, any::<bool>()).prop_map(move |(name, arguments, result, failed)| {
            Called { name, arguments, result, failed: failed && shape.errors }
        });
    (thought, prop::option::of(words()), prop::collection::vec(call, 0..3))
}

fn arguments(shape: Shape) -> impl Strategy<Value = String> {
    let spelled = "{\"b\": 1.0, \"a\":[1e3,12345678901234567890]}";
    let odd = if shape.spelling { spelled.to_owned() } else { "{\"b\":1.5,\"none\":null}".to_owned() };
    prop_oneof![
        Just("{}".to_owned()),
        Just(odd),
        words().prop_map(|text| json!({"q": text, "n": [1.5, null]}).to_string())
    ]
}

fn add_said(messages: &mut Vec<Message>, said: Vec<Part>, shape: Shape) {
    match messages.last_mut().filter(|message| message.role == Role::User && !shape.apart) {
        Some(message) => message.parts.extend(said),
        None => messages.push(Message::new(Role::User, said)),
    }
}

fn add_exchange(messages: &mut Vec<Message>, turn: usize, (thought, answer, calls): Exchange, shape: Shape) {
    let silent = shape.silent_calls && !(calls.is_empty() && thought.is_none());
    let answer = answer.or_else(|| (!silent).then(|| "well".to_owned()));
    let thought = thought.zip(shape.thoughts).map(|((text, summary), family)| {
        let seal = Some(Seal { family, data: "c2VhbA==".into() });
        Part::new(PartKind::Thinking(Thinking { text, summary, seal, ..Thinking::default() }))
    });
    let mut model: Vec<Part> = thought.into_iter().chain(answer.map(Part::text)).collect();
    let mut results = Vec::new();
    for (at, call) in calls.into_iter().enumerate() {
        let (call, result) = called(format!("call_{turn}_{at}"), call, shape);
        model.push(call);
        results.push(result);
    }
    messages.push(Message::new(Role::Assistant, model));
    if !results.is_empty() {
        messages.push(Message::new(Role::User, results));
    }
}

fn called(id: String, called: Called, shape: Shape) -> (Part, Part) {
    let Called { name, arguments, result, failed } = called;
    let result = PartKind::ToolResult(ToolResult {
        call_id: id.clone(),
        name: shape.names.then(|| name.clone()),
        parts: result.into_iter().map(Part::text).collect(),
        is_error: failed,
        custom: false,
    });
    let call = PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None });
    (Part::new(call), Part::new(result))
}

fn tool(shape: Shape, at: usize, description: Option<String>, cache: Option<CacheHint>) -> Tool {
    let schema =
        json!({"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "number"}}, "required": ["z"]});
    let kind = ToolKind::Function {
        name: format!("tool_{at}"),
        namespace: None,
        description,
        schema: Some(schema),
        strict: shape.strict.then_some(at == 0),
    };
    Tool { kind, cache }
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

/// What was drawn of [`Asks`].
#[derive(Debug, Clone)]
struct Asked {
    asks: Asks,
    stream: bool,
    sampling: Sampling,
}

fn asks(asks: Asks) -> impl Strategy<Value = Asked> {
    let quarters = |most: u8| prop::option::of(0..=most).prop_map(|some| some.map(|count| f64::from(count) / 4.0));
    let cap = prop::option::of(16..9_000_u64);
    (any::<bool>(), cap, quarters(4), quarters(4), prop::collection::vec("[a-z]{1,4}", 0..3)).prop_map(
        move |(stream, max_tokens, temperature, top_p, stop)| {
            let all = Sampling { max_tokens, temperature, top_p, stop, ..Sampling::default() };
            let sampling = match asks {
                Asks::Stream => Sampling::default(),
                Asks::Cap => Sampling { max_tokens: max_tokens.or(Some(100)), ..Sampling::default() },
                Asks::Sampling => Sampling { stop: Vec::new(), ..all },
                Asks::All => all,
            };
            Asked { asks, stream: stream && asks != Asks::Cap, sampling }
        },
    )
}

impl Asked {
    fn put(self, request: &mut Request) {
        request.stream = self.stream;
        request.include_usage = self.stream && self.asks == Asks::All;
        request.sampling = self.sampling;
        if self.asks == Asks::All && !request.tools.is_empty() {
            request.tool_choice = Some(ToolChoice::Auto);
        }
    }
}

/// Events in any order, legal or not: blocks overlap, repeat, grow by what is not theirs, and are never closed.
pub fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => Just(Event::Begin(Begin { id: Some("id".into()), ..Begin::default() })),
        4 => (0..5_u32, 0..2_u32, opening()).prop_map(|(block, choice, what)| Event::Open { block, choice, what }),
        8 => (0..5_u32, delta()).prop_map(|(block, delta)| Event::Delta { block, delta }),
        3 => (0..5_u32).prop_map(|block| Event::Close { block }),
        1 => (0..2_u32).prop_map(|choice| Event::Logprobs { choice, logprobs: json!({"content": []}) }),
        1 => (0..2_u32, stop()).prop_map(|(choice, stop)| Event::Stop { choice, stop }),
        1 => prop_oneof![
            Just(Event::Usage(Usage::default())),
            Just(Event::Usage(Usage { input_fresh: 3, output_text: 2, ..Usage::default() })),
        ],
    ];
    prop::collection::vec(event, 0..40)
}

fn said_in_a_stream() -> impl Strategy<Value = String> {
    "[a-zé\u{2028}{}\"\n]{0,6}"
}

fn opening() -> impl Strategy<Value = Opening> {
    prop_oneof![
        2 => Just(Opening::Text),
        1 => Just(Opening::Refusal),
        1 => (prop::option::of(Just("rs_1".to_owned())), any::<bool>(), any::<bool>())
            .prop_map(|(id, summary, redacted)| Opening::Thinking { id, summary, redacted }),
        2 => ("[a-zé\"]{0,4}", any::<bool>()).prop_map(|(id, custom)| {
            Opening::ToolCall { id, name: "f".into(), namespace: None, custom }
        }),
        1 => native().prop_map(|native| Opening::Whole(Part::new(PartKind::Native(native)))),
        1 => image(Shape::of(Format::Anthropic)).prop_map(|image| Opening::Whole(Part::new(image))),
    ]
}

/// What only one format knows, the last with nothing that a format asks of it.
fn native() -> impl Strategy<Value = serde_json::Value> {
    prop::sample::select(vec![
        json!({"type": "server_tool_use", "id": "s"}),
        json!({"type": "web_search_call", "id": "ws_1"}),
        json!({"type": "server_tool_use"}),
        json!({}),
    ])
}

fn delta() -> impl Strategy<Value = Delta> {
    let seal = prop::sample::select(vec![Family::Anthropic, Family::Google, Family::OpenAi, Family::Other]);
    prop_oneof![
        3 => said_in_a_stream().prop_map(Delta::Text),
        2 => said_in_a_stream().prop_map(Delta::Arguments),
        1 => Just(Delta::Arguments("{\"a\":1}".into())),
        1 => seal.prop_map(|family| Delta::Seal(Seal { family, data: "s".into() })),
        1 => prop::option::of(Just((0, 3))).prop_map(|span| {
            Delta::Citation(Citation { url: Some("https://a.invalid".into()), span, ..Citation::default() })
        }),
    ]
}

fn stop() -> impl Strategy<Value = Stop> {
    prop::sample::select(vec![
        Stop::Done,
        Stop::Sequence(None),
        Stop::Length,
        Stop::ToolCalls,
        Stop::Filtered,
        Stop::Refused,
        Stop::MalformedCall,
    ])
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
