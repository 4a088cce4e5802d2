//! Writing a request for Cohere.

use serde_json::{Map, Value, json};

use super::encode_messages;
use crate::chat::ids::{Names, Spelling};
use crate::chat::lost;
use crate::chat::{
    Dropped, EncodeTarget, Encoded, Family, OutputFormat, Reasoning, ReasoningMode, Refused, Request, Tool, ToolChoice,
    ToolKind,
};
use crate::openai::{described, put, text_argument};

const MAX_STOPS: usize = 5;
/// Members of Cohere's own that clients of any format may send along.
const OWN: [&str; 4] = ["documents", "citation_options", "safety_mode", "priority"];

/// Writes a request for Cohere.
///
/// # Errors
/// When it asks for several choices, for tools together with a shape of the answer, or about what Cohere cannot see.
pub fn encode_request(request: &Request, target: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    let mut writer = Writer { request, names: Names::of(request, Spelling::OPENAI), dropped: Vec::new() };
    let mut body = Map::new();
    body.insert("model".into(), target.model.into());
    body.insert("stream".into(), target.stream.into());
    let messages = encode_messages::messages(&mut writer)?;
    body.insert("messages".into(), messages);
    writer.losses();
    writer.tools(&mut body);
    writer.sampling(&mut body)?;
    writer.output(&mut body)?;
    put(&mut body, "thinking", request.reasoning.as_ref().and_then(thinking));
    writer.rest(&mut body);
    let body_bytes = serde_json::to_vec(&body).unwrap_or_default().into();
    Ok(Encoded { body: body_bytes, way_back: writer.names.way_back(false), dropped: writer.dropped })
}

/// What the writing of a request needs and finds out.
pub(super) struct Writer<'a> {
    pub(super) request: &'a Request,
    pub(super) names: Names,
    pub(super) dropped: Vec<Dropped>,
}

