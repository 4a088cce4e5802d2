//! Second reading of a provider's JSON that breaks its format.
//!
//! The typed readers are fast because they expect the format. When one of them fails, the members of a wrong type are taken out
//! and it reads again: a broken detail never costs an answer.

use serde_json::Value;

/// What the value of a member must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Flag,
    Number,
    Object,
    /// A list; what is no object in it is taken out too.
    Objects,
}

/// Members by name, wherever they stand.
pub(crate) type Shape = [(&'static str, Kind)];

/// The same JSON without `null`s and without members of a wrong type; none when it is not JSON. Nothing changes inside
/// of members named in `opaque`.
pub(crate) fn mended(json: &[u8], shape: &Shape, opaque: &[&str]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(json).ok()?;
    mend(&mut value, shape, opaque);
    serde_json::to_vec(&value).ok()
}

fn mend(value: &mut Value, shape: &Shape, opaque: &[&str]) {
    match value {
        Value::Object(members) => {
            members.retain(|name, value| {
                let kind = shape.iter().find(|row| row.0 == name).map(|row| row.1);
                !value.is_null() && kind.is_none_or(|kind| kind.fits(value))
            });
            for (name, value) in members.iter_mut().filter(|(name, _)| !opaque.contains(&name.as_str())) {
                let of_objects = shape.iter().any(|row| row.0 == name && row.1 == Kind::Objects);
                if let (Value::Array(items), true) = (&mut *value, of_objects) {
                    items.retain(Value::is_object);
                }
                mend(value, shape, opaque);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mend(item, shape, opaque)),
        _ => {}
    }
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Flag => value.is_boolean(),
            Self::Number => value.is_number(),
            Self::Object => value.is_object(),
            Self::Objects => value.is_array(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_taken_out_and_the_rest_stays() {
        let shape = [("text", Kind::Text), ("parts", Kind::Objects)];
        let json = br#"{"parts":[{"text":7,"other":[1]},5,{"text":"a","args":{"text":7,"x":null}}],"text":null}"#;

        let mended = mended(json, &shape, &["args"]).unwrap();

        let expected = r#"{"parts":[{"other":[1]},{"text":"a","args":{"text":7,"x":null}}]}"#;
        assert_eq!(String::from_utf8(mended).unwrap(), expected);
    }
}
