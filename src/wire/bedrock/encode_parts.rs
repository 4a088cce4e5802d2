//! Writing the pieces of a conversation.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::block::{Block, Bytes, CachePoint, Document, Reasoning, Source};
use crate::anthropic::json::arguments_object;
use crate::anthropic::native;
use crate::chat::ids::{Names, Spelling};
use crate::chat::lost::Misfit;
use crate::chat::{self, Dropped, Family, Media, Part, PartKind, Request, Thinking, ToolResult};

/// Points of one request at most.
const MAX_POINTS: usize = 4;
/// A message with a document must say something too.
const BESIDE_DOCUMENT: &str = "(see the document)";

const IMAGES: &[(&str, &str)] = &[
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("image/jpg", "jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
];
const DOCUMENTS: &[(&str, &str)] = &[
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("text/plain", "txt"),
    ("application/json", "txt"),
];
const SOUNDS: &[(&str, &str)] = &[
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("audio/mpeg", "mp3"),
    ("audio/mp3", "mp3"),
    ("audio/flac", "flac"),
    ("audio/ogg", "ogg"),
];
const VIDEOS: &[(&str, &str)] = &[
    ("video/mp4", "mp4"),
    ("video/quicktime", "mov"),
    ("video/webm", "webm"),
    ("video/x-matroska", "mkv"),
    ("video/mpeg", "mpeg"),
    ("video/3gpp", "three_gp"),
];

/// What writing a piece needs to know.
#[derive(Debug)]
pub(crate) struct PartWriter<'a> {
    names: &'a Names,
    /// How many documents were written: their names must differ.
    documents: usize,
    /// Cache points that must be left out yet, from the front.
    surplus: usize,
}

impl<'a> PartWriter<'a> {
    /// A writer for this request.
    pub(crate) fn new(request: &Request, names: &'a Names, dropped: &mut Vec<Dropped>) -> Self {
        let hinted = |part: &&Part| part.cache.is_some();
        let parts = request.messages.iter().flat_map(|message| &message.parts).filter(hinted).count();
        let tools = request.tools.iter().filter(|tool| tool.cache.is_some()).count();
        let surplus = parts.saturating_add(tools).saturating_sub(MAX_POINTS);
        if surplus > 0 {
            dropped.push(Dropped::new("cache_control", "the format takes four points; the first ones were left out"));
        }
        Self { names, documents: 0, surplus }
    }

    /// The point behind something, unless it is one too many.
    pub(crate) fn point(&mut self, hint: Option<&chat::CacheHint>) -> Option<CachePoint> {
        let point = CachePoint::of(hint?);
        let kept = self.surplus == 0;
        self.surplus = self.surplus.saturating_sub(1);
        kept.then_some(point)
    }

    /// A message's blocks. Expects parts without a [`misfit`].
    pub(crate) fn blocks(&mut self, parts: &[Part]) -> Vec<Block> {
        let mut blocks = Vec::with_capacity(parts.len());
        for part in parts {
            blocks.extend(self.block(part));
            if !matches!(part.kind, PartKind::Thinking(_)) {
                blocks.extend(self.point(part.cache.as_ref()).map(Block::CachePoint));
            }
        }
        let has = |test: fn(&Block) -> bool| blocks.iter().any(test);
        if has(|block| matches!(block, Block::Document(_))) && !has(|block| matches!(block, Block::Text(_))) {
            blocks.push(Block::Text(BESIDE_DOCUMENT.to_owned()));
        }
        blocks
    }

