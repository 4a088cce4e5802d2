//! Writing the tools of a request.

use serde_json::{Map, Value, json};

use super::encode_parts::cache_control;
use super::encode_request::{Writer, put};
use crate::chat::ids::Spelling;
use crate::chat::lost;
use crate::chat::{Tool, ToolChoice, ToolKind};

/// Writes everything about tools.
pub(super) fn tools(writer: &mut Writer<'_>, body: &mut Map<String, Value>) {
    let request = writer.request;
    let mut written = Vec::with_capacity(request.tools.len());
    for (index, tool) in request.tools.iter().enumerate() {
        if left_out(writer, tool) {
            continue;
        }
        match kind(writer, &tool.kind) {
            Some(mut object) => {
                if let Some(hint) = tool.cache.as_ref().filter(|_| writer.is_own()) {
                    object.insert("cache_control".into(), cache_control(hint));
                }
                written.push(Value::Object(object));
            }
            None => writer.drop(format!("tools[{index}]"), "a tool that only its own format's provider runs"),
        }
    }
    if written.is_empty() {
        writer.dropped.extend(lost::choice_of_nothing(request));
        return;
    }
    body.insert("tools".into(), written.into());
    put(body, "tool_choice", request.tool_choice.as_ref().map(|choice| tool_choice(writer, choice)));
    put(body, "parallel_tool_calls", request.parallel_tools);
}

/// A choice among some tools is made by offering no others, except for clients that know the newer way.
fn left_out(writer: &Writer<'_>, tool: &Tool) -> bool {
    let among = matches!(writer.request.tool_choice, Some(ToolChoice::Allowed { .. }));
    among && !writer.is_own() && lost::is_left_out(writer.request, &tool.kind)
}

fn kind(writer: &Writer<'_>, kind: &ToolKind) -> Option<Map<String, Value>> {
    let mut tool = Map::new();
    let (name, inner) = match kind {
        ToolKind::Function { name, namespace, description, schema, strict } => {
            let name = writer.names.upstream(name, namespace.as_deref(), Spelling::OPENAI);
            let no_arguments = (!writer.is_own()).then(|| json!({"type": "object", "properties": {}}));
            let mut inner = named(name, description.as_deref());
            put(&mut inner, "parameters", schema.clone().or(no_arguments));
            put(&mut inner, "strict", *strict);
            ("function", inner)
        }
        ToolKind::Custom { name, description, format, .. } if writer.is_own() => {
            let mut inner = named(writer.names.chosen(name, Spelling::OPENAI), description.as_deref());
            put(&mut inner, "format", format.clone());
            ("custom", inner)
        }
        ToolKind::Custom { name, namespace, description, format } => {
            let name = writer.names.upstream(name, namespace.as_deref(), Spelling::OPENAI);
            let mut inner = named(name, Some(&described(description.as_deref(), format.as_ref())));
            inner.insert("parameters".into(), text_argument());
            ("function", inner)
        }
        ToolKind::Native(Value::Object(native)) if writer.is_own() => return Some(native.clone()),
        ToolKind::Native(_) => return None,
    };
    tool.insert("type".into(), name.into());
    tool.insert(name.into(), Value::Object(inner));
    Some(tool)
}

fn named(name: String, description: Option<&str>) -> Map<String, Value> {
    let mut inner = Map::new();
    inner.insert("name".into(), name.into());
    put(&mut inner, "description", description);
    inner
}

/// Compatible providers do not know custom tools: theirs is a function of one text.
pub(crate) fn text_argument() -> Value {
    json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": false})
}

/// A grammar becomes words.
pub(crate) fn described(description: Option<&str>, format: Option<&Value>) -> String {
    let description = description.unwrap_or_default();
    let grammar = format.map(|format| format.get("grammar").unwrap_or(format));
    match grammar.and_then(|grammar| grammar.get("definition")).and_then(Value::as_str) {
        Some(definition) => format!("{description}\n\nThe input must follow this grammar:\n{definition}"),
        None => description.to_owned(),
    }
}

fn tool_choice(writer: &Writer<'_>, choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => tool_named(writer, name),
        ToolChoice::Allowed { required, names } if writer.is_own() => {
            let mode = if *required { "required" } else { "auto" };
            let tools: Vec<Value> = names.iter().map(|name| tool_named(writer, name)).collect();
            json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}})
        }
        ToolChoice::Allowed { required: true, .. } => "required".into(),
        ToolChoice::Allowed { required: false, .. } => "auto".into(),
    }
}

fn tool_named(writer: &Writer<'_>, name: &str) -> Value {
    let is_it = |tool: &&Tool| matches!(&tool.kind, ToolKind::Custom { name: custom, .. } if custom == name);
    let custom = writer.is_own() && writer.request.tools.iter().find(is_it).is_some();
    let kind = if custom { "custom" } else { "function" };
    let name = writer.names.chosen(name, Spelling::OPENAI);
    json!({"type": kind, kind: {"name": name}})
}
