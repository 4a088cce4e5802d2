//! Reading the items of `input`: the conversation as a flat list, in which calls, results and thoughts are no messages.
//!
//! What the model said without a pause (thoughts, texts, calls) becomes one message of the assistant, and results that follow
//! each other one message of the user: so calls and results stay together in formats that know only messages.

use serde_json::Value;

use super::marks::{self, Mark};
use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{
    CacheHint, Citation, Family, Media, Message, Part, PartKind, Role, Seal, Source, Thinking, ToolCall, ToolResult,
};

type Read<T> = Result<T, BadRequest>;

/// Reads `input` behind what is in `messages` already. Tools that the conversation itself offers are given back.
pub(super) fn input(body: &mut Fields, messages: &mut Vec<Message>) -> Read<Vec<Value>> {
    let elsewhere = ["previous_response_id", "conversation", "prompt"].iter().any(|name| body.peek(name).is_some());
    let mut items = Items { messages, held: None, seals: Vec::new(), offered: Vec::new() };
    match body.take("input") {
        Some(Value::String(text)) => items.messages.push(Message::text(Role::User, text)),
        Some(Value::Array(list)) if elsewhere || !list.is_empty() => {
            for (index, item) in list.into_iter().enumerate() {
                items.item(Fields::of(item, format!("input[{index}]"))?)?;
            }
            items.release();
            items.place_seals();
        }
        None if elsewhere => {}
        Some(Value::Array(_)) | None => return Err(body.missing("input")),
        Some(_) => return Err(wrong_type("input", "a string or a list of items")),
    }
    Ok(items.offered)
}

struct Items<'a> {
    messages: &'a mut Vec<Message>,
    /// A seal without a thought: it belongs to the call that follows, if one does.
    held: Option<Thinking>,
    /// Seals that name their call.
    seals: Vec<(String, Seal)>,
    offered: Vec<Value>,
}

impl Items<'_> {
    fn item(&mut self, mut item: Fields) -> Read<()> {
        let kind = item.text("type")?.unwrap_or_else(|| "message".to_owned());
        match kind.as_str() {
            "message" => self.message(item),
            "function_call" | "custom_tool_call" => self.call(item, kind == "custom_tool_call"),
            "function_call_output" | "custom_tool_call_output" => self.result(item, kind == "custom_tool_call_output"),
            "reasoning" => self.thinking(item),
            "additional_tools" => {
                self.offered.extend(item.list("tools")?.unwrap_or_default());
                Ok(())
            }
            "compaction" | "compaction_summary" => {
                self.compaction(item, kind);
                Ok(())
            }
            _ => {
                self.native(item, kind);
                Ok(())
            }
        }
    }

    fn message(&mut self, mut item: Fields) -> Read<()> {
        let role = match item.required_text("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            "developer" => Role::Developer,
            other => return Err(item.unknown("role", other)),
        };
        let parts = contents(&mut item, "content")?.ok_or_else(|| item.missing("content"))?;
        if role == Role::Assistant {
            parts.into_iter().for_each(|part| self.said(part));
        } else {
            self.release();
            self.messages.push(Message::new(role, parts));
        }
        Ok(())
    }

    fn call(&mut self, mut item: Fields, custom: bool) -> Read<()> {
        let arguments = item.text(if custom { "input" } else { "arguments" })?.unwrap_or_default();
        let seal = self.held.take_if(|held| held.seal.as_ref().is_some_and(|seal| seal.family == Family::Google));
        let call = ToolCall {
            id: item.required_text("call_id")?,
            name: item.required_text("name")?,
            namespace: item.text("namespace")?,
            arguments,
            custom,
            seal: seal.and_then(|held| held.seal),
        };
        self.said(Part::new(PartKind::ToolCall(call)));
        Ok(())
    }

    fn result(&mut self, mut item: Fields, custom: bool) -> Read<()> {
        let result = ToolResult {
            call_id: item.required_text("call_id")?,
            name: None,
            parts: contents(&mut item, "output")?.ok_or_else(|| item.missing("output"))?,
            is_error: false,
            custom,
        };
        self.answered(Part::new(PartKind::ToolResult(result)));
        Ok(())
    }

    fn thinking(&mut self, mut item: Fields) -> Read<()> {
        self.release();
        let id = item.text("id")?;
        let summary = texts(item.objects("summary")?)?;
        let content = texts(item.objects("content")?)?;
        let mark = item.text("encrypted_content")?.filter(|field| !field.is_empty()).map(|field| Mark::read(&field));
        let (redacted, call) = mark.as_ref().map_or((false, None), |mark| (mark.redacted, mark.call.clone()));
        let seal = mark.map(|mark| mark.seal);
        if let (Some(call), Some(seal)) = (call, &seal) {
            self.seals.push((call, seal.clone()));
            return Ok(());
        }
        let is_summary = !summary.is_empty() || content.is_empty();
        let text = if is_summary { summary } else { content };
        let thinking = Thinking { id, text, summary: is_summary, redacted, seal };
        let bare_google = thinking.seal.as_ref().is_some_and(|seal| seal.family == Family::Google);
        if bare_google && thinking.text.is_empty() {
            self.held = Some(thinking);
        } else {
            self.said(Part::new(PartKind::Thinking(thinking)));
        }
        Ok(())
    }

    fn compaction(&mut self, item: Fields, kind: String) {
        let field = item.peek("encrypted_content").and_then(Value::as_str);
        match field.and_then(marks::read_summary) {
            Some(summary) => {
                self.release();
                self.messages.push(Message::text(Role::Developer, summary));
            }
            None => self.native(item, kind),
        }
    }

    /// What only this format knows stays as it was, on the side that says it.
    fn native(&mut self, item: Fields, kind: String) {
        let by_client = kind.ends_with("_output") || kind == "mcp_approval_response" || kind == "compaction_trigger";
        let mut whole = serde_json::Map::from_iter([("type".to_owned(), Value::from(kind))]);
        whole.extend(item.rest());
        let part = Part::new(PartKind::Native(Value::Object(whole)));
        if by_client { self.answered(part) } else { self.said(part) }
    }

    fn said(&mut self, part: Part) {
        self.release();
        self.add(Role::Assistant, part, |_| true);
    }

    fn answered(&mut self, part: Part) {
        self.release();
        let is_result = |part: &Part| matches!(part.kind, PartKind::ToolResult(_) | PartKind::Native(_));
        self.add(Role::User, part, is_result);
    }

    fn add(&mut self, role: Role, part: Part, joins: fn(&Part) -> bool) {
        match self.messages.last_mut() {
            Some(last) if last.role == role && last.parts.iter().all(joins) => last.parts.push(part),
            _ => self.messages.push(Message::new(role, vec![part])),
        }
    }

    /// A seal that no call took is a thought of its own.
    fn release(&mut self) {
        if let Some(thinking) = self.held.take() {
            self.add(Role::Assistant, Part::new(PartKind::Thinking(thinking)), |_| true);
        }
    }

    /// Each call gets the seal that names it.
    fn place_seals(&mut self) {
        for part in self.messages.iter_mut().flat_map(|message| &mut message.parts) {
            let PartKind::ToolCall(call) = &mut part.kind else { continue };
            if let Some(at) = self.seals.iter().position(|(id, _)| *id == call.id) {
                call.seal = Some(self.seals.swap_remove(at).1);
            }
        }
    }
}

