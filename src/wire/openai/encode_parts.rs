//! Writing what a message is made of.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::encode_request::{Writer, put};
use crate::chat::{CacheHint, Media, Part, PartKind, Source};

/// A cache hint as endpoints in front of Anthropic's models take it.
pub(super) fn cache_control(hint: &CacheHint) -> Value {
    match &hint.ttl {
        Some(ttl) => json!({"type": "ephemeral", "ttl": ttl}),
        None => json!({"type": "ephemeral"}),
    }
}

/// The `content` of a message: a text where one text is all there is, as every provider understands it.
pub(super) fn content(parts: Vec<Value>) -> Value {
    let plain =
        |part: &Value| part.get("type").is_some_and(|kind| kind == "text") && part.get("cache_control").is_none();
    match parts.as_slice() {
        [] => "".into(),
        [one] if plain(one) => one.get("text").cloned().unwrap_or_default(),
        _ => Value::Array(parts),
    }
}

/// A part of a message of the user, if this format has a place for it.
pub(super) fn part(writer: &Writer<'_>, part: &Part) -> Option<Value> {
    let mut written = match &part.kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) => json!({"type": "text", "text": text}),
        PartKind::Image(media) => image(media)?,
        PartKind::Audio(media) => audio(media)?,
        PartKind::Video(media) => json!({"type": "video_url", "video_url": {"url": media.source.to_url()?}}),
        PartKind::File(media) => file(media, writer.is_own())?,
        PartKind::Native(_) | PartKind::ToolCall(_) | PartKind::ToolResult(_) | PartKind::Thinking(_) => return None,
    };
    if let (Some(hint), Some(object)) = (part.cache.as_ref().filter(|_| writer.is_own()), written.as_object_mut()) {
        object.insert("cache_control".into(), cache_control(hint));
    }
    Some(written)
}

fn image(media: &Media) -> Option<Value> {
    let mut image = serde_json::Map::new();
    image.insert("url".into(), media.source.to_url()?.into());
    put(&mut image, "detail", media.detail.as_deref());
    Some(json!({"type": "image_url", "image_url": image}))
}

fn audio(media: &Media) -> Option<Value> {
    match &media.source {
        Source::Base64 { mime, data } => {
            let format = match mime.rsplit('/').next().unwrap_or("wav") {
                "mpeg" => "mp3",
                "x-wav" | "wave" => "wav",
                other => other,
            };
            Some(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
        }
        Source::Url { url, .. } => Some(json!({"type": "audio_url", "audio_url": {"url": url}})),
        Source::FileId(_) | Source::Text(_) => None,
    }
}

/// A document. Text goes as text: OpenAI takes nothing but PDF as a file.
fn file(media: &Media, own: bool) -> Option<Value> {
    let text = |text: &str| {
        let titled = media.name.as_ref().map_or_else(|| text.to_owned(), |name| format!("{name}\n\n{text}"));
        json!({"type": "text", "text": titled})
    };
    let mut file = serde_json::Map::new();
    match &media.source {
        Source::Text(words) => return Some(text(words)),
        Source::Base64 { mime, data } if mime.starts_with("text/") && !own => {
            let words = BASE64_STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
            return Some(text(&words));
        }
        Source::FileId(id) if own => drop(file.insert("file_id".into(), id.as_str().into())),
        Source::Url { url, .. } if own => drop(file.insert("file_data".into(), url.as_str().into())),
        Source::Base64 { .. } => {
            file.insert("file_data".into(), media.source.to_url()?.into());
        }
        Source::FileId(_) | Source::Url { .. } => return None,
    }
    let unnamed = (!own).then(|| "document.pdf".to_owned());
    put(&mut file, "filename", media.name.clone().or(unnamed));
    Some(json!({"type": "file", "file": file}))
}
