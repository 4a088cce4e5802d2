//! What a client asks for.

use serde_json::{Map, Value};

use super::codec::Format;
use super::output::OutputFormat;
use super::part::{CacheHint, Part};

/// One request for an answer of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The format it was written in.
    pub from: Format,
    /// The model as the client names it.
    pub model: String,
    /// The answer shall come in pieces.
    pub stream: bool,
    /// The conversation, instructions included, in the order in which it was written. Instructions that stand outside of
    /// the messages (Anthropic `system`, Gemini `systemInstruction`, Responses `instructions`) come first.
    pub messages: Vec<Message>,
    /// The tools the model may call.
    pub tools: Vec<Tool>,
    /// Whether it may or must.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_tools: Option<bool>,
    /// How to choose words.
    pub sampling: Sampling,
    /// How much to think.
    pub reasoning: Option<Reasoning>,
    /// What shape the answer's text has.
    pub output: OutputFormat,
    /// How many words to make (`low`, `medium`, `high`).
    pub verbosity: Option<String>,
    /// What kinds of output are wanted beside text (`audio`, `image`).
    pub modalities: Vec<String>,
    /// The client's name for its end user.
    pub user: Option<String>,
    /// Labels of the client.
    pub metadata: Option<Map<String, Value>>,
    /// The class of service (`auto`, `default`, `flex`, `priority`).
    pub service_tier: Option<String>,
    /// A name under which the provider finds a cached prompt.
    pub cache_key: Option<String>,
    /// The client speaks of `functions`, the form that chat had before tools, and reads its answer in that form.
    pub functions_form: bool,
    /// Chat: the client wants usage at the end of its stream.
    pub include_usage: bool,
    /// Members that this model does not know, as they were written. They are of use to the same format only, so a
    /// translation names them as dropped.
    pub rest: Map<String, Value>,
}

impl Request {
    /// An empty request.
    pub fn new(from: Format, model: impl Into<String>) -> Self {
        Self {
            from,
            model: model.into(),
            stream: false,
            messages: Vec::new(),
            tools: Vec::new(),
            tool_choice: None,
            parallel_tools: None,
            sampling: Sampling::default(),
            reasoning: None,
            output: OutputFormat::Text,
            verbosity: None,
            modalities: Vec::new(),
            user: None,
            metadata: None,
            service_tier: None,
            cache_key: None,
            functions_form: false,
            include_usage: false,
            rest: Map::new(),
        }
    }

    /// The name under which OpenAI finds a cached prompt: the client's own, or its session, or its user, where a client of
    /// Anthropic's format tells them.
    pub fn cache_name(&self) -> Option<String> {
        let told = || self.user.as_deref().filter(|_| self.from == Format::Anthropic).map(session);
        self.cache_key.clone().or_else(told)
    }

    /// Characters of the conversation and the tools, bytes that are not text left out.
    pub fn prompt_chars(&self) -> u64 {
        let messages = self.messages.iter().flat_map(|message| &message.parts).map(Part::chars);
        let tools = self.tools.iter().map(|tool| tool.kind.chars());
        messages.chain(tools).sum()
    }
}

/// The session that a `metadata.user_id` names; Anthropic's own client has written it in two ways. Else the user itself.
fn session(user: &str) -> String {
    let members: Option<Map<String, Value>> = serde_json::from_str(user).ok();
    let member = members.as_ref().and_then(|members| members.get("session_id")).and_then(Value::as_str);
    let suffix = || user.rsplit_once("_session_").map(|(_, session)| session);
    let named = member.or_else(suffix).filter(|session| !session.is_empty());
    named.unwrap_or(user).to_owned()
}

/// One turn, or one instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said. Results of tools stand in messages of the user, before anything else of that message.
    pub parts: Vec<Part>,
    /// Who among several of that role.
    pub name: Option<String>,
}

impl Message {
    /// A message without a name.
    pub const fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts, name: None }
    }

    /// A message of one text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self::new(role, vec![Part::text(text)])
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator, by its older name.
    System,
    /// The operator, by its newer name.
    Developer,
    /// The user, and the tools that answer for them.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Whether it instructs instead of taking turns.
    pub const fn instructs(self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// What kind.
    pub kind: ToolKind,
    /// Cache the prompt up to here.
    pub cache: Option<CacheHint>,
}

