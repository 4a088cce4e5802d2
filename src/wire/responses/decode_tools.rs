//! Reading the tools of a request and the choice among them.

use serde_json::{Map, Value, json};

use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{Request, Tool, ToolChoice, ToolKind};

type Read<T> = Result<T, BadRequest>;

/// The descriptions of namespaces, which the model has no place for.
pub(super) const NAMESPACES: &str = "tools.namespaces";

/// Reads `tools`, and those that the conversation offers.
pub(super) fn tools(
    body: &mut Fields,
    offered: Vec<Value>,
    request: &mut Request,
    rest: &mut Map<String, Value>,
) -> Read<()> {
    let mut descriptions = Map::new();
    let listed = body.list("tools")?.unwrap_or_default();
    for (index, value) in listed.into_iter().chain(offered).enumerate() {
        tool(value, &format!("tools[{index}]"), &mut request.tools, &mut descriptions)?;
    }
    if !descriptions.is_empty() {
        rest.insert(NAMESPACES.to_owned(), Value::Object(descriptions));
    }
    Ok(())
}

fn tool(value: Value, path: &str, tools: &mut Vec<Tool>, descriptions: &mut Map<String, Value>) -> Read<()> {
    let mut fields = Fields::of(value.clone(), path)?;
    let kind = match fields.required_text("type")?.as_str() {
        "function" => function(fields, None)?,
        "custom" => custom(fields, None)?,
        "namespace" => return namespace(fields, tools, descriptions),
        _ => ToolKind::Native(value),
    };
    tools.push(Tool { kind, cache: None });
    Ok(())
}

fn function(mut fields: Fields, namespace: Option<String>) -> Read<ToolKind> {
    Ok(ToolKind::Function {
        name: fields.required_text("name")?,
        namespace,
        description: fields.text("description")?,
        schema: schema(&mut fields, "parameters")?,
        strict: fields.flag("strict")?,
    })
}

fn custom(mut fields: Fields, namespace: Option<String>) -> Read<ToolKind> {
    Ok(ToolKind::Custom {
        name: fields.required_text("name")?,
        namespace,
        description: fields.text("description")?,
        format: fields.take("format"),
    })
}

/// A group of tools. Its functions and custom tools are tools like others; what else is in it only this format can offer.
fn namespace(mut fields: Fields, tools: &mut Vec<Tool>, descriptions: &mut Map<String, Value>) -> Read<()> {
    let name = fields.required_text("name")?;
    let description = fields.text("description")?.unwrap_or_default();
    let path = fields.at("tools");
    for (index, value) in fields.list("tools")?.unwrap_or_default().into_iter().enumerate() {
        let mut member = Fields::of(value.clone(), format!("{path}[{index}]"))?;
        let kind = match member.text("type")?.as_deref() {
            Some("function") | None => function(member, Some(name.clone()))?,
            Some("custom") => custom(member, Some(name.clone()))?,
            Some(_) => ToolKind::Native(
                json!({"type": "namespace", "name": name, "description": description, "tools": [value]}),
            ),
        };
        tools.push(Tool { kind, cache: None });
    }
    if !description.is_empty() {
        descriptions.insert(name, Value::String(description));
    }
    Ok(())
}

/// A JSON Schema, with its nulls.
pub(super) fn schema(fields: &mut Fields, name: &str) -> Read<Option<Value>> {
    match fields.take(name) {
        None => Ok(None),
        Some(schema @ Value::Object(_)) => Ok(Some(schema)),
        Some(_) => Err(wrong_type(&fields.at(name), "an object")),
    }
}

/// Reads `tool_choice`. One of a hosted tool has no neutral name and stays in `rest`.
pub(super) fn choice(body: &mut Fields, request: &mut Request, rest: &mut Map<String, Value>) -> Read<()> {
    let Some(value) = body.take("tool_choice") else { return Ok(()) };
    request.tool_choice = match &value {
        Value::String(word) => Some(match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            other => return Err(body.unknown("tool_choice", other)),
        }),
        Value::Object(_) => shaped(Fields::of(value.clone(), "tool_choice")?)?,
        _ => return Err(wrong_type("tool_choice", "a string or an object")),
    };
    if request.tool_choice.is_none() {
        rest.insert("tool_choice".to_owned(), value);
    }
    Ok(())
}

fn shaped(mut choice: Fields) -> Read<Option<ToolChoice>> {
    match choice.required_text("type")?.as_str() {
        "function" | "custom" => Ok(Some(ToolChoice::Named(choice.required_text("name")?))),
        "allowed_tools" => allowed(choice),
        _ => Ok(None),
    }
}

fn allowed(mut choice: Fields) -> Read<Option<ToolChoice>> {
    let required = match choice.text("mode")?.as_deref() {
        Some("required") => true,
        Some("auto") | None => false,
        Some(other) => return Err(choice.unknown("mode", other)),
    };
    let mut names = Vec::new();
    for mut tool in choice.objects("tools")? {
        match tool.text("name")? {
            Some(name) if matches!(tool.peek("type").and_then(Value::as_str), None | Some("function" | "custom")) => {
                names.push(name);
            }
            // A hosted tool among them: leaving it out would forbid it.
            _ => return Ok(None),
        }
    }
    Ok(Some(ToolChoice::Allowed { required, names }))
}
