//! The pieces of a client's contents.

use serde_json::Value;

use super::{media, seals};
use crate::bad_request::BadRequest;
use crate::chat::read::Fields;
use crate::chat::{Part, PartKind, Seal, Source, Thinking, ToolCall, ToolResult};
use crate::pairing::Calls;

/// Reads a list of parts, or a single one; results of tools come first.
pub(super) fn read(parts: Value, path: &str, calls: &mut Calls) -> Result<Vec<Part>, BadRequest> {
    let list = match parts {
        Value::Array(list) => list,
        one => vec![one],
    };
    let mut out = Vec::with_capacity(list.len());
    for (index, part) in list.into_iter().enumerate() {
        if let Value::String(text) = part {
            out.push(Part::text(text));
            continue;
        }
        let whole = part.clone();
        one(Fields::of(part, format!("{path}[{index}]"))?, whole, calls, &mut out)?;
    }
    out.sort_by_key(|part| !matches!(part.kind, PartKind::ToolResult(_)));
    Ok(out)
}

fn one(mut part: Fields, whole: Value, calls: &mut Calls, out: &mut Vec<Part>) -> Result<(), BadRequest> {
    let seal = part.text("thoughtSignature")?.filter(|seal| !seal.is_empty());
    let seal = seal.map(|field| seals::read(&field));
    let thought = part.flag("thought")?.unwrap_or(false);
    if let Some(text) = part.text("text")? {
        text_part(text, thought, seal, out);
    } else if let Some(call) = part.object("functionCall")? {
        out.push(function_call(call, seal, calls)?);
    } else if let Some(result) = part.object("functionResponse")? {
        out.push(function_response(result, calls)?);
    } else if let Some(data) = part.object("inlineData")? {
        out.push(inline_data(data)?);
    } else if let Some(data) = part.object("fileData")? {
        out.push(file_data(data)?);
    } else if seal.is_some() {
        text_part(String::new(), false, seal, out);
    } else if part.clone().rest().is_empty() {
        return Err(part.missing("text"));
    } else {
        out.push(Part::new(PartKind::Native(whole)));
    }
    Ok(())
}

/// A thought goes on with the thought before it until a seal closes it: streams bring both in pieces.
fn text_part(text: String, thought: bool, seal: Option<Seal>, out: &mut Vec<Part>) {
    if thought {
        match out.last_mut().map(|part| &mut part.kind) {
            Some(PartKind::Thinking(last)) if last.seal.is_none() => {
                last.text.push_str(&text);
                last.seal = seal;
            }
            _ => out.push(Part::new(PartKind::Thinking(Thinking { text, seal, ..Thinking::default() }))),
        }
        return;
    }
    if seal.is_some() {
        out.push(Part::new(PartKind::Thinking(Thinking { seal, ..Thinking::default() })));
        if text.is_empty() {
            return;
        }
    }
    out.push(Part::text(text));
}

fn function_call(mut call: Fields, seal: Option<Seal>, calls: &mut Calls) -> Result<Part, BadRequest> {
    let name = call.required_text("name")?;
    let id = calls.call(call.text("id")?, &name);
    let arguments = call.object("args")?.map_or_else(|| "{}".to_owned(), |args| written(args.rest_with_nulls()));
    Ok(Part::new(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal })))
}

fn written(members: serde_json::Map<String, Value>) -> String {
    Value::Object(members).to_string()
}

fn function_response(mut result: Fields, calls: &mut Calls) -> Result<Part, BadRequest> {
    let name = result.required_text("name")?;
    let (call_id, _) = calls.result(result.text("id")?, Some(&name));
    let response = result.object("response")?.map(Fields::rest_with_nulls).unwrap_or_default();
    let (text, is_error) = said(response);
    let mut parts = vec![Part::text(text)];
    for mut part in result.objects("parts")? {
        if let Some(data) = part.object("inlineData")? {
            parts.push(inline_data(data)?);
        } else if let Some(data) = part.object("fileData")? {
            parts.push(file_data(data)?);
        }
    }
    Ok(Part::new(PartKind::ToolResult(ToolResult { call_id, name: Some(name), parts, is_error, custom: false })))
}

/// What a result says: the one text it is wrapped in, or the object as JSON.
fn said(response: serde_json::Map<String, Value>) -> (String, bool) {
    if response.len() == 1 {
        for (wrapper, is_error) in [("result", false), ("output", false), ("error", true)] {
            match response.get(wrapper) {
                Some(Value::String(text)) => return (text.clone(), is_error),
                Some(other) if is_error => return (other.to_string(), true),
                _ => {}
            }
        }
    }
    (written(response), false)
}

fn inline_data(mut data: Fields) -> Result<Part, BadRequest> {
    let mime = data.required_text("mimeType")?;
    let bytes = data.required_text("data")?;
    let name = data.text("displayName")?;
    Ok(media::part(Source::Base64 { mime, data: standard(bytes) }, name))
}

/// Python writes URL-safe Base64, the neutral model the standard one.
fn standard(data: String) -> String {
    if data.contains(['-', '_']) { data.replace('-', "+").replace('_', "/") } else { data }
}

fn file_data(mut data: Fields) -> Result<Part, BadRequest> {
    let url = data.required_text("fileUri")?;
    let mime = data.text("mimeType")?.filter(|mime| !mime.is_empty());
    let name = data.text("displayName")?;
    Ok(media::part(Source::Url { url, mime }, name))
}
