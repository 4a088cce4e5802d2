//! The request for a provider of the same format: the client's bytes, with the provider's name of the model.

use bytes::Bytes;

use crate::splice::{Edit, Object, keys_of};

/// The same body for this model. What is no JSON object stays as it is.
pub fn rewrite(body: &Bytes, upstream_model: &str) -> Bytes {
    let Ok(text) = std::str::from_utf8(body) else { return body.clone() };
    let Ok(keys) = keys_of(text) else { return body.clone() };
    let object = Object::new(text, &keys);
    let model = serde_json::Value::from(upstream_model).to_string();
    let edit = |index: usize| match is_model(object.name(index)) && object.value(index) != model {
        true => Edit::Value(model.clone()),
        false => Edit::Keep,
    };
    object.rebuild(edit, &[]).map_or_else(|| body.clone(), Bytes::from)
}

/// A key may be written with escapes.
fn is_model(name: &str) -> bool {
    name == "model"
        || (name.contains('\\')
            && serde_json::from_str::<String>(&format!("\"{name}\"")).is_ok_and(|name| name == "model"))
}
