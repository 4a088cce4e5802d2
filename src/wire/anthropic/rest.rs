//! Members of blocks and tools that the neutral model has no place for, kept in the request's rest under their path.

use serde_json::{Map, Value};

/// The path of such a member of a part.
pub(crate) fn part_path(message: usize, part: usize, member: &str) -> String {
    format!("messages[{message}].content[{part}].{member}")
}

/// The path of such a member of a tool.
pub(crate) fn tool_path(tool: usize, member: &str) -> String {
    format!("tools[{tool}].{member}")
}

/// Whether a member of the rest belongs inside of something instead of to the body.
pub(crate) fn is_path(name: &str) -> bool {
    name.starts_with("messages[") || name.starts_with("tools[") || name.starts_with("output_config.")
}

/// The message, part and member of a path of a part.
pub(crate) fn part_of(path: &str) -> Option<(usize, usize, &str)> {
    let (message, rest) = path.strip_prefix("messages[")?.split_once("].content[")?;
    let (part, member) = rest.split_once("].")?;
    Some((message.parse().ok()?, part.parse().ok()?, member))
}

/// The members of a tool.
pub(crate) fn of_tool(rest: &Map<String, Value>, tool: usize) -> Vec<(String, Value)> {
    let before = tool_path(tool, "");
    let own = |(path, value): (&String, &Value)| Some((path.strip_prefix(&before)?.to_owned(), value.clone()));
    rest.iter().filter_map(own).collect()
}
