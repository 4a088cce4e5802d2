//! Suites of cases as a caller sends them, checked down to whether each expectation can be used.

use std::collections::HashSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::evals::score;
use crate::evals::suite::{Case, Expected, Input, Strategy, Turn};
use crate::routes::Form;
use crate::store::EvalSuiteRow;

const MOST_CASES: usize = 200;
const MOST_MESSAGES: usize = 32;
const MOST_TAGS: usize = 20;
/// Characters of a message, and of what is expected.
const TEXT_CHARS: usize = 20_000;

/// Lay the fields of a body over a suite.
pub(super) fn fill(form: &mut Form, row: &mut EvalSuiteRow) {
    if let Some(name) = form.text("name", 1..=200) {
        row.name = name;
    }
    if let Some(description) = form.nullable_text("description", 0..=2_000) {
        row.description = description.unwrap_or_default();
    }
    if let Some(list) = form.any("cases").filter(|list| !list.is_null()) {
        let cases = cases(form, &list);
        row.cases = serde_json::to_value(cases).unwrap_or_default();
    }
}

fn cases(form: &mut Form, list: &Value) -> Vec<Case> {
    let wrong = format!("Expected a list of 1 to {MOST_CASES} cases");
    let Some(list) = objects(list, 1..=MOST_CASES) else {
        form.problem("cases", wrong);
        return Vec::new();
    };
    let mut ids = HashSet::new();
    let read = |(index, fields): (usize, Map<String, Value>)| {
        let place = format!("cases.{index}");
        let mut part = Form::part(fields, place.clone());
        let case = case(&mut part, &place);
        if !ids.insert(case.id.clone()) {
            part.problem("id", "Another case has this id");
        }
        form.problems(part.into_problems());
        case
    };
    list.into_iter().enumerate().map(read).collect()
}

fn case(form: &mut Form, place: &str) -> Case {
    for field in ["name", "input", "expected"] {
        form.require(field);
    }
    Case {
        id: form.text("id", 1..=100).unwrap_or_else(|| Uuid::now_v7().to_string()),
        name: form.text("name", 1..=200).unwrap_or_default(),
        model: form.text("model", 1..=300),
        input: part(form, "input", place, input),
        expected: part(form, "expected", place, |form, _| expected(form)),
        tags: form.texts("tags", MOST_TAGS, 64).unwrap_or_default(),
    }
}

/// Read an object in a field; what is wrong in it is wrong in the whole.
fn part<T: Default>(whole: &mut Form, field: &str, place: &str, read: impl FnOnce(&mut Form, &str) -> T) -> T {
    let Some(fields) = whole.object(field) else { return T::default() };
    let place = format!("{place}.{field}");
    let mut form = Form::part(fields, place.clone());
    let value = read(&mut form, &place);
    whole.problems(form.into_problems());
    value
}

fn input(form: &mut Form, place: &str) -> Input {
    form.require("messages");
    let max_tokens = form.integer("max_tokens", 1..=8_192);
    let temperature = form.number("temperature", 0.0..=2.0);
    let Some(list) = form.any("messages").filter(|list| !list.is_null()) else { return Input::default() };
    let Some(list) = objects(&list, 1..=MOST_MESSAGES) else {
        form.problem("messages", format!("Expected a list of 1 to {MOST_MESSAGES} messages"));
        return Input::default();
    };
    let turns = list.into_iter().enumerate().map(|(index, fields)| {
        let mut one = Form::part(fields, format!("{place}.messages.{index}"));
        let turn = turn(&mut one);
        form.problems(one.into_problems());
        turn
    });
    Input { messages: turns.collect(), max_tokens, temperature }
}

fn turn(form: &mut Form) -> Turn {
    form.require("role");
    form.require("content");
    Turn {
        role: form.word("role", &["system", "developer", "user", "assistant"]).unwrap_or_default(),
        content: form.text("content", 0..=TEXT_CHARS).unwrap_or_default(),
    }
}

fn expected(form: &mut Form) -> Expected {
    form.require("strategy");
    form.require("value");
    let word = form.word("strategy", &Strategy::WORDS);
    let strategy = word.as_deref().and_then(Strategy::parse).unwrap_or_default();
    let judge_model = form.text("judgeModel", 1..=300);
    if strategy == Strategy::Judge && judge_model.is_none() {
        form.problem("judgeModel", "Required: the model that judges");
    }
    let case_sensitive = form.flag("caseSensitive").unwrap_or(false);
    let expected = Expected { strategy, value: value(form, strategy), case_sensitive, judge_model };
    if let Err(why) = score::check(&expected)
        && word.is_some()
        && !expected.value.is_null()
    {
        form.problem("value", why);
    }
    expected
}

/// A text; a schema may also be the object that it is.
fn value(form: &mut Form, strategy: Strategy) -> Value {
    let given = form.any("value").unwrap_or_default();
    if strategy == Strategy::JsonSchema && given.is_object() {
        if given.to_string().len() > TEXT_CHARS {
            form.problem("value", format!("A schema has at most {TEXT_CHARS} bytes"));
            return Value::Null;
        }
        return given;
    }
    form.text("value", 1..=TEXT_CHARS).map_or(Value::Null, Value::from)
}

/// A list of so many objects.
fn objects(list: &Value, count: std::ops::RangeInclusive<usize>) -> Option<Vec<Map<String, Value>>> {
    let list = list.as_array().filter(|list| count.contains(&list.len()))?;
    list.iter().map(|entry| entry.as_object().cloned()).collect()
}
