//! Schema cleaning.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::gemini::schema::{ALLOWED, cleaned};

fn some_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec!["string", "object", "array", "null", "#", "#/$defs/a", "#/properties/a"])
            .prop_map(Value::from)
    ];
    let keys = vec![
        "type",
        "properties",
        "items",
        "$ref",
        "$defs",
        "a",
        "anyOf",
        "oneOf",
        "allOf",
        "const",
        "enum",
        "required",
        "additionalProperties",
        "nullable",
        "minimum",
        "format",
        "description",
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(keys.clone()), inner), 0..6)
                .prop_map(|all| Value::Object(all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

/// Every keyword of the schema and of those inside it.
fn keywords(schema: &Value, out: &mut Vec<String>) {
    let Value::Object(members) = schema else { return };
    for (key, value) in members {
        out.push(key.clone());
        match (key.as_str(), value) {
            ("properties", Value::Object(all)) => all.values().for_each(|inner| keywords(inner, out)),
            ("anyOf", Value::Array(all)) => all.iter().for_each(|inner| keywords(inner, out)),
            ("items", inner) => keywords(inner, out),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn only_known_keywords_are_left(schema in some_json()) {
        let mut found = Vec::new();

        cleaned(&schema).iter().for_each(|schema| keywords(schema, &mut found));

        prop_assert!(found.iter().all(|keyword| ALLOWED.contains(&keyword.as_str())), "{found:?}");
    }
}

#[test]
fn references_are_written_out_and_circles_end() {
    let schema = json!({
        "$schema": "x",
        "$defs": {"node": {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}}}},
        "type": "object",
        "properties": {"first": {"$ref": "#/$defs/node", "description": "the first"}, "lost": {"$ref": "#/nowhere"}},
        "required": ["first", "gone"],
        "additionalProperties": false,
    });

    let first = json!({"type": "object", "properties": {"name": {"type": "string"}, "next": {"type": "object"}}, "description": "the first"});
    let expected =
        json!({"type": "object", "properties": {"first": first, "lost": {"type": "object"}}, "required": ["first"]});
    assert_eq!(cleaned(&schema), Some(expected));
}

#[test]
fn a_schema_that_doubles_at_every_reference_stays_small() {
    let mut defs = Map::new();
    for n in 0..30 {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        defs.insert(format!("d{n}"), json!({"type": "object", "properties": {"a": next, "b": next}}));
    }

    let out = cleaned(&json!({"$defs": defs, "$ref": "#/$defs/d0"})).unwrap();

    assert!(out.to_string().len() < 1_000_000);
}

#[rstest::rstest]
#[case(json!({"type": ["string", "null"]}), json!({"nullable": true, "type": "string"}))]
#[case(json!({"const": 5}), json!({"enum": ["5"], "type": "string"}))]
#[case(json!({"type": "integer", "enum": [1, 2, null]}), json!({"type": "string", "nullable": true, "enum": ["1", "2"]}))]
#[case(json!({"oneOf": [{"type": "string"}, {"type": "null"}]}), json!({"nullable": true, "type": "string"}))]
#[case(json!({"oneOf": [{"type": "string"}, {"type": "integer"}]}), json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}))]
#[case(json!({"type": "array"}), json!({"type": "array", "items": {"type": "string"}}))]
#[case(json!({"type": "string", "format": "uri", "uniqueItems": true}), json!({"type": "string"}))]
#[case(
    json!({"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}]}),
    json!({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"], "type": "object"})
)]
fn a_keyword_without_counterpart_becomes_its_nearest(#[case] schema: Value, #[case] expected: Value) {
    assert_eq!(cleaned(&schema), Some(expected));
}

#[test]
fn an_object_without_members_says_nothing() {
    assert_eq!(cleaned(&json!({"type": "object", "properties": {}})), None);
}
