//! From a request to an answer: pure, the same question always gets the same answer.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{MODELS, json::sample};

const MAX_CHOICES: u32 = 8;
/// Longer quotes would make the answer about the question and nothing else.
const QUOTE_CHARS: usize = 200;

/// A request that is refused with 400, in OpenAI's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadRequest {
    pub(super) message: String,
    pub(super) param: Option<&'static str>,
    pub(super) code: Option<&'static str>,
}

impl BadRequest {
    fn new(param: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param), code: None }
    }
}

/// The fields that the demo provider understands; others are ignored, as a lenient provider does.
#[derive(Debug, Deserialize)]
pub(super) struct ChatRequest {
    #[serde(default)]
    pub(super) model: String,
    #[serde(default)]
    messages: Vec<Value>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    stop: Option<Stop>,
    n: Option<u32>,
    response_format: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

/// What is answered, once per choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Pieces of text.
    Text(Vec<String>),
    /// One tool call: its name and the pieces of its arguments.
    Tool { name: String, arguments: Vec<String> },
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) content: Content,
    pub(super) finish: &'static str,
    pub(super) choices: u32,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
}

impl Answer {
    pub(super) fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens.saturating_add(self.completion_tokens),
        })
    }
}

impl ChatRequest {
    /// Read and check a body.
    pub(super) fn read(body: &[u8]) -> Result<Self, BadRequest> {
        let request: Self = serde_json::from_slice(body).map_err(|error| BadRequest {
            message: format!("We could not parse the JSON body of your request: {error}"),
            param: None,
            code: None,
        })?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), BadRequest> {
        if self.model.is_empty() {
            return Err(BadRequest::new("model", "you must provide a model parameter"));
        }
        if self.messages.is_empty() {
            return Err(BadRequest::new("messages", "messages must not be empty"));
        }
        if self.messages.iter().any(|message| message.get("role").and_then(Value::as_str).is_none()) {
            return Err(BadRequest::new("messages", "each message needs a role"));
        }
        if self.limit().is_some_and(|limit| limit < 1) {
            return Err(BadRequest::new("max_tokens", "max_tokens must be at least 1"));
        }
        if self.n.is_some_and(|n| !(1..=MAX_CHOICES).contains(&n)) {
            return Err(BadRequest::new("n", format!("n must be between 1 and {MAX_CHOICES}")));
        }
        if self.stream_options.is_some() && !self.stream() {
            return Err(BadRequest::new("stream_options", "stream_options is only allowed when stream is enabled"));
        }
        if self.is_forced() && self.chosen_tool().is_none() {
            return Err(BadRequest::new("tool_choice", "tool_choice names no tool of the tools parameter"));
        }
        Ok(())
    }

    pub(super) fn knows_model(&self) -> bool {
        MODELS.contains(&self.model.as_str())
    }

    pub(super) fn stream(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub(super) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    /// The answer.
    pub(super) fn answer(&self) -> Answer {
        let tool = self.tool_to_call();
        let pieces = match &tool {
            Some(tool) => pieces(&sample(&parameters(tool)).to_string()),
            None => pieces(&self.until_stop(self.text())),
        };
        let (pieces, shortened) = self.cut_at_limit(pieces);
        let choices = self.n.unwrap_or(1);
        let completion_tokens = (pieces.len() as u64).saturating_mul(u64::from(choices));
        let finish = match (&tool, shortened) {
            (_, true) => "length",
            (Some(_), _) => "tool_calls",
            _ => "stop",
        };
        let content = match tool {
            Some(tool) => Content::Tool { name: tool_name(tool).to_owned(), arguments: pieces },
            None => Content::Text(pieces),
        };
        Answer { content, finish, choices, prompt_tokens: self.prompt_tokens(), completion_tokens }
    }

    fn limit(&self) -> Option<i64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    fn cut_at_limit(&self, mut pieces: Vec<String>) -> (Vec<String>, bool) {
        let limit = self.limit().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let shortened = pieces.len() > limit;
        pieces.truncate(limit);
        (pieces, shortened)
    }

    fn until_stop(&self, text: String) -> String {
        let stops = match &self.stop {
            None => &[][..],
            Some(Stop::One(stop)) => std::slice::from_ref(stop),
            Some(Stop::Many(stops)) => stops,
        };
        let end = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min();
        end.and_then(|end| text.get(..end)).map(str::to_owned).unwrap_or(text)
    }

    fn text(&self) -> String {
        match self.response_format.as_ref().and_then(|format| format.get("type")?.as_str()) {
            Some("json_object") => json!({"message": "This is the demo provider.", "echo": self.quote()}).to_string(),
            Some("json_schema") => {
                let schema = self.response_format.as_ref().and_then(|format| format.pointer("/json_schema/schema"));
                schema.map_or_else(|| json!({}), sample).to_string()
            }
            _ if self.ends_with_tool_result() => {
                format!("The tool answered: {} (told by OmniRoute's built-in demo provider).", self.quote())
            }
            _ => format!(
                "You said: \"{}\". This is OmniRoute's built-in demo provider: the answer is made up, the routing, \
                 streaming and failover around it are real. Add a provider key to talk to a model.",
                self.quote()
            ),
        }
    }

    fn quote(&self) -> String {
        let wanted = if self.ends_with_tool_result() { "tool" } else { "user" };
        let last = self.messages.iter().rev().find(|message| role(message) == wanted);
        last.map(text_of).unwrap_or_default().chars().take(QUOTE_CHARS).collect()
    }

    fn ends_with_tool_result(&self) -> bool {
        self.messages.last().is_some_and(|message| role(message) == "tool")
    }

    fn tools(&self) -> impl Iterator<Item = &Value> {
        self.tools.iter().flatten().filter(|tool| !tool_name(tool).is_empty())
    }

    fn named_choice(&self) -> Option<&str> {
        self.tool_choice.as_ref()?.pointer("/function/name")?.as_str()
    }

    fn is_forced(&self) -> bool {
        self.tool_choice.as_ref().is_some_and(|choice| choice == "required" || choice.is_object())
    }

    fn chosen_tool(&self) -> Option<&Value> {
        match self.named_choice() {
            Some(name) => self.tools().find(|tool| tool_name(tool) == name),
            None => self.tools().next(),
        }
    }

    fn tool_to_call(&self) -> Option<&Value> {
        if self.ends_with_tool_result() || self.tool_choice.as_ref().is_some_and(|choice| choice == "none") {
            return None;
        }
        if self.is_forced() {
            return self.chosen_tool();
        }
        let asked = self.quote();
        self.tools().find(|tool| asked.contains(tool_name(tool)))
    }

    fn prompt_tokens(&self) -> u64 {
        let words = self.messages.iter().map(|message| text_of(message).split_whitespace().count() as u64 + 4);
        words.sum()
    }
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

fn text_of(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

fn tool_name(tool: &Value) -> &str {
    tool.pointer("/function/name").and_then(Value::as_str).unwrap_or_default()
}

fn parameters(tool: &Value) -> Value {
    tool.pointer("/function/parameters").cloned().unwrap_or_else(|| json!({"type": "object"}))
}

/// Words with the blank after them: joined again they are the text.
fn pieces(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}
