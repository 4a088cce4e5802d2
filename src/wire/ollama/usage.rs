//! Counts and times.

use super::shape::Chunk;
use crate::usage::{Usage, clamped};

/// What a last line counts; none when it counts nothing.
pub(super) fn read(chunk: &Chunk<'_>) -> Option<Usage> {
    let input = chunk.prompt_eval_count.and_then(|count| clamped(count.get()));
    let output = chunk.eval_count.and_then(|count| clamped(count.get()));
    let usage = Usage { input_fresh: input.unwrap_or(0), output_text: output.unwrap_or(0), ..Usage::default() };
    (usage.input_fresh > 0 || usage.output_text > 0).then_some(usage)
}

/// The members of a last line, each with a comma before it. Other providers do not say how long which part of their work
/// took, and clients expect the members, so the times are 0.
pub(super) fn json(usage: Option<&Usage>) -> String {
    let (input, output) = usage.map_or((0, 0), |usage| (usage.prompt_tokens(), usage.completion_tokens()));
    format!(
        ",\"total_duration\":0,\"load_duration\":0,\"prompt_eval_count\":{input},\"prompt_eval_duration\":0,\
         \"eval_count\":{output},\"eval_duration\":0"
    )
}
