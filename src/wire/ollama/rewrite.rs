//! The same request for another model, every other byte as it came.

use bytes::Bytes;

use crate::splice::{self, Edit, Object};

/// The body with the provider's name of the model. One that is no JSON object stays as it is: whoever read it has refused it.
pub fn rewrite(body: &Bytes, upstream_model: &str) -> Bytes {
    let Ok(text) = std::str::from_utf8(body) else { return body.clone() };
    let Ok(keys) = splice::keys_of(text) else { return body.clone() };
    let object = Object::new(text, &keys);
    let model = serde_json::Value::from(upstream_model).to_string();
    let is_model = |index: usize| {
        let name: Option<String> = serde_json::from_str(&format!("\"{}\"", object.name(index))).ok();
        name.as_deref() == Some("model")
    };
    let edit = |index: usize| match is_model(index) {
        true if object.value(index) != model => Edit::Value(model.clone()),
        _ => Edit::Keep,
    };
    object.rebuild(edit, &[]).map_or_else(|| body.clone(), Bytes::from)
}
