//! The fields of a management call, checked one by one so that one answer names everything that is wrong.
//!
//! A field that nobody asked for is a mistake of the caller, and it is told: a limit that was misspelt and taken for
//! granted is worse than none. Two kinds are let pass all the same: what clients of the original send and this gateway
//! has no use for, and what an answer holds, so that a client may send back what it read with one field changed.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::body::invalid_body;
use super::{Detail, JsonBody, Refusal};

/// How alike two names must be before one is offered for the other.
const ALIKE: f64 = 0.7;
/// Unknown fields that are named one by one; a body may hold any number.
const NAMED: usize = 20;
/// Problems after which nobody reads on.
const PROBLEMS: usize = 200;
/// Characters of an unknown field's name that are repeated to its sender.
const NAME_CHARS: usize = 80;

/// The fields of an object, taken out one by one; what is wrong is collected.
#[derive(Debug, Default)]
pub struct Form {
    fields: Map<String, Value>,
    problems: Vec<Detail>,
    path: String,
    /// What can be said here: every name that was asked for, given or not.
    known: BTreeSet<String>,
    /// What may be there without meaning anything.
    passed: BTreeSet<String>,
    /// Which other fields are welcome, too.
    others: Others,
}

/// What becomes of fields that nobody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Others {
    /// Each is a mistake.
    #[default]
    Refused,
    /// Those that look like a known one are mistakes, the rest belongs to other versions.
    Foreign,
    /// Any is welcome.
    Welcome,
}

