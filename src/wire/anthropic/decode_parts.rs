//! Reading the content of a client's messages.

use serde_json::{Map, Value};

use super::{citation, native, rest};
use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{CacheHint, Citation, Family, Media, Part, PartKind, Seal, Source, Thinking, ToolCall, ToolResult};

type Read<T> = Result<T, BadRequest>;

/// Members of a document that the neutral model does not know.
const DOCUMENT_EXTRAS: [&str; 2] = ["context", "citations"];

/// Reads the blocks of one message.
pub(crate) struct PartReader<'a> {
    /// Where members go that have no other place.
    pub(crate) rest: &'a mut Map<String, Value>,
    /// The path of what holds the blocks, in neutral messages and parts.
    pub(crate) path: String,
    /// The inputs of its calls as they were written, by block.
    pub(crate) inputs: &'a [Option<&'a str>],
}

impl PartReader<'_> {
    /// A text, or a list of blocks.
    pub(crate) fn content(&mut self, content: Option<Value>, path: &str) -> Read<Vec<Part>> {
        let blocks = match content {
            Some(Value::String(text)) => return Ok(vec![Part::text(text)]),
            Some(Value::Array(blocks)) => blocks,
            Some(_) => return Err(wrong_type(path, "a string or a list of content blocks")),
            None => {
                let message = format!("Missing required parameter: '{path}'");
                return Err(BadRequest::new(message, path, "missing_required_parameter"));
            }
        };
        let mut parts: Vec<Part> = Vec::with_capacity(blocks.len());
        let mut waiting = None;
        for (index, block) in blocks.into_iter().enumerate() {
            if native::kind(&block) != "tool_use" {
                put_back(&mut parts, waiting.take());
            }
            let mut part = self.block(block, &format!("{path}[{index}]"), (index, parts.len()))?;
            if let PartKind::ToolCall(call) = &mut part.kind {
                call.seal = waiting.take();
            }
            match call_seal(&part) {
                Some(seal) => waiting = Some(seal),
                None => parts.push(part),
            }
        }
        put_back(&mut parts, waiting);
        Ok(parts)
    }

    /// `place` is the block's number in its list, and its number among the parts.
    fn block(&mut self, block: Value, path: &str, place: (usize, usize)) -> Read<Part> {
        let kind = native::kind(&block).to_owned();
        let mut fields = Fields::of(block.clone(), path)?;
        fields.required_text("type")?;
        let cache = cache_hint(&mut fields)?;
        let kind = match kind.as_str() {
            "text" => text(&mut fields)?,
            "image" => PartKind::Image(media(source(&mut fields)?.0, None)),
            "document" => self.document(fields, block, place.1)?,
            "tool_use" => self.call(&mut fields, place)?,
            "tool_result" => self.result(&mut fields, place.1)?,
            "thinking" => thinking(&mut fields)?,
            "redacted_thinking" => redacted(&mut fields)?,
            _ => native_block(block),
        };
        Ok(Part { kind, cache })
    }

    fn document(&mut self, mut fields: Fields, block: Value, at: usize) -> Read<PartKind> {
        let (source, raw) = source(&mut fields)?;
        // Blocks with images inside have no neutral form.
        if matches!(&source, Source::Text(text) if text.is_empty() && raw.is_some()) {
            return Ok(native_block(block));
        }
        let title = fields.text("title")?;
        let extras = DOCUMENT_EXTRAS.iter().filter_map(|name| Some((*name, fields.take(name)?)));
        for (name, value) in extras.chain(raw.map(|raw| ("source", raw))) {
            self.rest.insert(rest::part_path(&self.path, at, name), value);
        }
        Ok(PartKind::File(media(source, title)))
    }

    fn call(&mut self, fields: &mut Fields, place: (usize, usize)) -> Read<PartKind> {
        let id = fields.required_text("id")?;
        let name = fields.required_text("name")?;
        let input = fields.object("input")?.ok_or_else(|| fields.missing("input"))?;
        let written = self.inputs.get(place.0).copied().flatten();
        let arguments = written.map_or_else(|| Value::Object(input.all()).to_string(), str::to_owned);
        if let Some(caller) = fields.take("caller") {
            self.rest.insert(rest::part_path(&self.path, place.1, "caller"), caller);
        }
        Ok(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None }))
    }

    fn result(&mut self, fields: &mut Fields, at: usize) -> Read<PartKind> {
        let call_id = fields.required_text("tool_use_id")?;
        let is_error = fields.flag("is_error")?.unwrap_or(false);
        let path = fields.at("content");
        let parts = match fields.take("content") {
            None => Vec::new(),
            content => {
                let inner = format!("{}.content[{at}]", self.path);
                PartReader { rest: self.rest, path: inner, inputs: &[] }.content(content, &path)?
            }
        };
        Ok(PartKind::ToolResult(ToolResult { call_id, name: None, parts, is_error, custom: false }))
    }
}

