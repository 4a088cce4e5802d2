//! The catalogue: parsed once from the file that is compiled in, then only read.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::exchange::ExchangeSpec;
use crate::wire::chat::Format;

/// The wire format a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// OpenAI chat completions.
    OpenaiChat,
    /// OpenAI responses.
    OpenaiResponses,
    /// Anthropic messages.
    Anthropic,
    /// Gemini `generateContent`.
    Gemini,
    /// Ollama's own chat.
    Ollama,
    /// Cohere v2 chat.
    Cohere,
    /// AWS Bedrock Converse.
    Bedrock,
    /// NLP Cloud's chatbot.
    Nlpcloud,
    /// GitLab's code suggestions.
    Gitlab,
    /// Petals' text generation.
    Petals,
}

impl Wire {
    const ALL: [(Self, Format); 10] = [
        (Self::OpenaiChat, Format::OpenAiChat),
        (Self::OpenaiResponses, Format::OpenAiResponses),
        (Self::Anthropic, Format::Anthropic),
        (Self::Gemini, Format::Gemini),
        (Self::Ollama, Format::Ollama),
        (Self::Cohere, Format::Cohere),
        (Self::Bedrock, Format::Bedrock),
        (Self::Nlpcloud, Format::NlpCloud),
        (Self::Gitlab, Format::GitLab),
        (Self::Petals, Format::Petals),
    ];

    /// The number that a target carries.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The format of that number; chat for one that is none.
    pub fn format_of(number: u8) -> Format {
        Self::ALL.iter().find(|(wire, _)| wire.number() == number).map_or(Format::OpenAiChat, |(_, format)| *format)
    }

    /// Paths of a call, of a streamed call where it is another one, and of the list of models; empty for none.
    pub const fn paths(self) -> (&'static str, Option<&'static str>, &'static str) {
        match self {
            Self::OpenaiChat => ("/chat/completions", None, "/models"),
            Self::OpenaiResponses => ("/responses", None, "/models"),
            Self::Anthropic => ("/messages", None, "/models"),
            Self::Gemini => {
                ("/models/{model}:generateContent", Some("/models/{model}:streamGenerateContent?alt=sse"), "/models")
            }
            Self::Ollama => ("/api/chat", None, "/api/tags"),
            Self::Cohere => ("/chat", None, "/models"),
            Self::Bedrock => ("/model/{model}/converse", Some("/model/{model}/converse-stream"), "/foundation-models"),
            Self::Nlpcloud => ("/gpu/{model}/chatbot", None, ""),
            Self::Gitlab => ("/completions", None, ""),
            Self::Petals => ("/generate", None, ""),
        }
    }
}

/// What kind of account a connection is, which decides its resilience defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A key.
    #[default]
    Apikey,
    /// A signed-in account.
    Oauth,
    /// A server of one's own.
    Local,
}

/// What is odd about a provider; each is handled in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    /// `stream_options` must not be sent.
    NoStreamOptions,
    /// A stream may end well without a `finish_reason`.
    FinishReasonOptional,
    /// A stream may end well without `[DONE]`.
    DoneMarkerOptional,
    /// New models want `max_completion_tokens` instead of `max_tokens`.
    MaxCompletionTokens,
    /// Comments arrive while the call waits in the provider's queue; they are no content.
    CommentsWhileQueued,
    /// Errors arrive inside an answer or a stream with status 200.
    ErrorsInOk,
    /// The role `developer` is known; elsewhere it becomes `system`.
    DeveloperRole,
    /// `reasoning_content` of earlier turns is wanted back.
    ReasoningContent,
    /// `response_format` of type `json_schema` is unknown.
    NoJsonSchema,
    /// Limits are told as 400 or 403, and only the words (Chinese, mostly) say so.
    LimitsInWords,
    /// After the instructions, user and model must take turns.
    AlternateRoles,
    /// Ids of tool calls are nine letters or digits.
    ShortCallIds,
    /// Anthropic's format on Google's cloud: the model stands in the path alone, the version of the API in the body.
    VertexBody,
    /// `prompt_cache_key` names a session, so that its turns meet the same prompt cache.
    PromptCacheKey,
    /// A message of the model at the end of the conversation is gone on with.
    ContinuesAssistant,
    /// The same where that message says `prefix: true`.
    PrefixFlag,
    /// The same where that message says `partial: true`.
    PartialFlag,
    /// Another gateway of this kind: it is told how much time is left, so that it gives up when we do.
    TakesDeadline,
}

/// The header that carries the key, and the word before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthHeader {
    /// Name of the header, lower case.
    pub header: String,
    /// Word before the key, such as `Bearer`.
    pub scheme: Option<String>,
}

impl Default for AuthHeader {
    fn default() -> Self {
        Self { header: "authorization".to_owned(), scheme: Some("Bearer".to_owned()) }
    }
}

