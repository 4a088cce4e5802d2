//! Why an answer ended, in both directions.

use crate::chat::Stop;

/// What a `finish_reason` means; none for the ones that say nothing.
pub(super) fn read(reason: &str) -> Option<Stop> {
    Some(match reason {
        "" | "null" => return None,
        "stop" | "eos" | "eos_token" | "end_turn" | "STOP" | "COMPLETE" => Stop::Done,
        "stop_sequence" => Stop::Sequence(None),
        "length" | "max_tokens" | "max_output_tokens" | "MAX_TOKENS" => Stop::Length,
        "tool_calls" | "function_call" | "tool_use" => Stop::ToolCalls,
        "content_filter" | "SAFETY" | "RECITATION" | "sensitive" => Stop::Filtered,
        "refusal" => Stop::Refused,
        "pause_turn" => Stop::Paused,
        "model_length" | "model_context_window_exceeded" => Stop::ContextFull,
        "malformed_function_call" | "MALFORMED_FUNCTION_CALL" => Stop::MalformedCall,
        other => Stop::Other(other.to_owned()),
    })
}

/// The `finish_reason` of a stop. A refusal that has words of its own ends like any answer.
pub(crate) fn write(stop: &Stop, functions_form: bool, refusal_told: bool) -> &'static str {
    match stop {
        Stop::Length | Stop::ContextFull => "length",
        Stop::ToolCalls if functions_form => "function_call",
        Stop::ToolCalls => "tool_calls",
        Stop::Filtered => "content_filter",
        Stop::Refused if !refusal_told => "content_filter",
        _ => "stop",
    }
}
