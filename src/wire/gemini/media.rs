//! Bytes beside text, both ways.

use serde_json::{Value, json};

use crate::chat::{Media, Part, PartKind, Source};

/// Types by the end of a URL.
const TYPES: [(&str, &str); 18] = [
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".webp", "image/webp"),
    (".gif", "image/gif"),
    (".heic", "image/heic"),
    (".heif", "image/heif"),
    (".pdf", "application/pdf"),
    (".txt", "text/plain"),
    (".md", "text/markdown"),
    (".csv", "text/csv"),
    (".html", "text/html"),
    (".mp3", "audio/mpeg"),
    (".wav", "audio/wav"),
    (".ogg", "audio/ogg"),
    (".mp4", "video/mp4"),
    (".webm", "video/webm"),
    (".mov", "video/quicktime"),
];

/// A piece of the kind that its media type says.
pub(super) fn part(source: Source, name: Option<String>) -> Part {
    let mime = match &source {
        Source::Base64 { mime, .. } => mime.clone(),
        Source::Url { url, mime } => mime.as_deref().or_else(|| type_of(url)).unwrap_or_default().to_owned(),
        Source::FileId(_) | Source::Text(_) => String::new(),
    };
    let media = Media { source, detail: None, name };
    Part::new(match mime.split('/').next() {
        Some("image") => PartKind::Image(media),
        Some("audio") => PartKind::Audio(media),
        Some("video") => PartKind::Video(media),
        _ => PartKind::File(media),
    })
}

fn type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url).to_ascii_lowercase();
    TYPES.iter().find(|row| path.ends_with(row.0)).map(|row| row.1)
}

/// The piece that holds these bytes; none where they lie in another provider's store.
pub(super) fn json(media: &Media, is_image: bool) -> Option<Value> {
    let mut body = match &media.source {
        Source::Base64 { mime, data } => json!({"inlineData": {"mimeType": mime, "data": data}}),
        Source::Url { url, mime } => {
            let fallback = is_image.then_some("image/jpeg");
            match mime.as_deref().or_else(|| type_of(url)).or(fallback) {
                Some(mime) => json!({"fileData": {"mimeType": mime, "fileUri": url}}),
                None => json!({"fileData": {"fileUri": url}}),
            }
        }
        Source::Text(text) => return Some(json!({"text": text})),
        Source::FileId(_) => return None,
    };
    if let (Some(name), Some(Value::Object(inner))) = (&media.name, body.as_object_mut()?.values_mut().next()) {
        inner.insert("displayName".to_owned(), json!(name));
    }
    Some(body)
}
