//! What of a request a format has no place for, by the name and the place that its client knows.
//!
//! Each function names one kind of thing; a format's encoder calls those whose things it has no place for.

use std::borrow::Cow;

use serde_json::Value;

use super::codec::{Dropped, Family, Format, Refused};
use super::ids::chosen_names;
use super::output::OutputFormat;
use super::part::{Citation, Part, PartKind};
use super::request::{Message, Request, Role, ToolChoice, ToolKind};

/// What Anthropic's own client says about itself to Anthropic, as the first of its instructions. It changes with every
/// request, so that it would also keep other providers from finding a cached prompt.
const TELEMETRY: &str = "x-anthropic-billing-header";

/// Several answers, or other kinds of answers than text, cannot be left out: they are what was asked for.
///
/// # Errors
/// When the request asks for such.
pub fn only_one_text(request: &Request) -> Result<(), Refused> {
    if request.sampling.n.is_some_and(|n| n > 1) {
        return Err(Refused::new("n", "this model's provider gives one answer at a time"));
    }
    match request.modalities.iter().find(|kind| !kind.eq_ignore_ascii_case("text")) {
        Some(kind) => Err(Refused::new("modalities", format!("this model's provider answers in text, not in {kind}"))),
        None => Ok(()),
    }
}

/// Why a format has no place for a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    name: Cow<'static, str>,
    why: &'static str,
    content: bool,
}

impl Misfit {
    /// What the client says: without it the answer would be to another question.
    pub fn content(name: impl Into<Cow<'static, str>>, why: &'static str) -> Self {
        Self { name: name.into(), why, content: true }
    }

    /// What the model can do without: a thought, a search that another provider made.
    pub fn aside(name: impl Into<Cow<'static, str>>, why: &'static str) -> Self {
        Self { name: name.into(), why, content: false }
    }
}

/// The conversation without what a format has no place for. What goes is named by its place in the client's request, so
/// this stands before any repair.
///
/// # Errors
/// When the model was asked about it: a picture of an earlier turn goes, one of the question does not.
pub fn fitting(
    request: &Request,
    target: Format,
    dropped: &mut Vec<Dropped>,
    misfit: impl Fn(Role, &Part) -> Option<Misfit>,
) -> Result<Vec<Message>, Refused> {
    let mut messages = request.messages.clone();
    let foreign = request.from == Format::Anthropic && target.family() != Family::Anthropic;
    let misfit = |role: Role, part: &Part| {
        let telemetry = foreign && role.instructs() && part.as_text().is_some_and(|text| text.starts_with(TELEMETRY));
        let why = "what a client tells Anthropic about itself";
        if telemetry { Some(Misfit::aside(TELEMETRY, why)) } else { misfit(role, part) }
    };
    keep_fitting(&mut messages, dropped, &misfit)?;
    Ok(messages)
}

/// The same for messages that are changed already; they still stand where the client put them.
///
/// # Errors
/// As [`fitting`].
pub fn keep_fitting(
    messages: &mut [Message],
    dropped: &mut Vec<Dropped>,
    misfit: &dyn Fn(Role, &Part) -> Option<Misfit>,
) -> Result<(), Refused> {
    let last_answer = messages.iter().rposition(|message| message.role == Role::Assistant);
    for (index, message) in messages.iter_mut().enumerate() {
        let asks = message.role == Role::User && last_answer.is_none_or(|answer| index > answer);
        let mut keeper = Keeper { role: message.role, index, asks, dropped: &mut *dropped, misfit };
        keeper.keep(&mut message.parts)?;
    }
    Ok(())
}

struct Keeper<'a> {
    role: Role,
    index: usize,
    asks: bool,
    dropped: &'a mut Vec<Dropped>,
    misfit: &'a dyn Fn(Role, &Part) -> Option<Misfit>,
}

