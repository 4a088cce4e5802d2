//! Contents for Google.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::encode_request::Writing;
use super::media;
use crate::chat::ids::Spelling;
use crate::chat::{Family, Media, Message, Part, PartKind, Refused, Role, Seal, Source, ToolCall, ToolResult};

/// What Google publishes for calls that another model made.
const SKIP: &str = "skip_thought_signature_validator";

/// The messages without what can never reach Google: other models' thoughts, files of other stores, other providers' own pieces.
pub(super) fn without_foreign(writing: &mut Writing<'_>, messages: Vec<Message>) -> Vec<Message> {
    let offset = writing.request.messages.len().saturating_sub(messages.len());
    let mut kept = Vec::with_capacity(messages.len());
    for (at, mut message) in messages.into_iter().enumerate() {
        let place = format!("messages[{}]", at + offset);
        message.parts.retain(|part| may_stay(writing, part, &place));
        kept.push(message);
    }
    kept
}

fn may_stay(writing: &mut Writing<'_>, part: &Part, place: &str) -> bool {
    match &part.kind {
        PartKind::Thinking(thinking) => {
            let family = thinking.seal.as_ref().map(|seal| seal.family);
            let stays = family == Some(Family::Google) || (family.is_none() && writing.own());
            if !stays {
                writing.drop(format!("{place}.thinking"), "another model thought it");
            }
            stays
        }
        PartKind::Native(_) if !writing.own() => {
            writing.drop(format!("{place}.native"), "only its own provider knows it");
            false
        }
        PartKind::Image(Media { detail: Some(detail), .. }) if detail != "auto" => {
            writing.drop(format!("{place}.detail"), "Gemini chooses how closely it looks");
            true
        }
        _ => true,
    }
}

