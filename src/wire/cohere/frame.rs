//! A piece of Cohere's stream, and the message of a whole answer, read without building a tree.

use serde::de::{IgnoredAny, MapAccess};
use serde_json::value::RawValue;

use crate::lenient::{Any, FromJson, Index, OneOrMore, Text};
use crate::openai::Call;

/// A piece of a stream, or a whole answer: the members of both.
#[derive(Debug, Default)]
pub(super) struct Frame<'a> {
    pub(super) object: bool,
    pub(super) kind: Text,
    pub(super) id: Text,
    pub(super) index: Option<u32>,
    pub(super) delta: Option<Box<Frame<'a>>>,
    pub(super) message: Option<Message<'a>>,
    pub(super) finish: Option<Text>,
    pub(super) usage: Option<&'a RawValue>,
    pub(super) logprobs: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
}

/// What is said. In a stream each member is one thing, in an answer a list of them.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) content: OneOrMore<Content>,
    pub(super) plan: Text,
    pub(super) calls: OneOrMore<Call<'a>>,
    pub(super) citations: Option<&'a RawValue>,
}

/// A piece of content.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) thinking: String,
}

impl<'de> FromJson<'de> for Frame<'de> {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self { object: true, ..Self::default() };
        while let Some(key) = members.next_key::<FrameKey>()? {
            match key {
                FrameKey::Type => out.kind = members.next_value::<Any<Text>>()?.0,
                FrameKey::Id => out.id = members.next_value::<Any<Text>>()?.0,
                FrameKey::Index => out.index = members.next_value::<Any<Index>>()?.0.0,
                FrameKey::Delta => out.delta = Some(Box::new(members.next_value::<Any<Self>>()?.0)),
                FrameKey::Message => {
                    // An error has a text here.
                    let raw: &RawValue = members.next_value()?;
                    let message = serde_json::from_str::<Any<Message<'de>>>(raw.get());
                    out.message = message.ok().filter(|_| raw.get().starts_with('{')).map(|message| message.0);
                }
                FrameKey::FinishReason => out.finish = Some(members.next_value::<Any<Text>>()?.0),
                FrameKey::Usage => out.usage = Some(members.next_value()?),
                FrameKey::Logprobs => out.logprobs = Some(members.next_value()?),
                FrameKey::Error => out.error = Some(members.next_value()?),
                FrameKey::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(out)
    }
}

impl<'de> FromJson<'de> for Message<'de> {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self::default();
        while let Some(key) = members.next_key::<MessageKey>()? {
            match key {
                MessageKey::Content => out.content = members.next_value::<Any<OneOrMore<Content>>>()?.0,
                MessageKey::ToolPlan => out.plan = members.next_value::<Any<Text>>()?.0,
                MessageKey::ToolCalls => out.calls = members.next_value::<Any<OneOrMore<Call<'de>>>>()?.0,
                MessageKey::Citations => out.citations = Some(members.next_value()?),
                MessageKey::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(out)
    }
}

impl<'de> FromJson<'de> for Content {
    fn from_text(text: &str) -> Self {
        Self { text: text.to_owned(), thinking: String::new() }
    }

    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self::default();
        while let Some(key) = members.next_key::<ContentKey>()? {
            match key {
                ContentKey::Text => out.text = members.next_value::<Any<Text>>()?.0.0,
                ContentKey::Thinking => out.thinking = members.next_value::<Any<Text>>()?.0.0,
                ContentKey::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(out)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum FrameKey {
    Type,
    Id,
    Index,
    Delta,
    Message,
    FinishReason,
    Usage,
    Logprobs,
    Error,
    #[serde(other)]
    Other,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum MessageKey {
    Content,
    ToolPlan,
    ToolCalls,
    Citations,
    #[serde(other)]
    Other,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum ContentKey {
    Text,
    Thinking,
    #[serde(other)]
    Other,
}
