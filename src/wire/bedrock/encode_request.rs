//! Writing a request.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::block::Block;
use super::encode_parts::{PartWriter, misfit};
use super::tools::{self, ToolConfig, WireTool};
use crate::anthropic::{
    ANSWER_TOOL, ASK_BY_TOOL, Plan, Version, Words, begun_by_user, demoted, in_open_tool_loop, object_schema,
};
use crate::chat::ids::{Names, Spelling};
use crate::chat::{
    Dropped, EncodeTarget, Encoded, Family, Format, Message, OutputFormat, ReasoningMode, Refused, Request, Role,
    ToolChoice, WayBack, lost, repair, worded_schema,
};

/// The cap that a thinking budget is added to where the client names none.
const DEFAULT_MAX_TOKENS: u64 = 4_096;

/// Writes a request. Model and stream are told by the path, not by the body.
///
/// # Errors
/// When the format cannot carry it without changing what it means.
pub fn encode_request(request: &Request, target: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    lost::only_one_text(request)?;
    let version = Version::of(target.model);
    let names = Names::of(request, Spelling::OPENAI);
    let mut dropped = losses(request);
    let messages = lost::fitting(request, Format::Bedrock, &mut dropped, |_, part| misfit(part))?;
    let mut writer = PartWriter::new(request, &names, &mut dropped);
    let (head, turns) = repair::split_instructions(messages);
    let turns = begun_by_user(turns.into_iter().map(demoted).collect());
    let (mut offered, lost) = tools::write(request, &names, &mut writer);
    let system = writer.blocks(&instructions(head));
    let messages: Vec<WireMessage> =
        turns.iter().map(|turn| WireMessage { role: role(turn.role), content: writer.blocks(&turn.parts) }).collect();
    dropped.extend(lost.into_iter().map(|field| Dropped::new(field, "the format has no place for it")));
    let mut draft = Draft { request, version, names: &names, way_back: names.way_back(false), dropped };
    let mut plan = draft.plan(&turns);
    let tool_config = draft.tool_config(&mut offered, &turns, &mut plan);
    let words = Words::of(request, version, plan.thinks(), &mut draft.dropped).one(version, &mut draft.dropped);
    let body = Body {
        messages,
        system,
        inference_config: draft.inference(&plan, words, target),
        tool_config,
        additional_model_request_fields: additional(&plan, words),
        service_tier: draft.service_tier(),
    };
    let body = Bytes::from(serde_json::to_vec(&body).unwrap_or_default());
    Ok(Encoded { body, dropped: draft.dropped, way_back: draft.way_back })
}

/// What the format has no place for.
fn losses(request: &Request) -> Vec<Dropped> {
    const ABSENT: [&str; 12] = [
        "seed",
        "min_p",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "parallel_tools",
        "verbosity",
        "user",
        "metadata",
        "cache_key",
    ];
    let why = "the format has no such member";
    let mut dropped: Vec<Dropped> = lost::foreign_seals(request, Family::Anthropic).collect();
    dropped.extend(lost::names(request, "messages have no names"));
    dropped.extend(lost::details(request, "the model looks at every picture alike"));
    dropped.extend(lost::citations(request, "sources of earlier answers are not sent", |_, _| false));
    dropped.extend(lost::fields(request, &ABSENT, why));
    dropped.extend(lost::rest(request, why, |_| false));
    dropped
}

fn instructions(head: Vec<Message>) -> Vec<crate::chat::Part> {
    let parts = repair::without_empty(head).into_iter().flat_map(|message| message.parts);
    parts.filter(|part| part.as_text().is_some()).collect()
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Assistant => "assistant",
        Role::User | Role::System | Role::Developer => "user",
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    messages: Vec<WireMessage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    inference_config: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    additional_model_request_fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<Value>,
}

#[derive(Debug, Serialize)]
struct WireMessage {
    role: &'static str,
    content: Vec<Block>,
}

/// What only Claude knows; other models take `top_k` there too.
fn additional(plan: &Plan, words: Words) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(top_k) = words.top_k {
        fields.insert("top_k".into(), top_k.into());
    }
    if let Some(thinking) = &plan.thinking {
        fields.insert("thinking".into(), json!(thinking));
    }
    if let Some(effort) = plan.effort {
        fields.insert("output_config".into(), json!({ "effort": effort }));
    }
    fields
}

/// A request on its way.
struct Draft<'a> {
    request: &'a Request,
    version: Version,
    names: &'a Names,
    way_back: WayBack,
    dropped: Vec<Dropped>,
}

