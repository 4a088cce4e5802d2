//! What each format brings, and the words they share.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::event::Event;
use super::request::Request;
use super::way_back::WayBack;
use crate::openai_error::{ErrorBody, UpstreamErrorBody};

/// The formats that are spoken here, by clients or by providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenAI Chat Completions, and everything that calls itself compatible.
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini `generateContent`.
    Gemini,
    /// Ollama `/api/chat`.
    Ollama,
    /// Cohere v2 chat; providers only.
    Cohere,
    /// AWS Bedrock Converse; providers only.
    Bedrock,
    /// NLP Cloud's chatbot; providers only.
    NlpCloud,
    /// GitLab's code suggestions; providers only.
    GitLab,
    /// Petals' text generation; providers only.
    Petals,
}

impl Format {
    /// Its name in logs, headers and the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::OpenAiResponses => "openai_responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
            Self::Cohere => "cohere",
            Self::Bedrock => "bedrock",
            Self::NlpCloud => "nlpcloud",
            Self::GitLab => "gitlab",
            Self::Petals => "petals",
        }
    }

    /// Whose seals its fields hold by nature.
    pub const fn family(self) -> Family {
        match self {
            Self::OpenAiChat | Self::OpenAiResponses => Family::OpenAi,
            Self::Anthropic | Self::Bedrock => Family::Anthropic,
            Self::Gemini => Family::Google,
            Self::Ollama | Self::Cohere | Self::NlpCloud | Self::GitLab | Self::Petals => Family::Other,
        }
    }
}

/// Who can read a seal. Anthropic's are good on every cloud that serves its models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// OpenAI's models.
    OpenAi,
    /// Anthropic's models.
    Anthropic,
    /// Google's models.
    Google,
    /// Anybody else; they make no seals.
    Other,
}

impl Family {
    /// Its name in a marked seal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
            Self::Other => "other",
        }
    }

    /// The family of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::OpenAi, Self::Anthropic, Self::Google, Self::Other].into_iter().find(|family| family.as_str() == name)
    }
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub struct EncodeTarget<'a> {
    /// The provider's name of the model.
    pub model: &'a str,
    /// Ask for a stream.
    pub stream: bool,
    /// What is odd about the provider.
    pub traits: Traits,
}

/// What is odd about a provider; the default is the format as its inventor speaks it today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits {
    /// Chat: `max_completion_tokens` is the only name for the cap.
    pub max_completion_tokens: bool,
    /// Chat: `stream_options` is refused.
    pub no_stream_options: bool,
    /// Chat: the role `developer` is unknown.
    pub no_developer_role: bool,
    /// Chat: `reasoning_content` of earlier turns is wanted back.
    pub reasoning_content: bool,
    /// Chat: `response_format` of type `json_schema` is unknown.
    pub no_json_schema: bool,
    /// Chat: after the instructions, user and model must take turns.
    pub alternate_roles: bool,
    /// Chat: ids of calls are nine letters or digits.
    pub short_call_ids: bool,
    /// The cap to name where the format demands one and the client named none.
    pub default_max_tokens: Option<u64>,
}

/// What an answer's encoder must know of its request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Unique; ids that the format wants and the provider did not give are made of it.
    pub id: String,
    /// When the request came, in seconds since the Unix epoch.
    pub created: i64,
    /// The model as the client named it, for answers whose provider does not name one.
    pub model: String,
    /// Chat: the client wants usage at the end of its stream.
    pub include_usage: bool,
    /// Gemini: the stream is one JSON array, not server-sent events.
    pub as_array: bool,
    /// The request, for formats that repeat it in the answer.
    pub request: Arc<Request>,
}

/// A request as the provider reads it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The body.
    pub body: Bytes,
    /// What the format cannot carry, in the client's words.
    pub dropped: Vec<Dropped>,
    /// How to undo in the answer what the request had to disguise.
    pub way_back: WayBack,
}

/// Something of a request that does not reach the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The field by its neutral name, such as `logit_bias` or `messages[2].image`; unknown ones by the client's name.
    pub field: String,
    /// Why, for the log.
    pub why: &'static str,
}

impl Dropped {
    /// This field, for this reason.
    pub fn new(field: impl Into<String>, why: &'static str) -> Self {
        Self { field: field.into(), why }
    }
}

/// A request that this format cannot carry without changing what it means (two choices where there is only one, an image
/// for a format without images). The client gets a 400 with the field, or another candidate is tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The field, as in [`Dropped::field`].
    pub field: String,
    /// What is the matter.
    pub message: String,
}

impl Refused {
    /// This field, in these words.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Why an answer, or a piece of a stream, is none.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadAnswer {
    /// The provider reports an error in place of an answer.
    #[error("the provider reports an error: {}", .0.message)]
    Error(Box<UpstreamErrorBody>),
    /// It is not JSON.
    #[error("the provider's answer is not JSON")]
    NotJson,
    /// It is JSON, but no answer.
    #[error("the provider's answer breaks its format: {0}")]
    Broken(String),
}

/// A stream that ended before its answer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider's stream ended in the middle of the answer")]
pub struct Truncated;

/// Reads a provider's stream. It is fed one frame after the other: the data of a server-sent event, a line of NDJSON, a message
/// of an AWS event stream.
pub trait StreamDecoder: std::fmt::Debug {
    /// Take a frame; what it says is added to `out`. `name` is the event's name where the framing has one. Says whether the
    /// answer is now over: nothing that follows is looked at.
    ///
    /// # Errors
    /// The provider's error, or a breach of the format. The stream is not usable any more.
    fn frame(&mut self, name: Option<&str>, data: &[u8], out: &mut Vec<Event>) -> Result<bool, BadAnswer>;

    /// The stream ended. Open blocks are closed and stops that were held back are given.
    ///
    /// # Errors
    /// The answer was not over.
    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Truncated>;
}

/// Writes a client's stream.
pub trait StreamEncoder: std::fmt::Debug {
    /// Write an event.
    fn event(&mut self, event: &Event, out: &mut BytesMut);

    /// Write the end of a whole answer.
    fn finish(&mut self, out: &mut BytesMut);

    /// Write the error that ends an answer in the middle, so that no client takes it for whole.
    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut);

    /// What keeps the connection alive without saying anything.
    fn heartbeat(&self) -> Bytes;

    /// Write a note of one line for whoever looks for it: clients pass it over. Server-sent events have comments for that.
    fn note(&mut self, note: &str, out: &mut BytesMut) {
        out.extend_from_slice(b": ");
        out.extend_from_slice(note.as_bytes());
        out.extend_from_slice(b"\n\n");
    }
}
