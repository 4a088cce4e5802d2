//! The response object. It repeats the whole request; strict clients refuse one from which something is missing.

use serde_json::{Map, Value, json};

use super::encode_tools::{self, UpstreamNames};
use super::writer::{json_list, json_text};
use super::{encode_request, extras, usage};
use crate::chat::{Begin, Format, ReasoningMode, Reply, Request, Role, Stop};
use crate::openai_error::ErrorBody;
use crate::usage::Usage;

/// How far a response is.
#[derive(Debug, Clone)]
pub(super) enum Status {
    InProgress,
    Completed,
    /// Cut short; why.
    Incomplete(&'static str),
    /// The error as JSON.
    Failed(String),
}

impl Status {
    /// How an answer that stopped so has ended.
    pub(super) fn of(stop: &Stop) -> Self {
        match stop {
            Stop::Length | Stop::ContextFull => Self::Incomplete("max_output_tokens"),
            Stop::Filtered => Self::Incomplete("content_filter"),
            Stop::MalformedCall => {
                Self::Failed(error("server_error", "server_error", "The model failed to write the call of a tool"))
            }
            Stop::Done | Stop::Sequence(_) | Stop::ToolCalls | Stop::Refused | Stop::Paused | Stop::Other(_) => {
                Self::Completed
            }
        }
    }

    pub(super) fn failed(body: &ErrorBody) -> Self {
        Self::Failed(error(body.code.as_deref().unwrap_or("server_error"), &body.kind, &body.message))
    }

    pub(super) fn event(&self) -> &'static str {
        match self {
            Self::InProgress => "response.in_progress",
            Self::Completed => "response.completed",
            Self::Incomplete(_) => "response.incomplete",
            Self::Failed(_) => "response.failed",
        }
    }

    fn word(&self) -> &'static str {
        self.event().trim_start_matches("response.")
    }
}

/// Some clients insist on a type.
fn error(code: &str, kind: &str, message: &str) -> String {
    let (code, kind, message) = (json_text(code), json_text(kind), json_text(message));
    format!("{{\"code\":{code},\"message\":{message},\"type\":{kind},\"param\":null}}")
}

/// What stays the same in every copy of the object.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) id: String,
    head: String,
    echo: String,
}

impl Frame {
    pub(super) fn new(begin: &Begin, reply: &Reply) -> Self {
        let theirs = begin.id.as_ref().filter(|id| id.starts_with("resp_"));
        let id = theirs.cloned().unwrap_or_else(|| format!("resp_{}", stem(&reply.id)));
        let model = begin.model.as_ref().unwrap_or(&reply.model);
        let created = begin.created.unwrap_or(reply.created);
        let head = format!(
            "{{\"id\":{},\"object\":\"response\",\"created_at\":{created},\"model\":{}",
            json_text(&id),
            json_text(model)
        );
        let echo = Value::Object(echo(begin, &reply.request)).to_string();
        Self { id, head, echo }
    }

    /// The object with these items.
    pub(super) fn object(&self, status: &Status, output: &[String], used: Option<&Usage>) -> String {
        let (mut error, mut incomplete) = ("null".to_owned(), "null".to_owned());
        match status {
            Status::Failed(told) => error.clone_from(told),
            Status::Incomplete(reason) => incomplete = format!("{{\"reason\":\"{reason}\"}}"),
            Status::InProgress | Status::Completed => {}
        }
        let usage = match (status, used) {
            (Status::InProgress, None) => "null".to_owned(),
            // Clients refuse the end of an answer without counts.
            (_, used) => usage::to_json(&used.copied().unwrap_or_default()),
        };
        let (head, word, output) = (&self.head, status.word(), json_list(output));
        let echo = self.echo.strip_prefix('{').unwrap_or_default();
        format!(
            "{head},\"status\":\"{word}\",\"error\":{error},\"incomplete_details\":{incomplete},\"output\":{output},\
             \"usage\":{usage},{echo}"
        )
    }
}

/// What ids are made of.
pub(super) fn stem(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric()).collect()
}

fn echo(begin: &Begin, request: &Request) -> Map<String, Value> {
    let asked = extras(request);
    let rest = |name: &str| request.rest.get(name).cloned().unwrap_or_default();
    let names = UpstreamNames(None);
    let choice = request.tool_choice.as_ref().map(|choice| encode_tools::choice(choice, request, &names));
    let conversation = asked.conversation.as_ref().map(|id| json!({ "id": id }));
    let members = json!({
        "background": asked.background,
        "conversation": conversation,
        "instructions": instructions(request),
        "max_output_tokens": request.sampling.max_tokens,
        "max_tool_calls": asked.max_tool_calls,
        "metadata": request.metadata.clone().unwrap_or_default(),
        "parallel_tool_calls": request.parallel_tools.unwrap_or(true),
        "previous_response_id": asked.previous_response_id,
        "prompt_cache_key": request.cache_key,
        "reasoning": reasoning(request),
        "safety_identifier": rest("safety_identifier"),
        "service_tier": tier(begin, request),
        "store": asked.store.unwrap_or(true),
        "temperature": request.sampling.temperature.unwrap_or(1.0),
        "text": text(request),
        "tool_choice": choice.or_else(|| request.rest.get("tool_choice").cloned()).unwrap_or_else(|| "auto".into()),
        "tools": tools(request),
        "top_logprobs": request.sampling.top_logprobs.unwrap_or(0),
        "top_p": request.sampling.top_p.unwrap_or(1.0),
        "truncation": asked.truncation.as_deref().unwrap_or("disabled"),
        "user": request.user,
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The tools as they were given, but for the keys to other people's servers.
fn tools(request: &Request) -> Vec<Value> {
    let mut tools = encode_tools::tools(request, &UpstreamNames(None), &mut Vec::new());
    for tool in tools.iter_mut().filter_map(Value::as_object_mut) {
        if tool.get("type").and_then(Value::as_str) == Some("mcp") {
            ["authorization", "headers"].iter().for_each(|name| drop(tool.shift_remove(*name)));
        }
    }
    tools
}

fn instructions(request: &Request) -> Option<&str> {
    let first = request.messages.first().filter(|_| request.from == Format::OpenAiResponses)?;
    if first.role == Role::System { first.parts.first()?.as_text() } else { None }
}

fn reasoning(request: &Request) -> Value {
    let asked = request.reasoning.as_ref();
    let off = asked.is_some_and(|asked| asked.mode == ReasoningMode::Off);
    let effort = asked.and_then(|asked| asked.effort).map(crate::chat::Effort::as_str);
    let mut written = encode_request::inner_rest(request, "reasoning.");
    written.insert("effort".to_owned(), effort.or(off.then_some("none")).into());
    written.insert("summary".to_owned(), asked.and_then(|asked| asked.summary.clone()).into());
    Value::Object(written)
}

fn text(request: &Request) -> Value {
    let mut written = encode_request::inner_rest(request, "text.");
    let format = encode_request::format(&request.output).unwrap_or_else(|| json!({"type": "text"}));
    written.insert("format".to_owned(), format);
    written.insert("verbosity".to_owned(), request.verbosity.as_deref().unwrap_or("medium").into());
    Value::Object(written)
}

/// The class that was given, if it is one that clients know.
fn tier<'a>(begin: &'a Begin, request: &'a Request) -> &'a str {
    let known = |tier: &&str| matches!(*tier, "default" | "flex" | "scale" | "priority" | "fast");
    let given = begin.service_tier.as_deref().filter(known);
    given.or(request.service_tier.as_deref().filter(known)).unwrap_or("default")
}
