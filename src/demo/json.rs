//! The smallest value that a JSON schema accepts, as far as tools and structured outputs use schemas.

use serde_json::{Map, Value, json};

/// Deeper than this, a schema is recursive and gets `null`.
const DEPTH: usize = 16;

/// A sample value for `schema`.
pub(super) fn sample(schema: &Value) -> Value {
    at(schema, schema, DEPTH)
}

fn at(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(left) = depth.checked_sub(1) else { return Value::Null };
    if let Some(fixed) = fixed(schema) {
        return fixed.clone();
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or(Value::Null, |target| at(target, root, left));
    }
    if let Some(first) = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(name)?.get(0)) {
        return at(first, root, left);
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        return merged(parts.iter().map(|part| at(part, root, left)));
    }
    match type_of(schema) {
        "object" => object(schema, root, left),
        "array" => array(schema, root, left),
        "string" => json!(string(schema)),
        "integer" => json!(bound(schema).ceil() as i64),
        "number" => json!(bound(schema)),
        "boolean" => json!(true),
        _ => Value::Null,
    }
}

fn fixed(schema: &Value) -> Option<&Value> {
    schema.get("const").or_else(|| schema.get("enum")?.get(0)).or_else(|| schema.get("default"))
}

fn type_of(schema: &Value) -> &str {
    let declared = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().find_map(|name| name.as_str().filter(|name| *name != "null")),
        Some(other) => other.as_str(),
        None => None,
    };
    declared.unwrap_or(if schema.get("items").is_some() { "array" } else { "object" })
}

fn object(schema: &Value, root: &Value, left: usize) -> Value {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let free = json!({"type": "string"});
    let filled = required.map(|name| {
        let property = schema.get("properties").and_then(|properties| properties.get(name)).unwrap_or(&free);
        (name.to_owned(), at(property, root, left))
    });
    Value::Object(filled.collect())
}

fn array(schema: &Value, root: &Value, left: usize) -> Value {
    let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0).min(16);
    let item = schema.get("items").cloned().unwrap_or_else(|| json!({"type": "string"}));
    (0..count).map(|_| at(&item, root, left)).collect()
}

fn string(schema: &Value) -> String {
    let sample = match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2025-01-31",
        Some("date-time") => "2025-01-31T12:00:00Z",
        Some("email") => "demo@example.com",
        Some("uri") => "https://example.com/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "sample",
    };
    let length = |name| schema.get(name).and_then(Value::as_u64).map(|length| length.min(4096) as usize);
    let padded = format!("{sample:x<width$}", width = length("minLength").unwrap_or(0));
    padded.chars().take(length("maxLength").unwrap_or(usize::MAX)).collect()
}

fn bound(schema: &Value) -> f64 {
    let limit = |name| schema.get(name).and_then(Value::as_f64);
    let least = limit("minimum").or_else(|| limit("exclusiveMinimum").map(|least| least + 1.0)).unwrap_or(1.0);
    limit("maximum").map_or(least, |most| least.min(most))
}

fn merged(parts: impl Iterator<Item = Value>) -> Value {
    let mut all = Map::new();
    for part in parts {
        if let Value::Object(fields) = part {
            all.extend(fields);
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_get_values_of_their_types() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string", "minLength": 8},
                "unit": {"enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 3},
                "tags": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/tag"}},
                "when": {"type": ["null", "string"], "format": "date"},
                "optional": {"type": "string"}
            },
            "required": ["city", "unit", "days", "tags", "when"],
            "$defs": {"tag": {"type": "boolean"}}
        });

        let value = sample(&schema);

        assert_eq!(
            value,
            json!({"city": "samplexx", "unit": "celsius", "days": 3, "tags": [true], "when": "2025-01-31"})
        );
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]});

        assert!(sample(&schema).is_object());
    }
}
