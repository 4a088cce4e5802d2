//! Schemas: Google's own kind as JSON Schema, and JSON Schema as the subset that older models read.

use serde_json::{Map, Value, json};

use super::keys;

/// What the subset knows.
pub(super) const ALLOWED: [&str; 22] = [
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "example",
    "default",
    "anyOf",
    "propertyOrdering",
];

/// Counts that the protocol writes as text.
const COUNTS: [&str; 6] = ["minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"];

/// Deeper than this nothing is described; recursive schemas end here at the latest.
const DEEPEST: usize = 16;

/// No schema grows past this many nodes while its references are written out.
const MOST_NODES: usize = 4_000;

/// Google's schema (types in capitals, `nullable`) as JSON Schema.
pub(super) fn from_open_api(schema: Value) -> Value {
    let Value::Object(members) = schema else { return schema };
    let mut out = Map::new();
    let mut nullable = false;
    for (key, value) in members {
        let key = keys::camel_key(key);
        match (key.as_str(), value) {
            (_, Value::Null) | ("propertyOrdering", _) => {}
            ("nullable", value) => nullable = value == json!(true),
            ("type", Value::String(word)) if word == "TYPE_UNSPECIFIED" => {}
            ("type", Value::String(word)) => drop(out.insert(key, json!(word.to_ascii_lowercase()))),
            ("items", value) => drop(out.insert(key, from_open_api(value))),
            ("anyOf", Value::Array(list)) => {
                drop(out.insert(key, list.into_iter().map(from_open_api).collect()));
            }
            ("properties", Value::Object(all)) => {
                let all: Map<String, Value> =
                    all.into_iter().map(|(name, value)| (name, from_open_api(value))).collect();
                drop(out.insert(key, Value::Object(all)));
            }
            (name, Value::String(number)) if COUNTS.contains(&name) => {
                out.extend(number.parse::<u64>().ok().map(|count| (key, json!(count))));
            }
            (_, value) => drop(out.insert(key, value)),
        }
    }
    if nullable { with_null(out) } else { Value::Object(out) }
}

fn with_null(mut schema: Map<String, Value>) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.push(json!({"type": "null"}));
    }
    if let Some(word @ Value::String(_)) = schema.get_mut("type") {
        *word = json!([word.take(), "null"]);
    }
    Value::Object(schema)
}

/// JSON Schema as the subset; none where nothing is left to say (an object without members).
pub(super) fn cleaned(schema: &Value) -> Option<Value> {
    let mut cleaner = Cleaner { root: schema, nodes: 0, open: Vec::new() };
    let cleaned = cleaner.clean(schema, 0);
    let is_empty = cleaned.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty)
        && cleaned.get("type") == Some(&json!("object"))
        && cleaned.get("anyOf").is_none();
    (!is_empty).then_some(cleaned)
}

struct Cleaner<'a> {
    root: &'a Value,
    nodes: usize,
    /// References that are being written out.
    open: Vec<String>,
}

impl Cleaner<'_> {
    fn clean(&mut self, schema: &Value, depth: usize) -> Value {
        self.nodes += 1;
        let Value::Object(members) = schema else { return json!({"type": "string"}) };
        if depth > DEEPEST || self.nodes > MOST_NODES {
            return json!({"type": "object"});
        }
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            return self.referenced(reference, members, depth);
        }
        if let Some(Value::Array(all)) = members.get("allOf") {
            return self.merged(members, all, depth);
        }
        self.members(members, depth)
    }

    fn referenced(&mut self, reference: &str, beside: &Map<String, Value>, depth: usize) -> Value {
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let (Some(Value::Object(target)), false) = (target, self.open.iter().any(|open| open == reference)) else {
            return json!({"type": "object"});
        };
        let mut whole = target.clone();
        // What stands beside a reference describes this use of it.
        whole.extend(beside.iter().filter(|(key, _)| *key != "$ref").map(|(key, value)| (key.clone(), value.clone())));
        self.open.push(reference.to_owned());
        let cleaned = self.clean(&Value::Object(whole), depth + 1);
        self.open.pop();
        cleaned
    }

    /// All of several schemas as one: later ones add members and replace words.
    fn merged(&mut self, members: &Map<String, Value>, all: &[Value], depth: usize) -> Value {
        let own: Map<String, Value> = members
            .iter()
            .filter(|(key, _)| *key != "allOf")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut whole = if own.is_empty() { Map::new() } else { object(self.members(&own, depth)) };
        for schema in all {
            merge(&mut whole, object(self.clean(schema, depth + 1)));
        }
        Value::Object(whole)
    }

    fn members(&mut self, members: &Map<String, Value>, depth: usize) -> Value {
        let mut out = Map::new();
        for (key, value) in members {
            match (key.as_str(), value) {
                ("type", value) => type_of(value, &mut out),
                ("const", value) => drop(out.insert("enum".to_owned(), json!([word(value)]))),
                ("enum", Value::Array(values)) => enumeration(values, &mut out),
                ("oneOf" | "anyOf", Value::Array(choices)) => self.choices(choices, depth, &mut out),
                ("items", items) => drop(out.insert(key.clone(), self.clean(items, depth + 1))),
                ("properties", Value::Object(all)) => {
                    let all: Map<String, Value> =
                        all.iter().map(|(name, value)| (name.clone(), self.clean(value, depth + 1))).collect();
                    drop(out.insert(key.clone(), Value::Object(all)));
                }
                ("properties" | "required" | "enum" | "anyOf" | "oneOf" | "nullable", _) => {
                    keep_plain(key, value, &mut out);
                }
                ("format", Value::String(format)) if !known_format(format) => {}
                (name, value) if ALLOWED.contains(&name) => drop(out.insert(key.clone(), value.clone())),
                _ => {}
            }
        }
        finish(&mut out);
        Value::Object(out)
    }

    /// One of several; null among them makes the whole nullable.
    fn choices(&mut self, choices: &[Value], depth: usize, out: &mut Map<String, Value>) {
        let is_null = |choice: &&Value| choice.get("type") == Some(&json!("null"));
        if choices.iter().any(|choice| is_null(&choice)) {
            out.insert("nullable".to_owned(), json!(true));
        }
        let real: Vec<Value> =
            choices.iter().filter(|choice| !is_null(choice)).map(|choice| self.clean(choice, depth + 1)).collect();
        match <[Value; 1]>::try_from(real) {
            Ok([only]) => merge(out, object(only)),
            Err(real) if real.is_empty() => {}
            Err(real) => drop(out.insert("anyOf".to_owned(), Value::Array(real))),
        }
    }
}

