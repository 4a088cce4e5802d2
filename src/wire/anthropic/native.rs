//! Blocks that only this format knows.

use serde_json::Value;

/// Whether a block is one that the provider itself makes: clients of this format can read it in an answer.
pub(crate) fn is_of_answers(block: &Value) -> bool {
    let kind = kind(block);
    matches!(kind, "server_tool_use" | "mcp_tool_use" | "container_upload" | "compaction")
        || kind.ends_with("_tool_result")
}

/// Its type.
pub(crate) fn kind(block: &Value) -> &str {
    block.get("type").and_then(Value::as_str).unwrap_or("block")
}
