//! Writing a request for a provider.

use serde_json::{Map, Value, json};

use super::{encode_messages, encode_tools};
use crate::chat::ids::{Names, Spelling, nine};
use crate::chat::lost;
use crate::chat::{
    Dropped, EncodeTarget, Encoded, Family, Format, OutputFormat, Reasoning, ReasoningMode, Refused, Request, Sampling,
};

/// OpenAI's cap; clients of this format are trusted to know their provider's.
const MAX_STOPS: usize = 4;
/// OpenAI's cap on the name of a user.
const USER: Spelling = Spelling { longest: 64, also: "@.:|", starts_with_letter: false };
const SERVICE_TIERS: [&str; 6] = ["auto", "default", "flex", "scale", "priority", "fast"];

/// Writes a request for a provider of this format.
///
/// # Errors
/// When the last message of the user holds what this format has no place for.
pub fn encode_request(request: &Request, target: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    let names = Names::of(request, Spelling::OPENAI);
    let mut writer = Writer { request, target, names, dropped: Vec::new() };
    let mut body = Map::new();
    body.insert("model".into(), target.model.into());
    let messages = encode_messages::messages(&mut writer)?;
    writer.losses();
    body.insert("messages".into(), messages);
    body.insert("stream".into(), target.stream.into());
    if target.stream && !target.traits.no_stream_options {
        body.insert("stream_options".into(), json!({"include_usage": true}));
    }
    encode_tools::tools(&mut writer, &mut body);
    writer.sampling(&mut body);
    writer.reasoning(&mut body);
    writer.output(&mut body);
    writer.labels(&mut body);
    writer.rest(&mut body);
    let way_back = writer.names.way_back(writer.is_own());
    let body = serde_json::to_vec(&body).unwrap_or_default().into();
    Ok(Encoded { body, dropped: writer.dropped, way_back })
}

/// What the writing of a request needs and finds out.
pub(super) struct Writer<'a> {
    pub(super) request: &'a Request,
    pub(super) target: &'a EncodeTarget<'a>,
    pub(super) names: Names,
    pub(super) dropped: Vec<Dropped>,
}

