//! Writing the pieces of a conversation for a provider.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::block::{Block, Content, Kind, Source};
use super::cache::CacheControl;
use super::json::arguments_object;
use super::{citation, native};
use crate::chat::ids::{Names, Spelling};
use crate::chat::lost::Misfit;
use crate::chat::{self, Family, Format, Media, Part, PartKind, Request, Thinking, ToolCall, ToolResult};

/// What writing a piece needs to know.
#[derive(Debug)]
pub(crate) struct PartWriter<'a> {
    pub(crate) request: &'a Request,
    pub(crate) names: &'a Names,
    /// Who may have called a tool, by the call's id.
    pub(crate) callers: HashMap<String, Value>,
}

impl PartWriter<'_> {
    /// Why a part has no place here.
    pub(crate) fn misfit(&self, part: &Part) -> Option<Misfit> {
        let own = self.request.from == Format::Anthropic;
        let (word, is_carried, why) = match &part.kind {
            PartKind::Audio(_) => ("audio", false, "the format has no audio"),
            PartKind::Video(_) => ("video", false, "the format has no video"),
            PartKind::Image(media) => ("image", source(media, own, true).is_some(), "the file is another provider's"),
            PartKind::File(media) => {
                let why = "the format takes only PDF and text, and no other provider's files";
                ("file", source(media, own, false).is_some(), why)
            }
            PartKind::Thinking(thinking) if !is_own(thinking) => {
                return Some(Misfit::aside("thinking", "thoughts without the provider's own signature are refused"));
            }
            PartKind::Native(value) if !own => {
                return Some(Misfit::aside(native::kind(value).to_owned(), "only its own format knows it"));
            }
            _ => return None,
        };
        (!is_carried).then(|| Misfit::content(word, why))
    }

    /// A message's blocks. Expects parts without a [`Self::misfit`].
    pub(crate) fn blocks(&self, parts: &[Part]) -> Vec<Block> {
        parts.iter().filter_map(|part| self.block(part)).collect()
    }

    fn block(&self, part: &Part) -> Option<Block> {
        let own = self.request.from == Format::Anthropic;
        let kind = match &part.kind {
            PartKind::Text { text, citations } => {
                let citations = citations.iter().filter_map(citation::for_provider).collect();
                Kind::Text { text: text.clone(), citations }
            }
            PartKind::Refusal(text) => Kind::Text { text: text.clone(), citations: Vec::new() },
            PartKind::Image(media) => Kind::Image { source: source(media, own, true)? },
            PartKind::File(media) => Kind::Document { source: source(media, own, false)?, title: media.name.clone() },
            PartKind::ToolCall(call) => self.call(call),
            PartKind::ToolResult(result) => self.result(result),
            PartKind::Thinking(thinking) => return thought(thinking),
            PartKind::Native(value) => Kind::Native(value.clone()),
            PartKind::Audio(_) | PartKind::Video(_) => return None,
        };
        Some(Block { kind, cache_control: CacheControl::of(part.cache.as_ref()) })
    }

    /// Another provider's proof of a call is of no use here, and the client still holds it.
    fn call(&self, call: &ToolCall) -> Kind {
        Kind::ToolUse {
            id: Spelling::ANTHROPIC.fit(&call.id),
            name: self.names.upstream(&call.name, call.namespace.as_deref(), Spelling::ANTHROPIC),
            input: arguments_object(&call.arguments, call.custom),
            caller: self.callers.get(&call.id).cloned(),
        }
    }

    fn result(&self, result: &ToolResult) -> Kind {
        let says_something = |part: &&Part| part.as_text().is_none_or(|text| !text.trim().is_empty());
        let parts: Vec<Part> = result.parts.iter().filter(says_something).cloned().collect();
        Kind::ToolResult {
            tool_use_id: Spelling::ANTHROPIC.fit(&result.call_id),
            content: Content::of(self.blocks(&parts)),
            is_error: result.is_error,
        }
    }
}

/// A thought that the provider itself sealed.
pub(crate) fn is_own(thinking: &Thinking) -> bool {
    thinking.seal.as_ref().is_some_and(|seal| seal.family == Family::Anthropic)
}

/// A mark is not allowed on a thought.
fn thought(thinking: &Thinking) -> Option<Block> {
    let seal = thinking.seal.as_ref().filter(|seal| seal.family == Family::Anthropic)?;
    Some(Block::new(if thinking.redacted {
        Kind::RedactedThinking { data: seal.data.clone() }
    } else {
        Kind::Thinking { thinking: thinking.text.clone(), signature: seal.data.clone() }
    }))
}

/// Where a picture or a document is, if the format can say it.
fn source(media: &Media, own: bool, image: bool) -> Option<Source> {
    match &media.source {
        chat::Source::Base64 { mime, data } if image || mime == "application/pdf" => {
            let media_type = if mime == "image/jpg" { "image/jpeg" } else { mime }.to_owned();
            Some(Source::Base64 { media_type, data: data.clone() })
        }
        chat::Source::Base64 { mime, data } if is_text(mime) => {
            let text = String::from_utf8(BASE64_STANDARD.decode(data).ok()?).ok()?;
            Some(Source::Text { media_type: "text/plain", data: text })
        }
        chat::Source::Base64 { mime, data } => {
            own.then(|| Source::Base64 { media_type: mime.clone(), data: data.clone() })
        }
        chat::Source::Url { url, .. } => Some(Source::Url { url: url.clone() }),
        chat::Source::FileId(id) => own.then(|| Source::File { file_id: id.clone() }),
        chat::Source::Text(text) => (!image).then(|| Source::Text { media_type: "text/plain", data: text.clone() }),
    }
}

fn is_text(mime: &str) -> bool {
    let kind = mime.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/") || matches!(kind, "application/json" | "application/xml" | "application/yaml")
}
