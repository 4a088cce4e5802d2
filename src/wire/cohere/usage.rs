//! Token counts.

use serde_json::Value;

use crate::usage::{MAX_TOKENS, Usage};

/// Reads a `usage` object: what is billed, or what the model saw where nothing is billed; none when it counts nothing.
pub(super) fn read(usage: &Value) -> Option<Usage> {
    let sides = |name: &str| {
        let counts = usage.get(name)?;
        let (input, output) = (count(counts.get("input_tokens")), count(counts.get("output_tokens")));
        (input + output > 0).then_some((input, output))
    };
    let (input, output) = sides("billed_units").or_else(|| sides("tokens"))?;
    let cache_read = count(usage.get("cached_tokens")).min(input);
    Some(Usage { input_fresh: input - cache_read, cache_read, output_text: output, ..Usage::default() })
}

/// Cohere writes its counts as floating-point numbers.
fn count(value: Option<&Value>) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    value.and_then(Value::as_f64).map_or(0, |number| number as u64).min(MAX_TOKENS)
}
