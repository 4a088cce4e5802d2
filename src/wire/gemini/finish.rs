//! Why an answer ended, both ways.

use crate::chat::Stop;

/// What filters say.
const FILTERED: [&str; 11] = [
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MODEL_ARMOR",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_OTHER",
    "CONTENT_FILTERED",
];

/// Reasons that stay themselves on the way through.
const KNOWN: [&str; 8] = [
    "LANGUAGE",
    "OTHER",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "NO_IMAGE",
    "ESCALATION",
    "MALFORMED_RESPONSE",
    "UNEXPECTED_TOOL_CALL",
];

/// What a `finishReason` means; none while the answer goes on.
pub(super) fn read(reason: &str) -> Option<Stop> {
    Some(match reason {
        "" | "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" => Stop::Done,
        "MAX_TOKENS" => Stop::Length,
        "CONTINUATION" => Stop::Paused,
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" => Stop::MalformedCall,
        reason if FILTERED.contains(&reason) => Stop::Filtered,
        reason => Stop::Other(reason.to_owned()),
    })
}

/// How it is written.
pub(super) fn word(stop: &Stop) -> &'static str {
    match stop {
        Stop::Done | Stop::Sequence(_) | Stop::ToolCalls | Stop::Paused => "STOP",
        Stop::Length | Stop::ContextFull => "MAX_TOKENS",
        Stop::Filtered | Stop::Refused => "SAFETY",
        Stop::MalformedCall => "MALFORMED_FUNCTION_CALL",
        Stop::Other(reason) => KNOWN.iter().find(|known| *known == reason).copied().unwrap_or("OTHER"),
    }
}
