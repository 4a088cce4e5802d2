//! Why an answer ended, in this format's words.

use serde_json::value::RawValue;

use super::json::Members;
use crate::chat::Stop;

/// Read a reason.
pub(crate) fn read(reason: &str, sequence: Option<String>) -> Stop {
    match reason {
        "end_turn" => Stop::Done,
        "stop_sequence" => Stop::Sequence(sequence),
        "max_tokens" => Stop::Length,
        "tool_use" => Stop::ToolCalls,
        "refusal" => Stop::Refused,
        "pause_turn" => Stop::Paused,
        "model_context_window_exceeded" => Stop::ContextFull,
        other => Stop::Other(other.to_owned()),
    }
}

/// The words with which a refusal is explained.
pub(crate) fn explanation(details: Option<&RawValue>) -> Option<String> {
    let explanation = Members::of(details?).text("explanation");
    explanation.filter(|text| !text.is_empty())
}

/// Write a reason.
pub(crate) fn write(stop: &Stop) -> &'static str {
    match stop {
        Stop::Done | Stop::Other(_) => "end_turn",
        Stop::Sequence(_) => "stop_sequence",
        Stop::Length => "max_tokens",
        Stop::ToolCalls => "tool_use",
        // A call that could not be written must not look like a clean end.
        Stop::Filtered | Stop::Refused | Stop::MalformedCall => "refusal",
        Stop::Paused => "pause_turn",
        Stop::ContextFull => "model_context_window_exceeded",
    }
}

/// The members of `message` or `delta` that tell the end, as JSON text without braces.
pub(crate) fn members(stop: &Stop) -> String {
    let sequence = match stop {
        Stop::Sequence(Some(sequence)) => serde_json::Value::from(sequence.as_str()).to_string(),
        _ => "null".to_owned(),
    };
    let details = match stop {
        Stop::MalformedCall => {
            ",\"stop_details\":{\"type\":\"refusal\",\"category\":null,\
             \"explanation\":\"The model wrote a tool call that cannot be read.\"}"
        }
        _ => "",
    };
    format!("\"stop_reason\":\"{}\",\"stop_sequence\":{sequence}{details}", write(stop))
}
