//! Tools, and whether they must be called.

use serde::Serialize;
use serde_json::{Value, json};

use super::block::CachePoint;
use super::encode_parts::PartWriter;
use crate::anthropic::object_schema;
use crate::chat::ids::{Names, Spelling};
use crate::chat::{Message, PartKind, Request, Tool, ToolChoice, ToolKind};

/// The tools of a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolConfig {
    pub(crate) tools: Vec<WireTool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_choice: Option<Value>,
}

/// A tool, or the point up to which the tools are cached.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WireTool {
    ToolSpec(Spec),
    CachePoint(CachePoint),
}

/// A function.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) input_schema: Value,
}

impl WireTool {
    /// A function.
    pub(crate) fn function(name: String, description: Option<&str>, schema: &Value) -> Self {
        let description = description.filter(|text| !text.is_empty()).map(str::to_owned);
        Self::ToolSpec(Spec { name, description, input_schema: json!({ "json": schema }) })
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::ToolSpec(spec) => Some(&spec.name),
            Self::CachePoint(_) => None,
        }
    }
}

/// Write the tools, each cache point behind its tool. Says which ones have no place here.
pub(crate) fn write(request: &Request, names: &Names, points: &mut PartWriter<'_>) -> (Vec<WireTool>, Vec<String>) {
    let (mut written, mut lost) = (Vec::new(), Vec::new());
    for (index, tool) in request.tools.iter().enumerate() {
        let point = points.point(tool.cache.as_ref());
        let Some(wire) = write_tool(tool, names) else {
            lost.push(format!("tools[{index}]"));
            continue;
        };
        match &tool.kind {
            ToolKind::Function { strict: Some(true), .. } => lost.push(format!("tools[{index}].strict")),
            ToolKind::Custom { format: Some(_), .. } => lost.push(format!("tools[{index}].format")),
            _ => {}
        }
        written.push(wire);
        written.extend(point.map(WireTool::CachePoint));
    }
    (written, lost)
}

fn write_tool(tool: &Tool, names: &Names) -> Option<WireTool> {
    Some(match &tool.kind {
        ToolKind::Function { name, namespace, description, schema, .. } => {
            let name = names.upstream(name, namespace.as_deref(), Spelling::OPENAI);
            WireTool::function(name, description.as_deref(), &object_schema(schema.as_ref()))
        }
        ToolKind::Custom { name, namespace, description, .. } => {
            let schema = json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]});
            WireTool::function(
                names.upstream(name, namespace.as_deref(), Spelling::OPENAI),
                description.as_deref(),
                &schema,
            )
        }
        ToolKind::Native(_) => return None,
    })
}

/// Tools that the conversation called and that must be offered for it to be valid.
pub(crate) fn called(turns: &[Message], names: &Names) -> Vec<WireTool> {
    let mut offered: Vec<String> = Vec::new();
    for part in turns.iter().flat_map(|turn| &turn.parts) {
        if let PartKind::ToolCall(call) = &part.kind {
            let name = names.upstream(&call.name, call.namespace.as_deref(), Spelling::OPENAI);
            if !offered.contains(&name) {
                offered.push(name);
            }
        }
    }
    let any = json!({"type": "object"});
    offered.into_iter().map(|name| WireTool::function(name, None, &any)).collect()
}

/// Whether a conversation holds calls.
pub(crate) fn has_calls(turns: &[Message]) -> bool {
    turns.iter().flat_map(|turn| &turn.parts).any(|part| matches!(part.kind, PartKind::ToolCall(_)))
}

/// Write the choice; of several allowed tools the others are taken out.
pub(crate) fn write_choice(request: &Request, names: &Names, tools: &mut Vec<WireTool>) -> Option<Value> {
    match request.tool_choice.as_ref()? {
        ToolChoice::Auto | ToolChoice::None => Some(json!({"auto": {}})),
        ToolChoice::Required => Some(json!({"any": {}})),
        ToolChoice::Named(name) => Some(json!({"tool": {"name": names.chosen(name, Spelling::OPENAI)}})),
        ToolChoice::Allowed { required, names: allowed } => {
            let allowed: Vec<String> = allowed.iter().map(|name| names.chosen(name, Spelling::OPENAI)).collect();
            tools.retain(|tool| tool.name().is_none_or(|name| allowed.iter().any(|allowed| allowed == name)));
            Some(if *required { json!({"any": {}}) } else { json!({"auto": {}}) })
        }
    }
}
