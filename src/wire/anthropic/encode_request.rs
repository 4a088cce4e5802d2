//! Writing a request for a provider.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::block::Content;
use super::cache;
use super::citation::is_read;
use super::encode_parts::PartWriter;
use super::messages::{self, Conversation, WireMessage};
use super::output::{self, ANSWER_TOOL, Asked};
use super::reasoning::{self, Plan, WireThinking};
use super::sampling::Words;
use super::tools::{self, WireChoice, WireTool};
use super::version::Version;
use crate::chat::ids::{Names, Spelling};
use crate::chat::lost;
use crate::chat::{Dropped, EncodeTarget, Encoded, Family, Format, Refused, Request};

/// The cap where neither client nor provider names one.
const DEFAULT_MAX_TOKENS: u64 = 4_096;

/// Writes a request.
///
/// # Errors
/// When the format cannot carry it without changing what it means.
pub fn encode_request(request: &Request, target: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    lost::only_one_text(request)?;
    let version = Version::of(target.model);
    let names = Names::of(request, Spelling::ANTHROPIC);
    let mut dropped = losses(request);
    let mut writer = PartWriter { request, names: &names, callers: HashMap::new() };
    let conversation = messages::write(&mut writer, version, &mut dropped)?;
    let mut plan = Plan::of(request, version, &mut dropped);
    if plan.has_budget() && reasoning::in_open_tool_loop(&conversation.turns) {
        plan.give_up();
        dropped.push(Dropped::new("reasoning", "the open tool loop was begun without this provider's thoughts"));
    }
    let mut draft = Draft { request, version, way_back: names.way_back(false), plan, dropped };
    let body = draft.body(target, conversation, &names);
    let body = Bytes::from(serde_json::to_vec(&body).unwrap_or_default());
    Ok(Encoded { body, dropped: draft.dropped, way_back: draft.way_back })
}

/// What the format has no place for.
fn losses(request: &Request) -> Vec<Dropped> {
    const ABSENT: [&str; 10] = [
        "seed",
        "min_p",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "verbosity",
        "metadata",
        "cache_key",
    ];
    let why = "the format has no such member";
    let mut dropped: Vec<Dropped> = lost::foreign_seals(request, Family::Anthropic).collect();
    dropped.extend(lost::names(request, "messages have no names"));
    dropped.extend(lost::details(request, "the model looks at every picture alike"));
    dropped.extend(lost::citations(request, "only its own sources are read", |_, citation| is_read(citation)));
    dropped.extend(lost::fields(request, &ABSENT, why));
    dropped.extend(lost::rest(request, why, |_| request.from == Format::Anthropic));
    dropped
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<Content>,
    messages: Vec<WireMessage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<WireThinking>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    output_config: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

/// A request on its way.
struct Draft<'a> {
    request: &'a Request,
    version: Version,
    way_back: crate::chat::WayBack,
    plan: Plan,
    dropped: Vec<Dropped>,
}