impl Writer<'_> {
    /// The client speaks this format too, so it knows what its provider takes.
    pub(super) fn is_own(&self) -> bool {
        self.request.from == Format::OpenAiChat
    }

    pub(super) fn drop(&mut self, field: impl Into<String>, why: &'static str) {
        self.dropped.push(Dropped::new(field, why));
    }

    /// Whose seals the target's model reads. Any family's model may stand behind this format.
    pub(super) fn family(&self) -> Family {
        let model = self.target.model.to_ascii_lowercase();
        let is = |names: &[&str]| names.iter().any(|name| model.contains(name));
        if is(&["claude", "anthropic"]) {
            Family::Anthropic
        } else if is(&["gemini", "google"]) {
            Family::Google
        } else if is(&["gpt", "openai"]) || ["o1", "o3", "o4"].iter().any(|name| model.starts_with(name)) {
            Family::OpenAi
        } else {
            Family::Other
        }
    }

    /// The id of a call as the provider takes it; a call and its result get the same one.
    pub(super) fn call_id(&self, id: &str) -> String {
        if self.target.traits.short_call_ids { nine(id) } else { Spelling::OPENAI.fit(id) }
    }

    /// What stands beside the pieces of the conversation, and goes back to its own format or maker only.
    fn losses(&mut self) {
        let request = self.request;
        self.dropped.extend(lost::foreign_seals(request, self.family()));
        if self.is_own() {
            return;
        }
        self.dropped.extend(lost::cache_marks(request, "most providers cache by themselves and refuse marks"));
        self.dropped.extend(lost::citations(request, "sources of earlier answers are not sent", |_, _| false));
        self.dropped.extend(lost::fields(request, &["top_k", "min_p"], "chat completions do not know it"));
        self.dropped.extend(lost::rest(request, "not every provider of chat completions knows it", |_| false));
    }

    fn sampling(&mut self, body: &mut Map<String, Value>) {
        let request = self.request;
        let Sampling {
            max_tokens, temperature, top_p, top_k, min_p, seed, presence_penalty, frequency_penalty, n, ..
        } = request.sampling;
        let cap = if self.target.traits.max_completion_tokens { "max_completion_tokens" } else { "max_tokens" };
        put(body, cap, max_tokens);
        put(body, "temperature", temperature);
        put(body, "top_p", top_p);
        put(body, "n", n);
        put(body, "seed", seed);
        put(body, "presence_penalty", presence_penalty);
        put(body, "frequency_penalty", frequency_penalty);
        put(body, "logit_bias", request.sampling.logit_bias.clone());
        put(body, "logprobs", request.sampling.logprobs);
        put(body, "top_logprobs", request.sampling.top_logprobs);
        if self.is_own() {
            // Compatible providers take them and OpenAI refuses them: a client of this format knows which one it talks to.
            put(body, "top_k", top_k);
            put(body, "min_p", min_p);
        }
        self.stop(body);
    }

    fn stop(&mut self, body: &mut Map<String, Value>) {
        let mut stop = self.request.sampling.stop.clone();
        if stop.len() > MAX_STOPS && !self.is_own() {
            stop.truncate(MAX_STOPS);
            self.drop("stop", "only the first four stop sequences fit");
        }
        match stop.as_slice() {
            [] => {}
            [one] => drop(body.insert("stop".into(), one.as_str().into())),
            _ => drop(body.insert("stop".into(), stop.into())),
        }
    }

    fn reasoning(&self, body: &mut Map<String, Value>) {
        let Some(reasoning) = &self.request.reasoning else { return };
        if self.is_own() && reasoning.show.is_some() {
            body.insert("reasoning".into(), reasoning_object(reasoning));
            return;
        }
        if self.is_own() && (reasoning.budget.is_some() || reasoning.mode == ReasoningMode::Adaptive) {
            body.insert("thinking".into(), thinking_object(reasoning));
            put(body, "reasoning_effort", reasoning.effort.map(|effort| effort.as_str()));
            return;
        }
        let of_budget = || reasoning.budget.map(crate::chat::Effort::of_budget);
        let word = match reasoning.mode {
            ReasoningMode::Off => Some("none"),
            ReasoningMode::On => Some(reasoning.effort.or_else(of_budget).map_or("medium", |effort| effort.as_str())),
            ReasoningMode::Adaptive => reasoning.effort.map(|effort| effort.as_str()),
        };
        put(body, "reasoning_effort", word);
    }

    fn output(&mut self, body: &mut Map<String, Value>) {
        let format = match &self.request.output {
            OutputFormat::Text => return,
            OutputFormat::JsonObject => json!({"type": "json_object"}),
            OutputFormat::JsonSchema { .. } if self.target.traits.no_json_schema => {
                self.drop("response_format.json_schema", "the provider gets the schema as an instruction");
                json!({"type": "json_object"})
            }
            OutputFormat::JsonSchema { name, description, schema, strict } => {
                let mut inner = Map::new();
                inner.insert("name".into(), Spelling::OPENAI.fit(name).into());
                put(&mut inner, "description", description.as_deref());
                put(&mut inner, "strict", *strict);
                inner.insert("schema".into(), schema.clone());
                json!({"type": "json_schema", "json_schema": inner})
            }
        };
        body.insert("response_format".into(), format);
    }

    fn labels(&mut self, body: &mut Map<String, Value>) {
        let request = self.request;
        put(body, "verbosity", request.verbosity.as_deref());
        let beside: Vec<&str> = request.modalities.iter().map(String::as_str).filter(|kind| *kind != "text").collect();
        if !beside.is_empty() {
            body.insert("modalities".into(), [&["text"], beside.as_slice()].concat().into());
        }
        let user = request.user.as_deref().map(|user| match self.is_own() || user.len() <= USER.longest {
            true => user.to_owned(),
            false => USER.fit(user),
        });
        put(body, "user", user);
        put(body, "prompt_cache_key", self.cache_name());
        if let Some(labels) = &request.metadata {
            if matches!(request.from, Format::OpenAiChat | Format::OpenAiResponses) {
                body.insert("metadata".into(), Value::Object(labels.clone()));
            } else {
                self.drop("metadata", "labels of another format");
            }
        }
        if let Some(tier) = request.service_tier.as_deref() {
            if self.is_own() || SERVICE_TIERS.contains(&tier) {
                body.insert("service_tier".into(), tier.into());
            } else {
                self.drop("service_tier", "no class of service of this format");
            }
        }
    }

    /// Others than OpenAI, who is known by its newest name for the cap, are told no more than what a client says itself.
    fn cache_name(&self) -> Option<String> {
        let made = || self.request.cache_name().map(|name| USER.fit(&name));
        self.request.cache_key.clone().or_else(|| made().filter(|_| self.target.traits.max_completion_tokens))
    }

    fn rest(&self, body: &mut Map<String, Value>) {
        for (name, value) in self.request.rest.iter().filter(|_| self.is_own()) {
            body.entry(name.as_str()).or_insert_with(|| value.clone());
        }
    }
}

/// Puts a member where there is a value for it.
pub(crate) fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

fn reasoning_object(reasoning: &Reasoning) -> Value {
    let mut object = Map::new();
    match reasoning.mode {
        ReasoningMode::Off => drop(object.insert("enabled".into(), false.into())),
        _ if reasoning.effort.is_none() && reasoning.budget.is_none() => {
            object.insert("enabled".into(), true.into());
        }
        _ => {}
    }
    put(&mut object, "effort", reasoning.effort.map(|effort| effort.as_str()));
    put(&mut object, "max_tokens", reasoning.budget);
    put(&mut object, "summary", reasoning.summary.as_deref());
    if reasoning.show == Some(false) {
        object.insert("exclude".into(), true.into());
    }
    Value::Object(object)
}

fn thinking_object(reasoning: &Reasoning) -> Value {
    match reasoning.mode {
        ReasoningMode::Off => json!({"type": "disabled"}),
        ReasoningMode::Adaptive => json!({"type": "adaptive"}),
        ReasoningMode::On => json!({"type": "enabled", "budget_tokens": reasoning.budget}),
    }
}