/// All turns as JSON text.
pub(super) fn contents(writing: &mut Writing<'_>, turns: &[Message]) -> Result<String, Refused> {
    let says = |part: &Part| !matches!(part.kind, PartKind::ToolResult(_));
    let is_question = |message: &Message| message.role == Role::User && message.parts.iter().any(says);
    let last_question = turns.iter().rposition(is_question);
    let mut contents = Vec::with_capacity(turns.len());
    let starts_with_call =
        turns.first().is_some_and(|turn| turn.role == Role::Assistant && turn.parts.iter().any(is_call));
    if starts_with_call && !writing.own() {
        contents.push(r#"{"role":"user","parts":[{"text":"(conversation continues)"}]}"#.to_owned());
    }
    for (at, turn) in turns.iter().enumerate() {
        let turn_is_current = last_question.is_none_or(|question| at > question);
        let parts = match turn.role {
            Role::Assistant => model_parts(writing, &turn.parts, turn_is_current),
            _ => user_parts(writing, &turn.parts, last_question == Some(at))?,
        };
        if !parts.is_empty() {
            let role = if turn.role == Role::Assistant { "model" } else { "user" };
            contents.push(format!("{{\"role\":\"{role}\",\"parts\":[{}]}}", parts.join(",")));
        }
    }
    Ok(format!("[{}]", contents.join(",")))
}

fn is_call(part: &Part) -> bool {
    matches!(part.kind, PartKind::ToolCall(_))
}

/// What the model said. A seal without words belongs to the piece behind it, if that is a text or a call without one.
fn model_parts(writing: &mut Writing<'_>, parts: &[Part], is_current: bool) -> Vec<String> {
    let mut out = Vec::with_capacity(parts.len());
    let mut waiting: Option<&Seal> = None;
    let mut calls = 0;
    for (at, part) in parts.iter().enumerate() {
        let takes_seal = match parts.get(at + 1).map(|next| &next.kind) {
            Some(PartKind::Text { .. }) => true,
            Some(PartKind::ToolCall(call)) => call.seal.is_none(),
            _ => false,
        };
        match &part.kind {
            PartKind::Thinking(thinking) if thinking.text.is_empty() => match &thinking.seal {
                Some(seal) if takes_seal => waiting = Some(seal),
                Some(seal) => out.push(signed(json!({"text": ""}), Some(seal))),
                None => {}
            },
            PartKind::Thinking(thinking) => {
                let next_is_call = parts.get(at + 1).is_some_and(is_call) && takes_seal && !writing.own();
                let seal = thinking.seal.as_ref();
                waiting = seal.filter(|_| next_is_call);
                out.push(signed(json!({"text": thinking.text, "thought": true}), seal.filter(|_| !next_is_call)));
            }
            PartKind::ToolCall(call) => {
                calls += 1;
                let own = call.seal.as_ref().filter(|seal| seal.family == Family::Google);
                let must = is_current && calls == 1 && writing.model.third();
                let skip = Seal { family: Family::Google, data: SKIP.to_owned() };
                let seal = own.or(waiting.take()).or(must.then_some(&skip));
                out.push(function_call(writing, call, seal));
            }
            PartKind::Text { text, .. } | PartKind::Refusal(text) => {
                out.push(signed(json!({"text": text}), waiting.take()));
            }
            PartKind::Native(native) => out.push(native.to_string()),
            PartKind::Image(bytes) => out.extend(media::json(bytes, true).map(|value| value.to_string())),
            PartKind::Audio(bytes) | PartKind::Video(bytes) | PartKind::File(bytes) => {
                out.extend(media::json(bytes, false).map(|value| value.to_string()));
            }
            PartKind::ToolResult(_) => {}
        }
    }
    out
}

fn signed(mut part: Value, seal: Option<&Seal>) -> String {
    if let (Some(seal), Some(part)) = (seal, part.as_object_mut()) {
        part.insert("thoughtSignature".to_owned(), json!(seal.data));
    }
    part.to_string()
}

fn function_call(writing: &Writing<'_>, call: &ToolCall, seal: Option<&Seal>) -> String {
    let name = writing.names.upstream(&call.name, call.namespace.as_deref(), Spelling::GEMINI);
    let id = Spelling::ANTHROPIC.fit(&call.id);
    let arguments = arguments(call);
    let seal = seal.map(|seal| format!(",\"thoughtSignature\":{}", json!(seal.data))).unwrap_or_default();
    format!("{{\"functionCall\":{{\"id\":{},\"name\":{},\"args\":{arguments}}}{seal}}}", json!(id), json!(name))
}

/// The arguments as they are when they are an object; what is none is its one argument.
fn arguments(call: &ToolCall) -> String {
    let text = call.arguments_or_empty().trim();
    if call.custom || !is_object(text) { json!({"input": call.arguments}).to_string() } else { text.to_owned() }
}

fn is_object(text: &str) -> bool {
    text.starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()
}

fn user_parts(writing: &mut Writing<'_>, parts: &[Part], is_last: bool) -> Result<Vec<String>, Refused> {
    let mut out = Vec::with_capacity(parts.len());
    let mut beside = Vec::new();
    for part in parts {
        match &part.kind {
            PartKind::Text { text, .. } | PartKind::Refusal(text) => out.push(json!({"text": text}).to_string()),
            PartKind::Image(bytes) => out.extend(bytes_of(writing, bytes, "image", is_last)?),
            PartKind::Audio(bytes) => out.extend(bytes_of(writing, bytes, "audio", is_last)?),
            PartKind::Video(bytes) => out.extend(bytes_of(writing, bytes, "video", is_last)?),
            PartKind::File(bytes) => out.extend(bytes_of(writing, bytes, "file", is_last)?),
            PartKind::ToolResult(result) => out.push(function_response(writing, result, &mut beside)),
            PartKind::Native(native) => out.push(native.to_string()),
            PartKind::ToolCall(_) | PartKind::Thinking(_) => {}
        }
    }
    out.extend(beside);
    Ok(out)
}

/// A file in another provider's store cannot be fetched: the question needs it, an old turn can do without.
fn bytes_of(
    writing: &mut Writing<'_>,
    bytes: &Media,
    kind: &'static str,
    is_last: bool,
) -> Result<Option<String>, Refused> {
    if let (Source::FileId(_), true) = (&bytes.source, is_last) {
        let message = format!("The {kind} lies in the file store of another provider; send its bytes or a URL");
        return Err(Refused::new(format!("messages.{kind}"), message));
    }
    let json = media::json(bytes, kind == "image");
    if json.is_none() {
        writing.drop(format!("messages.{kind}"), "it lies in the file store of another provider");
    }
    Ok(json.map(|json| json.to_string()))
}

/// A result. Its images stand in it where the model reads them there, else behind all results.
fn function_response(writing: &mut Writing<'_>, result: &ToolResult, beside: &mut Vec<String>) -> String {
    let name = writing.names.chosen(result.name.as_deref().unwrap_or("unknown"), Spelling::GEMINI);
    let id = Spelling::ANTHROPIC.fit(&result.call_id);
    let texts: Vec<&str> = result.parts.iter().filter_map(Part::as_text).collect();
    let mut inner = Vec::new();
    for part in &result.parts {
        let bytes = match &part.kind {
            PartKind::Image(bytes) => media::json(bytes, true),
            PartKind::Audio(bytes) | PartKind::Video(bytes) | PartKind::File(bytes) => media::json(bytes, false),
            _ => continue,
        };
        match bytes {
            Some(bytes) if writing.model.third() || writing.own() => inner.push(bytes.to_string()),
            Some(bytes) => beside.push(bytes.to_string()),
            None => writing.drop("messages.tool_result.file", "it lies in the file store of another provider"),
        }
    }
    let response = response(&texts.join("\n"), result.is_error);
    let inner = if inner.is_empty() { String::new() } else { format!(",\"parts\":[{}]", inner.join(",")) };
    let (id, name) = (json!(id), json!(name));
    format!("{{\"functionResponse\":{{\"id\":{id},\"name\":{name},\"response\":{response}{inner}}}}}")
}

/// It must be an object: the text itself if it is one, else the text by its role.
fn response(text: &str, is_error: bool) -> String {
    match is_error {
        true => json!({"error": text}).to_string(),
        false if is_object(text.trim()) => text.trim().to_owned(),
        false => json!({"result": text}).to_string(),
    }
}
