//! Counts and times.

use std::time::Duration;

use serde_json::value::RawValue;

use super::shape::Chunk;
use crate::chat::Took;
use crate::usage::{Usage, clamped};

/// What a last line counts; none when it counts nothing.
pub(super) fn read(chunk: &Chunk<'_>) -> Option<Usage> {
    let input = chunk.prompt_eval_count.and_then(|count| clamped(count.get()));
    let output = chunk.eval_count.and_then(|count| clamped(count.get()));
    let usage = Usage { input_fresh: input.unwrap_or(0), output_text: output.unwrap_or(0), ..Usage::default() };
    (usage.input_fresh > 0 || usage.output_text > 0).then_some(usage)
}

/// How long a last line says that it took; none when it says nothing.
pub(super) fn read_took(chunk: &Chunk<'_>) -> Option<Took> {
    let nanos = |raw: Option<&RawValue>| {
        raw.and_then(|raw| raw.get().parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
    };
    let took = Took {
        total: nanos(chunk.total_duration),
        load: nanos(chunk.load_duration),
        prompt: nanos(chunk.prompt_eval_duration),
        answer: nanos(chunk.eval_duration),
    };
    (took != Took::default()).then_some(took)
}

/// The members of a last line, each with a comma before it. Clients expect them all.
pub(super) fn json(usage: Option<&Usage>, took: Option<Took>) -> String {
    let (input, output) = usage.map_or((0, 0), |usage| (usage.prompt_tokens(), usage.completion_tokens()));
    let Took { total, load, prompt, answer } = took.unwrap_or_default();
    let [total, load, prompt, answer] = [total, load, prompt, answer].map(|time| time.as_nanos());
    format!(
        ",\"total_duration\":{total},\"load_duration\":{load},\"prompt_eval_count\":{input},\
         \"prompt_eval_duration\":{prompt},\"eval_count\":{output},\"eval_duration\":{answer}"
    )
}
