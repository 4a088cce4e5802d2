//! A chunk of a stream or a whole answer as providers write it, read without building a tree.
//!
//! Nothing here can fail on JSON of an unexpected shape; what is rare stays unparsed until somebody asks.

use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::lenient::{self, Any, FromJson, Index, Listed, Text};
use crate::openai_error::UpstreamErrorBody;

/// The top level.
#[derive(Debug, Default)]
pub(super) struct Chunk<'a> {
    pub(super) object: bool,
    pub(super) id: Option<&'a RawValue>,
    pub(super) model: Option<&'a RawValue>,
    pub(super) created: Option<&'a RawValue>,
    pub(super) service_tier: Option<&'a RawValue>,
    pub(super) fingerprint: Option<&'a RawValue>,
    pub(super) choices: Listed<Choice<'a>>,
    pub(super) usage: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
}

/// One choice.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub(super) index: u32,
    pub(super) delta: Body<'a>,
    pub(super) message: Body<'a>,
    /// The text of a provider that only completes.
    pub(super) text: Text,
    pub(super) finish: Text,
    /// The stop sequence that was met, where a provider tells.
    pub(super) stopped_by: Text,
    pub(super) logprobs: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
}

/// A delta or a message.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    pub(super) present: bool,
    pub(super) content: Content,
    pub(super) refusal: Text,
    pub(super) reasoning_content: Text,
    pub(super) reasoning: Text,
    pub(super) details: Option<&'a RawValue>,
    pub(super) calls: Vec<Call<'a>>,
    pub(super) annotations: Option<&'a RawValue>,
    pub(super) images: Option<&'a RawValue>,
    pub(super) audio: Option<&'a RawValue>,
}

/// The content: a text, or parts as they were written.
#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Value>),
}

/// A call, or a fragment of one.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    pub(crate) index: Option<u32>,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
    pub(crate) custom: bool,
    pub(crate) extra: Option<&'a RawValue>,
}

impl Chunk<'_> {
    /// The error that this is in place of an answer, wherever it is told.
    pub(super) fn error_body(&self, text: &str) -> Option<UpstreamErrorBody> {
        let parsed = || serde_json::from_str(text).ok().as_ref().and_then(UpstreamErrorBody::from_json);
        if !self.object {
            return parsed();
        }
        if let Some(error) = lenient::said(self.error) {
            return Some(parsed().unwrap_or_else(|| UpstreamErrorBody::parse(error.get().as_bytes())));
        }
        if !self.choices.given && self.usage.is_none() && self.id.is_none() {
            return parsed();
        }
        let failed = self.choices.list.iter().find(|choice| choice.finish.0 == "error")?;
        let told = failed.error.map_or("the provider ended the answer with an error", RawValue::get);
        Some(UpstreamErrorBody::parse(told.as_bytes()))
    }
}

/// What is not null.
pub(super) fn given(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| !matches!(raw.get(), "null" | "[]" | "{}" | "\"\""))
}

/// A rare member, parsed.
pub(crate) fn parsed(raw: Option<&RawValue>) -> Option<Value> {
    serde_json::from_str(given(raw)?.get()).ok()
}

impl<'de> FromJson<'de> for Chunk<'de> {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self { object: true, ..Self::default() };
        while let Some(key) = members.next_key::<ChunkKey>()? {
            match key {
                ChunkKey::Id => out.id = Some(members.next_value()?),
                ChunkKey::Model => out.model = Some(members.next_value()?),
                ChunkKey::Created => out.created = Some(members.next_value()?),
                ChunkKey::ServiceTier => out.service_tier = Some(members.next_value()?),
                ChunkKey::SystemFingerprint => out.fingerprint = Some(members.next_value()?),
                ChunkKey::Choices => out.choices = members.next_value::<Any<Listed<Choice<'de>>>>()?.0,
                ChunkKey::Usage => out.usage = Some(members.next_value()?),
                ChunkKey::Error => out.error = Some(members.next_value()?),
                ChunkKey::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(out)
    }
}

