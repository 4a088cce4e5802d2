//! One event of a provider's stream, read without building what is not needed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The members that events have. Inner objects stay text until somebody asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Text<'a>>,
    pub(super) output_index: Option<u64>,
    pub(super) content_index: Option<u64>,
    pub(super) summary_index: Option<u64>,
    #[serde(borrow)]
    pub(super) item_id: Option<Text<'a>>,
    pub(super) delta: Option<String>,
    pub(super) text: Option<String>,
    pub(super) refusal: Option<String>,
    pub(super) arguments: Option<String>,
    pub(super) input: Option<String>,
    #[serde(borrow)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) part: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) annotation: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// A text that is borrowed where it has no escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The same object without the members that have a type of their own making; nothing for what is no object.
pub(super) fn mended(data: &[u8]) -> Option<String> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice::<Value>(data) else { return None };
    members.retain(|name, value| match name.as_str() {
        "output_index" | "content_index" | "summary_index" => value.is_u64(),
        "type" | "item_id" | "delta" | "text" | "refusal" | "arguments" | "input" => value.is_string(),
        _ => true,
    });
    Some(Value::Object(members).to_string())
}

/// An inner object; `null` for what is missing.
pub(super) fn value(raw: Option<&RawValue>) -> Value {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// The members of a response object that are read; the rest repeats the request and may be long.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    incomplete_details: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

/// A response object, without what only repeats the request; its items only if nobody has seen them yet.
pub(super) fn response(raw: Option<&RawValue>, with_output: bool) -> Value {
    let Some(raw) = raw else { return Value::Null };
    let Ok(read) = serde_json::from_str::<Response<'_>>(raw.get()) else { return value(Some(raw)) };
    let members = [
        ("id", read.id),
        ("model", read.model),
        ("created_at", read.created_at),
        ("service_tier", read.service_tier),
        ("status", read.status),
        ("error", read.error),
        ("incomplete_details", read.incomplete_details),
        ("usage", read.usage),
        ("output", read.output.filter(|_| with_output)),
    ];
    members.into_iter().map(|(name, raw)| (name.to_owned(), value(raw))).collect()
}
