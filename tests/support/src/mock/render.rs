//! The OpenAI shapes that the mock sends, as text: one body, or the events of a stream.

use serde_json::{Value, json};

use super::behaviour::{Behaviour, Kind};

/// What of the request the answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

/// The payloads of a complete stream, without framing.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) role: String,
    pub(super) content: Vec<String>,
    pub(super) finish: String,
    pub(super) usage: Option<String>,
}

const CREATED: u64 = 1_750_000_000;
const ID: &str = "chatcmpl-mock";
/// The call that `tool_call` makes.
const ARGUMENTS: [&str; 3] = ["{\"ci", "ty\":\"Be", "rn\"}"];
const THOUGHTS: [&str; 3] = ["Let", " me", " think."];

/// The words of the answer, each with the space before it.
pub(super) fn words(behaviour: &Behaviour) -> Vec<String> {
    match &behaviour.text {
        Some(text) => text.split_inclusive(' ').map(str::to_owned).collect(),
        None => (0..behaviour.tokens).map(|n| if n == 0 { "tok0".into() } else { format!(" tok{n}") }).collect(),
    }
}

/// The events of a complete stream of these words.
pub(super) fn events(behaviour: &Behaviour, shape: &Shape, words: &[String]) -> Events {
    let content = match behaviour.kind {
        Kind::ToolCall => tool_deltas(shape),
        Kind::Reasoning => {
            let thoughts = THOUGHTS.iter().map(|text| chunk(shape, json!({"reasoning_content": text}), None));
            thoughts.chain(words.iter().map(|word| chunk(shape, json!({"content": word}), None))).collect()
        }
        _ => words.iter().map(|word| chunk(shape, json!({"content": word}), None)).collect(),
    };
    let usage = (behaviour.usage && shape.include_usage).then(|| usage_chunk(behaviour, shape, words.len()));
    Events {
        role: chunk(shape, json!({"role": "assistant", "content": ""}), None),
        content,
        finish: chunk(shape, json!({}), Some(finish_reason(behaviour))),
        usage,
    }
}

/// The body of a complete answer of these words; without a finish reason it is what `no_end_marker` sends.
pub(super) fn completion(behaviour: &Behaviour, shape: &Shape, words: &[String], finish: bool) -> Value {
    let mut message = json!({"role": "assistant", "content": words.concat(), "refusal": null});
    match behaviour.kind {
        Kind::ToolCall => {
            message["content"] = Value::Null;
            message["tool_calls"] = json!([{"id": "call_mock", "type": "function",
                "function": {"name": "get_weather", "arguments": ARGUMENTS.concat()}}]);
        }
        Kind::Reasoning => message["reasoning_content"] = THOUGHTS.concat().into(),
        Kind::RoleOnlyThenEof => message["content"] = Value::Null,
        _ => {}
    }
    let mut body = json!({"id": ID, "object": "chat.completion", "created": CREATED, "model": shape.model,
        "choices": [{"index": 0, "message": message, "logprobs": null,
            "finish_reason": finish.then(|| finish_reason(behaviour))}]});
    if behaviour.usage {
        body["usage"] = usage(behaviour, words.len());
    }
    body
}

/// An OpenAI error object for a status.
pub(super) fn error(behaviour: &Behaviour) -> String {
    if let Some(body) = &behaviour.body {
        return body.clone();
    }
    let (kind, code) = match behaviour.code {
        400 | 413 | 422 => ("invalid_request_error", None),
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("permission_error", None),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        _ => ("server_error", None),
    };
    let kind = behaviour.error_type.as_deref().unwrap_or(kind);
    let code = behaviour.error_code.as_deref().or(code);
    let message = format!("the mock answers with status {}", behaviour.code);
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

/// The list of the two models.
pub(super) fn models() -> String {
    let model = |id: &str, context: u32| {
        let owner = json!({"id": id, "object": "model", "created": CREATED, "owned_by": "mock"});
        let mut entry = owner;
        entry["context_length"] = context.into();
        entry
    };
    json!({"object": "list", "data": [model("mock-model", 64_000), model("mock-model-mini", 16_000)]}).to_string()
}

fn finish_reason(behaviour: &Behaviour) -> &'static str {
    if behaviour.kind == Kind::ToolCall { "tool_calls" } else { "stop" }
}

fn tool_deltas(shape: &Shape) -> Vec<String> {
    let opening = json!({"tool_calls": [{"index": 0, "id": "call_mock", "type": "function",
        "function": {"name": "get_weather", "arguments": ""}}]});
    let fragments = ARGUMENTS.iter().map(|text| json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}));
    std::iter::once(opening).chain(fragments).map(|delta| chunk(shape, delta, None)).collect()
}

fn chunk(shape: &Shape, delta: Value, finish: Option<&str>) -> String {
    let mut chunk = envelope(shape, json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]));
    if shape.include_usage {
        chunk["usage"] = Value::Null;
    }
    chunk.to_string()
}

fn usage_chunk(behaviour: &Behaviour, shape: &Shape, tokens: usize) -> String {
    let mut chunk = envelope(shape, json!([]));
    chunk["usage"] = usage(behaviour, tokens);
    chunk.to_string()
}

fn envelope(shape: &Shape, choices: Value) -> Value {
    json!({"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": shape.model, "choices": choices})
}

fn usage(behaviour: &Behaviour, tokens: usize) -> Value {
    let (prompt, completion) = (behaviour.prompt_tokens, tokens as u64);
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}
