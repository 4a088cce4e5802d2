//! Writing what a message is made of.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::encode_request::{Writer, put};
use crate::chat::{CacheHint, Media, Part, PartKind, Refused, Source};

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

/// Where a part stands, for the report, and whether it is what the user asks right now.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) message: usize,
    pub(super) asked_now: bool,
}

/// A part of a message of the user, if this format has a place for it.
///
/// # Errors
/// When it has none and the part is what the user asks about.
pub(super) fn part(writer: &mut Writer<'_>, part: &Part, place: Place) -> Result<Option<Value>, Refused> {
    let mut written = match &part.kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) => json!({"type": "text", "text": text}),
        PartKind::Image(media) => match image(media) {
            Some(image) => image,
            None => return missing(writer, place, "image"),
        },
        PartKind::Audio(media) => match audio(media) {
            Some(audio) => audio,
            None => return missing(writer, place, "audio"),
        },
        PartKind::Video(media) => match media.source.to_url() {
            Some(url) => json!({"type": "video_url", "video_url": {"url": url}}),
            None => return missing(writer, place, "video"),
        },
        PartKind::File(media) => match file(media, writer.is_own()) {
            Some(file) => file,
            None => return missing(writer, place, "file"),
        },
        PartKind::Native(_) => return missing(writer, Place { asked_now: false, ..place }, "native"),
        PartKind::ToolCall(_) | PartKind::ToolResult(_) | PartKind::Thinking(_) => return Ok(None),
    };
    if let (Some(hint), Some(object)) = (part.cache.as_ref().filter(|_| writer.is_own()), written.as_object_mut()) {
        object.insert("cache_control".into(), cache_control(hint));
    }
    Ok(Some(written))
}

fn missing(writer: &mut Writer<'_>, place: Place, kind: &str) -> Result<Option<Value>, Refused> {
    let field = format!("messages[{}].{kind}", place.message);
    if place.asked_now {
        return Err(Refused::new(field, format!("chat completions have no place for this kind of {kind}")));
    }
    writer.drop(field, "chat completions have no place for it");
    Ok(None)
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