/// A text, or a list of contents.
fn contents(item: &mut Fields, name: &str) -> Read<Option<Vec<Part>>> {
    match item.peek(name) {
        None => Ok(None),
        Some(Value::String(_)) => Ok(item.text(name)?.map(|text| vec![Part::text(text)])),
        Some(Value::Array(_)) => item.objects(name)?.into_iter().map(content).collect::<Read<_>>().map(Some),
        Some(_) => Err(wrong_type(&item.at(name), "a string or a list of contents")),
    }
}

fn content(mut item: Fields) -> Read<Part> {
    let kind = item.required_text("type")?;
    let cache = cache_hint(&mut item)?;
    let kind = match kind.as_str() {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => {
            let annotations = item.list("annotations")?.unwrap_or_default();
            let citations = annotations.iter().filter_map(super::citation::read).collect::<Vec<Citation>>();
            PartKind::Text { text: item.required_text("text")?, citations }
        }
        "refusal" => PartKind::Refusal(item.required_text("refusal")?),
        "input_image" => PartKind::Image(image(&mut item)?),
        "input_file" => PartKind::File(file(&mut item)?),
        "input_audio" => PartKind::Audio(audio(&mut item)?),
        "computer_screenshot" => PartKind::Image(image(&mut item)?),
        other => return Err(item.unknown("type", other)),
    };
    Ok(Part { kind, cache })
}

fn image(item: &mut Fields) -> Read<Media> {
    let url = item.text("image_url")?.map(Source::from_url);
    let id = item.text("file_id")?.map(Source::FileId);
    let source = url.or(id).ok_or_else(|| item.missing("image_url"))?;
    Ok(Media { source, detail: item.text("detail")?, name: None })
}

fn file(item: &mut Fields) -> Read<Media> {
    let name = item.text("filename")?;
    let data = item.text("file_data")?.map(|data| file_data(data, name.as_deref()));
    let url = item.text("file_url")?.map(|url| Source::Url { url, mime: None });
    let id = item.text("file_id")?.map(Source::FileId);
    let source = data.or(url).or(id).ok_or_else(|| item.missing("file_data"))?;
    Ok(Media { source, detail: item.text("detail")?, name })
}

/// Some clients leave the `data:` head out.
fn file_data(data: String, name: Option<&str>) -> Source {
    if data.starts_with("data:") {
        return Source::from_url(data);
    }
    let extension = name.and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension.to_ascii_lowercase());
    let mime = match extension.as_deref() {
        Some("txt" | "md" | "csv") => "text/plain",
        _ => "application/pdf",
    };
    Source::Base64 { mime: mime.to_owned(), data }
}

fn audio(item: &mut Fields) -> Read<Media> {
    let mut inner = item.object("input_audio")?.ok_or_else(|| item.missing("input_audio"))?;
    let data = inner.required_text("data")?;
    let mime = match inner.required_text("format")?.as_str() {
        "mp3" => "audio/mpeg".to_owned(),
        format => format!("audio/{format}"),
    };
    Ok(Media { source: Source::Base64 { mime, data }, detail: None, name: None })
}

/// The provider knows half an hour and twelve; the model five minutes (the default everywhere) and an hour.
fn cache_hint(item: &mut Fields) -> Read<Option<CacheHint>> {
    let Some(mut point) = item.object("prompt_cache_breakpoint")? else { return Ok(None) };
    let ttl = point.text("ttl")?.filter(|ttl| ttl == "12h").map(|_| "1h".to_owned());
    Ok(Some(CacheHint { ttl }))
}

fn texts(parts: Vec<Fields>) -> Read<String> {
    let texts = parts.into_iter().map(|mut part| Ok(part.text("text")?.unwrap_or_default()));
    Ok(texts.collect::<Read<Vec<String>>>()?.join("\n\n"))
}
