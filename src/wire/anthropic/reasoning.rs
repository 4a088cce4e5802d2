//! How much a model thinks: by budget on older models, as it sees fit with an effort on newer ones.

use serde::Serialize;

use super::version::{ThinkingForm, Version};
use crate::bad_request::BadRequest;
use crate::chat::read::Fields;
use crate::chat::{Dropped, Effort, Family, Format, Message, Part, PartKind, Reasoning, ReasoningMode, Request, Role};

/// No budget may be smaller.
const LEAST_BUDGET: u64 = 1_024;
/// What an effort may grow to: some models write 32000 tokens at most, and the answer needs room beside the thoughts.
const MOST_BY_EFFORT: u64 = 24_576;

/// Read `thinking` and the effort of `output_config`.
///
/// An effort without `thinking` is read as thinking at the model's discretion, which is what other formats mean by it; whether
/// thoughts were asked for is told by `show`, so that the same format gets back what was written.
pub(crate) fn read(body: &mut Fields, config: Option<&mut Fields>) -> Result<Option<Reasoning>, BadRequest> {
    let effort = match config {
        Some(config) => match config.text("effort")? {
            Some(word) => Some(Effort::parse(&word).ok_or_else(|| config.unknown("effort", &word))?),
            None => None,
        },
        None => None,
    };
    let Some(mut thinking) = body.object("thinking")? else {
        return Ok(effort.map(|_| Reasoning {
            mode: ReasoningMode::Adaptive,
            effort,
            budget: None,
            show: None,
            summary: None,
        }));
    };
    let show = match thinking.text("display")?.as_deref() {
        None => None,
        Some("summarized") => Some(true),
        Some("omitted") => Some(false),
        Some(other) => return Err(thinking.unknown("display", other)),
    };
    let (mode, budget) = match thinking.required_text("type")?.as_str() {
        "enabled" => {
            let budget = thinking.count("budget_tokens")?;
            (ReasoningMode::On, Some(budget.ok_or_else(|| thinking.missing("budget_tokens"))?))
        }
        "adaptive" => (ReasoningMode::Adaptive, None),
        "disabled" => (ReasoningMode::Off, None),
        other => return Err(thinking.unknown("type", other)),
    };
    let asked_to_show = (mode == ReasoningMode::Adaptive && effort.is_some()).then_some(true);
    Ok(Some(Reasoning { mode, effort, budget, show: show.or(asked_to_show), summary: None }))
}

/// Thinking as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WireThinking {
    pub(crate) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) budget_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<&'static str>,
}

/// Thinking and effort of one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) thinking: Option<WireThinking>,
    pub(crate) effort: Option<&'static str>,
}

impl Plan {
    /// What this model is told.
    pub(crate) fn of(request: &Request, version: Version, dropped: &mut Vec<Dropped>) -> Self {
        let Some(reasoning) = &request.reasoning else { return Self::default() };
        let own = request.from == Format::Anthropic;
        match (version.thinking(), reasoning.mode) {
            (ThinkingForm::Never, ReasoningMode::Off) => Self::default(),
            (ThinkingForm::Never, _) => {
                dropped.push(Dropped::new("reasoning", "the model cannot think"));
                Self::default()
            }
            // Silence means no there, and the word for it is refused.
            (ThinkingForm::Adaptive, ReasoningMode::Off) if !own => Self::default(),
            (form, ReasoningMode::Off) => Self {
                thinking: Some(WireThinking { r#type: "disabled", budget_tokens: None, display: None }),
                effort: reasoning.effort.filter(|_| own || form != ThinkingForm::Budget).map(|e| word(e, version)),
            },
            (ThinkingForm::Either, ReasoningMode::On) if own => Self::budget(reasoning, own, version),
            (ThinkingForm::Budget, _) => Self::budget(reasoning, own, version),
            (_, _) => Self::adaptive(reasoning, own, version),
        }
    }

    fn budget(reasoning: &Reasoning, own: bool, version: Version) -> Self {
        let by_effort = || reasoning.effort.unwrap_or(Effort::Medium).budget().min(MOST_BY_EFFORT);
        let budget_tokens = Some(reasoning.budget.unwrap_or_else(by_effort).max(LEAST_BUDGET));
        let display = reasoning.show.filter(|_| own && reasoning.mode == ReasoningMode::On).map(display);
        let thinking = Some(WireThinking { r#type: "enabled", budget_tokens, display });
        let says_effort = own && reasoning.mode == ReasoningMode::On;
        Self { thinking, effort: reasoning.effort.filter(|_| says_effort).map(|effort| word(effort, version)) }
    }

    fn adaptive(reasoning: &Reasoning, own: bool, version: Version) -> Self {
        let by_budget = || reasoning.budget.map(Effort::of_budget);
        let effort = reasoning.effort.or_else(by_budget).map(|effort| word(effort, version));
        let only_effort =
            own && reasoning.show.is_none() && reasoning.mode == ReasoningMode::Adaptive && effort.is_some();
        let adaptive = WireThinking { r#type: "adaptive", budget_tokens: None, display: reasoning.show.map(display) };
        Self { thinking: (!only_effort).then_some(adaptive), effort }
    }

    /// The model will think.
    pub(crate) fn thinks(&self) -> bool {
        self.thinking.as_ref().is_some_and(|thinking| thinking.r#type != "disabled")
    }

    /// It must have a budget, and so must get its thoughts back inside a tool loop.
    pub(crate) fn has_budget(&self) -> bool {
        self.budget_tokens().is_some()
    }

    /// The tokens that are set aside for thoughts.
    pub(crate) fn budget_tokens(&self) -> Option<u64> {
        self.thinking.as_ref().and_then(|thinking| thinking.budget_tokens)
    }

    /// Give up thinking for this request.
    pub(crate) fn give_up(&mut self) {
        self.thinking = None;
    }
}

const fn display(show: bool) -> &'static str {
    if show { "summarized" } else { "omitted" }
}

fn word(effort: Effort, version: Version) -> &'static str {
    match effort {
        Effort::Minimal => Effort::Low.as_str(),
        Effort::XHigh if version.is_claude() && !version.knows_xhigh() => Effort::Max.as_str(),
        other => other.as_str(),
    }
}

/// Whether the conversation stands in the middle of a tool loop that holds none of the provider's own thoughts.
pub(crate) fn in_open_tool_loop(messages: &[Message]) -> bool {
    let holds = |message: &Message, test: fn(&Part) -> bool| message.parts.iter().any(test);
    let is_result: fn(&Part) -> bool = |part| matches!(part.kind, PartKind::ToolResult(_));
    let is_own: fn(&Part) -> bool = |part| match &part.kind {
        PartKind::Thinking(thinking) => thinking.seal.as_ref().is_some_and(|seal| seal.family == Family::Anthropic),
        _ => false,
    };
    let mut turns = messages.iter().filter(|message| !message.role.instructs()).rev();
    let open = turns.next().is_some_and(|last| last.role == Role::User && holds(last, is_result));
    let in_loop = turns.take_while(|message| message.role == Role::Assistant || holds(message, is_result));
    open && !in_loop.into_iter().any(|message| holds(message, is_own))
}
