//! Tools, and whether they may or must be called.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::cache::CacheControl;
use super::decode_parts::cache_hint;
use super::rest;
use super::version::Version;
use crate::bad_request::BadRequest;
use crate::chat::ids::{Names, Spelling};
use crate::chat::read::Fields;
use crate::chat::{Dropped, Format, Request, Tool, ToolChoice, ToolKind, lost};

type Read<T> = Result<T, BadRequest>;

/// Read the tools of a request.
pub(crate) fn read(fields: &mut Fields, rest: &mut Map<String, Value>) -> Read<Vec<Tool>> {
    let Some(tools) = fields.list("tools")? else { return Ok(Vec::new()) };
    let path = fields.at("tools");
    let read = |(index, tool)| read_tool(tool, &format!("{path}[{index}]"), index, rest);
    tools.into_iter().enumerate().map(read).collect()
}

fn read_tool(mut tool: Value, path: &str, index: usize, rest: &mut Map<String, Value>) -> Read<Tool> {
    let mut fields = Fields::of(tool.clone(), path)?;
    let cache = cache_hint(&mut fields)?;
    if fields.text("type")?.is_some_and(|kind| kind != "custom") {
        if let Value::Object(members) = &mut tool {
            members.shift_remove("cache_control");
        }
        return Ok(Tool { kind: ToolKind::Native(tool), cache });
    }
    let kind = ToolKind::Function {
        name: fields.required_text("name")?,
        namespace: None,
        description: fields.text("description")?,
        schema: Some(Value::Object(
            fields.object("input_schema")?.ok_or_else(|| fields.missing("input_schema"))?.all(),
        )),
        strict: fields.flag("strict")?,
    };
    for (name, value) in fields.rest() {
        rest.insert(rest::tool_path(index, &name), value);
    }
    Ok(Tool { kind, cache })
}

/// Read the choice, and whether several tools may be called at once.
pub(crate) fn read_choice(fields: &mut Fields) -> Read<(Option<ToolChoice>, Option<bool>)> {
    let Some(mut choice) = fields.object("tool_choice")? else { return Ok((None, None)) };
    let parallel = choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    let choice = match choice.required_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.required_text("name")?),
        other => return Err(choice.unknown("type", other)),
    };
    Ok((Some(choice), parallel))
}

/// A tool as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct WireTool {
    #[serde(flatten)]
    pub(crate) members: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<CacheControl>,
}

impl WireTool {
    /// A function.
    pub(crate) fn function(name: &str, description: Option<&str>, schema: Value) -> Self {
        let mut members = Map::new();
        members.insert("name".into(), name.into());
        if let Some(description) = description {
            members.insert("description".into(), description.into());
        }
        members.insert("input_schema".into(), schema);
        Self { members, cache_control: None }
    }
}

/// Write the tools of a request.
pub(crate) fn write(request: &Request, names: &Names, version: Version, dropped: &mut Vec<Dropped>) -> Vec<WireTool> {
    let mut written = Vec::with_capacity(request.tools.len());
    for (index, tool) in request.tools.iter().enumerate() {
        let place = format!("tools[{index}]");
        let mut wire = match &tool.kind {
            ToolKind::Function { name, namespace, description, schema, strict } => {
                let name = names.upstream(name, namespace.as_deref(), Spelling::ANTHROPIC);
                let mut wire = WireTool::function(&name, description.as_deref(), object_schema(schema.as_ref()));
                put_strict(&mut wire, *strict, request.from == Format::Anthropic || version.takes_schemas(), || {
                    dropped.push(Dropped::new(format!("{place}.strict"), "the model does not know strict tools"));
                });
                if request.from == Format::Anthropic {
                    wire.members.extend(rest::of_tool(&request.rest, index));
                }
                wire
            }
            ToolKind::Custom { name, namespace, description, format } => {
                if format.is_some() {
                    dropped.push(Dropped::new(format!("{place}.format"), "tools take JSON, no grammar"));
                }
                let name = names.upstream(name, namespace.as_deref(), Spelling::ANTHROPIC);
                WireTool::function(&name, description.as_deref(), input_schema())
            }
            ToolKind::Native(_) if matches!(request.tool_choice, Some(ToolChoice::Allowed { .. })) => {
                dropped.push(Dropped::new(place, "the choice is among other tools"));
                continue;
            }
            ToolKind::Native(value) => match native(value, request.from, version) {
                Some(members) => WireTool { members, cache_control: None },
                None => {
                    dropped.push(Dropped::new(place, "only its own provider runs this tool"));
                    continue;
                }
            },
        };
        wire.cache_control = CacheControl::of(tool.cache.as_ref());
        written.push(wire);
    }
    written
}