impl Form {
    /// Of a body that must be an object.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(body: JsonBody) -> Result<Self, Refusal> {
        match body.0 {
            Some(Value::Object(fields)) => Ok(Self { fields, ..Self::default() }),
            _ => Err(invalid_body()),
        }
    }

    /// Of a part of a body; problems are named under `path`.
    pub fn part(fields: Map<String, Value>, path: impl Into<String>) -> Self {
        Self { fields, path: path.into(), ..Self::default() }
    }

    /// Of a part of a body that may hold fields of any name.
    pub fn open_part(fields: Map<String, Value>, path: impl Into<String>) -> Self {
        Self { others: Others::Welcome, ..Self::part(fields, path) }
    }

    /// Of a part of a body in which other versions have fields of their own: only what looks like a known name is taken
    /// for a mistake.
    pub fn lenient_part(fields: Map<String, Value>, path: impl Into<String>) -> Self {
        Self { others: Others::Foreign, ..Self::part(fields, path) }
    }

    /// The given fields that nobody asked for.
    pub fn left_over(&self) -> Vec<String> {
        let strange = |name: &&String| !self.known.contains(*name) && !self.passed.contains(*name);
        self.fields.keys().filter(strange).cloned().collect()
    }

    /// Fields that may be given and mean nothing here.
    pub fn let_pass<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) {
        self.passed.extend(fields.into_iter().map(ToOwned::to_owned));
    }

    /// The fields of an answer may come back as they were: they mean nothing, unless they are asked for.
    pub fn let_pass_answer(&mut self, answer: &Value) {
        self.let_pass(answer.as_object().into_iter().flat_map(Map::keys).map(String::as_str));
    }

    /// Whether no field is given.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The given fields, for the audit log; the version is none of them.
    pub fn names(&self) -> Vec<String> {
        self.fields.keys().filter(|name| *name != "version").take(NAMED).cloned().collect()
    }

    /// Whether this field is given and no other.
    pub fn holds_only(&self, field: &str) -> bool {
        self.fields.len() == 1 && self.has(field)
    }

    /// Whether the field is given, be it null.
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// The field as it is.
    pub fn raw(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// Note that a field is wrong.
    pub fn problem(&mut self, field: &str, message: impl Into<String>) {
        let field = match (self.path.as_str(), field) {
            ("", "") => "body".to_owned(),
            ("", field) => field.to_owned(),
            (path, "") => path.to_owned(),
            (path, field) => format!("{path}.{field}"),
        };
        self.problems.push(Detail { field, message: message.into() });
    }

    /// Note that a field of a part, at `place`, is none of those that can be there.
    pub fn unknown<'a>(&mut self, place: &str, known: impl IntoIterator<Item = &'a str>) {
        // Looking for what was meant takes its time, and a body may hold any number of fields.
        if self.problems.len() >= PROBLEMS {
            return;
        }
        let (before, name) = place.rsplit_once('.').map_or(("", place), |(before, name)| (before, name));
        let message = unknown_field(before, name, known);
        self.problem(place, message);
    }

    /// Note problems found elsewhere.
    pub fn problems(&mut self, found: impl IntoIterator<Item = Detail>) {
        self.problems.extend(found);
    }

    /// Everything that was wrong, and whatever is left over.
    pub fn into_problems(mut self) -> Vec<Detail> {
        self.name_the_unknown();
        self.problems
    }

    fn name_the_unknown(&mut self) {
        let alike = |name: &String| nearest(name, self.known.iter().map(String::as_str)).is_some();
        let unknown: Vec<String> = match self.others {
            Others::Welcome => return,
            Others::Refused => self.left_over(),
            // Looking for what was meant takes its time, and a body may hold any number of fields.
            Others::Foreign => self.left_over().into_iter().take(PROBLEMS).filter(alike).collect(),
        };
        for name in unknown.iter().take(NAMED) {
            let message = unknown_field("", name, self.known.iter().map(String::as_str));
            let shown: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
            self.problem(&shown, message);
        }
        if let Some(more) = unknown.len().checked_sub(NAMED).filter(|more| *more > 0) {
            self.problem("", format!("{more} more unknown fields"));
        }
    }

    /// The value of a field that is now known to mean something.
    fn ask(&mut self, field: &str) -> Option<&Value> {
        if !self.known.contains(field) {
            self.known.insert(field.to_owned());
        }
        self.fields.get(field)
    }

    /// Take a field as it is, whatever it holds.
    pub fn any(&mut self, field: &str) -> Option<Value> {
        self.ask(field).cloned()
    }

    /// Note that a field must be given, unless it is.
    pub fn require(&mut self, field: &str) {
        if self.ask(field).is_none_or(Value::is_null) {
            self.problem(field, "Required");
        }
    }

    /// A text of so many characters; null counts as not given.
    pub fn text(&mut self, field: &str, chars: RangeInclusive<usize>) -> Option<String> {
        self.nullable_text(field, chars).flatten()
    }

    /// A text or null.
    pub fn nullable_text(&mut self, field: &str, chars: RangeInclusive<usize>) -> Option<Option<String>> {
        let text = match self.ask(field)? {
            Value::Null => return Some(None),
            Value::String(text) => text.clone(),
            _ => return self.wrong(field, "Expected a text"),
        };
        let count = text.chars().count();
        if !chars.contains(&count) {
            let (least, most) = chars.into_inner();
            return self.wrong(field, format!("Must have {least} to {most} characters"));
        }
        if text.chars().any(|c| c == '\0') {
            return self.wrong(field, "Must not contain NUL");
        }
        Some(Some(text))
    }

    /// A truth value; null counts as not given.
    pub fn flag(&mut self, field: &str) -> Option<bool> {
        match self.ask(field)? {
            Value::Bool(flag) => Some(*flag),
            Value::Null => None,
            _ => self.wrong(field, "Expected true or false"),
        }
    }

    /// A whole number; null counts as not given.
    pub fn integer(&mut self, field: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.nullable_integer(field, range).flatten()
    }

    /// A whole number or null.
    pub fn nullable_integer(&mut self, field: &str, range: RangeInclusive<i64>) -> Option<Option<i64>> {
        let value = self.ask(field)?;
        if value.is_null() {
            return Some(None);
        }
        match value.as_i64().filter(|number| range.contains(number)) {
            Some(number) => Some(Some(number)),
            None => self.wrong(field, format!("Expected a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// A whole number that fits a column, or null.
    pub fn nullable_small(&mut self, field: &str, range: RangeInclusive<i32>) -> Option<Option<i32>> {
        let wide = i64::from(*range.start())..=i64::from(*range.end());
        self.nullable_integer(field, wide).map(|number| number.and_then(|number| i32::try_from(number).ok()))
    }

    /// A number, whole or not; null counts as not given.
    pub fn number(&mut self, field: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.ask(field)?;
        if value.is_null() {
            return None;
        }
        match value.as_f64().filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => self.wrong(field, format!("Expected a number from {} to {}", range.start(), range.end())),
        }
    }

    /// One of these words; null counts as not given.
    pub fn word(&mut self, field: &str, words: &[&str]) -> Option<String> {
        let text = self.text(field, 0..=100)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        self.wrong(field, format!("Expected one of: {}", words.join(", ")))
    }

    /// An object; null counts as not given.
    pub fn object(&mut self, field: &str) -> Option<Map<String, Value>> {
        match self.ask(field)? {
            Value::Object(object) => Some(object.clone()),
            Value::Null => None,
            _ => self.wrong(field, "Expected an object"),
        }
    }

    /// A list of so many texts of so many characters; null is the empty list.
    pub fn texts(&mut self, field: &str, most: usize, chars: usize) -> Option<Vec<String>> {
        let list = match self.ask(field)? {
            Value::Null => return Some(Vec::new()),
            Value::Array(list) => list,
            _ => return self.wrong(field, "Expected a list of texts"),
        };
        let good = |text: &&str| !text.is_empty() && text.chars().count() <= chars;
        let texts: Vec<_> = list.iter().filter_map(Value::as_str).filter(good).map(ToOwned::to_owned).collect();
        if texts.len() != list.len() || list.len() > most {
            return self.wrong(field, format!("Expected at most {most} texts of 1 to {chars} characters"));
        }
        Some(texts)
    }

    /// A point in time (ISO 8601 with its offset, or milliseconds since the epoch) or null.
    pub fn time(&mut self, field: &str) -> Option<Option<i64>> {
        let at = match self.ask(field)? {
            Value::Null => return Some(None),
            Value::String(text) => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
            other => other.as_i64().filter(|ms| *ms > 0),
        };
        match at {
            Some(ms) => Some(Some(ms)),
            None => self.wrong(field, "Expected a time such as 2030-01-31T12:00:00Z"),
        }
    }

    /// End of the checks.
    ///
    /// # Errors
    /// Everything that was wrong.
    pub fn finish(self) -> Result<(), Refusal> {
        let problems = self.into_problems();
        if problems.is_empty() { Ok(()) } else { Err(Refusal::invalid(problems)) }
    }

    fn wrong<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.problem(field, message);
        None
    }
}

/// What to say about it, with what was probably meant in the same place.
fn unknown_field<'a>(before: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let dot = if before.is_empty() { "" } else { "." };
    let meant = nearest(name, known).map(|known| format!("; did you mean `{before}{dot}{known}`?")).unwrap_or_default();
    format!("Unknown field{meant}")
}