fn text(fields: &mut Fields) -> Read<PartKind> {
    let text = fields.required_text("text")?;
    let citations = fields.list("citations")?.unwrap_or_default();
    Ok(PartKind::Text { text, citations: citations.iter().filter_map(citation_of).collect() })
}

/// One that was made up for the client by [`citation::for_client`] says nothing that a provider could check.
fn citation_of(value: &Value) -> Option<Citation> {
    let raw = serde_json::value::to_raw_value(value).ok()?;
    Some(citation::read(&raw))
}

fn thinking(fields: &mut Fields) -> Read<PartKind> {
    let text = fields.text("thinking")?.unwrap_or_default();
    let signature = fields.text("signature")?.filter(|signature| !signature.is_empty());
    let seal = signature.map(|signature| Seal::from_field(&signature, Family::Anthropic));
    Ok(PartKind::Thinking(Thinking { text, seal, ..Thinking::default() }))
}

fn redacted(fields: &mut Fields) -> Read<PartKind> {
    let seal = Some(Seal::from_field(&fields.required_text("data")?, Family::Anthropic));
    Ok(PartKind::Thinking(Thinking { redacted: true, seal, ..Thinking::default() }))
}

/// The mark is kept beside, where it is counted.
fn native_block(mut block: Value) -> PartKind {
    if let Value::Object(members) = &mut block {
        members.shift_remove("cache_control");
    }
    PartKind::Native(block)
}

const fn media(source: Source, name: Option<String>) -> Media {
    Media { source, detail: None, name }
}

/// A source, and its JSON where the neutral form says less. Blocks that are not all text come as an empty text.
fn source(fields: &mut Fields) -> Read<(Source, Option<Value>)> {
    let raw = fields.peek("source").cloned();
    let mut source = fields.object("source")?.ok_or_else(|| fields.missing("source"))?;
    let kind = source.required_text("type")?;
    let mime = |source: &mut Fields| source.required_text("media_type");
    let read = match kind.as_str() {
        "base64" => Source::Base64 { mime: mime(&mut source)?, data: source.required_text("data")? },
        "url" => Source::Url { url: source.required_text("url")?, mime: None },
        "file" => Source::FileId(source.required_text("file_id")?),
        "text" => Source::Text(source.required_text("data")?),
        "content" => return Ok((Source::Text(texts_of(source.take("content"))), raw)),
        other => return Err(source.unknown("type", other)),
    };
    Ok((read, None))
}

/// The texts of a content source; empty when there is anything but text.
fn texts_of(content: Option<Value>) -> String {
    let text = |block: &Value| Some(block.get("text")?.as_str()?.to_owned());
    match content {
        Some(Value::String(text)) => text,
        Some(Value::Array(blocks)) => {
            let texts: Option<Vec<String>> = blocks.iter().map(text).collect();
            texts.unwrap_or_default().join("\n\n")
        }
        _ => String::new(),
    }
}

/// The mark on a block or a tool.
pub(crate) fn cache_hint(fields: &mut Fields) -> Read<Option<CacheHint>> {
    let Some(mut control) = fields.object("cache_control")? else { return Ok(None) };
    Ok(Some(CacheHint { ttl: control.text("ttl")? }))
}

/// Google's models prove their calls, which this format has no place for; a client holds the proof as an empty thought.
fn call_seal(part: &Part) -> Option<Seal> {
    match &part.kind {
        PartKind::Thinking(thinking) if thinking.text.is_empty() && !thinking.redacted => {
            thinking.seal.clone().filter(|seal| seal.family == Family::Google)
        }
        _ => None,
    }
}

/// A proof that no call followed: the call before takes it, or it stays a thought.
fn put_back(parts: &mut Vec<Part>, seal: Option<Seal>) {
    let Some(seal) = seal else { return };
    match parts.last_mut().map(|part| &mut part.kind) {
        Some(PartKind::ToolCall(call)) if call.seal.is_none() => call.seal = Some(seal),
        _ => parts.push(Part::new(PartKind::Thinking(Thinking { seal: Some(seal), ..Thinking::default() }))),
    }
}
