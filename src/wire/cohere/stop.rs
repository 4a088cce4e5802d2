//! Why an answer ended.

use crate::chat::Stop;

/// What a `finish_reason` means; none for a failure.
pub(super) fn read(reason: &str) -> Option<Stop> {
    Some(match reason {
        "COMPLETE" | "" => Stop::Done,
        "STOP_SEQUENCE" => Stop::Sequence(None),
        "MAX_TOKENS" => Stop::Length,
        "TOOL_CALL" => Stop::ToolCalls,
        "ERROR_TOXIC" => Stop::Filtered,
        "ERROR_LIMIT" => Stop::ContextFull,
        "ERROR" | "TIMEOUT" => return None,
        other => Stop::Other(other.to_owned()),
    })
}
