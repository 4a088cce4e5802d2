//! Anthropic's models on Google's cloud (`publishers/anthropic/models/{model}:rawPredict`).
//!
//! The body is Anthropic's, with two differences that Google's and Anthropic's documentation of "Claude on Vertex AI" name: the
//! model stands in the path and must not stand in the body, and `anthropic_version` stands in the body instead of a header.

use bytes::Bytes;

use crate::splice::{Edit, Object, keys_of};

/// The only version there is.
const VERSION: &str = "vertex-2023-10-16";

/// The body as Google's cloud takes it; what is no JSON object stays as it is.
pub fn vertex_body(body: &Bytes) -> Bytes {
    let Ok(text) = std::str::from_utf8(body) else { return body.clone() };
    let Ok(keys) = keys_of(text) else { return body.clone() };
    let object = Object::new(text, &keys);
    let edit = |index: usize| match object.name(index) {
        "model" | "anthropic_version" => Edit::Remove,
        _ => Edit::Keep,
    };
    let version = format!("\"anthropic_version\":\"{VERSION}\"");
    object.rebuild(edit, &[version]).map_or_else(|| body.clone(), Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_leaves_the_body_and_the_version_enters_it() {
        let body = Bytes::from_static(br#"{"model": "claude-x", "max_tokens": 5, "anthropic_version":"other"}"#);

        let vertex: serde_json::Value = serde_json::from_slice(&vertex_body(&body)).unwrap();

        assert_eq!(vertex, serde_json::json!({"max_tokens": 5, "anthropic_version": VERSION}));
        assert_eq!(vertex_body(&Bytes::from_static(b"[]")), "[]");
    }
}
