//! A provider's answer, or a line of its stream, as it is typed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::mend::{Kind, Shape};

/// The types that the reader insists on, for answers that break them.
pub(super) const SHAPE: &Shape = &[
    ("model", Kind::Text),
    ("created_at", Kind::Text),
    ("message", Kind::Object),
    ("content", Kind::Text),
    ("thinking", Kind::Text),
    ("response", Kind::Text),
    ("tool_calls", Kind::Objects),
    ("function", Kind::Object),
    ("name", Kind::Text),
    ("id", Kind::Text),
    ("done", Kind::Flag),
    ("done_reason", Kind::Text),
];

/// Members whose insides are not Ollama's.
pub(super) const OPAQUE: &[&str] = &["arguments"];

#[derive(Debug, Default, Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    pub(super) model: Option<Cow<'a, str>>,
    pub(super) created_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) message: Option<Said<'a>>,
    pub(super) response: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) done: Option<bool>,
    pub(super) done_reason: Option<String>,
    #[serde(borrow)]
    pub(super) logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) prompt_eval_count: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) eval_count: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) total_duration: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) load_duration: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) prompt_eval_duration: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) eval_duration: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Said<'a> {
    pub(super) content: Option<String>,
    pub(super) thinking: Option<String>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<Vec<Call<'a>>>,
    #[serde(borrow)]
    pub(super) images: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Call<'a> {
    pub(super) id: Option<String>,
    #[serde(borrow)]
    pub(super) function: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Function<'a> {
    pub(super) name: Option<String>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
}
