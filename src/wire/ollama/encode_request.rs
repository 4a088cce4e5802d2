//! A request for Ollama's `/api/chat`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::encode_messages;
use crate::chat::ids::{Names, Spelling};
use crate::chat::lost;
use crate::chat::{
    Dropped, Effort, EncodeTarget, Encoded, Family, Format, OutputFormat, Reasoning, ReasoningMode, Refused, Request,
    Tool, ToolChoice, ToolKind, worded_schema,
};

/// Members of `/api/generate` that `/api/chat` does not have.
const GENERATE_ONLY: [&str; 4] = ["template", "suffix", "raw", "context"];

/// What the writers of one request share.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    pub(super) request: &'a Request,
    pub(super) names: Names,
    pub(super) dropped: Vec<Dropped>,
}

impl Writing<'_> {
    /// The client speaks Ollama's format too.
    pub(super) fn own(&self) -> bool {
        self.request.from == Format::Ollama
    }

    pub(super) fn drop(&mut self, field: impl Into<String>, why: &'static str) {
        self.dropped.push(Dropped::new(field, why));
    }
}

/// Writes a request for `/api/chat`.
///
/// # Errors
/// What would mean something else without a field that Ollama does not take.
pub fn encode_request(request: &Request, target: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    if request.sampling.n.is_some_and(|n| n > 1) {
        return Err(Refused::new("n", "Ollama gives one answer"));
    }
    let names = Names::of(request, Spelling::OPENAI);
    let mut writing = Writing { request, names, dropped: Vec::new() };
    let messages = encode_messages::write(&mut writing)?;
    let mut body = Map::new();
    body.insert("stream".to_owned(), json!(target.stream));
    tools(&mut writing, &mut body);
    body.extend(format(&mut writing).map(|format| ("format".to_owned(), format)));
    let think = request.reasoning.as_ref().map(|reasoning| think(reasoning, target.model, writing.own()));
    body.extend(think.map(|think| ("think".to_owned(), think)));
    options(&mut writing, &mut body);
    losses(&mut writing);
    let others = Value::Object(body).to_string();
    let others = others.strip_prefix('{').unwrap_or("}");
    let text = format!("{{\"model\":{},\"messages\":{messages},{others}", json!(target.model));
    Ok(Encoded { body: Bytes::from(text), dropped: writing.dropped, way_back: writing.names.way_back(false) })
}

fn tools(writing: &mut Writing<'_>, body: &mut Map<String, Value>) {
    let mut tools = Vec::new();
    for (at, tool) in writing.request.tools.iter().enumerate() {
        if lost::is_left_out(writing.request, &tool.kind) {
            continue;
        }
        tools.extend(self::tool(writing, at, tool));
    }
    match &writing.request.tool_choice {
        // The only way to say it.
        Some(ToolChoice::None) => return,
        None | Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => {}
        Some(_) => writing.drop("tool_choice", "Ollama's models choose for themselves whether to call"),
    }
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
}

fn tool(writing: &mut Writing<'_>, at: usize, tool: &Tool) -> Option<Value> {
    let (name, description, schema) = match &tool.kind {
        ToolKind::Function { name, namespace, description, schema, strict } => {
            if *strict == Some(true) {
                writing.drop(format!("tools[{at}].strict"), "Ollama makes no such promise");
            }
            let name = writing.names.upstream(name, namespace.as_deref(), Spelling::OPENAI);
            let empty = || json!({"type": "object", "properties": {}});
            (name, description, schema.clone().unwrap_or_else(empty))
        }
        ToolKind::Custom { name, namespace, description, format } => {
            if format.is_some() {
                writing.drop(format!("tools[{at}].format"), "Ollama has no grammars");
            }
            let name = writing.names.upstream(name, namespace.as_deref(), Spelling::OPENAI);
            (
                name,
                description,
                json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}),
            )
        }
        ToolKind::Native(native) if writing.own() => return Some(native.clone()),
        ToolKind::Native(_) => {
            writing.drop(format!("tools[{at}]"), "Ollama runs no tools");
            return None;
        }
    };
    let mut function = json!({"name": name, "parameters": schema});
    if let (Some(description), Some(function)) = (description, function.as_object_mut()) {
        function.insert("description".to_owned(), json!(description));
    }
    Some(json!({"type": "function", "function": function}))
}