/// The kinds of tools.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolKind {
    /// A function of the client with JSON arguments.
    Function {
        /// Its name.
        name: String,
        /// The group it belongs to (Responses only).
        namespace: Option<String>,
        /// What it does.
        description: Option<String>,
        /// The JSON Schema of its arguments; absent for none.
        schema: Option<Value>,
        /// The arguments must fit the schema.
        strict: Option<bool>,
    },
    /// A function of the client with a text for its argument (Responses and newer chat).
    Custom {
        /// Its name.
        name: String,
        /// The group it belongs to (Responses only).
        namespace: Option<String>,
        /// What it does.
        description: Option<String>,
        /// The grammar of the text.
        format: Option<Value>,
    },
    /// A tool that the provider runs by itself, as its format writes it.
    Native(Value),
}

impl ToolKind {
    /// Characters that the model reads of it.
    fn chars(&self) -> u64 {
        let json = |value: &Value| value.to_string().chars().count();
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count());
        let chars = match self {
            Self::Function { name, description, schema, .. } => {
                name.len() + text(description) + schema.as_ref().map_or(0, json)
            }
            Self::Custom { name, description, format, .. } => {
                name.len() + text(description) + format.as_ref().map_or(0, json)
            }
            Self::Native(value) => json(value),
        };
        chars as u64
    }

    /// Its name, if it is the client's.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Function { name, .. } | Self::Custom { name, .. } => Some(name),
            Self::Native(_) => None,
        }
    }
}

/// Whether tools may or must be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model sees fit.
    Auto,
    /// Not at all.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
    /// Among these.
    Allowed {
        /// At least one of them.
        required: bool,
        /// Their names.
        names: Vec<String>,
    },
}

/// How words are chosen; absent is the provider's default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    /// Tokens of the answer at most, reasoning included.
    pub max_tokens: Option<u64>,
    /// 0 for the likeliest word; OpenAI and Gemini allow up to 2, Anthropic up to 1.
    pub temperature: Option<f64>,
    /// Among the likeliest words of this total probability.
    pub top_p: Option<f64>,
    /// Among this many likeliest words.
    pub top_k: Option<u64>,
    /// Among words of at least this share of the likeliest one's probability.
    pub min_p: Option<f64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// For the same answer again.
    pub seed: Option<i64>,
    /// Against words that were there.
    pub presence_penalty: Option<f64>,
    /// Against words that were there often.
    pub frequency_penalty: Option<f64>,
    /// Per token.
    pub logit_bias: Option<Value>,
    /// How many answers.
    pub n: Option<u32>,
    /// Report the probabilities of the words.
    pub logprobs: Option<bool>,
    /// And of so many others at each place.
    pub top_logprobs: Option<u64>,
}

/// How much to think.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasoning {
    /// Whether at all.
    pub mode: ReasoningMode,
    /// In words.
    pub effort: Option<Effort>,
    /// In tokens.
    pub budget: Option<u64>,
    /// The client wants to read the thoughts, or a summary (`auto`, `concise`, `detailed`).
    pub show: Option<bool>,
    /// What kind of summary.
    pub summary: Option<String>,
}

/// Whether to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasoningMode {
    /// No.
    Off,
    /// Yes.
    On,
    /// As the model sees fit.
    Adaptive,
}

/// How hard to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Hardly.
    Minimal,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// Very much.
    XHigh,
    /// As much as possible.
    Max,
}

impl Effort {
    const ALL: [(Self, &'static str, u64); 6] = [
        (Self::Minimal, "minimal", 1_024),
        (Self::Low, "low", 2_048),
        (Self::Medium, "medium", 8_192),
        (Self::High, "high", 16_384),
        (Self::XHigh, "xhigh", 24_576),
        (Self::Max, "max", 32_768),
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// What the word means; `none` is not an effort but [`ReasoningMode::Off`].
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|row| row.1.eq_ignore_ascii_case(word)).map(|row| row.0)
    }

    /// The budget that stands for it where a provider counts tokens.
    pub fn budget(self) -> u64 {
        self.row().2
    }

    /// The least effort whose budget covers this one.
    pub fn of_budget(tokens: u64) -> Self {
        Self::ALL.iter().find(|row| tokens <= row.2).map_or(Self::Max, |row| row.0)
    }

    fn row(self) -> &'static (Self, &'static str, u64) {
        let [first, ..] = &Self::ALL;
        Self::ALL.iter().find(|row| row.0 == self).unwrap_or(first)
    }
}
