//! What a message is made of.

use serde_json::Value;

use super::codec::Family;

/// One piece of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// The client asks the provider to cache the prompt up to here.
    pub cache: Option<CacheHint>,
}

impl Part {
    /// A piece without a cache hint.
    pub const fn new(kind: PartKind) -> Self {
        Self { kind, cache: None }
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(PartKind::Text { text: text.into(), citations: Vec::new() })
    }

    /// Characters that the model reads of it, bytes that are not text left out.
    pub fn chars(&self) -> u64 {
        let count = |text: &str| text.chars().count() as u64;
        match &self.kind {
            PartKind::Text { text, .. } | PartKind::Refusal(text) => count(text),
            PartKind::Thinking(thinking) => count(&thinking.text),
            PartKind::ToolCall(call) => count(&call.name) + count(&call.arguments),
            PartKind::ToolResult(result) => result.parts.iter().map(Self::chars).sum(),
            PartKind::Native(value) => count(&value.to_string()),
            PartKind::File(Media { source: Source::Text(text), .. }) => count(text),
            PartKind::Image(_) | PartKind::Audio(_) | PartKind::Video(_) | PartKind::File(_) => 0,
        }
    }

    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            PartKind::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The kinds of pieces.
#[derive(Debug, Clone, PartialEq)]
pub enum PartKind {
    /// Text, with what it cites.
    Text {
        /// The text.
        text: String,
        /// Where it comes from.
        citations: Vec<Citation>,
    },
    /// A picture.
    Image(Media),
    /// Sound.
    Audio(Media),
    /// A moving picture.
    Video(Media),
    /// A document, mostly PDF.
    File(Media),
    /// The model calls a tool.
    ToolCall(ToolCall),
    /// What the tool answered. It stands in a message of the user.
    ToolResult(ToolResult),
    /// What the model thought.
    Thinking(Thinking),
    /// The model declines, in its own words.
    Refusal(String),
    /// Something that only its own format knows (a hosted tool's call or result), as it was written.
    Native(Value),
}

impl PartKind {
    /// What it is called where it is reported.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image(_) => "image",
            Self::Audio(_) => "audio",
            Self::Video(_) => "video",
            Self::File(_) => "file",
            Self::ToolCall(_) => "tool_call",
            Self::ToolResult(_) => "tool_result",
            Self::Thinking(_) => "thinking",
            Self::Refusal(_) => "refusal",
            Self::Native(_) => "native",
        }
    }
}

/// Bytes that are not text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Where they are.
    pub source: Source,
    /// How closely to look (`auto`, `low`, `high`).
    pub detail: Option<String>,
    /// What the file is called; for documents also their title.
    pub name: Option<String>,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Here, in standard Base64.
    Base64 {
        /// The media type, such as `image/png`.
        mime: String,
        /// The Base64 text.
        data: String,
    },
    /// Behind a URL.
    Url {
        /// The URL.
        url: String,
        /// The media type, if the client said it.
        mime: Option<String>,
    },
    /// In the file store of one provider family.
    FileId(String),
    /// Plain text that stands as a document.
    Text(String),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Pairs call and result. Formats without ids get one made from the place in the conversation.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The group of tools it belongs to (Responses only).
    pub namespace: Option<String>,
    /// The arguments as the model wrote them: JSON text for functions, any text for custom tools.
    pub arguments: String,
    /// A custom tool: its input is text, not JSON.
    pub custom: bool,
    /// What proves to the provider that this call is its own.
    pub seal: Option<Seal>,
}

impl ToolCall {
    /// The arguments, with the empty text that some providers write for "none" read as an empty object.
    pub fn arguments_or_empty(&self) -> &str {
        if self.arguments.trim().is_empty() { "{}" } else { &self.arguments }
    }
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// Which call.
    pub call_id: String,
    /// The tool, where the format names it (Gemini, Ollama).
    pub name: Option<String>,
    /// Text, images, files.
    pub parts: Vec<Part>,
    /// The tool failed.
    pub is_error: bool,
    /// The answer to a custom tool's call.
    pub custom: bool,
}

/// A piece of reasoning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Thinking {
    /// The provider's name for it (Responses: the reasoning item).
    pub id: Option<String>,
    /// What may be read of it; empty when the provider shows nothing.
    pub text: String,
    /// The text is a summary, not the thought itself.
    pub summary: bool,
    /// The provider hides it altogether: there is only the seal.
    pub redacted: bool,
    /// What proves it, or holds it encrypted.
    pub seal: Option<Seal>,
}

/// A signature or an encrypted block that only its maker can read.
///
/// Handed to a client of another format it is written as `omr1.<family>.<data>`, so that it is recognised when it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Who made it.
    pub family: Family,
    /// The bytes, in the maker's own text form.
    pub data: String,
}

const SEAL_MARK: &str = "omr1.";

impl Seal {
    /// How it is written in a field of a format whose own seals are of family `native`.
    pub fn to_field(&self, native: Family) -> String {
        if self.family == native {
            self.data.clone()
        } else {
            format!("{SEAL_MARK}{}.{}", self.family.as_str(), self.data)
        }
    }

    /// What such a field holds.
    pub fn from_field(field: &str, native: Family) -> Self {
        let marked = field.strip_prefix(SEAL_MARK).and_then(|rest| rest.split_once('.'));
        match marked.and_then(|(family, data)| Some((Family::parse(family)?, data))) {
            Some((family, data)) => Self { family, data: data.to_owned() },
            None => Self { family: native, data: field.to_owned() },
        }
    }
}

/// A request to cache the prompt up to some place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheHint {
    /// For how long: `5m` or `1h`; the provider's default otherwise.
    pub ttl: Option<String>,
}

/// Where a text comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Citation {
    /// The source's address.
    pub url: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// The words of the source.
    pub quote: Option<String>,
    /// Where the cited stretch of the answer's text begins and ends, in characters.
    pub span: Option<(u64, u64)>,
    /// As its own format wrote it, to be given back to that format only.
    pub native: Option<(Family, String)>,
}