fn put_strict(wire: &mut WireTool, strict: Option<bool>, known: bool, drop: impl FnOnce()) {
    match strict {
        Some(strict) if known => drop_value(wire.members.insert("strict".into(), strict.into())),
        Some(true) => drop(),
        _ => {}
    }
}

fn drop_value(_: Option<Value>) {}

/// A schema of arguments is one of an object.
pub(crate) fn object_schema(schema: Option<&Value>) -> Value {
    match schema {
        Some(Value::Object(schema)) if schema.contains_key("type") => Value::Object(schema.clone()),
        Some(Value::Object(schema)) => {
            let mut typed = Map::from_iter([("type".to_owned(), Value::from("object"))]);
            typed.extend(schema.clone());
            Value::Object(typed)
        }
        _ => json!({"type": "object", "properties": {}}),
    }
}

/// What a tool takes whose input is a text.
fn input_schema() -> Value {
    json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]})
}

/// A tool of a provider: its own as it is; the search of the web exists on both sides.
fn native(tool: &Value, from: Format, version: Version) -> Option<Map<String, Value>> {
    let members = tool.as_object()?;
    if from == Format::Anthropic {
        return Some(members.clone());
    }
    let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
    let searches = kind.starts_with("web_search") || members.contains_key("googleSearch");
    let search = json!({"type": "web_search_20250305", "name": "web_search"});
    (searches && version.is_claude()).then(|| search.as_object().cloned()).flatten()
}

/// The choice as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WireChoice {
    pub(crate) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disable_parallel_tool_use: Option<bool>,
}

impl WireChoice {
    /// A choice without a name.
    pub(crate) const fn plain(r#type: &'static str) -> Self {
        Self { r#type, name: None, disable_parallel_tool_use: None }
    }

    /// This tool.
    pub(crate) const fn named(name: String) -> Self {
        Self { r#type: "tool", name: Some(name), disable_parallel_tool_use: None }
    }

    /// It forces a call, which a thinking model refuses.
    pub(crate) fn forces(&self) -> bool {
        matches!(self.r#type, "any" | "tool")
    }
}

/// Write the choice. One among several tools is forced or left free with the others taken out of `tools`.
pub(crate) fn write_choice(
    request: &Request,
    names: &Names,
    tools: &mut Vec<WireTool>,
    dropped: &mut Vec<Dropped>,
) -> Option<WireChoice> {
    let mut choice = match &request.tool_choice {
        None => None,
        Some(ToolChoice::Auto) => Some(WireChoice::plain("auto")),
        Some(ToolChoice::None) => Some(WireChoice::plain("none")),
        Some(ToolChoice::Required) => Some(WireChoice::plain("any")),
        Some(ToolChoice::Named(name)) => Some(WireChoice::named(names.chosen(name, Spelling::ANTHROPIC))),
        Some(ToolChoice::Allowed { required, names: allowed }) => {
            let allowed: Vec<String> = allowed.iter().map(|name| names.chosen(name, Spelling::ANTHROPIC)).collect();
            let name = |tool: &WireTool| tool.members.get("name").and_then(Value::as_str).map(str::to_owned);
            tools.retain(|tool| name(tool).is_none_or(|name| allowed.contains(&name)));
            Some(WireChoice::plain(if *required { "any" } else { "auto" }))
        }
    };
    if tools.is_empty() {
        dropped.extend(lost::choice_of_nothing(request));
        return None;
    }
    if let Some(parallel) = request.parallel_tools {
        let choice = choice.get_or_insert(WireChoice::plain("auto"));
        let own = request.from == Format::Anthropic && request.tool_choice.is_some();
        choice.disable_parallel_tool_use = (choice.r#type != "none" && (own || !parallel)).then_some(!parallel);
        if choice.disable_parallel_tool_use.is_none() && request.tool_choice.is_none() {
            return None;
        }
    }
    choice
}