/// Models that a provider serves in another way than its others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// How their names begin.
    pub models: Vec<String>,
    /// Format they speak.
    pub wire: Wire,
    /// Path of a call; the format's own when the entry gives none.
    #[serde(default)]
    pub chat_path: String,
    /// Path of a streamed call, where it is another one.
    #[serde(default)]
    pub stream_path: Option<String>,
    /// How the key is sent, where it differs.
    #[serde(default)]
    pub auth: Option<AuthHeader>,
    /// Headers sent with every call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What is odd about them.
    #[serde(default)]
    pub quirks: Vec<Quirk>,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSpec {
    /// Unique name, the key of the entry.
    #[serde(skip_deserializing)]
    pub id: String,
    /// Short name, also accepted before the slash of a model string; the id when the entry gives none.
    #[serde(default)]
    pub alias: String,
    /// Name for people.
    pub name: String,
    /// Format it speaks.
    pub wire: Wire,
    /// What stands before the paths; may hold `{variables}`.
    pub base_url: String,
    /// Path of a call, `{model}` in it stands for the model; the format's own when the entry gives none.
    #[serde(default)]
    pub chat_path: String,
    /// Path of a streamed call, where it is another one.
    #[serde(default)]
    pub stream_path: Option<String>,
    /// Path of the list of models; the format's own when the entry gives none. Empty where there is no list.
    #[serde(default)]
    pub models_path: String,
    /// How the key is sent.
    #[serde(default)]
    pub auth: AuthHeader,
    /// Kind of account.
    #[serde(default)]
    pub class: Class,
    /// Whether it answers without a key.
    #[serde(default)]
    pub key_optional: bool,
    /// Environment variables that usually hold its key, the first one found wins.
    #[serde(default)]
    pub env: Vec<String>,
    /// Variables of the base URL, each with the environment variable that usually holds it.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Values of variables that a connection need not give.
    #[serde(default)]
    pub defaults: BTreeMap<String, String>,
    /// Headers sent with every call; may hold `{variables}`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How the credential is exchanged for what is sent.
    #[serde(default)]
    pub exchange: Option<ExchangeSpec>,
    /// Models that are served in another way.
    #[serde(default)]
    pub shapes: Vec<Shape>,
    /// Models known without asking.
    #[serde(default)]
    pub models: Vec<String>,
    /// Whether any other model name is passed on as well.
    #[serde(default)]
    pub passthrough_models: bool,
    /// Context window of models nothing else is known of, in tokens.
    pub context: Option<u32>,
    /// What is odd about it.
    #[serde(default)]
    pub quirks: Vec<Quirk>,
    /// A remark for operators.
    pub notes: Option<String>,
}

impl ProviderSpec {
    /// Fill in the paths of its format where it has none of its own.
    pub fn complete(&mut self) {
        let (chat, stream, models) = self.wire.paths();
        if self.chat_path.is_empty() {
            chat.clone_into(&mut self.chat_path);
            self.stream_path = stream.map(str::to_owned);
        }
        if self.models_path.is_empty() {
            models.clone_into(&mut self.models_path);
        }
    }

    /// The entry as it is for the models of this shape.
    pub fn shaped(&self, shape: &Shape) -> Self {
        let mut spec = Self {
            wire: shape.wire,
            chat_path: shape.chat_path.clone(),
            stream_path: shape.stream_path.clone(),
            headers: self.headers.clone().into_iter().chain(shape.headers.clone()).collect(),
            quirks: shape.quirks.clone(),
            shapes: Vec::new(),
            ..self.clone()
        };
        spec.auth = shape.auth.clone().unwrap_or_else(|| self.auth.clone());
        spec.complete();
        spec
    }

    /// Whether it has this quirk.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Name and value of the header that carries the key.
    pub fn auth_header(&self, secret: &SecretString) -> (&str, SecretString) {
        let value = match &self.auth.scheme {
            Some(scheme) => SecretString::from(format!("{scheme} {}", secret.expose_secret())),
            None => secret.clone(),
        };
        (&self.auth.header, value)
    }
}

/// Why a catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It is no valid TOML, lacks a field or has one too many.
    #[error("the catalogue of providers cannot be read: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// Two entries answer to one name.
    #[error("two providers are called {0}")]
    DuplicateName(String),
}

/// All providers.
#[derive(Debug)]
pub struct Catalog {
    providers: Vec<ProviderSpec>,
    by_name: HashMap<String, usize>,
    by_model: HashMap<String, Vec<usize>>,
}

static BUILTIN: LazyLock<Catalog> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the text is compiled in, and a test proves that it can be read")]
    Catalog::parse(include_str!("catalog.toml")).expect("the built-in catalogue is valid")
});

impl Catalog {
    /// The catalogue that is compiled in.
    pub fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// Read a catalogue.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        let entries: BTreeMap<String, ProviderSpec> = toml::from_str(text)?;
        let mut catalog = Self { providers: Vec::new(), by_name: HashMap::new(), by_model: HashMap::new() };
        for (id, spec) in entries {
            let alias = if spec.alias.is_empty() { id.clone() } else { spec.alias.clone() };
            let mut spec = ProviderSpec { id, alias, ..spec };
            spec.complete();
            catalog.add(spec)?;
        }
        Ok(catalog)
    }

    fn add(&mut self, spec: ProviderSpec) -> Result<(), CatalogError> {
        let index = self.providers.len();
        for name in [&spec.id, &spec.alias] {
            let known = self.by_name.insert(name.clone(), index);
            if known.is_some_and(|known| known != index) {
                return Err(CatalogError::DuplicateName(name.clone()));
            }
        }
        for model in &spec.models {
            self.by_model.entry(model.clone()).or_default().push(index);
        }
        self.providers.push(spec);
        Ok(())
    }

    /// The provider with this id.
    pub fn get(&self, id: &str) -> Option<&ProviderSpec> {
        self.by_alias(id).filter(|spec| spec.id == id)
    }

    /// The provider that answers to this name: its id or its alias.
    pub fn by_alias(&self, name: &str) -> Option<&ProviderSpec> {
        self.by_name.get(name).and_then(|index| self.providers.get(*index))
    }

    /// All providers in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &ProviderSpec> {
        self.providers.iter()
    }

    /// The providers that list a bare model name: more than one makes it ambiguous.
    pub fn knowing(&self, model: &str) -> impl Iterator<Item = &ProviderSpec> {
        let indices = self.by_model.get(model).map(Vec::as_slice).unwrap_or_default();
        indices.iter().filter_map(|index| self.providers.get(*index))
    }
}

#[cfg(test)]
mod tests;