fn keep_plain(key: &str, value: &Value, out: &mut Map<String, Value>) {
    let fits = match key {
        "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        "nullable" => value.is_boolean(),
        _ => false,
    };
    if fits {
        out.insert(key.to_owned(), value.clone());
    }
}

fn known_format(format: &str) -> bool {
    ["int32", "int64", "float", "double", "enum", "date-time"].contains(&format)
}

/// A list of types with null is nullable; several others are a choice.
fn type_of(value: &Value, out: &mut Map<String, Value>) {
    let words: Vec<&str> = match value {
        Value::String(word) => vec![word],
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if words.len() > 1 && words.contains(&"null") {
        out.insert("nullable".to_owned(), json!(true));
    }
    let real: Vec<&str> = words.into_iter().filter(|word| *word != "null").collect();
    match real.as_slice() {
        [] => {}
        [only] => drop(out.insert("type".to_owned(), json!(only))),
        several => {
            let choice = |word: &&str| match *word {
                "array" => json!({"type": "array", "items": {"type": "string"}}),
                word => json!({"type": word}),
            };
            out.insert("anyOf".to_owned(), several.iter().map(choice).collect());
        }
    }
}

fn enumeration(values: &[Value], out: &mut Map<String, Value>) {
    if values.iter().any(Value::is_null) {
        out.insert("nullable".to_owned(), json!(true));
    }
    let words: Vec<Value> = values.iter().filter(|value| !value.is_null()).map(word).collect();
    if !words.is_empty() {
        out.insert("enum".to_owned(), Value::Array(words));
    }
}

/// Only texts may be enumerated.
fn word(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    }
}

/// Repairs that need the whole: enumerations are texts, lists say of what, only members that exist are required.
fn finish(out: &mut Map<String, Value>) {
    if out.contains_key("enum") {
        out.insert("type".to_owned(), json!("string"));
    }
    if !out.contains_key("type") && out.contains_key("properties") {
        out.insert("type".to_owned(), json!("object"));
    }
    if out.get("type") == Some(&json!("array")) && !out.contains_key("items") {
        out.insert("items".to_owned(), json!({"type": "string"}));
    }
    let known: Vec<String> =
        out.get("properties").and_then(Value::as_object).map(|all| all.keys().cloned().collect()).unwrap_or_default();
    if let Some(Value::Array(required)) = out.get_mut("required") {
        required.retain(|name| name.as_str().is_some_and(|name| known.iter().any(|known| known == name)));
        if required.is_empty() {
            out.shift_remove("required");
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn merge(all: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        match (all.get_mut(&key), value) {
            (Some(Value::Object(known)), Value::Object(new)) if key == "properties" => known.extend(new),
            (Some(Value::Array(known)), Value::Array(new)) if key == "required" => {
                let fresh: Vec<Value> = new.into_iter().filter(|name| !known.contains(name)).collect();
                known.extend(fresh);
            }
            (Some(_), _) if key == "description" || key == "title" => {}
            (_, value) => drop(all.insert(key, value)),
        }
    }
}
