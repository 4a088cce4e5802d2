//! A block as it is written: an object with one member.

use serde::Serialize;
use serde_json::value::RawValue;

/// The kinds of blocks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Block {
    Text(String),
    Image(Bytes),
    Audio(Bytes),
    Video(Bytes),
    Document(Document),
    #[serde(rename_all = "camelCase")]
    ToolUse {
        tool_use_id: String,
        name: String,
        input: Box<RawValue>,
    },
    #[serde(rename_all = "camelCase")]
    ToolResult {
        tool_use_id: String,
        content: Vec<Self>,
        status: &'static str,
    },
    ReasoningContent(Reasoning),
    CachePoint(CachePoint),
}

/// Bytes of a format.
#[derive(Debug, Serialize)]
pub(crate) struct Bytes {
    pub(crate) format: &'static str,
    pub(crate) source: Source,
}

/// A document; its name is mandatory.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    pub(crate) format: &'static str,
    pub(crate) name: String,
    pub(crate) source: Source,
}

/// Base64.
#[derive(Debug, Serialize)]
pub(crate) struct Source {
    pub(crate) bytes: String,
}

/// What the model thought.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reasoning {
    ReasoningText { text: String, signature: String },
    RedactedContent(String),
}

/// The prompt is cached up to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct CachePoint {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

impl CachePoint {
    /// The point for a hint.
    pub(crate) fn of(hint: &crate::chat::CacheHint) -> Self {
        Self { r#type: "default", ttl: (hint.ttl.as_deref() == Some("1h")).then_some("1h") }
    }
}
