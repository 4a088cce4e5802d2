//! Probabilities as parallel lists.

use serde_json::{Map, Value, json};

/// The lists of a choice. `offset` is where its next token begins in its text, in characters, and moves on.
pub(super) fn lists(logprobs: &Value, offset: &mut usize) -> Value {
    let (mut tokens, mut chances, mut others, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let told = logprobs.get("content").and_then(Value::as_array);
    for entry in told.into_iter().flatten() {
        let token = entry.get("token").and_then(Value::as_str).unwrap_or_default();
        offsets.push(*offset);
        *offset = offset.saturating_add(token.chars().count());
        tokens.push(token);
        chances.push(entry.get("logprob").cloned().unwrap_or_default());
        others.push(alternatives(entry));
    }
    json!({"tokens": tokens, "token_logprobs": chances, "top_logprobs": others, "text_offset": offsets})
}

fn alternatives(entry: &Value) -> Value {
    let list = entry.get("top_logprobs").and_then(Value::as_array);
    let alternative = |entry: &Value| {
        let token = entry.get("token")?.as_str()?.to_owned();
        Some((token, entry.get("logprob").cloned().unwrap_or_default()))
    };
    let all: Map<String, Value> = list.into_iter().flatten().filter_map(alternative).collect();
    Value::Object(all)
}
