//! Counts and times.

use std::fmt::Write as _;
use std::time::Duration;

use super::shape::Chunk;
use crate::usage::{Usage, clamped};

/// How long an answer took, for the last line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// All of it.
    pub total: Duration,
    /// Until the model was there.
    pub load: Duration,
    /// For the prompt.
    pub prompt: Duration,
    /// For the answer.
    pub answer: Duration,
}

/// What a last line counts; none when it counts nothing.
pub(super) fn read(chunk: &Chunk<'_>) -> Option<Usage> {
    let input = chunk.prompt_eval_count.and_then(|count| clamped(count.get()));
    let output = chunk.eval_count.and_then(|count| clamped(count.get()));
    let usage = Usage { input_fresh: input.unwrap_or(0), output_text: output.unwrap_or(0), ..Usage::default() };
    (usage.input_fresh > 0 || usage.output_text > 0).then_some(usage)
}

/// The members of a last line, each with a comma before it.
pub(super) fn json(usage: Option<&Usage>, durations: Durations) -> String {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (input, output) = usage.map_or((0, 0), |usage| (usage.prompt_tokens(), usage.completion_tokens()));
    let mut json = String::with_capacity(160);
    // Writing to a String cannot fail.
    let _ = write!(
        json,
        ",\"total_duration\":{},\"load_duration\":{},\"prompt_eval_count\":{input},\"prompt_eval_duration\":{},\
         \"eval_count\":{output},\"eval_duration\":{}",
        nanos(durations.total),
        nanos(durations.load),
        nanos(durations.prompt),
        nanos(durations.answer),
    );
    json
}
