//! Where a text comes from, in this format's words.
//!
//! Its own citations keep their JSON. One of another provider is shown as a search result; the index that only Anthropic can
//! decrypt is empty then, by which it is recognised and left out when the client sends it back.

use serde_json::value::RawValue;

use super::json::Members;
use crate::chat::{Citation, Family};

/// Read one of an answer or of a request.
pub(crate) fn read(raw: &RawValue) -> Citation {
    let members = Members::of(raw);
    let ours = members.text("encrypted_index").is_some_and(|index| index.is_empty());
    Citation {
        url: members.text("url").or_else(|| members.text("source")),
        title: members.text("title").or_else(|| members.text("document_title")),
        quote: members.text("cited_text"),
        span: None,
        native: (!ours).then(|| (Family::Anthropic, raw.get().to_owned())),
    }
}

/// Whether a provider reads it.
pub(crate) const fn is_read(citation: &Citation) -> bool {
    matches!(&citation.native, Some((Family::Anthropic, _)))
}

/// As a provider may read it: only what is its own.
pub(crate) fn for_provider(citation: &Citation) -> Option<Box<RawValue>> {
    match &citation.native {
        Some((Family::Anthropic, json)) => RawValue::from_string(json.clone()).ok(),
        _ => None,
    }
}

/// As a client sees it.
pub(crate) fn for_client(citation: &Citation) -> Box<RawValue> {
    for_provider(citation).unwrap_or_else(|| {
        let shown = serde_json::json!({
            "type": "web_search_result_location",
            "url": citation.url.as_deref().unwrap_or_default(),
            "title": citation.title,
            "encrypted_index": "",
            "cited_text": citation.quote.as_deref().unwrap_or_default(),
        });
        RawValue::from_string(shown.to_string()).unwrap_or_default()
    })
}
