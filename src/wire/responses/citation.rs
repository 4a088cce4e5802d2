//! Annotations of a text.

use serde_json::{Value, json};

use crate::chat::{Citation, Family};

/// Kinds of annotations that point into OpenAI's own file store.
const OWN: [&str; 3] = ["file_citation", "container_file_citation", "file_path"];

/// The source that an annotation names; nothing for what is none.
pub(super) fn read(annotation: &Value) -> Option<Citation> {
    let text = |name: &str| annotation.get(name).and_then(Value::as_str).map(str::to_owned);
    let index = |name: &str| annotation.get(name).and_then(Value::as_u64);
    let kind = annotation.get("type").and_then(Value::as_str)?;
    if kind == "url_citation" {
        let span = index("start_index").zip(index("end_index"));
        return Some(Citation { url: text("url"), title: text("title"), span, ..Citation::default() });
    }
    let native = OWN.contains(&kind).then(|| (Family::OpenAi, annotation.to_string()))?;
    Some(Citation { title: text("filename"), native: Some(native), ..Citation::default() })
}

/// The annotation for a source; nothing if this format has none for it.
pub(super) fn write(citation: &Citation, text_length: u64) -> Option<Value> {
    if let Some(url) = &citation.url {
        let (start, end) = citation.span.unwrap_or((0, text_length));
        let title = citation.title.as_deref().unwrap_or_default();
        return Some(
            json!({"type": "url_citation", "start_index": start, "end_index": end, "title": title, "url": url}),
        );
    }
    let (_, native) = citation.native.as_ref().filter(|(family, _)| *family == Family::OpenAi)?;
    let annotation: Value = serde_json::from_str(native).ok()?;
    let kind = annotation.get("type").and_then(Value::as_str)?;
    OWN.contains(&kind).then_some(annotation)
}
