//! What shape the answer has.
//!
//! A schema is a member of its own on newer models. Older ones, and the wish for any JSON object, are served by a tool whose
//! call is the answer.

use serde_json::{Value, json};

use super::tools::{WireChoice, WireTool, object_schema};
use super::version::Version;
use crate::bad_request::BadRequest;
use crate::chat::read::Fields;
use crate::chat::{Format, OutputFormat, Request, worded_schema};

/// The tool whose call is the answer.
pub(crate) const ANSWER_TOOL: &str = "json_output";
/// What the model is told of it.
pub(crate) const ASK_BY_TOOL: &str = "Give the answer by calling this tool, with the answer's members as its input.";
const DEFAULT_NAME: &str = "output";

/// Read it from `output_config`, or from the member that was its first place.
pub(crate) fn read(body: &mut Fields, config: Option<&mut Fields>) -> Result<OutputFormat, BadRequest> {
    let newer = match config {
        Some(config) => config.object("format")?,
        None => None,
    };
    let older = body.object("output_format")?;
    let Some(mut format) = newer.or(older) else { return Ok(OutputFormat::Text) };
    match format.required_text("type")?.as_str() {
        "json_schema" => {
            let schema = format.take("schema").ok_or_else(|| format.missing("schema"))?;
            Ok(OutputFormat::JsonSchema { name: DEFAULT_NAME.into(), description: None, schema, strict: Some(true) })
        }
        other => Err(format.unknown("type", other)),
    }
}

/// How an answer of some shape is asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked {
    /// Not at all.
    Freely,
    /// As `output_config.format`.
    ByFormat(Value),
    /// As the call of a tool with this schema.
    ByTool(Value),
}

/// The way for this request and model.
pub(crate) fn asked(request: &Request, version: Version) -> Asked {
    match &request.output {
        OutputFormat::Text => Asked::Freely,
        OutputFormat::JsonObject => Asked::ByTool(json!({"type": "object"})),
        OutputFormat::JsonSchema { schema, .. } if version.takes_schemas() => {
            let own = request.from == Format::Anthropic;
            let schema = if own { schema.clone() } else { closed(&worded_schema(request, schema)) };
            Asked::ByFormat(json!({"type": "json_schema", "schema": schema}))
        }
        OutputFormat::JsonSchema { schema, .. } => Asked::ByTool(object_schema(Some(&worded_schema(request, schema)))),
    }
}

/// Put the tool in whose call is the answer. With tools of the client beside it, one of all must be called.
pub(crate) fn ask_by_tool(schema: Value, tools: &mut Vec<WireTool>, choice: Option<WireChoice>) -> Option<WireChoice> {
    let alone = tools.is_empty() || choice.as_ref().is_some_and(|choice| choice.r#type == "none");
    tools.push(WireTool::function(ANSWER_TOOL, Some(ASK_BY_TOOL), schema));
    let disable_parallel_tool_use = choice.and_then(|choice| choice.disable_parallel_tool_use);
    let forced = if alone { WireChoice::named(ANSWER_TOOL.into()) } else { WireChoice::plain("any") };
    Some(WireChoice { disable_parallel_tool_use, ..forced })
}

/// The format demands that objects say that they are closed; other formats leave it out.
fn closed(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let mut members: serde_json::Map<String, Value> =
                members.iter().map(|(name, value)| (name.clone(), closed(value))).collect();
            let is_object = members.get("type").is_some_and(|kind| kind == "object");
            if is_object && members.get("properties").is_some_and(Value::is_object) {
                members.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            Value::Object(members)
        }
        Value::Array(items) => Value::Array(items.iter().map(closed).collect()),
        other => other.clone(),
    }
}
