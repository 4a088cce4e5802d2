//! A routing policy as a caller writes it, as it is stored, and as it is shown.
//!
//! `when` says which requests it speaks about, `what` which targets it means. Both are stored in one normal form: days as
//! words, times as `HH:MM`, prices as the decimal text of USD for a million tokens.

use omniroute_actors::router::policy::Effect;
use serde_json::{Map, Value, json};

use crate::gateway::policy_rows::{DAYS, minutes};
use crate::providers::usd;
use crate::routes::Form;
use crate::routes::body::iso;
use crate::store::PolicyRow;

const MOST: usize = 500;

/// Lay the given fields over the row; what is wrong is noted in the form.
pub(super) fn fill(form: &mut Form, row: &mut PolicyRow) {
    if let Some(name) = form.text("name", 1..=200) {
        if name.trim() != name || name.chars().any(char::is_control) {
            form.problem("name", "Must not begin or end with a space or hold control characters");
        }
        row.name = name;
    }
    if let Some(enabled) = form.flag("enabled") {
        row.enabled = enabled;
    }
    if let Some(priority) = form.nullable_small("priority", 0..=1_000_000).flatten() {
        row.priority = priority;
    }
    if let Some(effect) = form.word("effect", &Effect::ALL.map(Effect::as_str)) {
        row.effect = effect;
    }
    let mut data = row.data.as_object().cloned().unwrap_or_default();
    if let Some(given) = form.object("when") {
        let mut part = Form::part(given, "when");
        data.insert("when".into(), Value::Object(when(&mut part)));
        form.problems(part.into_problems());
    }
    if let Some(given) = form.object("what") {
        let mut part = Form::part(given, "what");
        data.insert("what".into(), Value::Object(what(&mut part)));
        form.problems(part.into_problems());
    }
    let means_nothing = data.get("what").and_then(Value::as_object).is_none_or(Map::is_empty);
    if means_nothing {
        form.problem("what", "Must name tags, regions, providers, models or a highest price");
    }
    row.data = Value::Object(data);
}

fn texts(part: &mut Form, names: &[&str], into: &mut Map<String, Value>) {
    for name in names {
        if let Some(texts) = part.texts(name, MOST, 512).filter(|texts| !texts.is_empty()) {
            into.insert((*name).to_owned(), json!(texts));
        }
    }
}

fn when(part: &mut Form) -> Map<String, Value> {
    let mut when = Map::new();
    texts(part, &["keys", "models"], &mut when);
    let days = part.any("days").filter(|days| !days.is_null());
    let words = days.map(|days| days_of(part, &days));
    let (from, until) = (time(part, "from"), time(part, "until"));
    let offset = part.integer("utcOffsetMinutes", -1_080..=1_080);
    when.extend(words.filter(|words| !words.is_empty()).map(|words| ("days".to_owned(), json!(words))));
    when.extend(from.map(|text| ("from".to_owned(), json!(text))));
    when.extend(until.map(|text| ("until".to_owned(), json!(text))));
    when.extend(offset.map(|minutes| ("utcOffsetMinutes".to_owned(), json!(minutes))));
    when
}

/// Words, or numbers with Sunday as 0, as the original's schedules have them.
fn days_of(part: &mut Form, days: &Value) -> Vec<&'static str> {
    let word = |day: &Value| match day {
        Value::String(text) => {
            let short: String = text.chars().take(3).collect::<String>().to_ascii_lowercase();
            DAYS.into_iter().find(|day| *day == short)
        }
        other => {
            let number = usize::try_from(other.as_u64()?).ok()?;
            (number < 7).then(|| DAYS.get((number + 6) % 7).copied()).flatten()
        }
    };
    let list = days.as_array().map(Vec::as_slice).unwrap_or_default();
    let words: Vec<_> = list.iter().filter_map(word).collect();
    if words.len() != list.len() || !days.is_array() || list.len() > 7 {
        part.problem("days", format!("Expected days such as {}", DAYS.join(", ")));
    }
    DAYS.into_iter().filter(|day| words.contains(day)).collect()
}

fn time(part: &mut Form, field: &str) -> Option<String> {
    let text = part.text(field, 0..=10)?;
    if minutes(&text).is_none() {
        part.problem(field, "Expected a time of day such as 08:30");
    }
    Some(text)
}

