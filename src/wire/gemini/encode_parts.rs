//! Contents for Google.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::encode_request::Writing;
use super::media;
use crate::chat::ids::Spelling;
use crate::chat::lost::Misfit;
use crate::chat::{Family, Message, Part, PartKind, Role, Seal, Source, ToolCall, ToolResult};

/// What Google publishes for calls that another model made.
const SKIP: &str = "skip_thought_signature_validator";

/// Why a part can never reach Google: another model's thought, a file of another store, another provider's own piece.
pub(super) fn misfit(own: bool, role: Role, part: &Part) -> Option<Misfit> {
    let word = part.kind.word();
    match &part.kind {
        PartKind::Thinking(thinking) => {
            let family = thinking.seal.as_ref().map(|seal| seal.family);
            let stays = family == Some(Family::Google) || (family.is_none() && own);
            (!stays).then(|| Misfit::aside(word, "another model thought it"))
        }
        PartKind::Native(_) if !own => Some(Misfit::aside(word, "only its own provider knows it")),
        PartKind::Image(media) | PartKind::Audio(media) | PartKind::Video(media) | PartKind::File(media) => {
            // Google's own files are URLs.
            let lost = matches!(media.source, Source::FileId(_));
            let why = "it lies in the file store of another provider; its bytes or a URL can be sent";
            if role.instructs() {
                Some(Misfit::aside(word, "Gemini's instructions are texts"))
            } else {
                lost.then(|| Misfit::content(word, why))
            }
        }
        _ => None,
    }
}

fn is_question(message: &Message) -> bool {
    let says = |part: &Part| !matches!(part.kind, PartKind::ToolResult(_));
    message.role == Role::User && message.parts.iter().any(says)
}

/// All turns as JSON text.
pub(super) fn contents(writing: &Writing<'_>, turns: &[Message]) -> String {
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
            _ => user_parts(writing, &turn.parts),
        };
        if !parts.is_empty() {
            let role = if turn.role == Role::Assistant { "model" } else { "user" };
            contents.push(format!("{{\"role\":\"{role}\",\"parts\":[{}]}}", parts.join(",")));
        }
    }
    format!("[{}]", contents.join(","))
}

fn is_call(part: &Part) -> bool {
    matches!(part.kind, PartKind::ToolCall(_))
}

/// What the model said. A seal without words belongs to the piece behind it, if that is a text or a call without one.
fn model_parts(writing: &Writing<'_>, parts: &[Part], is_current: bool) -> Vec<String> {
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
            PartKind::ToolResult(_) => {}
            _ => out.extend(bytes_of(part)),
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

fn user_parts(writing: &Writing<'_>, parts: &[Part]) -> Vec<String> {
    let mut out = Vec::with_capacity(parts.len());
    let mut beside = Vec::new();
    for part in parts {
        match &part.kind {
            PartKind::Text { text, .. } | PartKind::Refusal(text) => out.push(json!({"text": text}).to_string()),
            PartKind::ToolResult(result) => out.push(function_response(writing, result, &mut beside)),
            PartKind::Native(native) => out.push(native.to_string()),
            PartKind::ToolCall(_) | PartKind::Thinking(_) => {}
            _ => out.extend(bytes_of(part)),
        }
    }
    out.extend(beside);
    out
}

/// A piece that is no text, if it is one.
fn bytes_of(part: &Part) -> Option<String> {
    let json = match &part.kind {
        PartKind::Image(bytes) => media::json(bytes, true),
        PartKind::Audio(bytes) | PartKind::Video(bytes) | PartKind::File(bytes) => media::json(bytes, false),
        _ => None,
    };
    json.map(|json| json.to_string())
}

/// A result. Its images stand in it where the model reads them there, else behind all results.
fn function_response(writing: &Writing<'_>, result: &ToolResult, beside: &mut Vec<String>) -> String {
    let name = writing.names.chosen(result.name.as_deref().unwrap_or("unknown"), Spelling::GEMINI);
    let id = Spelling::ANTHROPIC.fit(&result.call_id);
    let texts: Vec<&str> = result.parts.iter().filter_map(Part::as_text).collect();
    let mut inner = Vec::new();
    for bytes in result.parts.iter().filter_map(bytes_of) {
        let place = if writing.model.third() || writing.own() { &mut inner } else { &mut *beside };
        place.push(bytes);
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
