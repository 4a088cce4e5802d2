//! Writing a request for a provider that speaks Responses.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::encode_tools::UpstreamNames;
use super::{citation, encode_fit, encode_items, encode_tools};
use crate::chat::ids::{Names, Spelling, chosen_names};
use crate::chat::lost;
use crate::chat::{
    Dropped, EncodeTarget, Encoded, Family, Format, Message, OutputFormat, Reasoning, ReasoningMode, Refused, Request,
    Role,
};
use crate::splice::{self, Edit, Object};

/// OpenAI refuses caps below this one.
const LEAST_MAX_TOKENS: u64 = 16;
const NO_PLACE: &str = "OpenAI Responses has no place for it";
/// OpenAI takes 64 characters as the name of a user or of a cached prompt; other formats know longer ones.
const USER: Spelling = Spelling { longest: 64, also: "@.:|", starts_with_letter: false };
/// Members of a chat request that mean the same here.
const SHARED_WITH_CHAT: [&str; 4] = ["safety_identifier", "prompt_cache_retention", "prompt_cache_options", "store"];

/// The body for a provider.
///
/// # Errors
/// When the request would mean something else in this format.
pub fn encode_request(request: &Request, target: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    lost::only_one_text(request)?;
    let own = request.from == Format::OpenAiResponses;
    let names = Names::of(request, Spelling::OPENAI);
    let upstream = UpstreamNames(Some(&names));
    let mut dropped = Vec::new();
    let mut messages = encode_fit::fit(request, &mut dropped)?;
    let mut body = Map::new();
    body.insert("model".to_owned(), target.model.into());
    if let Some(instructions) = take_instructions(&mut messages, own) {
        body.insert("instructions".to_owned(), instructions.into());
    }
    body.insert("input".to_owned(), encode_items::items(&messages, &upstream).into());
    tools(request, &upstream, &mut body, &mut dropped);
    sampling(request, &mut body, &mut dropped);
    reasoning(request, own, &mut body);
    text(request, &mut body);
    labels(request, &mut body, &mut dropped);
    rest(request, own, &mut body);
    losses(request, own, &mut dropped);
    body.insert("stream".to_owned(), target.stream.into());
    // A map of texts and values cannot fail to be written.
    let body = serde_json::to_vec(&body).unwrap_or_default().into();
    Ok(Encoded { body, dropped, way_back: names.way_back(true) })
}

/// The first message of the operator, if it is plain text. In this format's own requests it was `instructions` itself.
fn take_instructions(messages: &mut Vec<Message>, own: bool) -> Option<String> {
    let first = messages.first().filter(|message| message.role == Role::System)?;
    let texts: Option<Vec<&str>> =
        first.parts.iter().map(|part| part.as_text().filter(|_| !own || part.cache.is_none())).collect();
    let text = texts.filter(|texts| !own || texts.len() == 1)?.join("\n\n");
    messages.remove(0);
    Some(text)
}

fn tools(request: &Request, names: &UpstreamNames<'_>, body: &mut Map<String, Value>, dropped: &mut Vec<Dropped>) {
    let own = request.from == Format::OpenAiResponses;
    let list = encode_tools::tools(request, names, dropped);
    let some = !list.is_empty();
    if some {
        body.insert("tools".to_owned(), list.into());
    }
    if let Some(parallel) = request.parallel_tools.filter(|_| some || own) {
        body.insert("parallel_tool_calls".to_owned(), parallel.into());
    }
    let Some(choice) = &request.tool_choice else { return };
    let offered = |name: &String| request.tools.iter().any(|tool| tool.kind.name() == Some(name));
    if own || (some && chosen_names(choice).iter().all(offered)) {
        body.insert("tool_choice".to_owned(), encode_tools::choice(choice, request, names));
    } else if !matches!(choice, crate::chat::ToolChoice::None | crate::chat::ToolChoice::Auto) {
        dropped.push(Dropped::new("tool_choice", "the tool is not offered"));
    }
}

fn sampling(request: &Request, body: &mut Map<String, Value>, dropped: &mut Vec<Dropped>) {
    let asked = &request.sampling;
    if let Some(most) = asked.max_tokens {
        let least = if request.from == Format::OpenAiResponses { 0 } else { LEAST_MAX_TOKENS };
        if most < least {
            dropped.push(Dropped::new("max_tokens", "the provider refuses so small a cap; it got the smallest"));
        }
        body.insert("max_output_tokens".to_owned(), most.max(least).into());
    }
    for (name, number) in [("temperature", asked.temperature), ("top_p", asked.top_p)] {
        if let Some(number) = number {
            body.insert(name.to_owned(), json!(number));
        }
    }
    if let Some(count) = asked.top_logprobs {
        body.insert("top_logprobs".to_owned(), count.into());
    }
}

fn reasoning(request: &Request, own: bool, body: &mut Map<String, Value>) {
    let mut written = inner_rest(request, "reasoning.");
    if let Some(asked) = &request.reasoning {
        let effort = match asked.mode {
            ReasoningMode::Off => Some("none"),
            _ => effort(asked),
        };
        if let Some(effort) = effort {
            written.insert("effort".to_owned(), effort.into());
        }
        let wanted = !own && asked.mode != ReasoningMode::Off && asked.show != Some(false);
        if let Some(summary) = asked.summary.as_deref().or(wanted.then_some("auto")) {
            written.insert("summary".to_owned(), summary.into());
        }
    }
    if !written.is_empty() {
        body.insert("reasoning".to_owned(), Value::Object(written));
    }
}

fn effort(asked: &Reasoning) -> Option<&'static str> {
    let counted = asked.budget.map(crate::chat::Effort::of_budget);
    asked.effort.or(counted).map(crate::chat::Effort::as_str)
}

