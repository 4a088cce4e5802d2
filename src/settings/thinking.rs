//! How much models think, where the operator and not the client decides.
//!
//! | mode | what the provider gets |
//! |---|---|
//! | `passthrough` | what the client wrote |
//! | `auto` | nothing about thinking: the model decides |
//! | `custom` | `customBudget` tokens; 0 = no thinking |
//! | `adaptive` | a base (`baseBudget`, else by `effortLevel`), more for long, tool-rich, wordy requests |
//!
//! `custom` and `adaptive` change requests that ask for thinking, and those to models that are known to think. Providers
//! that take words instead of tokens get the word that stands for the budget.

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::wire::chat::{Effort, Format, PartKind, Reasoning, ReasoningMode, Request, Role};

/// The largest budget.
pub const MOST_TOKENS: u64 = 131_072;
/// The words for efforts.
pub const EFFORTS: [&str; 6] = ["none", "low", "medium", "high", "xhigh", "max"];
/// The words for modes.
pub const MODES: [&str; 4] = ["passthrough", "auto", "custom", "adaptive"];

/// A request is long from so many messages on, rich in tools from so many, wordy from so many characters.
const MANY_MESSAGES: usize = 10;
const MANY_TOOLS: usize = 3;
const MANY_CHARS: u64 = 2_000;

/// Who decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The client.
    #[default]
    Passthrough,
    /// The model.
    Auto,
    /// The operator, with one number.
    Custom,
    /// The operator, by the size of the request.
    Adaptive,
}

/// The operator's wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ThinkingBudget {
    /// Who decides.
    pub mode: Mode,
    /// Tokens of the mode `custom`.
    pub custom_budget: u64,
    /// The base of the mode `adaptive`, in a word.
    pub effort_level: String,
    /// The same in tokens, which counts before the word.
    pub base_budget: Option<u64>,
    /// How much of the additions of the mode `adaptive` counts: 0 none, 1 as they are.
    pub complexity_multiplier: f64,
}

impl Default for ThinkingBudget {
    fn default() -> Self {
        Self {
            mode: Mode::Passthrough,
            custom_budget: 10_240,
            effort_level: "medium".to_owned(),
            base_budget: None,
            complexity_multiplier: 1.0,
        }
    }
}

impl Stored for ThinkingBudget {
    const KEY: &'static str = "thinkingBudget";
}

impl ThinkingBudget {
    /// Whether any request is changed.
    pub fn may_change(&self) -> bool {
        self.mode != Mode::Passthrough
    }

    /// Whether this request is changed. `thinks`: its model is known to.
    pub fn changes(&self, request: &Request, thinks: bool) -> bool {
        match self.mode {
            Mode::Passthrough => false,
            Mode::Auto => request.reasoning.is_some(),
            Mode::Custom | Mode::Adaptive => request.reasoning.is_some() || thinks,
        }
    }

    /// Change a request that goes to a provider of this format.
    pub fn apply(&self, request: &mut Request, to: Format) {
        match self.mode {
            Mode::Passthrough => {}
            Mode::Auto => request.reasoning = None,
            Mode::Custom => think(request, to, self.custom_budget.min(MOST_TOKENS)),
            Mode::Adaptive => {
                let budget = self.adapted(request);
                think(request, to, budget);
            }
        }
    }

    fn adapted(&self, request: &Request) -> u64 {
        let base = self.base_budget.unwrap_or_else(|| base_of(&self.effort_level)).min(MOST_TOKENS);
        let factor = 1.0 + self.complexity_multiplier.clamp(0.0, 10.0) * complexity(request);
        let budget = (base as f64 * factor).round();
        // Both are small and positive.
        (budget as u64).min(MOST_TOKENS)
    }
}

fn base_of(effort: &str) -> u64 {
    match effort {
        "none" => 0,
        "low" => 1_024,
        "high" | "xhigh" | "max" => MOST_TOKENS,
        _ => 10_240,
    }
}

/// What is added to the base, as a share of it.
fn complexity(request: &Request) -> f64 {
    let turns = request.messages.iter().filter(|message| !message.role.instructs()).count();
    let last = request.messages.iter().rev().find(|message| message.role == Role::User);
    let chars = last.map_or(0, |message| {
        let text = message.parts.iter().filter(|part| !matches!(part.kind, PartKind::ToolResult(_)));
        text.filter_map(|part| part.as_text()).map(|text| text.chars().count() as u64).sum()
    });
    let additions = [(turns > MANY_MESSAGES, 0.5), (request.tools.len() > MANY_TOOLS, 0.5), (chars > MANY_CHARS, 0.3)];
    additions.into_iter().filter(|(counts, _)| *counts).map(|(_, share)| share).sum()
}

