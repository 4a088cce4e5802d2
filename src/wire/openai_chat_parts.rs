//! What the choices of a chat answer hold, whole (`message`) or in a stream (`delta`), read without building a tree.

use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::lenient::{Any, Filled, FromJson, Listed};

/// Why a choice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done, or met a stop sequence.
    Stop,
    /// The token limit was reached.
    Length,
    /// The model wants tools called.
    ToolCalls,
    /// The provider withheld content.
    ContentFilter,
    /// The model wants a function called (the old form).
    FunctionCall,
    /// The provider failed on the way.
    Error,
    /// A reason of the provider's own.
    Other,
}

impl FinishReason {
    fn named(text: &str) -> Option<Self> {
        Some(match text {
            "" => return None,
            "stop" => Self::Stop,
            "length" => Self::Length,
            "tool_calls" => Self::ToolCalls,
            "content_filter" => Self::ContentFilter,
            "function_call" => Self::FunctionCall,
            "error" => Self::Error,
            _ => Self::Other,
        })
    }
}

/// One choice of a chunk or an answer.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub(super) index: u32,
    pub(super) body: Body,
    pub(super) has_message: bool,
    pub(super) finish: Option<FinishReason>,
    pub(super) error: Option<&'a RawValue>,
}

/// The content of a delta or a message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body {
    /// It was there as an object, even if an empty one.
    pub(super) present: bool,
    /// It holds text, reasoning, a tool call, a refusal, audio or the like.
    pub(super) content: bool,
    pub(super) chars: u64,
    pub(super) reasoning_chars: u64,
}

/// The list of choices.
pub(super) type Choices<'a> = Listed<Choice<'a>>;

impl<'de> FromJson<'de> for Choice<'de> {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self::default();
        while let Some(key) = members.next_key::<ChoiceKey>()? {
            match key {
                ChoiceKey::Index => out.index = members.next_value::<Any<Index>>()?.0.0,
                ChoiceKey::Delta => out.body.merge(members.next_value::<Any<Body>>()?.0),
                ChoiceKey::Message => {
                    let Any(message) = members.next_value::<Any<Body>>()?;
                    out.has_message = message.present;
                    out.body.merge(message);
                }
                ChoiceKey::FinishReason => out.finish = members.next_value::<Any<Finish>>()?.0.0,
                ChoiceKey::Error => out.error = Some(members.next_value()?),
                ChoiceKey::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(out)
    }
}

impl Body {
    /// Some upstreams send the whole `message` beside the last `delta`: its characters were counted already.
    fn merge(&mut self, other: Self) {
        self.present |= other.present;
        self.content |= other.content;
        self.chars = self.chars.max(other.chars);
        self.reasoning_chars = self.reasoning_chars.max(other.reasoning_chars);
    }

    fn add(&mut self, filled: Filled) {
        self.content |= filled.any;
        self.chars = self.chars.saturating_add(filled.chars);
    }
}

impl<'de> FromJson<'de> for Body {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self { present: true, ..Self::default() };
        while let Some(key) = members.next_key::<BodyKey>()? {
            match key {
                BodyKey::Content | BodyKey::Refusal => out.add(members.next_value::<Any<Filled>>()?.0),
                BodyKey::ReasoningContent | BodyKey::Reasoning => {
                    let Any(filled) = members.next_value::<Any<Filled>>()?;
                    out.content |= filled.any;
                    out.reasoning_chars = out.reasoning_chars.max(filled.chars);
                }
                BodyKey::ToolCalls => out.add(members.next_value::<Any<Calls>>()?.0.0),
                BodyKey::FunctionCall => out.add(members.next_value::<Any<Call>>()?.0.0),
                BodyKey::Audio | BodyKey::Images | BodyKey::ReasoningDetails => {
                    out.content |= members.next_value::<Any<Filled>>()?.0.any;
                }
                BodyKey::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(out)
    }
}

/// A list of tool calls or fragments of them.
#[derive(Debug, Default)]
struct Calls(Filled);

impl<'de> FromJson<'de> for Calls {
    fn from_array<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut sum = Filled::default();
        while let Some(Any(call)) = items.next_element::<Any<Call>>()? {
            sum.add(Filled { any: true, ..call.0 });
        }
        Ok(Self(sum))
    }
}

/// One call: the characters of its arguments or input, under `function` or `custom` or directly.
#[derive(Debug, Default)]
struct Call(Filled);

impl<'de> FromJson<'de> for Call {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut sum = Filled::default();
        while let Some(key) = members.next_key::<CallKey>()? {
            match key {
                CallKey::Function | CallKey::Custom => sum.add(members.next_value::<Any<Call>>()?.0.0),
                CallKey::Name | CallKey::Arguments | CallKey::Input => {
                    sum.add(members.next_value::<Any<Filled>>()?.0);
                }
                CallKey::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Self(sum))
    }
}

#[derive(Debug, Default)]
struct Index(u32);

impl<'de> FromJson<'de> for Index {
    fn from_count(count: u64) -> Self {
        Self(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

#[derive(Debug, Default)]
struct Finish(Option<FinishReason>);

impl<'de> FromJson<'de> for Finish {
    fn from_text(text: &str) -> Self {
        Self(FinishReason::named(text))
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum ChoiceKey {
    Index,
    Delta,
    Message,
    FinishReason,
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
    Audio,
    Images,
    #[serde(other)]
    Other,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum CallKey {
    Function,
    Custom,
    Name,
    Arguments,
    Input,
    #[serde(other)]
    Other,
}
