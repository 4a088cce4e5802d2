//! Reading a provider's whole answer.

use serde_json::Value;
use serde_json::value::RawValue;

use super::marks::Mark;
use super::{citation, errors};
use crate::chat::ids::call_id;
use crate::chat::{
    Answer, BadAnswer, Begin, Choice, Media, Part, PartKind, Source, Stop, Thinking, ToolCall, media::image_type,
};
use crate::openai_error::UpstreamErrorBody;
use crate::usage::Usage;

/// The answer that a body is.
///
/// # Errors
/// When it is an error, no answer, or one that is not finished.
pub fn decode_answer(body: &[u8]) -> Result<Answer, BadAnswer> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    let status = text(&answer, "status").unwrap_or("completed");
    let error = answer.get("error").filter(|error| !error.is_null());
    if error.is_some() || status == "failed" {
        return Err(BadAnswer::Error(Box::new(errors::reported(error))));
    }
    let Some(output) = answer.get("output").and_then(Value::as_array) else {
        return Err(no_answer(&answer));
    };
    if matches!(status, "queued" | "in_progress") {
        return Err(BadAnswer::Broken(format!("the response is still {status}")));
    }
    let parts: Vec<Part> = output.iter().enumerate().flat_map(|(place, item)| parts_of(item, place)).collect();
    let stop = stop(status, reason(&answer), &parts);
    let choice = Choice { index: 0, parts, stop, logprobs: logprobs(output) };
    Ok(Answer { begin: begin(&answer), choices: vec![choice], usage: usage(&answer), took: None })
}

fn no_answer(answer: &Value) -> BadAnswer {
    match UpstreamErrorBody::from_json(answer) {
        Some(error) => BadAnswer::Error(Box::new(error)),
        None => BadAnswer::Broken("there is no output".to_owned()),
    }
}

pub(super) fn begin(response: &Value) -> Begin {
    let owned = |name: &str| text(response, name).filter(|text| !text.is_empty()).map(str::to_owned);
    // Some write it with a fraction.
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let created = response.get("created_at").and_then(Value::as_f64).map(|seconds| seconds as i64);
    Begin { id: owned("id"), model: owned("model"), created, service_tier: owned("service_tier"), fingerprint: None }
}

/// Nothing for counts of zero: an answer without any token was not counted.
pub(super) fn usage(response: &Value) -> Option<Usage> {
    let usage = response.get("usage").filter(|usage| usage.is_object())?.to_string();
    let usage = Usage::from_openai(serde_json::from_str::<&RawValue>(&usage).ok()?)?;
    (usage.prompt_tokens() > 0 || usage.completion_tokens() > 0).then_some(usage)
}

pub(super) fn reason(response: &Value) -> Option<&str> {
    text(response.get("incomplete_details")?, "reason")
}

/// Why an answer of that status ended.
pub(super) fn stop(status: &str, reason: Option<&str>, parts: &[Part]) -> Stop {
    let has = |wanted: fn(&PartKind) -> bool| parts.iter().any(|part| wanted(&part.kind));
    let stop = match (status, reason) {
        ("incomplete", Some("max_output_tokens") | None) => Stop::Length,
        ("incomplete", Some("content_filter")) => Stop::Filtered,
        ("incomplete", Some(other)) => Stop::Other(other.to_owned()),
        ("cancelled", _) => Stop::Other("cancelled".to_owned()),
        _ if has(|kind| matches!(kind, PartKind::Refusal(_))) => Stop::Refused,
        _ => Stop::Done,
    };
    stop.given(has(|kind| matches!(kind, PartKind::ToolCall(_))))
}

fn logprobs(output: &[Value]) -> Option<Value> {
    let contents = output.iter().filter_map(|item| item.get("content")?.as_array()).flatten();
    let lists = contents.filter_map(|content| content.get("logprobs")?.as_array());
    let all: Vec<Value> = lists.flatten().cloned().collect();
    (!all.is_empty()).then(|| serde_json::json!({ "content": all }))
}

/// What an item of an answer says; `place` is its number, for calls without an id.
pub(super) fn parts_of(item: &Value, place: usize) -> Vec<Part> {
    match text(item, "type") {
        Some("message") => contents(item.get("content")),
        Some("reasoning") => thinking(item).map(PartKind::Thinking).map(Part::new).into_iter().collect(),
        Some("function_call") => vec![call(item, place, false)],
        Some("custom_tool_call") => vec![call(item, place, true)],
        Some("image_generation_call") => vec![image(item)],
        Some(_) => vec![Part::new(PartKind::Native(item.clone()))],
        None => Vec::new(),
    }
}

fn contents(content: Option<&Value>) -> Vec<Part> {
    match content {
        Some(Value::String(text)) => vec![Part::text(text.clone())],
        Some(Value::Array(list)) => list.iter().map(content_part).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn content_part(content: &Value) -> Part {
    let owned = |name: &str| text(content, name).unwrap_or_default().to_owned();
    Part::new(match text(content, "type") {
        Some("output_text" | "text") => {
            let annotations = content.get("annotations").and_then(Value::as_array).map(Vec::as_slice);
            let citations = annotations.unwrap_or_default().iter().filter_map(citation::read).collect();
            PartKind::Text { text: owned("text"), citations }
        }
        Some("refusal") => PartKind::Refusal(owned("refusal")),
        _ => PartKind::Native(content.clone()),
    })
}

/// Nothing for an item that shows nothing and holds nothing.
pub(super) fn thinking(item: &Value) -> Option<Thinking> {
    let texts = |name: &str| {
        let parts = item.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        parts.iter().filter_map(|part| text(part, "text")).collect::<Vec<_>>().join("\n\n")
    };
    let (summary, content) = (texts("summary"), texts("content"));
    let is_summary = !summary.is_empty() || content.is_empty();
    let mark = mark(item);
    let told = if is_summary { summary } else { content };
    if told.is_empty() && mark.is_none() {
        return None;
    }
    Some(Thinking {
        id: text(item, "id").map(str::to_owned),
        text: told,
        summary: is_summary,
        redacted: mark.as_ref().is_some_and(|mark| mark.redacted),
        seal: mark.map(|mark| mark.seal),
    })
}

pub(super) fn mark(item: &Value) -> Option<Mark> {
    text(item, "encrypted_content").filter(|field| !field.is_empty()).map(Mark::read)
}

fn call(item: &Value, place: usize, custom: bool) -> Part {
    let name = text(item, "name").unwrap_or_default();
    let mut ids = ["call_id", "id"].iter().filter_map(|name| text(item, name));
    let id = ids.find(|id| !id.is_empty()).map_or_else(|| call_id(0, place, name), str::to_owned);
    let arguments = match item.get(if custom { "input" } else { "arguments" }) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    Part::new(PartKind::ToolCall(ToolCall {
        id,
        name: name.to_owned(),
        namespace: text(item, "namespace").filter(|text| !text.is_empty()).map(str::to_owned),
        arguments,
        custom,
        seal: None,
    }))
}

fn image(item: &Value) -> Part {
    let Some(data) = text(item, "result").filter(|data| !data.is_empty()) else {
        return Part::new(PartKind::Native(item.clone()));
    };
    let named = text(item, "output_format").map(|format| format!("image/{format}"));
    let mime = named.unwrap_or_else(|| image_type(data).to_owned());
    let source = Source::Base64 { mime, data: data.to_owned() };
    Part::new(PartKind::Image(Media { source, detail: None, name: None }))
}

pub(super) fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}
