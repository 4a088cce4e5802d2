//! The one pass over a request body: its members, their places, and the shape of its messages.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::{
    super::lenient::{Any, Filled, FromJson, MediaKinds},
    BadRequest, Keys, splice,
};

/// Deeper bodies are an attack on somebody's recursive parser.
const MAX_DEPTH: usize = 128;

/// The members that mean something to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Model,
    Messages,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    N,
    Temperature,
    TopP,
    Tools,
    Functions,
    Stop,
    User,
    Streaming,
    NonStream,
    DisableStream,
    DisableStreaming,
    Other,
}

impl Field {
    /// The field of a key as written between its quotes.
    pub(super) fn of(key: &str) -> Self {
        match unescaped(key).as_ref() {
            "model" => Self::Model,
            "messages" => Self::Messages,
            "stream" => Self::Stream,
            "stream_options" => Self::StreamOptions,
            "max_tokens" => Self::MaxTokens,
            "max_completion_tokens" => Self::MaxCompletionTokens,
            "n" => Self::N,
            "temperature" => Self::Temperature,
            "top_p" => Self::TopP,
            "tools" => Self::Tools,
            "functions" => Self::Functions,
            "stop" => Self::Stop,
            "user" => Self::User,
            "streaming" => Self::Streaming,
            "non_stream" => Self::NonStream,
            "disable_stream" => Self::DisableStream,
            "disable_streaming" => Self::DisableStreaming,
            _ => Self::Other,
        }
    }
}

/// A key without its escapes: `"mod\u0065l"` is the model to every other parser, so it is to us.
pub(super) fn unescaped(key: &str) -> Cow<'_, str> {
    if memchr(b'\\', key.as_bytes()).is_none() {
        return Cow::Borrowed(key);
    }
    serde_json::from_str(&format!("\"{key}\"")).map_or(Cow::Borrowed(key), Cow::Owned)
}

/// The body as read, not yet checked.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    pub(super) keys: Keys,
    pub(super) values: SmallVec<[(Field, &'a RawValue); 12]>,
    pub(super) messages: Option<Messages>,
    pub(super) tools: Option<Tools>,
    pub(super) duplicate: Option<&'a str>,
}

impl<'a> Draft<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, BadRequest> {
        if !depth_within(text.as_bytes(), MAX_DEPTH) {
            return Err(invalid(format!("The request body is nested deeper than {MAX_DEPTH} levels")));
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let draft = deserializer.deserialize_map(BodyVisitor { text });
        let draft = draft.and_then(|draft| deserializer.end().map(|()| draft));
        draft.map_err(|error| match error.classify() {
            serde_json::error::Category::Data => invalid("The request body must be a JSON object".to_owned()),
            _ => invalid(format!(
                "The request body is not valid JSON (line {}, column {})",
                error.line(),
                error.column()
            )),
        })
    }

    /// The value of a field, null counting as absent.
    pub(super) fn value(&self, wanted: Field) -> Option<&'a RawValue> {
        let found = self.values.iter().find(|(field, _)| *field == wanted);
        found.map(|(_, value)| *value).filter(|value| value.get() != "null")
    }
}

/// A body that is no JSON object, in words.
pub(super) fn invalid(message: String) -> BadRequest {
    BadRequest { message, param: None, code: "invalid_json" }
}

struct BodyVisitor<'t> {
    text: &'t str,
}

impl<'de> Visitor<'de> for BodyVisitor<'de> {
    type Value = Draft<'de>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Draft<'de>, A::Error> {
        let mut draft = Draft::default();
        let mut seen: SmallVec<[Field; 16]> = SmallVec::new();
        while let Some(key) = members.next_key::<&'de RawValue>()? {
            draft.keys.push(splice::place_of(key.get(), self.text));
            let name = splice::unquoted(key.get());
            let field = Field::of(name);
            if field != Field::Other && seen.contains(&field) {
                draft.duplicate.get_or_insert(name);
            }
            seen.push(field);
            match field {
                Field::Other => drop(members.next_value::<IgnoredAny>()?),
                Field::Messages => draft.messages = Some(members.next_value::<Any<Messages>>()?.0),
                Field::Tools => draft.tools = Some(members.next_value::<Any<Tools>>()?.0),
                _ => draft.values.push((field, members.next_value()?)),
            }
        }
        Ok(draft)
    }
}

