//! Whether an answer is what was expected: pure, and bounded whatever a suite or a model says.
//!
//! Expressions run in linear time and are limited in size; schemas refer to nothing outside themselves.

use jsonschema::{PatternOptions, Validator};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::suite::{Expected, Strategy};

/// Bytes that an expression may take when compiled.
const EXPRESSION_BYTES: usize = 1 << 20;
/// Characters of a reason.
const REASON_CHARS: usize = 300;

/// What an answer is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// It is what was expected.
    pub passed: bool,
    /// Why (not), for people.
    pub reason: String,
}

impl Verdict {
    /// With its reason.
    pub fn new(passed: bool, reason: impl Into<String>) -> Self {
        Self { passed, reason: reason.into().chars().take(REASON_CHARS).collect() }
    }
}

/// Compare an answer with what was expected of it; nothing where a judge must say it.
///
/// # Errors
/// What is wrong with the expectation: nothing can be said about the answer then.
pub fn compare(expected: &Expected, answer: &str) -> Result<Option<Verdict>, String> {
    Ok(Some(match expected.strategy {
        Strategy::Contains => contains(expected, answer),
        Strategy::Exact => exact(expected.text(), answer),
        Strategy::Regex => found(&expression(expected.text())?, answer),
        Strategy::JsonSchema => fits(&schema(&expected.value)?, answer),
        Strategy::Judge => return Ok(None),
    }))
}

/// Whether the expectation itself can be used.
///
/// # Errors
/// Why not.
pub fn check(expected: &Expected) -> Result<(), String> {
    match expected.strategy {
        Strategy::Regex => expression(expected.text()).map(drop),
        Strategy::JsonSchema => schema(&expected.value).map(drop),
        _ => Ok(()),
    }
}

fn contains(expected: &Expected, answer: &str) -> Verdict {
    let wanted = expected.text();
    let holds = match expected.case_sensitive {
        true => answer.contains(wanted),
        false => answer.to_lowercase().contains(&wanted.to_lowercase()),
    };
    Verdict::new(holds, if holds { "the answer holds the text" } else { "the answer does not hold the text" })
}

fn exact(wanted: &str, answer: &str) -> Verdict {
    let same = wanted.trim() == answer.trim();
    Verdict::new(same, if same { "the answer is the text" } else { "the answer is another text" })
}

fn expression(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(EXPRESSION_BYTES).dfa_size_limit(EXPRESSION_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the expression is too large".to_owned(),
        _ => "the expression cannot be read".to_owned(),
    })
}

fn found(expression: &Regex, answer: &str) -> Verdict {
    let found = expression.is_match(answer);
    Verdict::new(found, if found { "the expression finds something" } else { "the expression finds nothing" })
}

/// A schema is an object, or its text.
fn schema(value: &Value) -> Result<Validator, String> {
    let parsed = match value {
        Value::String(text) => serde_json::from_str(text).map_err(|_| "the schema is not JSON".to_owned())?,
        other => other.clone(),
    };
    if !parsed.is_object() && !parsed.is_boolean() {
        return Err("a schema is an object".to_owned());
    }
    let limits = PatternOptions::regex().size_limit(EXPRESSION_BYTES).dfa_size_limit(EXPRESSION_BYTES);
    let built = jsonschema::options().with_pattern_options(limits).build(&parsed);
    built.map_err(|error| Verdict::new(false, format!("the schema cannot be used: {error}")).reason)
}

fn fits(schema: &Validator, answer: &str) -> Verdict {
    let Ok(value) = serde_json::from_str::<Value>(bare(answer)) else {
        return Verdict::new(false, "the answer is not JSON");
    };
    match schema.validate(&value) {
        Ok(()) => Verdict::new(true, "the answer fits the schema"),
        Err(error) => Verdict::new(false, format!("{} at `{}`", error.masked(), error.instance_path())),
    }
}

/// Without the fence that models like to put around JSON.
pub(super) fn bare(answer: &str) -> &str {
    let trimmed = answer.trim();
    let Some(inner) = trimmed.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) else { return trimmed };
    inner.split_once('\n').map_or(trimmed, |(_, body)| body.trim())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expected(strategy: Strategy, value: Value) -> Expected {
        Expected { strategy, value, case_sensitive: false, judge_model: None }
    }

    fn passes(strategy: Strategy, value: Value, answer: &str) -> bool {
        compare(&expected(strategy, value), answer).unwrap().unwrap().passed
    }

    #[test]
    fn a_text_is_found_whatever_its_capitals_unless_they_matter() {
        let strict = Expected { case_sensitive: true, ..expected(Strategy::Contains, json!("Paris")) };

        assert!(passes(Strategy::Contains, json!("paris"), "It is PARIS."));
        assert!(!passes(Strategy::Contains, json!("rome"), "It is Paris."));
        assert!(!compare(&strict, "it is paris").unwrap().unwrap().passed);
    }

    #[test]
    fn an_exact_text_may_have_spaces_around_it_and_nothing_else() {
        let verdicts = [" 42\n", "42.", "4 2"].map(|answer| passes(Strategy::Exact, json!("42"), answer));

        assert_eq!(verdicts, [true, false, false]);
    }

    #[test]
    fn an_expression_that_would_explode_elsewhere_ends_at_once() {
        assert!(!passes(Strategy::Regex, json!("^(a+)+$"), &format!("{}!", "a".repeat(100_000))));
        assert!(passes(Strategy::Regex, json!(r"\b4[0-9]\b"), "it is 42"));
        let huge = check(&expected(Strategy::Regex, json!("(((a{1000}){1000}){1000})")));
        assert_eq!(huge.unwrap_err(), "the expression is too large");
        assert_eq!(check(&expected(Strategy::Regex, json!("("))).unwrap_err(), "the expression cannot be read");
    }

    #[test]
    fn json_fits_its_schema_also_inside_a_fence() {
        let schema = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}});

        assert!(passes(Strategy::JsonSchema, schema.clone(), "```json\n{\"name\": \"Ada\"}\n```"));
        assert!(passes(Strategy::JsonSchema, json!(schema.to_string()), "{\"name\": \"Ada\"}"));
        assert!(!passes(Strategy::JsonSchema, schema.clone(), "{\"name\": 7}"));
        assert!(!passes(Strategy::JsonSchema, schema, "Ada"));
    }

    #[test]
    fn a_schema_refers_to_nothing_outside_itself() {
        let places = ["http://127.0.0.1:9/schema.json", "file:///etc/passwd"];

        for place in places {
            let refused = check(&expected(Strategy::JsonSchema, json!({"$ref": place})));
            assert!(refused.unwrap_err().starts_with("the schema cannot be used"), "{place}");
        }
    }

    #[test]
    fn a_judge_is_asked_where_a_text_cannot_tell() {
        assert_eq!(compare(&expected(Strategy::Judge, json!("be kind")), "hello"), Ok(None));
    }
}