impl Writer<'_> {
    fn drop(&mut self, field: impl Into<String>, why: &'static str) {
        self.dropped.push(Dropped::new(field, why));
    }

    /// What Cohere has no place for.
    fn losses(&mut self) {
        const ABSENT: [&str; 9] = [
            "min_p",
            "logit_bias",
            "top_logprobs",
            "parallel_tools",
            "verbosity",
            "modalities",
            "user",
            "metadata",
            "cache_key",
        ];
        let request = self.request;
        self.dropped.extend(lost::foreign_seals(request, Family::Other));
        self.dropped.extend(lost::names(request, "Cohere knows no names of speakers"));
        self.dropped.extend(lost::citations(request, "sources of earlier answers are not sent", |_, _| false));
        self.dropped.extend(lost::cache_marks(request, "Cohere takes no marks for its cache"));
        self.dropped.extend(lost::fields(request, &ABSENT, "unknown to Cohere"));
        self.dropped.extend(lost::fields(request, &["service_tier"], "Cohere has one class of service"));
        self.dropped.extend(lost::rest(request, "unknown to Cohere", |name| OWN.contains(&name)));
    }

    fn tools(&mut self, body: &mut Map<String, Value>) {
        let request = self.request;
        let mut written = Vec::new();
        for (index, tool) in request.tools.iter().enumerate() {
            if lost::is_left_out(request, &tool.kind) {
                continue;
            }

            match self.tool(&tool.kind) {
                Some(tool) => written.push(tool),
                None => self.drop(format!("tools[{index}]"), "a tool that only its own format's provider runs"),
            }
        }
        if written.is_empty() {
            self.dropped.extend(lost::choice_of_nothing(request));
            return;
        }
        body.insert("tools".into(), written.into());
        let strict = |tool: &Tool| matches!(&tool.kind, ToolKind::Function { strict: Some(true), .. });
        if request.tools.iter().filter(|tool| !lost::is_left_out(request, &tool.kind)).all(strict) {
            body.insert("strict_tools".into(), true.into());
        } else if request.tools.iter().any(strict) {
            self.drop("strict", "Cohere makes the promise for all tools or for none");
        }
        let word = match &request.tool_choice {
            Some(ToolChoice::None) => Some("NONE"),
            Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. }) => {
                Some("REQUIRED")
            }
            Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) | None => None,
        };
        put(body, "tool_choice", word);
    }

    fn tool(&self, kind: &ToolKind) -> Option<Value> {
        let (name, description, parameters) = match kind {
            ToolKind::Function { name, namespace, description, schema, .. } => {
                let name = self.names.upstream(name, namespace.as_deref(), Spelling::OPENAI);
                let none = || json!({"type": "object", "properties": {}});
                (name, description.clone(), schema.clone().unwrap_or_else(none))
            }
            ToolKind::Custom { name, namespace, description, format } => {
                let words = described(description.as_deref(), format.as_ref());
                let name = self.names.upstream(name, namespace.as_deref(), Spelling::OPENAI);
                (name, Some(words), text_argument())
            }
            ToolKind::Native(_) => return None,
        };
        let mut function = Map::new();
        function.insert("name".into(), name.into());
        put(&mut function, "description", description);
        function.insert("parameters".into(), parameters);
        Some(json!({"type": "function", "function": function}))
    }

    fn sampling(&mut self, body: &mut Map<String, Value>) -> Result<(), Refused> {
        let sampling = &self.request.sampling;
        if sampling.n.is_some_and(|n| n > 1) {
            return Err(Refused::new("n", "Cohere gives one answer per request"));
        }
        put(body, "max_tokens", sampling.max_tokens);
        put(body, "p", sampling.top_p.map(|p| p.clamp(0.01, 0.99)));
        put(body, "k", sampling.top_k.map(|k| k.min(500)));
        self.seed(body);
        for (name, value) in [
            ("temperature", sampling.temperature),
            ("presence_penalty", sampling.presence_penalty),
            ("frequency_penalty", sampling.frequency_penalty),
        ] {
            put(body, name, value.map(|value| value.clamp(0.0, 1.0)));
            if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
                self.drop(name, "Cohere takes 0 to 1; the nearest of these is sent");
            }
        }
        put(body, "logprobs", sampling.logprobs);
        let stops = sampling.stop.iter().take(MAX_STOPS).map(String::as_str).collect::<Vec<_>>();
        put(body, "stop_sequences", Some(stops).filter(|stops| !stops.is_empty()));
        if sampling.stop.len() > MAX_STOPS {
            self.drop("stop", "only the first five stop sequences fit");
        }
        Ok(())
    }

    fn seed(&mut self, body: &mut Map<String, Value>) {
        let seed = self.request.sampling.seed;
        let fits = seed.and_then(|seed| u64::try_from(seed).ok());
        put(body, "seed", fits);
        if seed.is_some() && fits.is_none() {
            self.drop("seed", "Cohere takes no negative seed");
        }
    }

    fn output(&mut self, body: &mut Map<String, Value>) -> Result<(), Refused> {
        let format = match &self.request.output {
            OutputFormat::Text => return Ok(()),
            OutputFormat::JsonObject => json!({"type": "json_object"}),
            OutputFormat::JsonSchema { schema, .. } => {
                self.dropped.extend(lost::schema_words(self.request, schema, "Cohere takes the schema alone"));
                json!({"type": "json_object", "json_schema": schema})
            }
        };
        if body.contains_key("tools") {
            return Err(Refused::new("response_format", "Cohere takes either tools or a format of the answer"));
        }
        body.insert("response_format".into(), format);
        Ok(())
    }

    fn rest(&self, body: &mut Map<String, Value>) {
        let own = self.request.rest.iter().filter(|(name, _)| OWN.contains(&name.as_str()));
        body.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    }
}

fn thinking(reasoning: &Reasoning) -> Option<Value> {
    let mut thinking = Map::new();
    match reasoning.mode {
        ReasoningMode::Off => drop(thinking.insert("type".into(), "disabled".into())),
        ReasoningMode::On => {
            thinking.insert("type".into(), "enabled".into());
            let budget = reasoning.budget.or_else(|| reasoning.effort.map(crate::chat::Effort::budget));
            put(&mut thinking, "token_budget", budget);
        }
        ReasoningMode::Adaptive => return None,
    }
    Some(Value::Object(thinking))
}
