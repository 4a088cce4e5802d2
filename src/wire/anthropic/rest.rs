//! Members of blocks and tools that the neutral model has no place for, kept in the request's rest under their path.

use serde_json::{Map, Value};

use crate::chat::{Message, Part, PartKind};

/// The path of such a member of a part; `holder` is the path of its message, or of the result that it stands in.
pub(crate) fn part_path(holder: &str, part: usize, member: &str) -> String {
    format!("{holder}.content[{part}].{member}")
}

/// The path of such a member of a tool.
pub(crate) fn tool_path(tool: usize, member: &str) -> String {
    format!("tools[{tool}].{member}")
}

/// Whether a member of the rest belongs inside of something instead of to the body.
pub(crate) fn is_path(name: &str) -> bool {
    name.starts_with("messages[") || name.starts_with("tools[") || name.starts_with("output_config.")
}

/// The message, the parts one inside of the other, and the member of a path of a part.
pub(crate) fn part_of(path: &str) -> Option<(usize, Vec<usize>, &str)> {
    let (message, mut rest) = path.strip_prefix("messages[")?.split_once("].")?;
    let mut parts = Vec::new();
    while let Some((part, inner)) = rest.strip_prefix("content[").and_then(|rest| rest.split_once("].")) {
        parts.push(part.parse().ok()?);
        rest = inner;
    }
    Some((message.parse().ok()?, parts, rest))
}

/// The part at such a place.
pub(crate) fn find<'a>(messages: &'a mut [Message], message: usize, places: &[usize]) -> Option<&'a mut Part> {
    let (first, inner) = places.split_first()?;
    let mut part = messages.get_mut(message)?.parts.get_mut(*first)?;
    for place in inner {
        let PartKind::ToolResult(result) = &mut part.kind else { return None };
        part = result.parts.get_mut(*place)?;
    }
    Some(part)
}

/// The members of a tool.
pub(crate) fn of_tool(rest: &Map<String, Value>, tool: usize) -> Vec<(String, Value)> {
    let before = tool_path(tool, "");
    let own = |(path, value): (&String, &Value)| Some((path.strip_prefix(&before)?.to_owned(), value.clone()));
    rest.iter().filter_map(own).collect()
}