impl<'de> FromJson<'de> for Choice<'de> {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self::default();
        while let Some(key) = members.next_key::<ChoiceKey>()? {
            match key {
                ChoiceKey::Index => out.index = members.next_value::<Any<Index>>()?.0.0.unwrap_or(0),
                ChoiceKey::Delta => out.delta = members.next_value::<Any<Body<'de>>>()?.0,
                ChoiceKey::Message => out.message = members.next_value::<Any<Body<'de>>>()?.0,
                ChoiceKey::Text => out.text = members.next_value::<Any<Text>>()?.0,
                ChoiceKey::FinishReason => out.finish = members.next_value::<Any<Text>>()?.0,
                ChoiceKey::StopReason => out.stopped_by = members.next_value::<Any<Text>>()?.0,
                ChoiceKey::Logprobs => out.logprobs = Some(members.next_value()?),
                ChoiceKey::Error => out.error = Some(members.next_value()?),
                ChoiceKey::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(out)
    }
}

impl<'de> FromJson<'de> for Body<'de> {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self { present: true, ..Self::default() };
        while let Some(key) = members.next_key::<BodyKey>()? {
            match key {
                BodyKey::Content => out.content = members.next_value::<Any<Content>>()?.0,
                BodyKey::Refusal => out.refusal = members.next_value::<Any<Text>>()?.0,
                BodyKey::ReasoningContent => out.reasoning_content = members.next_value::<Any<Text>>()?.0,
                BodyKey::Reasoning => out.reasoning = members.next_value::<Any<Text>>()?.0,
                BodyKey::ReasoningDetails => out.details = Some(members.next_value()?),
                BodyKey::ToolCalls => out.calls.extend(members.next_value::<Any<Listed<Call<'de>>>>()?.0.list),
                BodyKey::FunctionCall => {
                    let Any(call) = members.next_value::<Any<Call<'de>>>()?;
                    out.calls.extend((!call.name.is_empty() || !call.arguments.is_empty()).then_some(call));
                }
                BodyKey::Annotations => out.annotations = Some(members.next_value()?),
                BodyKey::Images => out.images = Some(members.next_value()?),
                BodyKey::Audio => out.audio = Some(members.next_value()?),
                BodyKey::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(out)
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl<'de> FromJson<'de> for Content {
    fn from_text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn from_array<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = items.next_element()? {
            parts.push(part);
        }
        Ok(Self::Parts(parts))
    }
}

/// The members of a call and those of its `function` or `custom` are read alike: they share no name but `name`.
impl<'de> FromJson<'de> for Call<'de> {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self::default();
        while let Some(key) = members.next_key::<CallKey>()? {
            match key {
                CallKey::Index => out.index = members.next_value::<Any<Index>>()?.0.0,
                CallKey::Id => out.id = members.next_value::<Any<Text>>()?.0.0,
                CallKey::Name => out.name = members.next_value::<Any<Text>>()?.0.0,
                CallKey::Function => out.called(members.next_value::<Any<Self>>()?.0, false),
                CallKey::Custom => out.called(members.next_value::<Any<Self>>()?.0, true),
                CallKey::Arguments | CallKey::Input => out.arguments = text_of(members.next_value()?),
                CallKey::ExtraContent => out.extra = Some(members.next_value()?),
                CallKey::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(out)
    }
}

impl Call<'_> {
    fn called(&mut self, inner: Self, custom: bool) {
        if inner.name.is_empty() && inner.arguments.is_empty() {
            return;
        }
        self.name = inner.name;
        self.arguments = inner.arguments;
        self.custom = custom;
    }
}

/// Arguments are text; some providers write the object itself.
fn text_of(raw: &RawValue) -> String {
    match raw.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_default(),
        json => json.to_owned(),
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum ChunkKey {
    Id,
    Model,
    Created,
    ServiceTier,
    SystemFingerprint,
    Choices,
    Usage,
    Error,
    #[serde(other)]
    Other,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum ChoiceKey {
    Index,
    Delta,
    Message,
    Text,
    FinishReason,
    StopReason,
    Logprobs,
    Error,
    #[serde(other)]
    Other,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum BodyKey {
    Content,
    Refusal,
    ReasoningContent,
    Reasoning,
    ReasoningDetails,
    ToolCalls,
    FunctionCall,
    Annotations,
    Images,
    Audio,
    #[serde(other)]
    Other,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum CallKey {
    Index,
    Id,
    Name,
    Function,
    Custom,
    Arguments,
    Input,
    ExtraContent,
    #[serde(other)]
    Other,
}