/// The word that stands for so many tokens.
const fn word(tokens: u64) -> Effort {
    match tokens {
        0..=1_024 => Effort::Low,
        1_025..=10_240 => Effort::Medium,
        _ => Effort::High,
    }
}

/// A provider of the client's own format gets what its client would have written: a number where it gave one, a word where
/// it gave a word; any other both, and its format takes the one that it knows.
fn think(request: &mut Request, to: Format, tokens: u64) {
    let asked = request.reasoning.take();
    let (show, summary) = asked.as_ref().map_or((None, None), |asked| (asked.show, asked.summary.clone()));
    if tokens == 0 {
        let off = Reasoning { mode: ReasoningMode::Off, effort: None, budget: None, show: None, summary: None };
        request.reasoning = Some(off);
        return;
    }
    let own = request.from == to;
    let gave_number = asked.as_ref().is_some_and(|asked| asked.budget.is_some());
    let in_words = own && !gave_number && speaks_words(to);
    let in_tokens = own && !in_words;
    request.reasoning = Some(Reasoning {
        mode: ReasoningMode::On,
        effort: (!in_tokens).then(|| word(tokens)),
        budget: (!in_words).then_some(tokens),
        show,
        summary,
    });
}

/// Formats whose clients say how hard, and not how many tokens.
const fn speaks_words(format: Format) -> bool {
    matches!(format, Format::OpenAiChat | Format::OpenAiResponses | Format::Ollama)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::openai;

    fn request(more: Value) -> Request {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        openai::decode_request(body.to_string().as_bytes()).unwrap()
    }

    fn wish(mode: Mode) -> ThinkingBudget {
        ThinkingBudget { mode, ..ThinkingBudget::default() }
    }

    fn changed(wish: &ThinkingBudget, more: Value, to: Format) -> Option<Reasoning> {
        let mut request = request(more);
        wish.apply(&mut request, to);
        request.reasoning
    }

    #[test]
    fn only_what_thinks_or_may_think_is_changed() {
        let (plain, asking) = (request(json!({})), request(json!({"reasoning_effort": "low"})));

        assert!(!wish(Mode::Passthrough).changes(&asking, true));
        assert!(wish(Mode::Auto).changes(&asking, false) && !wish(Mode::Auto).changes(&plain, true));
        for mode in [Mode::Custom, Mode::Adaptive] {
            assert!(wish(mode).changes(&asking, false) && wish(mode).changes(&plain, true));
            assert!(!wish(mode).changes(&plain, false));
        }
    }

    #[test]
    fn auto_takes_everything_about_thinking_away() {
        assert_eq!(changed(&wish(Mode::Auto), json!({"reasoning_effort": "high"}), Format::OpenAiChat), None);
    }

    #[test]
    fn a_budget_reaches_its_own_format_as_its_client_would_have_written_it() {
        let asked = json!({"reasoning_effort": "low"});

        let own = changed(&wish(Mode::Custom), asked.clone(), Format::OpenAiChat).unwrap();
        let foreign = changed(&wish(Mode::Custom), asked, Format::Anthropic).unwrap();
        let off = ThinkingBudget { custom_budget: 0, ..wish(Mode::Custom) };
        let off = changed(&off, json!({"reasoning_effort": "low"}), Format::Anthropic).unwrap();

        assert_eq!((own.effort, own.budget), (Some(Effort::Medium), None));
        assert_eq!((foreign.effort, foreign.budget), (Some(Effort::Medium), Some(10_240)));
        assert_eq!((off.mode, off.budget), (ReasoningMode::Off, None));
    }

    #[rstest]
    #[case::plain(json!({}), 10_240)]
    #[case::wordy(json!({"messages": [{"role": "user", "content": "x".repeat(2_001)}]}), 13_312)]
    #[case::long(json!({"messages": vec![json!({"role": "user", "content": "x"}); 11]}), 15_360)]
    fn the_adaptive_budget_grows_with_the_request(#[case] more: Value, #[case] expected: u64) {
        assert_eq!(wish(Mode::Adaptive).adapted(&request(more)), expected);
    }

    #[test]
    fn the_base_may_be_a_number_or_a_word_and_never_passes_the_limit() {
        let high = ThinkingBudget { effort_level: "high".into(), ..wish(Mode::Adaptive) };
        let number = ThinkingBudget { base_budget: Some(2_000), ..wish(Mode::Adaptive) };
        let none = ThinkingBudget { effort_level: "none".into(), ..wish(Mode::Adaptive) };
        let wordy = || request(json!({"messages": [{"role": "user", "content": "x".repeat(2_001)}]}));

        assert_eq!(high.adapted(&wordy()), MOST_TOKENS);
        assert_eq!(number.adapted(&wordy()), 2_600);
        assert_eq!(none.adapted(&wordy()), 0);
    }
}