impl<'a> Draft<'a> {
    fn body(&mut self, target: &EncodeTarget<'a>, conversation: Conversation, names: &Names) -> Body<'a> {
        let request = self.request;
        let mut tools = tools::write(request, names, self.version, &mut self.dropped);
        let choice = tools::write_choice(request, names, &mut tools, &mut self.dropped);
        let mut output_config = self.output_config();
        let choice = self.ask_for_output(&mut tools, choice, &mut output_config);
        let choice = self.unforced(choice);
        if let Some(effort) = self.plan.effort {
            output_config.insert("effort".into(), effort.into());
        }
        let own = request.from == Format::Anthropic;
        let words = Words::of(request, self.version, self.plan.thinks(), &mut self.dropped);
        // A client of this format is told by its provider.
        let words = if own { words } else { words.one(self.version, &mut self.dropped) };
        let mut body = Body {
            model: target.model,
            max_tokens: self.max_tokens(target),
            system: conversation.system,
            messages: conversation.messages,
            tools,
            tool_choice: choice,
            thinking: self.plan.thinking.clone(),
            output_config,
            temperature: words.temperature,
            top_p: words.top_p,
            top_k: words.top_k,
            stop_sequences: self.stop_sequences(),
            metadata: request.user.as_deref().map(|user_id| Metadata { user_id }),
            service_tier: self.service_tier(),
            stream: target.stream,
            rest: if own { messages::body_rest(request) } else { Map::new() },
        };
        self.limit_marks(&mut body);
        body
    }

    fn drop(&mut self, field: &str, why: &'static str) {
        self.dropped.push(Dropped::new(field, why));
    }

    fn output_config(&self) -> Map<String, Value> {
        if self.request.from != Format::Anthropic {
            return Map::new();
        }
        let member =
            |(path, value): (&String, &Value)| Some((path.strip_prefix("output_config.")?.to_owned(), value.clone()));
        self.request.rest.iter().filter_map(member).collect()
    }

    fn ask_for_output(
        &mut self,
        tools: &mut Vec<WireTool>,
        choice: Option<WireChoice>,
        output_config: &mut Map<String, Value>,
    ) -> Option<WireChoice> {
        match output::asked(self.request, self.version) {
            Asked::Freely => choice,
            Asked::ByFormat(format) => {
                self.name_words(format.get("schema"));
                output_config.insert("format".into(), format);
                choice
            }
            Asked::ByTool(_) if choice.as_ref().is_some_and(|choice| choice.r#type == "tool") => {
                self.drop("response_format", "the call of the tool that was named is the answer");
                choice
            }
            Asked::ByTool(schema) => {
                self.name_words(Some(&schema));
                self.dropped.extend(lost::strict_schema(self.request, "the model makes no such promise"));
                if self.plan.thinks() {
                    // The shape is a promise to a program; thinking is none.
                    self.plan.give_up();
                    self.drop(
                        "reasoning",
                        "the answer's shape is asked for by a forced call, which rules out thinking",
                    );
                }
                self.way_back.answered_by(ANSWER_TOOL);
                output::ask_by_tool(schema, tools, choice)
            }
        }
    }

    fn name_words(&mut self, schema: Option<&Value>) {
        let why = "the format takes the schema alone";
        let written = schema.unwrap_or(&Value::Null);
        self.dropped.extend(lost::schema_words(self.request, written, why));
    }

    /// A model that thinks cannot be forced to call.
    fn unforced(&mut self, choice: Option<WireChoice>) -> Option<WireChoice> {
        match choice {
            Some(choice) if choice.forces() && self.plan.thinks() => {
                self.drop("tool_choice", "a model that thinks cannot be forced to call a tool");
                let disable_parallel_tool_use = choice.disable_parallel_tool_use;
                Some(WireChoice { disable_parallel_tool_use, ..WireChoice::plain("auto") })
            }
            other => other,
        }
    }

    /// The cap holds thoughts too, so the budget comes on top.
    fn max_tokens(&self, target: &EncodeTarget<'_>) -> u64 {
        let default = target.traits.default_max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
        let wanted = self.request.sampling.max_tokens.unwrap_or(default);
        match self.plan.budget_tokens() {
            Some(budget) if wanted <= budget => wanted.saturating_add(budget),
            _ => wanted,
        }
    }

    fn stop_sequences(&mut self) -> Vec<&'a str> {
        let stop = &self.request.sampling.stop;
        let visible: Vec<&str> = stop.iter().map(String::as_str).filter(|text| !text.trim().is_empty()).collect();
        if visible.len() < stop.len() {
            self.drop("stop", "the format refuses stop sequences of white space");
        }
        visible
    }

    fn service_tier(&mut self) -> Option<&'static str> {
        match self.request.service_tier.as_deref()? {
            "auto" | "priority" => Some("auto"),
            "default" | "standard_only" => Some("standard_only"),
            _ => {
                self.drop("service_tier", "the format has no such class of service");
                None
            }
        }
    }

    fn limit_marks(&mut self, body: &mut Body<'_>) {
        let automatic = usize::from(body.rest.contains_key("cache_control"));
        let mut marks: Vec<_> = body.tools.iter_mut().map(|tool| &mut tool.cache_control).collect();
        marks.extend(body.system.iter_mut().flat_map(Content::marks));
        marks.extend(body.messages.iter_mut().flat_map(|message| message.content.marks()));
        if cache::limit(marks, cache::MAX_MARKS.saturating_sub(automatic)) > 0 {
            self.drop("cache_control", "the format takes four marks; the first ones were left out");
        }
    }
}