impl Keeper<'_> {
    fn keep(&mut self, parts: &mut Vec<Part>) -> Result<(), Refused> {
        let mut kept = Vec::with_capacity(parts.len());
        for mut part in std::mem::take(parts) {
            let Some(Misfit { name, why, content }) = (self.misfit)(self.role, &part) else {
                if let PartKind::ToolResult(result) = &mut part.kind {
                    self.keep(&mut result.parts)?;
                }
                kept.push(part);
                continue;
            };
            let field = format!("messages[{}].{name}", self.index);
            if content && self.asks {
                return Err(Refused::new(field, format!("this model's provider takes no such part: {why}")));
            }
            push_once(self.dropped, Dropped::new(field, why));
        }
        *parts = kept;
        Ok(())
    }
}

fn push_once(all: &mut Vec<Dropped>, one: Dropped) {
    if !all.contains(&one) {
        all.push(one);
    }
}

/// Whether a request gives a field something to lose: a field that says what goes without saying says nothing.
type Given = fn(&Request) -> bool;

const FIELDS: [(&str, Given); 16] = [
    ("top_k", |request| request.sampling.top_k.is_some()),
    ("min_p", |request| request.sampling.min_p.is_some()),
    ("stop", |request| !request.sampling.stop.is_empty()),
    ("seed", |request| request.sampling.seed.is_some()),
    ("presence_penalty", |request| request.sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
    ("frequency_penalty", |request| request.sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
    ("logit_bias", |request| request.sampling.logit_bias.is_some()),
    ("logprobs", |request| request.sampling.logprobs == Some(true)),
    ("top_logprobs", |request| request.sampling.top_logprobs.is_some_and(|count| count > 0)),
    ("parallel_tools", |request| request.parallel_tools == Some(false)),
    ("verbosity", |request| request.verbosity.is_some()),
    ("modalities", |request| request.modalities.iter().any(|kind| !kind.eq_ignore_ascii_case("text"))),
    ("user", |request| request.user.is_some()),
    ("metadata", |request| request.metadata.is_some()),
    ("service_tier", |request| request.service_tier.as_deref().is_some_and(|tier| tier != "auto")),
    ("cache_key", |request| request.cache_key.is_some()),
];

/// Those of these fields that the request gives.
pub fn fields(request: &Request, absent: &[&str], why: &'static str) -> impl Iterator<Item = Dropped> {
    let given = FIELDS.iter().filter(move |(name, given)| absent.contains(name) && given(request));
    given.map(move |(name, _)| Dropped::new(*name, why))
}

/// Members that the model does not know and that are written nowhere. `is_written` tells by the name.
pub fn rest(request: &Request, why: &'static str, is_written: impl Fn(&str) -> bool) -> impl Iterator<Item = Dropped> {
    let lost =
        request.rest.iter().filter(move |(name, value)| !is_written(name) && !is_kept(request.from, name, value));
    lost.map(move |(name, _)| Dropped::new(name.as_str(), why))
}

/// What is so for every translated answer, or what the gateway itself does for its clients of Responses.
fn is_kept(from: Format, name: &str, value: &Value) -> bool {
    let includes = |known: &[&str]| {
        let named = |one: &Value| one.as_str().is_some_and(|one| known.contains(&one));
        value.as_array().is_some_and(|all| all.iter().all(named))
    };
    match (from, name) {
        (_, "store") if value == false => true,
        (Format::OpenAiResponses, "store" | "previous_response_id") => true,
        (Format::OpenAiResponses, "background") => value == false,
        (Format::OpenAiResponses, "truncation") => value == "disabled",
        (Format::OpenAiResponses, "include") => {
            includes(&["reasoning.encrypted_content", "message.output_text.logprobs"])
        }
        _ => false,
    }
}

/// The proofs of calls that only models of another family can read.
pub fn foreign_seals(request: &Request, family: Family) -> impl Iterator<Item = Dropped> {
    let foreign = move |part: &Part| match &part.kind {
        PartKind::ToolCall(call) => call.seal.as_ref().is_some_and(|seal| seal.family != family),
        _ => false,
    };
    of_parts(request, "seal", "another provider sealed it", foreign)
}

/// The names of speakers.
pub fn names(request: &Request, why: &'static str) -> impl Iterator<Item = Dropped> {
    let named = request.messages.iter().enumerate().filter(|(_, message)| message.name.is_some());
    named.map(move |(index, _)| Dropped::new(format!("messages[{index}].name"), why))
}

/// How closely to look at a picture; `auto` is what every model does.
pub fn details(request: &Request, why: &'static str) -> impl Iterator<Item = Dropped> {
    let asks = |part: &Part| match &part.kind {
        PartKind::Image(media) => media.detail.as_deref().is_some_and(|detail| detail != "auto"),
        _ => false,
    };
    of_parts(request, "detail", why, asks)
}

/// The sources of texts, other than those that the format can write.
pub fn citations(
    request: &Request,
    why: &'static str,
    is_written: impl Fn(Role, &Citation) -> bool + Copy,
) -> impl Iterator<Item = Dropped> {
    let messages = request.messages.iter().enumerate();
    messages.filter_map(move |(index, message)| {
        let lost = |part: &Part| match &part.kind {
            PartKind::Text { citations, .. } => citations.iter().any(|citation| !is_written(message.role, citation)),
            _ => false,
        };
        has(&message.parts, &lost).then(|| Dropped::new(format!("messages[{index}].citations"), why))
    })
}

/// Marks for the cache, on messages and on tools.
pub fn cache_marks(request: &Request, why: &'static str) -> impl Iterator<Item = Dropped> {
    let tools = request.tools.iter().enumerate().filter(|(_, tool)| tool.cache.is_some());
    let tools = tools.map(move |(index, _)| Dropped::new(format!("tools[{index}].cache"), why));
    of_parts(request, "cache", why, |part| part.cache.is_some()).chain(tools)
}

/// The client's words for the schema of the answer that do not stand in the schema as it is written.
pub fn schema_words(request: &Request, written: &Value, why: &'static str) -> Vec<Dropped> {
    let OutputFormat::JsonSchema { name, description, .. } = &request.output else { return Vec::new() };
    let name = Some(name).filter(|_| request.from.family() == Family::OpenAi);
    let words = [("name", "title", name), ("description", "description", description.as_ref())];
    let stands = |keyword: &str, words: &str| written.get(keyword).is_some_and(|written| written == words);
    let lost = words.iter().filter(|(_, keyword, words)| words.is_some_and(|words| !stands(keyword, words)));
    lost.map(|(field, ..)| Dropped::new(format!("response_format.{field}"), why)).collect()
}

/// The promise that the answer fits its schema exactly.
pub fn strict_schema(request: &Request, why: &'static str) -> Option<Dropped> {
    let strict = matches!(request.output, OutputFormat::JsonSchema { strict: Some(true), .. });
    strict.then(|| Dropped::new("response_format.strict", why))
}

/// A choice that forces a call where no tool is left to call.
pub fn choice_of_nothing(request: &Request) -> Option<Dropped> {
    let free = matches!(request.tool_choice, None | Some(ToolChoice::Auto | ToolChoice::None))
        || matches!(request.tool_choice, Some(ToolChoice::Allowed { required: false, .. }));
    (!free).then(|| Dropped::new("tool_choice", "none of the tools is offered"))
}

/// Whether the choice among a request's tools leaves out this one of the client's. What only a provider could run is lost by
/// another reason.
pub fn is_left_out(request: &Request, kind: &ToolKind) -> bool {
    let chosen = request.tool_choice.as_ref().map(chosen_names).unwrap_or_default();
    !chosen.is_empty() && kind.name().is_some_and(|name| chosen.iter().all(|one| one != name))
}

fn of_parts(
    request: &Request,
    what: &'static str,
    why: &'static str,
    is_lost: impl Fn(&Part) -> bool,
) -> impl Iterator<Item = Dropped> {
    let messages = request.messages.iter().enumerate();
    let losing = messages.filter(move |(_, message)| has(&message.parts, &is_lost));
    losing.map(move |(index, _)| Dropped::new(format!("messages[{index}].{what}"), why))
}

/// Whether one of the parts is such a one, results of tools included.
fn has(parts: &[Part], test: &dyn Fn(&Part) -> bool) -> bool {
    parts.iter().any(|part| match &part.kind {
        PartKind::ToolResult(result) => test(part) || has(&result.parts, test),
        _ => test(part),
    })
}
