//! A block of a request as it is written.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::cache::CacheControl;

/// A block and its cache mark.
#[derive(Debug, Serialize)]
pub(crate) struct Block {
    #[serde(flatten)]
    pub(crate) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<CacheControl>,
}

/// The kinds that are written member by member; any other is JSON as it came.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Kind {
    Text {
        text: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        citations: Vec<Box<RawValue>>,
    },
    Image {
        source: Source,
    },
    Document {
        source: Source,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    ToolUse {
        id: String,
        name: String,
        input: Box<RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        caller: Option<Value>,
    },
    ToolResult {
        tool_use_id: String,
        #[serde(skip_serializing_if = "Content::is_empty")]
        content: Content,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    Thinking {
        thinking: String,
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    #[serde(untagged)]
    Native(Value),
}

/// A text or a list of blocks.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

/// Where the bytes of an image or a document are.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Source {
    Base64 { media_type: String, data: String },
    Url { url: String },
    File { file_id: String },
    Text { media_type: &'static str, data: String },
}

impl Content {
    /// Blocks, as a text where that says the same.
    pub(crate) fn of(mut blocks: Vec<Block>) -> Self {
        match blocks.as_mut_slice() {
            [Block { kind: Kind::Text { text, citations }, cache_control: None }] if citations.is_empty() => {
                Self::Text(std::mem::take(text))
            }
            _ => Self::Blocks(blocks),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Blocks(blocks) if blocks.is_empty())
    }

    /// All cache marks, in order.
    pub(crate) fn marks(&mut self) -> Vec<&mut Option<CacheControl>> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::Blocks(blocks) => blocks.iter_mut().flat_map(Block::marks).collect(),
        }
    }
}

impl Block {
    /// A block without a mark.
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, cache_control: None }
    }

    fn marks(&mut self) -> Vec<&mut Option<CacheControl>> {
        let mut marks = match &mut self.kind {
            Kind::ToolResult { content, .. } => content.marks(),
            _ => Vec::new(),
        };
        marks.push(&mut self.cache_control);
        marks
    }
}