fn format(writing: &mut Writing<'_>) -> Option<Value> {
    match &writing.request.output {
        OutputFormat::Text => None,
        OutputFormat::JsonObject => Some(json!("json")),
        OutputFormat::JsonSchema { schema, .. } => {
            let schema = worded_schema(writing.request, schema);
            writing.dropped.extend(lost::schema_words(writing.request, &schema, "Ollama takes the schema alone"));
            Some(schema)
        }
    }
}

/// Most models know yes and no; gpt-oss knows levels only.
fn think(reasoning: &Reasoning, model: &str, own: bool) -> Value {
    let effort = reasoning.effort.or_else(|| reasoning.budget.map(Effort::of_budget));
    let by_level = model.contains("gpt-oss") || own;
    match (reasoning.mode, effort) {
        (ReasoningMode::Off, _) => json!(false),
        (_, Some(effort)) if by_level => json!(match effort {
            Effort::Minimal | Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High | Effort::XHigh | Effort::Max => "high",
        }),
        _ => json!(true),
    }
}

/// The options, and what only this format knows, where it stood.
fn options(writing: &mut Writing<'_>, body: &mut Map<String, Value>) {
    let sampling = &writing.request.sampling;
    let members = [
        ("num_predict", sampling.max_tokens.map(Value::from)),
        ("temperature", sampling.temperature.map(Value::from)),
        ("top_p", sampling.top_p.map(Value::from)),
        ("top_k", sampling.top_k.map(Value::from)),
        ("min_p", sampling.min_p.map(Value::from)),
        ("seed", sampling.seed.map(Value::from)),
        ("presence_penalty", sampling.presence_penalty.map(Value::from)),
        ("frequency_penalty", sampling.frequency_penalty.map(Value::from)),
        ("stop", (!sampling.stop.is_empty()).then(|| json!(sampling.stop))),
    ];
    let mut options: Map<String, Value> =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    body.extend(sampling.logprobs.map(|logprobs| ("logprobs".to_owned(), json!(logprobs))));
    body.extend(sampling.top_logprobs.map(|top| ("top_logprobs".to_owned(), json!(top))));
    for (name, value) in &writing.request.rest {
        match name.strip_prefix("options.") {
            _ if !writing.own() => {}
            _ if GENERATE_ONLY.contains(&name.as_str()) => writing.drop(name.clone(), "a conversation has none"),
            Some(option) => drop(options.insert(option.to_owned(), value.clone())),
            None => drop(body.insert(name.clone(), value.clone())),
        }
    }
    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }
}

/// What Ollama has no place for.
fn losses(writing: &mut Writing<'_>) {
    const ABSENT: [&str; 8] =
        ["parallel_tools", "logit_bias", "verbosity", "modalities", "user", "metadata", "service_tier", "cache_key"];
    let request = writing.request;
    let own = writing.own();
    writing.dropped.extend(lost::foreign_seals(request, Family::Other));
    writing.dropped.extend(lost::names(request, "Ollama has no names of speakers"));
    writing.dropped.extend(lost::details(request, "Ollama looks at every picture alike"));
    writing.dropped.extend(lost::citations(request, "Ollama has no sources of a text", |_, _| false));
    writing.dropped.extend(lost::cache_marks(request, "Ollama caches by itself"));
    writing.dropped.extend(lost::fields(request, &ABSENT, "Ollama has no such setting"));
    writing.dropped.extend(lost::rest(request, "unknown to Ollama", |_| own));
}