/// Case and underscores are habits of other APIs, not other words.
fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = plain(unknown);
    let likeness = |known| (strsim::normalized_damerau_levenshtein(&unknown, &plain(known)), known);
    let best = known.into_iter().map(likeness).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}

fn plain(name: &str) -> String {
    // Of a name that is longer than any of ours only its beginning is worth a comparison.
    name.chars().filter(char::is_ascii_alphanumeric).take(NAME_CHARS).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(body: Value) -> Form {
        Form::of(JsonBody(Some(body))).unwrap()
    }

    fn told(form: Form) -> Vec<String> {
        form.into_problems().into_iter().map(|detail| format!("{}: {}", detail.field, detail.message)).collect()
    }

    #[test]
    fn a_field_that_nobody_asks_for_is_named_with_the_likely_meaning() {
        let mut form = form(json!({"name": "a", "is_active": true, "maxConcurent": 1, "speed": 9}));

        form.text("name", 1..=9);
        form.flag("isActive");
        form.nullable_small("maxConcurrent", 0..=9);

        assert_eq!(
            told(form),
            [
                "is_active: Unknown field; did you mean `isActive`?",
                "maxConcurent: Unknown field; did you mean `maxConcurrent`?",
                "speed: Unknown field",
            ]
        );
    }

    #[test]
    fn what_is_documented_or_was_answered_may_come_back_without_a_meaning() {
        let mut form = form(json!({"name": "a", "id": "x", "createdAt": "2030", "compressionOverride": ""}));

        form.text("name", 1..=9);
        form.let_pass(["compressionOverride"]);
        form.let_pass_answer(&json!({"id": "y", "createdAt": null, "name": "b"}));

        assert!(form.finish().is_ok());
    }

    #[test]
    fn a_part_names_its_unknown_fields_under_its_path_unless_any_are_welcome() {
        let fields = json!({"wieght": 1}).as_object().cloned().unwrap();
        let (mut closed, open) = (Form::part(fields.clone(), "models.0"), Form::open_part(fields, "data"));

        closed.integer("weight", 0..=100);

        assert_eq!(told(closed), ["models.0.wieght: Unknown field; did you mean `weight`?"]);
        assert!(told(open).is_empty());
    }

    #[test]
    fn a_field_of_the_wrong_type_is_not_called_unknown() {
        let mut form = form(json!({"isActive": "yes"}));

        form.flag("isActive");

        assert_eq!(told(form), ["isActive: Expected true or false"]);
    }

    #[test]
    fn any_number_of_unknown_fields_makes_a_short_answer() {
        let fields: Map<_, _> = (0..5_000).map(|n| (format!("{n}{}", "\u{e9}".repeat(500)), Value::Null)).collect();

        let told = told(form(Value::Object(fields)));

        assert_eq!(told.len(), NAMED + 1);
        assert!(told.last().unwrap().contains("4980 more unknown fields"));
        assert!(told.iter().all(|line| line.chars().count() < 150), "{}", told[0]);
    }
}
