//! A provider's answer, or a chunk of its stream, as it is typed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::mend::{Kind, Shape};

/// The types that the reader insists on, for answers that break them.
pub(super) const SHAPE: &Shape = &[
    ("candidates", Kind::Objects),
    ("content", Kind::Object),
    ("parts", Kind::Objects),
    ("index", Kind::Number),
    ("finishReason", Kind::Text),
    ("promptFeedback", Kind::Object),
    ("blockReason", Kind::Text),
    ("usageMetadata", Kind::Object),
    ("promptTokensDetails", Kind::Objects),
    ("cacheTokensDetails", Kind::Objects),
    ("candidatesTokensDetails", Kind::Objects),
    ("modality", Kind::Text),
    ("text", Kind::Text),
    ("thought", Kind::Flag),
    ("thoughtSignature", Kind::Text),
    ("functionCall", Kind::Object),
    ("args", Kind::Object),
    ("name", Kind::Text),
    ("id", Kind::Text),
    ("inlineData", Kind::Object),
    ("fileData", Kind::Object),
    ("mimeType", Kind::Text),
    ("data", Kind::Text),
    ("fileUri", Kind::Text),
    ("displayName", Kind::Text),
    ("groundingMetadata", Kind::Object),
    ("citationMetadata", Kind::Object),
    ("logprobsResult", Kind::Object),
];

/// Members whose insides are not Google's.
pub(super) const OPAQUE: &[&str] = &["args"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) candidates: Option<Vec<Candidate<'a>>>,
    pub(super) prompt_feedback: Option<Feedback>,
    #[serde(borrow)]
    pub(super) usage_metadata: Option<Counts<'a>>,
    #[serde(borrow)]
    pub(super) model_version: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response_id: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feedback {
    pub(super) block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    pub(super) index: Option<u32>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'a>>,
    pub(super) finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) grounding_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) citation_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) logprobs_result: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) parts: Option<Vec<Piece<'a>>>,
}

/// One part; what is not known of it is kept by name.
#[derive(Debug, Default)]
pub(super) struct Piece<'a> {
    pub(super) text: Option<String>,
    pub(super) thought: bool,
    pub(super) seal: Option<String>,
    pub(super) call: Option<Call<'a>>,
    pub(super) inline_data: Option<Data>,
    pub(super) file_data: Option<Data>,
    pub(super) other: Option<(String, &'a RawValue)>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Call<'a> {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(borrow)]
    pub(super) args: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data {
    pub(super) mime_type: Option<String>,
    pub(super) data: Option<String>,
    pub(super) file_uri: Option<String>,
    pub(super) display_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts<'a> {
    #[serde(borrow)]
    pub(super) prompt_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) cached_content_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) candidates_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) thoughts_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_use_prompt_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) total_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) prompt_tokens_details: Option<Vec<OfKind<'a>>>,
    #[serde(borrow)]
    pub(super) cache_tokens_details: Option<Vec<OfKind<'a>>>,
    #[serde(borrow)]
    pub(super) candidates_tokens_details: Option<Vec<OfKind<'a>>>,
}

/// Tokens of one kind of input or output.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfKind<'a> {
    pub(super) modality: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) token_count: Option<&'a RawValue>,
}

impl Piece<'_> {
    /// Whether it says words of the answer.
    pub(super) fn is_text(&self) -> bool {
        !self.thought && self.text.as_ref().is_some_and(|text| !text.is_empty())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Piece<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PieceVisitor(PhantomData))
    }
}

struct PieceVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for PieceVisitor<'a> {
    type Value = Piece<'a>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a part")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Piece<'a>, A::Error> {
        let mut piece = Piece::default();
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            match &*key {
                "text" => piece.text = members.next_value()?,
                "thought" => piece.thought = members.next_value::<Option<bool>>()?.unwrap_or(false),
                "thoughtSignature" | "thought_signature" => piece.seal = members.next_value()?,
                "functionCall" => piece.call = members.next_value()?,
                "inlineData" => piece.inline_data = members.next_value()?,
                "fileData" => piece.file_data = members.next_value()?,
                // They describe a piece and are none.
                "videoMetadata" | "partMetadata" | "mediaResolution" => drop(members.next_value::<IgnoredAny>()?),
                _ => piece.other = Some((key.into_owned(), members.next_value()?)),
            }
        }
        Ok(piece)
    }
}