impl Draft<'_> {
    fn drop(&mut self, field: &str, why: &'static str) {
        self.dropped.push(Dropped::new(field, why));
    }

    fn plan(&mut self, turns: &[Message]) -> Plan {
        if !self.version.is_claude() {
            let asked = self.request.reasoning.as_ref().is_some_and(|reasoning| reasoning.mode != ReasoningMode::Off);
            if asked {
                self.drop("reasoning", "only Claude's thinking can be asked for here");
            }
            return Plan::default();
        }
        let mut plan = Plan::of(self.request, self.version, &mut self.dropped);
        if plan.has_budget() && in_open_tool_loop(turns) {
            plan.give_up();
            self.drop("reasoning", "the open tool loop was begun without this provider's thoughts");
        }
        plan
    }

    fn tool_config(&mut self, tools: &mut Vec<WireTool>, turns: &[Message], plan: &mut Plan) -> Option<ToolConfig> {
        let has_calls = tools::has_calls(turns);
        let refused = self.request.tool_choice == Some(ToolChoice::None);
        let mut tool_choice = tools::write_choice(self.request, self.names, tools);
        if refused && !has_calls {
            tools.clear();
        } else if refused && !tools.is_empty() {
            self.drop("tool_choice", "a conversation with calls must offer tools");
        }
        if let Some(schema) = self.answer_schema() {
            tool_choice = self.ask_by_tool(&schema, tools, tool_choice, plan);
        }
        if tools.is_empty() {
            self.dropped.extend(lost::choice_of_nothing(self.request));
        }
        if tools.is_empty() && has_calls {
            *tools = tools::called(turns, self.names);
            tool_choice = None;
        }
        let forced = tool_choice.as_ref().is_some_and(|choice| choice.get("auto").is_none());
        if forced && plan.thinks() {
            self.drop("tool_choice", "a model that thinks cannot be forced to call a tool");
            tool_choice = Some(json!({"auto": {}}));
        }
        (!tools.is_empty()).then(|| ToolConfig { tools: std::mem::take(tools), tool_choice })
    }

    fn answer_schema(&mut self) -> Option<Value> {
        match &self.request.output {
            OutputFormat::Text => None,
            OutputFormat::JsonObject => Some(json!({"type": "object"})),
            OutputFormat::JsonSchema { schema, .. } => {
                let schema = object_schema(Some(&worded_schema(self.request, schema)));
                self.dropped.extend(lost::schema_words(self.request, &schema, "the format takes the schema alone"));
                self.dropped.extend(lost::strict_schema(self.request, "the format makes no such promise"));
                Some(schema)
            }
        }
    }

    /// The answer is asked for as a call; a choice that names a tool of the client stays.
    fn ask_by_tool(
        &mut self,
        schema: &Value,
        tools: &mut Vec<WireTool>,
        choice: Option<Value>,
        plan: &mut Plan,
    ) -> Option<Value> {
        if choice.as_ref().is_some_and(|choice| choice.get("tool").is_some()) {
            self.drop("response_format", "the call of the tool that was named is the answer");
            return choice;
        }
        if plan.thinks() {
            // The shape is a promise to a program; thinking is none.
            plan.give_up();
            self.drop("reasoning", "the answer's shape is asked for by a forced call, which rules out thinking");
        }
        let alone = tools.is_empty() || self.request.tool_choice == Some(ToolChoice::None);
        tools.push(WireTool::function(ANSWER_TOOL.into(), Some(ASK_BY_TOOL), schema));
        self.way_back.answered_by(ANSWER_TOOL);
        Some(if alone { json!({"tool": {"name": ANSWER_TOOL}}) } else { json!({"any": {}}) })
    }

    fn inference(&mut self, plan: &Plan, words: Words, target: &EncodeTarget<'_>) -> Map<String, Value> {
        let mut config = Map::new();
        let budget = plan.budget_tokens();
        let default = target.traits.default_max_tokens.or_else(|| budget.map(|_| DEFAULT_MAX_TOKENS));
        if let Some(wanted) = self.request.sampling.max_tokens.or(default) {
            // The cap holds thoughts too, so the budget comes on top.
            let budget = budget.filter(|budget| wanted <= *budget).unwrap_or(0);
            config.insert("maxTokens".into(), wanted.saturating_add(budget).into());
        }
        config.extend(words.temperature.map(|value| ("temperature".to_owned(), value.into())));
        config.extend(words.top_p.map(|value| ("topP".to_owned(), value.into())));
        let stop = &self.request.sampling.stop;
        let visible: Vec<&String> = stop.iter().filter(|text| !text.trim().is_empty()).collect();
        if visible.len() < stop.len() {
            self.drop("stop", "the format refuses stop sequences of white space");
        }
        if !visible.is_empty() {
            config.insert("stopSequences".into(), json!(visible));
        }
        config
    }

    fn service_tier(&mut self) -> Option<Value> {
        match self.request.service_tier.as_deref()? {
            "auto" => None,
            tier @ ("default" | "flex" | "priority") => Some(json!({ "type": tier })),
            _ => {
                self.drop("service_tier", "the format has no such class of service");
                None
            }
        }
    }
}