fn text(request: &Request, body: &mut Map<String, Value>) {
    let mut written = inner_rest(request, "text.");
    if let Some(format) = format(&request.output) {
        written.insert("format".to_owned(), format);
    }
    if let Some(verbosity) = &request.verbosity {
        written.insert("verbosity".to_owned(), verbosity.clone().into());
    }
    if !written.is_empty() {
        body.insert("text".to_owned(), Value::Object(written));
    }
}

/// The shape of the answer's text; nothing for plain text, which is what comes anyway.
pub(super) fn format(output: &OutputFormat) -> Option<Value> {
    match output {
        OutputFormat::Text => None,
        OutputFormat::JsonObject => Some(json!({"type": "json_object"})),
        OutputFormat::JsonSchema { name, description, schema, strict } => {
            let name = Spelling::OPENAI.fit(name);
            let mut format = json!({"type": "json_schema", "name": name, "schema": schema});
            if let Some(members) = format.as_object_mut() {
                members.extend(description.clone().map(|text| ("description".to_owned(), text.into())));
                members.extend(strict.map(|strict| ("strict".to_owned(), strict.into())));
            }
            Some(format)
        }
    }
}

fn labels(request: &Request, body: &mut Map<String, Value>, dropped: &mut Vec<Dropped>) {
    if let Some(user) = &request.user {
        let user = if request.from.family() == Family::OpenAi { user.clone() } else { USER.fit(user) };
        body.insert("user".to_owned(), user.into());
    }
    if let Some(metadata) = &request.metadata {
        let (texts, others): (Map<_, _>, Map<_, _>) =
            metadata.clone().into_iter().partition(|(_, value)| value.is_string());
        dropped.extend(others.keys().map(|name| Dropped::new(format!("metadata.{name}"), "only texts can be labels")));
        body.insert("metadata".to_owned(), Value::Object(texts));
    }
    if let Some(key) = request.cache_name() {
        let key = if key.len() > USER.longest { USER.fit(&key) } else { key };
        body.insert("prompt_cache_key".to_owned(), key.into());
    }
    match request.service_tier.as_deref() {
        Some(tier @ ("auto" | "default" | "flex" | "scale" | "priority" | "fast")) => {
            body.insert("service_tier".to_owned(), tier.into());
        }
        Some(tier) if request.from == Format::OpenAiResponses => {
            body.insert("service_tier".to_owned(), tier.into());
        }
        Some(_) => dropped.push(Dropped::new("service_tier", "the provider has no such class of service")),
        None => {}
    }
}

/// What this format has no place for.
fn losses(request: &Request, own: bool, dropped: &mut Vec<Dropped>) {
    const ABSENT: [&str; 7] = ["top_k", "min_p", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias"];
    dropped.extend(lost::fields(request, &ABSENT, NO_PLACE));
    dropped.extend(lost::names(request, NO_PLACE));
    // Seals of calls have no place here, whoever made them.
    dropped.extend(lost::foreign_seals(request, Family::Other));
    dropped.extend(lost::citations(request, NO_PLACE, |role, citation| {
        role == Role::Assistant && citation::write(citation, 0).is_some()
    }));
    if !own {
        // Only the newest models know marks, and prompts are cached by themselves.
        dropped.extend(lost::cache_marks(request, "prompts are cached by themselves"));
    }
    dropped.extend(lost::rest(request, NO_PLACE, |name| own || is_shared(request, name)));
}

fn is_shared(request: &Request, name: &str) -> bool {
    request.from == Format::OpenAiChat && SHARED_WITH_CHAT.contains(&name)
}

/// A translated conversation carries its own state, so nothing is to be stored unless the client says so, and the reasoning
/// must come back encrypted for the next turn.
fn rest(request: &Request, own: bool, body: &mut Map<String, Value>) {
    for (name, value) in &request.rest {
        if (own && !name.contains('.')) || is_shared(request, name) {
            body.insert(name.clone(), value.clone());
        }
    }
    let mut include = Vec::new();
    if request.sampling.logprobs == Some(true) {
        include.push("message.output_text.logprobs");
    }
    if !own {
        body.entry("store").or_insert_with(|| false.into());
        if request.reasoning.as_ref().is_some_and(|asked| asked.mode != ReasoningMode::Off) {
            include.push("reasoning.encrypted_content");
        }
    }
    add_includes(body, &include);
}

fn add_includes(body: &mut Map<String, Value>, names: &[&str]) {
    if names.is_empty() {
        return;
    }
    let list = body.entry("include").or_insert_with(|| json!([]));
    if let Value::Array(list) = list {
        for name in names {
            if !list.iter().any(|known| known == name) {
                list.push((*name).into());
            }
        }
    }
}

/// What the client's own inner object held beside what the model knows.
pub(super) fn inner_rest(request: &Request, prefix: &str) -> Map<String, Value> {
    if request.from != Format::OpenAiResponses {
        return Map::new();
    }
    let inner = request.rest.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    inner.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

/// The client's body with another model and nothing else changed; a body that is no object stays as it is.
pub fn rewrite(body: &Bytes, upstream_model: &str) -> Bytes {
    let Ok(text) = std::str::from_utf8(body) else { return body.clone() };
    let Ok(keys) = splice::keys_of(text) else { return body.clone() };
    let object = Object::new(text, &keys);
    let model = Value::from(upstream_model).to_string();
    let edit = |index: usize| match object.name(index) {
        "model" if object.value(index) != model => Edit::Value(model.clone()),
        _ => Edit::Keep,
    };
    object.rebuild(edit, &[]).map_or_else(|| body.clone(), Bytes::from)
}
