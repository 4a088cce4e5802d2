//! A client's request.

use serde_json::Value;

use super::{decode_config, decode_parts, keys, schema};
use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{Format, Message, Part, Request, Role, Tool, ToolChoice, ToolKind};
use crate::pairing::Calls;

/// Checks and reads a request for `generateContent` or `streamGenerateContent`; model and stream stand in its path.
///
/// # Errors
/// The field that is missing, of the wrong type, or of an unknown value.
pub fn decode_request(body: &[u8], model: &str, stream: bool) -> Result<Request, BadRequest> {
    read(keys::body(body)?, model, stream)
}

/// The same from members whose keys are camelCase.
pub(super) fn read(mut body: Fields, model: &str, stream: bool) -> Result<Request, BadRequest> {
    let mut request = Request::new(Format::Gemini, model);
    request.stream = stream;
    // It stands in the path; some clients repeat it.
    body.take("model");
    let mut calls = Calls::default();
    request.messages.extend(instruction(&mut body, &mut calls)?);
    request.messages.extend(contents(&mut body, &mut calls)?);
    request.tools = tools(&mut body)?;
    tool_config(&mut body, &mut request)?;
    if let Some(config) = body.object("generationConfig")? {
        decode_config::read(config, &mut request)?;
    }
    let nested = std::mem::take(&mut request.rest);
    request.rest = body.rest();
    request.rest.extend(nested);
    Ok(request)
}

fn instruction(body: &mut Fields, calls: &mut Calls) -> Result<Option<Message>, BadRequest> {
    let path = body.at("systemInstruction");
    let parts = match body.take("systemInstruction") {
        None => return Ok(None),
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(parts)) => decode_parts::read(Value::Array(parts), &path, calls)?,
        Some(content) => {
            let mut content = Fields::of(content, path)?;
            let path = content.at("parts");
            content.take("parts").map(|parts| decode_parts::read(parts, &path, calls)).transpose()?.unwrap_or_default()
        }
    };
    Ok((!parts.is_empty()).then(|| Message::new(Role::System, parts)))
}

fn contents(body: &mut Fields, calls: &mut Calls) -> Result<Vec<Message>, BadRequest> {
    let list = match body.take("contents") {
        None => return Err(body.missing("contents")),
        Some(Value::Array(list)) if list.is_empty() => return Err(body.missing("contents")),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    let path = body.at("contents");
    let mut messages = Vec::with_capacity(list.len());
    for (index, content) in list.into_iter().enumerate() {
        calls.next_turn();
        messages.extend(self::content(content, format!("{path}[{index}]"), calls)?);
    }
    Ok(messages)
}

fn content(content: Value, path: String, calls: &mut Calls) -> Result<Option<Message>, BadRequest> {
    if let Value::String(text) = content {
        return Ok(Some(Message::text(Role::User, text)));
    }
    let mut content = Fields::of(content, path)?;
    let role = match content.text("role")?.as_deref() {
        None | Some("" | "user" | "function") => Role::User,
        Some("model") => Role::Assistant,
        Some(other) => return Err(content.unknown("role", other)),
    };
    let path = content.at("parts");
    let parts = match content.take("parts") {
        Some(parts) => decode_parts::read(parts, &path, calls)?,
        // What a client keeps of an answer that was cut before its first word.
        None if role == Role::Assistant => Vec::new(),
        None => return Err(content.missing("parts")),
    };
    if parts.is_empty() && role == Role::User {
        return Err(content.missing("parts"));
    }
    Ok((!parts.is_empty()).then(|| Message::new(role, parts)))
}

fn tools(body: &mut Fields) -> Result<Vec<Tool>, BadRequest> {
    let path = body.at("tools");
    let list = match body.take("tools") {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(tool @ Value::Object(_)) => vec![tool],
        Some(_) => return Err(wrong_type(&path, "a list")),
    };
    let mut tools = Vec::new();
    for (index, tool) in list.into_iter().enumerate() {
        let mut tool = Fields::of(tool, format!("{path}[{index}]"))?;
        for declaration in tool.objects("functionDeclarations")? {
            tools.push(function(declaration)?);
        }
        for (name, value) in tool.rest() {
            let native = Value::Object([(name, value)].into_iter().collect());
            tools.push(Tool { kind: ToolKind::Native(native), cache: None });
        }
    }
    Ok(tools)
}

fn function(mut declaration: Fields) -> Result<Tool, BadRequest> {
    let name = declaration.required_text("name")?;
    let description = declaration.text("description")?;
    let json_schema = declaration.take("parametersJsonSchema");
    let parameters = declaration.take("parameters").map(schema::from_open_api);
    let schema = json_schema.or(parameters);
    if schema.as_ref().is_some_and(|schema| !schema.is_object()) {
        return Err(wrong_type(&declaration.at("parameters"), "an object"));
    }
    Ok(Tool { kind: ToolKind::Function { name, namespace: None, description, schema, strict: None }, cache: None })
}

fn tool_config(body: &mut Fields, request: &mut Request) -> Result<(), BadRequest> {
    let Some(mut config) = body.object("toolConfig")? else { return Ok(()) };
    if let Some(mut calling) = config.object("functionCallingConfig")? {
        let mut names = calling.texts("allowedFunctionNames")?;
        let mode = calling.text("mode")?.map(|mode| mode.to_ascii_uppercase());
        request.tool_choice = match mode.as_deref() {
            None | Some("" | "MODE_UNSPECIFIED") => None,
            Some("AUTO") => Some(ToolChoice::Auto),
            Some("NONE") => Some(ToolChoice::None),
            Some("ANY") if names.len() == 1 => names.pop().map(ToolChoice::Named),
            Some("ANY") if names.is_empty() => Some(ToolChoice::Required),
            Some("ANY") => Some(ToolChoice::Allowed { required: true, names }),
            Some("VALIDATED") if names.is_empty() => Some(ToolChoice::Auto),
            Some("VALIDATED") => Some(ToolChoice::Allowed { required: false, names }),
            Some(other) => return Err(calling.unknown("mode", other)),
        };
    }
    let left = config.rest().into_iter().map(|(name, value)| (format!("toolConfig.{name}"), value));
    request.rest.extend(left);
    Ok(())
}
