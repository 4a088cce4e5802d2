//! What was probably meant by a key that does not exist or a value that does not fit.

use serde_json::Value;

use super::section::Key;

/// How alike two paths must be before one is offered for the other.
const ALIKE: f64 = 0.7;

/// The path that was probably meant: the same name elsewhere, or else the most similar one.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let name = |path: &str| path.rsplit('.').next().map(str::to_owned);
    let moved = known.clone().find(|path| name(path) == name(unknown));
    moved.or_else(|| {
        let likeness = |path: &'a str| (strsim::normalized_damerau_levenshtein(unknown, path), path);
        let best = known.map(likeness).max_by(|a, b| a.0.total_cmp(&b.0))?;
        (best.0 >= ALIKE).then_some(best.1)
    })
}

/// What is probably wrong with a value of the wrong type.
pub(super) fn for_value(key: &Key, value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    if key.expected.starts_with("an integer") && text.starts_with(|c: char| c.is_ascii_digit()) {
        return unit(&key.path).map(|unit| format!("the key's name gives the unit, write the number of {unit} alone"));
    }
    match (key.from_text)(text) {
        Value::Bool(_) | Value::Number(_) => Some("write it without quotes".to_owned()),
        Value::Array(_) => Some("write it as a list, in square brackets".to_owned()),
        _ => None,
    }
}

fn unit(path: &str) -> Option<&'static str> {
    let units = [("_ms", "milliseconds"), ("_s", "seconds"), ("_sec", "seconds"), ("_bytes", "bytes")];
    units.iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, unit)| *unit)
}

/// A value in words; a secret only by its kind.
pub(super) fn in_words(value: &Value, secret: bool) -> String {
    let kind = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "the number",
        Value::String(_) => "the text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a section",
    };
    match value {
        Value::Bool(_) | Value::Number(_) | Value::String(_) if !secret => format!("{kind} {value}"),
        _ => kind.to_owned(),
    }
}
