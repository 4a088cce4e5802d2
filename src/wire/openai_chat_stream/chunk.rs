//! The top level of a chunk, or of a whole answer.

use serde::de::{IgnoredAny, MapAccess};
use serde_json::value::RawValue;

use crate::lenient::{self, Any, FromJson};
use crate::openai_chat_parts::{Choices, FinishReason};
use crate::openai_error::UpstreamErrorBody;

/// The top level of a chunk or of a whole answer.
#[derive(Debug, Default)]
pub(crate) struct Chunk<'a> {
    pub(crate) object: bool,
    pub(crate) id: Option<&'a RawValue>,
    pub(crate) model: Option<&'a RawValue>,
    pub(crate) choices: Choices<'a>,
    pub(crate) usage: Option<&'a RawValue>,
    pub(crate) error: Option<&'a RawValue>,
}

impl Chunk<'_> {
    /// The error that this chunk is, wherever it is told.
    pub(crate) fn error_body(&self, text: &str) -> Option<UpstreamErrorBody> {
        let failed = self.choices.list.iter().find(|choice| choice.finish == Some(FinishReason::Error));
        let told = lenient::said(self.error).is_some();
        let bare = !self.choices.given && self.usage.is_none() && self.id.is_none();
        if told || bare {
            let found = serde_json::from_str(text).ok().as_ref().and_then(UpstreamErrorBody::from_json);
            if found.is_some() || (bare && failed.is_none()) {
                return found;
            }
            return Some(UpstreamErrorBody::parse(self.error.map_or(text, RawValue::get).as_bytes()));
        }
        let inner = failed?.error.map_or("the provider ended the answer with an error", RawValue::get);
        Some(UpstreamErrorBody::parse(inner.as_bytes()))
    }
}

impl<'de> FromJson<'de> for Chunk<'de> {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self { object: true, ..Self::default() };
        while let Some(key) = members.next_key::<ChunkKey>()? {
            match key {
                ChunkKey::Id => out.id = Some(members.next_value()?),
                ChunkKey::Model => out.model = Some(members.next_value()?),
                ChunkKey::Choices => out.choices = members.next_value::<Any<Choices<'de>>>()?.0,
                ChunkKey::Usage => out.usage = Some(members.next_value()?),
                ChunkKey::Error => out.error = Some(members.next_value()?),
                ChunkKey::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(out)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum ChunkKey {
    Id,
    Model,
    Choices,
    Usage,
    Error,
    #[serde(other)]
    Other,
}
