//! Reading JSON of doubtful shape without building it.
//!
//! Upstreams send `null`, `""`, `[]` or a number where an object belongs, and repeat keys. A derived struct refuses all of these;
//! a [`FromJson`] type says what each shape means to it, and everything it does not mention becomes its default.

use std::{fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What each shape of JSON value means to this type; the default is the answer to any shape not overridden.
pub(crate) trait FromJson<'de>: Sized + Default {
    /// The value was null.
    fn from_null() -> Self {
        Self::default()
    }

    /// The value was a string.
    fn from_text(_text: &str) -> Self {
        Self::default()
    }

    /// The value was an array.
    fn from_array<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    /// The value was an object.
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    /// The value was a number that is a whole one and not negative.
    fn from_count(_count: u64) -> Self {
        Self::default()
    }
}

/// Reads any JSON value as a `T` by its [`FromJson`] rules.
#[derive(Debug, Default)]
pub(crate) struct Any<T>(pub(crate) T);

impl<'de, T: FromJson<'de>> Deserialize<'de> for Any<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor(PhantomData)).map(Any)
    }
}

struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: FromJson<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::from_null())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_u64<E>(self, count: u64) -> Result<T, E> {
        Ok(T::from_count(count))
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::from_text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        T::from_array(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::from_object(members)
    }
}

/// A place in a list; none when it is no count.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Index(pub(crate) Option<u32>);

impl FromJson<'_> for Index {
    fn from_count(count: u64) -> Self {
        Self(u32::try_from(count).ok())
    }
}

/// How much a value holds: the characters of its texts, and whether it holds anything at all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) chars: u64,
    pub(crate) any: bool,
    pub(crate) media: MediaKinds,
}

/// What a content holds beside text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MediaKinds {
    /// Pictures.
    pub images: bool,
    /// Sound.
    pub audio: bool,
    /// Documents.
    pub files: bool,
}

impl MediaKinds {
    /// Counts `other` in.
    pub const fn add(&mut self, other: Self) {
        self.images |= other.images;
        self.audio |= other.audio;
        self.files |= other.files;
    }
}

/// The `type` of a part tells what it holds.
impl FromJson<'_> for MediaKinds {
    fn from_text(text: &str) -> Self {
        Self {
            images: matches!(text, "image_url" | "image" | "input_image"),
            audio: matches!(text, "input_audio" | "audio" | "audio_url"),
            files: matches!(text, "file" | "input_file" | "document"),
        }
    }
}

impl Filled {
    /// Counts `other` in.
    pub(crate) fn add(&mut self, other: Self) {
        self.chars = self.chars.saturating_add(other.chars);
        self.any |= other.any;
        self.media.add(other.media);
    }
}

impl<'de> FromJson<'de> for Filled {
    fn from_text(text: &str) -> Self {
        Self { chars: text.chars().count() as u64, any: !text.is_empty(), ..Self::default() }
    }

    fn from_array<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut sum = Self::default();
        while let Some(Any(part)) = items.next_element::<Any<Part>>()? {
            sum.add(Self { any: true, ..part.0 });
        }
        Ok(sum)
    }

    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut any = false;
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(Self { any, ..Self::default() })
    }
}

/// One element of a content array: the characters of its `text`, wherever in it that lies one level down.
#[derive(Debug, Default)]
struct Part(Filled);

impl<'de> FromJson<'de> for Part {
    fn from_text(text: &str) -> Self {
        Self(Filled::from_text(text))
    }

    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut sum = Filled::default();
        while let Some(key) = members.next_key::<PartKey>()? {
            match key {
                PartKey::Text | PartKey::Refusal => sum.add(members.next_value::<Any<Filled>>()?.0),
                PartKey::Type => sum.media.add(members.next_value::<Any<MediaKinds>>()?.0),
                PartKey::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Self(sum))
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum PartKey {
    Type,
    Text,
    Refusal,
    #[serde(other)]
    Other,
}