fn what(part: &mut Form) -> Map<String, Value> {
    let mut what = Map::new();
    texts(part, &["tags", "regions", "providers", "models"], &mut what);
    for name in ["maxInputPrice", "maxOutputPrice"] {
        let price = match part.any(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
        };
        match usd::nano(&price) {
            Some(_) => drop(what.insert(name.to_owned(), json!(price))),
            None => part.problem(name, "Expected USD for a million tokens, such as 2.50"),
        }
    }
    what
}

/// As the API shows it.
pub(super) fn view(row: &PolicyRow) -> Value {
    let part = |name: &str| row.data.get(name).cloned().unwrap_or_else(|| json!({}));
    json!({
        "id": row.id,
        "name": row.name,
        "enabled": row.enabled,
        "priority": row.priority,
        "effect": row.effect,
        "when": part("when"),
        "what": part("what"),
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
    })
}

#[cfg(test)]
mod tests {
    use omniroute_actors::router::policy::Hours;

    use super::*;
    use crate::gateway::policy_rows::policy;

    fn filled(body: Value) -> (PolicyRow, Vec<String>) {
        let mut form = Form::part(body.as_object().cloned().unwrap(), "");
        let mut row = PolicyRow {
            id: "p".into(),
            name: String::new(),
            enabled: true,
            priority: 100,
            effect: "deny".into(),
            data: json!({}),
            created_at: 0,
            updated_at: 0,
        };
        fill(&mut form, &mut row);
        (row, form.into_problems().into_iter().map(|problem| problem.field).collect())
    }

    #[test]
    fn a_policy_that_is_stored_means_what_was_written() {
        let (row, problems) = filled(json!({
            "name": "cheap at night", "effect": "require", "priority": 5, "enabled": true,
            "when": {"keys": ["k"], "models": ["gpt-*"], "days": ["Friday", "sat"], "from": "22:00", "until": "06:00",
                     "utcOffsetMinutes": 60},
            "what": {"tags": ["eu"], "regions": ["eu-west"], "providers": ["open*"], "models": ["*mini*"],
                     "maxInputPrice": 2.5, "maxOutputPrice": "10.00"},
        }));
        let policy = policy(&row).unwrap();

        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((policy.effect, policy.priority), (Effect::Require, 5));
        assert_eq!(policy.when.hours, Some(Hours { days: 0b11_0000, from: 1_320, to: 360, offset: 60 }));
        assert_eq!(policy.what.max_input_price, Some(2_500_000_000));
        assert_eq!(policy.what.max_output_price, Some(10_000_000_000));
        assert!(policy.when.models[0].matches("GPT-5") && policy.what.providers[0].matches("openai"));
        assert_eq!(view(&row)["when"]["days"], json!(["fri", "sat"]));
    }

    #[test]
    fn days_may_be_numbers_and_a_window_may_lack_either_end() {
        let hours_of = |when: Value| {
            let (row, problems) = filled(json!({"what": {"tags": ["x"]}, "when": when}));
            assert_eq!(problems, Vec::<String>::new());
            policy(&row).unwrap().when.hours
        };

        assert_eq!(hours_of(json!({})), None);
        assert_eq!(hours_of(json!({"days": [0, 1]})), Some(Hours { days: 0b100_0001, from: 0, to: 1_440, offset: 0 }));
        assert_eq!(
            hours_of(json!({"until": "24:00"})),
            Some(Hours { days: 0b111_1111, from: 0, to: 1_440, offset: 0 })
        );
    }

    #[test]
    fn what_is_no_policy_is_named_field_by_field() {
        let (_, problems) = filled(json!({
            "effect": "maybe", "priority": -1,
            "when": {"days": ["someday"], "from": "25:00", "hours": 3}, "what": {"maxInputPrice": "cheap"},
        }));
        let (_, nothing) = filled(json!({"effect": "deny", "what": {}}));

        assert_eq!(
            problems,
            ["priority", "effect", "when.days", "when.from", "when.hours", "what.maxInputPrice", "what"]
        );
        assert_eq!(nothing, ["what"]);
    }
}
