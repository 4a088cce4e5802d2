//! Reading what a message is made of.

use serde_json::Value;

use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{CacheHint, Citation, Family, Media, Part, PartKind, Source};

/// The `content` of a message, text or list; none when it is absent.
pub(super) fn content(message: &mut Fields) -> Result<Option<Vec<Part>>, BadRequest> {
    let cache = cache_hint(message)?;
    let mut parts = match message.peek("content") {
        None => return Ok(None),
        Some(Value::String(_)) => vec![Part::text(message.required_text("content")?)],
        Some(Value::Array(items)) if items.iter().any(Value::is_string) => loose_list(message)?,
        Some(Value::Array(_)) => message.objects("content")?.into_iter().map(part).collect::<Result<_, _>>()?,
        Some(_) => return Err(wrong_type(&message.at("content"), "a string or a list of parts")),
    };
    if let Some(last) = parts.last_mut().filter(|_| cache.is_some()) {
        last.cache = cache;
    }
    Ok(Some(parts))
}

/// Some clients put bare texts into the list.
fn loose_list(message: &mut Fields) -> Result<Vec<Part>, BadRequest> {
    let path = message.at("content");
    let read = |(index, item): (usize, Value)| match item {
        Value::String(text) => Ok(Part::text(text)),
        other => part(Fields::of(other, format!("{path}[{index}]"))?),
    };
    message.list("content")?.unwrap_or_default().into_iter().enumerate().map(read).collect()
}

fn part(mut fields: Fields) -> Result<Part, BadRequest> {
    let cache = cache_hint(&mut fields)?;
    let kind = fields.required_text("type")?;
    let kind = match kind.as_str() {
        "text" | "input_text" | "output_text" => {
            PartKind::Text { text: fields.required_text("text")?, citations: Vec::new() }
        }
        "refusal" => PartKind::Refusal(fields.required_text("refusal")?),
        "image_url" | "input_image" => PartKind::Image(by_url(&mut fields, "image_url")?),
        "video_url" => PartKind::Video(by_url(&mut fields, "video_url")?),
        "audio_url" => PartKind::Audio(by_url(&mut fields, "audio_url")?),
        "input_audio" => PartKind::Audio(audio(object(&mut fields, "input_audio")?)?),
        "file" => PartKind::File(file(object(&mut fields, "file")?)?),
        other => return Err(fields.unknown("type", other)),
    };
    Ok(Part { kind, cache })
}

fn object(fields: &mut Fields, name: &str) -> Result<Fields, BadRequest> {
    fields.object(name)?.ok_or_else(|| fields.missing(name))
}

/// `{"url": ..}`, or the URL itself as some clients write it.
fn by_url(fields: &mut Fields, name: &str) -> Result<Media, BadRequest> {
    if let Some(Value::String(_)) = fields.peek(name) {
        let source = Source::from_url(fields.required_text(name)?);
        return Ok(Media { source, detail: fields.text("detail")?, name: None });
    }
    let mut media = object(fields, name)?;
    Ok(Media { source: Source::from_url(media.required_text("url")?), detail: media.text("detail")?, name: None })
}

fn audio(mut audio: Fields) -> Result<Media, BadRequest> {
    let data = audio.required_text("data")?;
    let format = audio.text("format")?.unwrap_or_else(|| "wav".to_owned());
    let source = match Source::from_url(data) {
        Source::Url { url, .. } => Source::Base64 { mime: format!("audio/{format}"), data: url },
        bytes => bytes,
    };
    Ok(Media { source, detail: None, name: None })
}

fn file(mut file: Fields) -> Result<Media, BadRequest> {
    let name = file.text("filename")?;
    let source = match (file.text("file_data")?, file.text("file_id")?) {
        (Some(data), _) => file_data(data, name.as_deref()),
        (None, Some(id)) => Source::FileId(id),
        (None, None) => return Err(file.missing("file_data")),
    };
    Ok(Media { source, detail: None, name })
}

/// A data URL, an address as some providers allow it, or bare Base64.
fn file_data(data: String, name: Option<&str>) -> Source {
    if data.starts_with("data:") || data.starts_with("http://") || data.starts_with("https://") {
        return Source::from_url(data);
    }
    let is_text = name.is_some_and(|name| name.ends_with(".txt"));
    Source::Base64 { mime: if is_text { "text/plain" } else { "application/pdf" }.to_owned(), data }
}

/// A cache hint as endpoints in front of Anthropic's models take it.
pub(super) fn cache_hint(fields: &mut Fields) -> Result<Option<CacheHint>, BadRequest> {
    let Some(mut hint) = fields.object("cache_control")? else { return Ok(None) };
    Ok(Some(CacheHint { ttl: hint.text("ttl")? }))
}

/// A source that an answer cites; what is no web page stays as it was written.
pub(super) fn citation(annotation: &Value) -> Citation {
    let Some(cited) = annotation.get("url_citation") else {
        return Citation { native: Some((Family::OpenAi, annotation.to_string())), ..Citation::default() };
    };
    let text = |name: &str| cited.get(name).and_then(Value::as_str).map(str::to_owned);
    let place = |name: &str| cited.get(name).and_then(Value::as_u64);
    Citation {
        url: text("url"),
        title: text("title"),
        quote: text("content"),
        span: place("start_index").zip(place("end_index")),
        native: None,
    }
}
