//! Reading the tools of a request, and the functions of older clients.

use serde_json::Value;

use super::decode_parts::cache_hint;
use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{Request, Tool, ToolChoice, ToolKind};

/// Reads everything about tools into the request.
pub(super) fn tools(fields: &mut Fields, request: &mut Request) -> Result<(), BadRequest> {
    if fields.peek("tools").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        let message = "'tools' must not be empty; leave it out instead";
        return Err(BadRequest::new(message, "tools", "invalid_value"));
    }
    let tools = fields.objects("tools")?.into_iter().map(tool);
    request.tools = tools.collect::<Result<_, _>>()?;
    let functions = fields.objects("functions")?;
    request.functions_form = request.tools.is_empty() && !functions.is_empty();
    for mut function in functions {
        let cache = cache_hint(&mut function)?;
        request.tools.push(Tool { kind: function_kind(function)?, cache });
    }
    let old_choice = function_call(fields)?;
    request.tool_choice = tool_choice(fields)?.or(old_choice);
    request.parallel_tools = fields.flag("parallel_tool_calls")?;
    Ok(())
}

fn tool(mut fields: Fields) -> Result<Tool, BadRequest> {
    let kind = fields.peek("type").cloned();
    let kind = match kind {
        Some(Value::String(kind)) => kind,
        None if fields.peek("function").is_some() => "function".to_owned(),
        None => return Err(fields.missing("type")),
        Some(_) => return Err(wrong_type(&fields.at("type"), "a string")),
    };
    let cache = cache_hint(&mut fields)?;
    let kind = match kind.as_str() {
        "function" => function_kind(fields.object("function")?.ok_or_else(|| fields.missing("function"))?)?,
        "custom" => custom_kind(fields.object("custom")?.ok_or_else(|| fields.missing("custom"))?)?,
        _ => ToolKind::Native(Value::Object(fields.rest())),
    };
    Ok(Tool { kind, cache })
}

fn function_kind(mut function: Fields) -> Result<ToolKind, BadRequest> {
    let schema = function.take("parameters");
    if schema.as_ref().is_some_and(|schema| !schema.is_object()) {
        return Err(wrong_type(&function.at("parameters"), "an object"));
    }
    Ok(ToolKind::Function {
        name: name(&mut function)?,
        namespace: None,
        description: function.text("description")?,
        schema,
        strict: function.flag("strict")?,
    })
}

fn custom_kind(mut custom: Fields) -> Result<ToolKind, BadRequest> {
    Ok(ToolKind::Custom {
        name: name(&mut custom)?,
        namespace: None,
        description: custom.text("description")?,
        format: custom.take("format"),
    })
}

fn name(fields: &mut Fields) -> Result<String, BadRequest> {
    let name = fields.required_text("name")?;
    if name.is_empty() { Err(fields.missing("name")) } else { Ok(name) }
}

fn tool_choice(fields: &mut Fields) -> Result<Option<ToolChoice>, BadRequest> {
    match fields.peek("tool_choice") {
        None => Ok(None),
        Some(Value::String(_)) => {
            let word = fields.required_text("tool_choice")?;
            choice_word(&word).map(Some).ok_or_else(|| fields.unknown("tool_choice", &word))
        }
        Some(_) => {
            let object =
                fields.object("tool_choice").map_err(|_| wrong_type("tool_choice", "a string or an object"))?;
            object.map(choice_object).transpose()
        }
    }
}

fn choice_word(word: &str) -> Option<ToolChoice> {
    Some(match word {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" | "any" => ToolChoice::Required,
        _ => return None,
    })
}

fn choice_object(mut choice: Fields) -> Result<ToolChoice, BadRequest> {
    let kind = choice.required_text("type")?;
    match kind.as_str() {
        "function" | "custom" | "tool" => Ok(ToolChoice::Named(named(choice, &kind)?)),
        "allowed_tools" => match choice.object("allowed_tools")? {
            Some(allowed) => allowed_tools(allowed),
            None => allowed_tools(choice),
        },
        word => choice_word(word).ok_or_else(|| choice.unknown("type", word)),
    }
}

/// The name under the tool's kind, or beside it as other formats have it.
fn named(mut choice: Fields, kind: &str) -> Result<String, BadRequest> {
    match choice.object(kind)? {
        Some(mut tool) => name(&mut tool),
        None if choice.peek("name").is_some() => name(&mut choice),
        None => Err(choice.missing(kind)),
    }
}

fn allowed_tools(mut allowed: Fields) -> Result<ToolChoice, BadRequest> {
    let mode = allowed.text("mode")?.unwrap_or_else(|| "auto".to_owned());
    let required = match mode.as_str() {
        "auto" => false,
        "required" => true,
        other => return Err(allowed.unknown("mode", other)),
    };
    let name_of = |mut tool: Fields| {
        let kind = tool.text("type")?.unwrap_or_else(|| "function".to_owned());
        named(tool, &kind)
    };
    let names = allowed.objects("tools")?.into_iter().map(name_of).collect::<Result<_, _>>()?;
    Ok(ToolChoice::Allowed { required, names })
}

/// The choice of older clients: `none`, `auto` or `{"name": ..}`.
fn function_call(fields: &mut Fields) -> Result<Option<ToolChoice>, BadRequest> {
    match fields.take("function_call") {
        None => Ok(None),
        Some(Value::String(word)) => choice_word(&word).map(Some).ok_or_else(|| fields.unknown("function_call", &word)),
        Some(choice) => {
            let mut choice = Fields::of(choice, "function_call")
                .map_err(|_| wrong_type("function_call", "a string or an object"))?;
            name(&mut choice).map(|name| Some(ToolChoice::Named(name)))
        }
    }
}
