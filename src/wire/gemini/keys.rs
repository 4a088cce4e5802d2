//! One spelling of the keys: the service takes camelCase and snake_case, the readers here know camelCase only.

use serde_json::{Map, Value};

use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};

/// Members whose insides are the client's own, not Google's.
const OPAQUE: [&str; 7] =
    ["args", "response", "parameters", "responseSchema", "parametersJsonSchema", "responseJsonSchema", "labels"];

/// The body of a request, its keys in camelCase.
pub(super) fn body(body: &[u8]) -> Result<Fields, BadRequest> {
    let value: Value = serde_json::from_slice(body).map_err(|error| BadRequest {
        message: format!("The body is not valid JSON: {error}"),
        param: None,
        code: "invalid_json",
    })?;
    match value {
        Value::Object(_) => Fields::of(camel(value), ""),
        _ => Err(wrong_type("", "an object")),
    }
}

fn camel(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().fold(Map::new(), |mut all, (key, value)| {
            let key = camel_key(key);
            let value = if OPAQUE.contains(&key.as_str()) { value } else { camel(value) };
            all.insert(key, value);
            all
        })),
        Value::Array(items) => Value::Array(items.into_iter().map(camel).collect()),
        other => other,
    }
}

/// `top_p` as `topP`.
pub(super) fn camel_key(key: String) -> String {
    if !key.contains('_') {
        return key;
    }
    let mut words = key.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}
