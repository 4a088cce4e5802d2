//! Probabilities of words: two parallel lists at Google, one nested list at OpenAI.

use serde_json::{Map, Value, json};

/// A `logprobsResult` as OpenAI writes it.
pub(super) fn read(result: &Value) -> Option<Value> {
    let chosen = result.get("chosenCandidates")?.as_array()?;
    let top = result.get("topCandidates").and_then(Value::as_array);
    let others = |at: usize| {
        let list = top.and_then(|top| top.get(at)?.get("candidates")?.as_array());
        list.into_iter().flatten().filter_map(token).map(Value::Object).collect::<Vec<Value>>()
    };
    let content = chosen.iter().enumerate().filter_map(|(at, candidate)| {
        let mut token = token(candidate)?;
        token.insert("top_logprobs".to_owned(), Value::Array(others(at)));
        Some(Value::Object(token))
    });
    Some(json!({"content": content.collect::<Vec<Value>>()}))
}

fn token(candidate: &Value) -> Option<Map<String, Value>> {
    let text = candidate.get("token").and_then(Value::as_str)?;
    let logprob = candidate.get("logProbability").cloned().unwrap_or(json!(0.0));
    let Value::Object(token) = json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()}) else {
        return None;
    };
    Some(token)
}

/// OpenAI's list as a `logprobsResult`.
pub(super) fn json(logprobs: &Value) -> Option<Value> {
    let content = logprobs.get("content")?.as_array()?;
    let candidate = |token: &Value| json!({"token": token.get("token"), "logProbability": token.get("logprob")});
    let top = |token: &Value| {
        let others = token.get("top_logprobs").and_then(Value::as_array);
        json!({"candidates": others.into_iter().flatten().map(candidate).collect::<Vec<Value>>()})
    };
    let chosen: Vec<Value> = content.iter().map(candidate).collect();
    let top: Vec<Value> = content.iter().map(top).collect();
    Some(json!({"chosenCandidates": chosen, "topCandidates": top}))
}
