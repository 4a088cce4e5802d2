//! Reading single members of doubtful type, and writing JSON text without a tree.

use bytes::{BufMut, BytesMut};
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess};
use serde_json::value::RawValue;

use crate::lenient::{Any, FromJson};

/// A text; anything else is none.
#[derive(Debug, Default, Clone)]
pub(crate) struct Text(pub(crate) Option<String>);

impl<'de> FromJson<'de> for Text {
    fn from_text(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}

/// A count; anything else is none.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count(pub(crate) Option<u64>);

impl<'de> FromJson<'de> for Count {
    fn from_count(count: u64) -> Self {
        Self(Some(count))
    }
}

/// An object as the texts of its members; anything else has none.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> FromJson<'de> for Members<'de> {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry::<String, &'de RawValue>()? {
            all.push(member);
        }
        Ok(Self(all))
    }
}

impl<'a> Members<'a> {
    /// The members of an object; of anything else, none.
    pub(crate) fn of(raw: &'a RawValue) -> Self {
        Self::of_text(raw.get())
    }

    /// The same for JSON text.
    pub(crate) fn of_text(text: &'a str) -> Self {
        serde_json::from_str::<Any<Self>>(text).map(|Any(members)| members).unwrap_or_default()
    }

    /// A member that is not null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        found.filter(|value| value.get() != "null")
    }

    /// A text member.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        read::<Any<Text>>(self.get(name)?).and_then(|Any(text)| text.0)
    }

    /// A count member.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        read::<Any<Count>>(self.get(name)?).and_then(|Any(count)| count.0)
    }

    /// An object member.
    pub(crate) fn members(&self, name: &str) -> Option<Self> {
        let raw = self.get(name)?;
        raw.get().starts_with('{').then(|| Self::of(raw))
    }

    /// The elements of a list member.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The first member that is not null, for objects that are a union.
    pub(crate) fn only(&self) -> Option<(&str, &'a RawValue)> {
        self.0.iter().find(|(_, value)| value.get() != "null").map(|(key, value)| (key.as_str(), *value))
    }
}

/// A value as this type, if it is one.
pub(crate) fn read<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// Whether a text is JSON at all.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Arguments as the object that some formats insist on: the text itself if it is an object, else an object around the text.
pub(crate) fn arguments_object(arguments: &str, custom: bool) -> Box<RawValue> {
    let text = arguments.trim();
    if text.is_empty() && !custom {
        return raw_object("{}".to_owned());
    }
    if !custom && text.starts_with('{') && is_json(text.as_bytes()) {
        return raw_object(text.to_owned());
    }
    raw_object(serde_json::json!({ "input": arguments }).to_string())
}

fn raw_object(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_default()
}

/// Append a text as a JSON string.
pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    // A string into memory: neither the shape nor the writer can fail.
    let _ = serde_json::to_writer(out.writer(), text);
}

/// Append anything that serde writes.
pub(crate) fn put<T: serde::Serialize>(out: &mut BytesMut, value: &T) {
    let _ = serde_json::to_writer(out.writer(), value);
}