    fn block(&mut self, part: &Part) -> Option<Block> {
        Some(match &part.kind {
            PartKind::Text { text, .. } | PartKind::Refusal(text) => Block::Text(text.clone()),
            PartKind::Image(media) => Block::Image(bytes(media, IMAGES)?),
            PartKind::Audio(media) => Block::Audio(bytes(media, SOUNDS)?),
            PartKind::Video(media) => Block::Video(bytes(media, VIDEOS)?),
            PartKind::File(media) => self.document(media)?,
            PartKind::ToolCall(call) => Block::ToolUse {
                tool_use_id: Spelling::OPENAI.fit(&call.id),
                name: self.names.upstream(&call.name, call.namespace.as_deref(), Spelling::OPENAI),
                input: arguments_object(&call.arguments, call.custom),
            },
            PartKind::ToolResult(result) => self.result(result),
            PartKind::Thinking(thinking) => Block::ReasoningContent(reasoning(thinking)?),
            PartKind::Native(_) => return None,
        })
    }

    fn document(&mut self, media: &Media) -> Option<Block> {
        let Bytes { format, source } = bytes(media, DOCUMENTS)?;
        self.documents = self.documents.saturating_add(1);
        let name = document_name(media.name.as_deref().unwrap_or("document"), self.documents);
        Some(Block::Document(Document { format, name, source }))
    }

    fn result(&mut self, result: &ToolResult) -> Block {
        let says_something = |part: &&Part| part.as_text().is_none_or(|text| !text.trim().is_empty());
        let parts: Vec<Part> = result.parts.iter().filter(says_something).cloned().collect();
        let mut content: Vec<Block> = parts.iter().filter_map(|part| self.block(part)).collect();
        if content.is_empty() {
            content.push(Block::Text("(no result)".to_owned()));
        }
        let status = if result.is_error { "error" } else { "success" };
        Block::ToolResult { tool_use_id: Spelling::OPENAI.fit(&result.call_id), content, status }
    }
}

/// Why a part has no place here.
pub(super) fn misfit(part: &Part) -> Option<Misfit> {
    let fits = match &part.kind {
        PartKind::Image(media) => bytes(media, IMAGES).is_some(),
        PartKind::Audio(media) => bytes(media, SOUNDS).is_some(),
        PartKind::Video(media) => bytes(media, VIDEOS).is_some(),
        PartKind::File(media) => bytes(media, DOCUMENTS).is_some(),
        PartKind::Thinking(thinking) if reasoning(thinking).is_none() => {
            return Some(Misfit::aside("thinking", "thoughts without the provider's own signature are refused"));
        }
        PartKind::Native(value) => {
            return Some(Misfit::aside(native::kind(value).to_owned(), "only its own format knows it"));
        }
        _ => return None,
    };
    let only_bytes = "the format takes bytes of the usual kinds, neither URLs nor stored files";
    (!fits).then(|| Misfit::content(part.kind.word(), only_bytes))
}

fn bytes(media: &Media, formats: &[(&str, &'static str)]) -> Option<Bytes> {
    let (mime, bytes) = match &media.source {
        chat::Source::Base64 { mime, data } => (mime.as_str(), data.clone()),
        chat::Source::Text(text) => ("text/plain", BASE64_STANDARD.encode(text)),
        chat::Source::Url { .. } | chat::Source::FileId(_) => return None,
    };
    let kind = mime.split(';').next().unwrap_or_default().trim();
    let format = formats.iter().find(|(known, _)| known.eq_ignore_ascii_case(kind)).map(|(_, format)| *format)?;
    Some(Bytes { format, source: Source { bytes } })
}

fn reasoning(thinking: &Thinking) -> Option<Reasoning> {
    let seal = thinking.seal.as_ref().filter(|seal| seal.family == Family::Anthropic)?;
    Some(if thinking.redacted {
        Reasoning::RedactedContent(seal.data.clone())
    } else {
        Reasoning::ReasoningText { text: thinking.text.clone(), signature: seal.data.clone() }
    })
}

/// Letters, digits, hyphens, brackets and single blanks; the number keeps names apart.
fn document_name(name: &str, number: usize) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-()[]".contains(c) { c } else { ' ' };
    let spaced: String = stem.chars().take(120).map(allowed).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    format!("{} {number}", words.join(" ")).trim().to_owned()
}