/// What is wrong with the messages, with the index of the first bad one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MessageFault {
    NotAnObject(usize),
    NoRole(usize),
    UnknownRole(usize, String),
}

/// The messages, walked.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) list: bool,
    pub(super) count: usize,
    pub(super) chars: u64,
    pub(super) media: MediaKinds,
    pub(super) fault: Option<MessageFault>,
}

impl<'de> FromJson<'de> for Messages {
    fn from_array<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut out = Self { list: true, ..Self::default() };
        while let Some(Any(message)) = items.next_element::<Any<Message>>()? {
            let index = out.count;
            out.chars = out.chars.saturating_add(message.filled.chars);
            out.media.add(message.filled.media);
            out.count = index.saturating_add(1);
            out.fault = out.fault.take().or_else(|| message.fault(index));
        }
        Ok(out)
    }
}

#[derive(Debug, Default)]
struct Message {
    object: bool,
    role: Role,
    filled: Filled,
}

impl Message {
    fn fault(self, index: usize) -> Option<MessageFault> {
        match self.role {
            _ if !self.object => Some(MessageFault::NotAnObject(index)),
            Role::Missing => Some(MessageFault::NoRole(index)),
            Role::Unknown(name) => Some(MessageFault::UnknownRole(index, name)),
            Role::Known => None,
        }
    }
}

impl<'de> FromJson<'de> for Message {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self { object: true, ..Self::default() };
        while let Some(key) = members.next_key::<MessageKey>()? {
            match key {
                MessageKey::Role => out.role = members.next_value::<Any<Role>>()?.0,
                MessageKey::Content | MessageKey::ReasoningContent | MessageKey::Refusal => {
                    out.filled.add(members.next_value::<Any<Filled>>()?.0);
                }
                MessageKey::ToolCalls | MessageKey::FunctionCall => {
                    let calls: &RawValue = members.next_value()?;
                    out.filled.add(Filled { chars: calls.get().len() as u64, any: true, ..Filled::default() });
                }
                MessageKey::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(out)
    }
}

#[derive(Debug, Default)]
enum Role {
    #[default]
    Missing,
    Known,
    Unknown(String),
}

impl<'de> FromJson<'de> for Role {
    fn from_text(text: &str) -> Self {
        match text {
            "system" | "developer" | "user" | "assistant" | "tool" | "function" => Self::Known,
            other => Self::Unknown(other.chars().filter(|c| !c.is_control()).take(40).collect()),
        }
    }
}

/// The tools: how many, how large, and the first that is no object.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) list: bool,
    pub(super) null: bool,
    pub(super) count: usize,
    pub(super) chars: u64,
    pub(super) not_an_object: Option<usize>,
}

impl<'de> FromJson<'de> for Tools {
    fn from_null() -> Self {
        Self { null: true, ..Self::default() }
    }

    fn from_array<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut out = Self { list: true, ..Self::default() };
        while let Some(tool) = items.next_element::<&'de RawValue>()? {
            if !tool.get().starts_with('{') {
                out.not_an_object.get_or_insert(out.count);
            }
            out.count = out.count.saturating_add(1);
            out.chars = out.chars.saturating_add(tool.get().len() as u64);
        }
        Ok(out)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum MessageKey {
    Role,
    Content,
    ReasoningContent,
    Refusal,
    ToolCalls,
    FunctionCall,
    #[serde(other)]
    Other,
}

/// Whether brackets nest at most `max` deep. Strings are jumped over; whether it is JSON at all is for the parser to say.
fn depth_within(body: &[u8], max: usize) -> bool {
    let (mut at, mut depth) = (0_usize, 0_usize);
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = string_end(body, at),
            _ => {}
        }
        if depth > max {
            return false;
        }
    }
    true
}

fn string_end(body: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(found) = body.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if body.get(at - 1) == Some(&b'"') {
            return at;
        }
        at += 1;
    }
    body.len()
}
