//! The steps of a combo as a caller sends them and as they are stored: each with an id that stays.
//!
//! A step that comes without an id gets back the one that a step with the same target had before, so that what is known
//! about a step (its share, its record) outlives a change of the list. Ids joined with `>` name a target inside nested
//! combos, so none may hold that character.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::combo_check::Target;
use crate::routes::Form;
use crate::store::ComboRow;

/// Most steps of one combo.
pub(super) const MOST_STEPS: usize = 200;
/// Every field that a step can have; which of them count is up to its kind.
const STEP_FIELDS: [&str; 6] = ["model", "provider", "providerId", "connectionId", "tags", "comboName"];
const LONGEST_ID: usize = 250;
const SLUG_CHARS: usize = 48;

/// What steps are read against.
pub(super) struct Surroundings<'a> {
    /// The name of the combo they belong to.
    pub(super) combo: &'a str,
    /// The steps as they are stored now.
    pub(super) before: &'a [Value],
    /// All combos, for texts that name one.
    pub(super) combos: &'a [ComboRow],
}

/// Steps as they are stored. A text that names a combo is one; everything else is a model.
pub(super) fn normalised(form: &mut Form, models: &Value, around: &Surroundings<'_>) -> Vec<Value> {
    let Some(list) = models.as_array().filter(|list| list.len() <= MOST_STEPS) else {
        form.problem("models", format!("Expected a list of at most {MOST_STEPS} models"));
        return Vec::new();
    };
    let read = |(index, entry): (usize, &Value)| match entry {
        Value::String(text) => Some(from_text(text, around.combos)),
        Value::Object(fields) => Some(from_object(form, fields, index)),
        _ => {
            form.problem(&format!("models.{index}"), "Is neither a text nor an object");
            None
        }
    };
    let mut steps: Vec<_> = list.iter().enumerate().filter_map(read).collect();
    name_steps(form, &mut steps, around);
    steps.into_iter().map(Value::Object).collect()
}

fn from_text(text: &str, combos: &[ComboRow]) -> Map<String, Value> {
    let text = text.trim();
    let named = |name: &str| combos.iter().any(|combo| combo.name == name);
    let combo = if named(text) { Some(text) } else { text.strip_prefix("combo/") };
    let step = match combo {
        Some(combo) => json!({"kind": "combo-ref", "comboName": combo, "weight": 0, "label": null}),
        None => json!({"kind": "model", "model": text, "weight": 0, "label": null}),
    };
    step.as_object().cloned().unwrap_or_default()
}

fn from_object(form: &mut Form, fields: &Map<String, Value>, index: usize) -> Map<String, Value> {
    let mut part = Form::part(fields.clone(), format!("models.{index}"));
    part.let_pass(STEP_FIELDS);
    let mut step = Map::new();
    let kind = part.text("kind", 1..=20).unwrap_or_else(|| "model".into());
    match kind.as_str() {
        "model" => {
            part.require("model");
            for (name, most) in [("model", 512), ("provider", 100), ("providerId", 100), ("connectionId", 100)] {
                step.extend(part.text(name, 1..=most).map(|text| (name.to_owned(), json!(text))));
            }
            step.extend(part.texts("tags", 20, 64).map(|tags| ("tags".to_owned(), json!(tags))));
        }
        "combo-ref" => {
            part.require("comboName");
            step.extend(part.text("comboName", 1..=100).map(|name| ("comboName".to_owned(), json!(name))));
        }
        other => part.problem("kind", format!("`{other}` is neither model nor combo-ref")),
    }
    step.insert("kind".into(), json!(kind));
    step.insert("weight".into(), json!(part.integer("weight", 0..=100).unwrap_or(0)));
    step.insert("label".into(), json!(part.text("label", 0..=200)));
    if let Some(id) = part.text("id", 1..=LONGEST_ID) {
        if id.contains('>') || id.chars().any(char::is_control) {
            part.problem("id", "Must not contain `>` or control characters");
        }
        step.insert("id".into(), json!(id));
    }
    form.problems(part.into_problems());
    step
}

/// Every step gets an id of its own.
fn name_steps(form: &mut Form, steps: &mut [Map<String, Value>], around: &Surroundings<'_>) {
    let mut taken: HashSet<String> = HashSet::new();
    for (index, step) in steps.iter().enumerate() {
        if let Some(id) = step.get("id").and_then(Value::as_str)
            && !taken.insert(id.to_owned())
        {
            form.problem(&format!("models.{index}.id"), "Another step has this id");
        }
    }
    for (index, step) in steps.iter_mut().enumerate() {
        if step.contains_key("id") {
            continue;
        }
        let whole = Value::Object(step.clone());
        let same = |old: &&Value| Target::of(old) == Target::of(&whole);
        let kept = around.before.iter().filter(same).filter_map(|old| old.get("id")?.as_str());
        let id = kept.map(ToOwned::to_owned).find(|id| !taken.contains(id));
        let id = id.unwrap_or_else(|| fresh(around.combo, index + 1, &whole, &taken));
        taken.insert(id.clone());
        step.insert("id".into(), json!(id));
    }
}

/// `<combo>-model-<n>-<slug>`, as the original names them, so that a person can read an execution key.
fn fresh(combo: &str, place: usize, step: &Value, taken: &HashSet<String>) -> String {
    let (kind, target) = match Target::of(step) {
        Some(Target::Combo(name)) => ("ref", name.to_owned()),
        Some(Target::Model { provider, model, .. }) => {
            ("model", provider.map_or_else(|| model.to_owned(), |provider| format!("{provider}-{model}")))
        }
        None => ("model", String::new()),
    };
    let stem = slug(combo);
    let id = |number: usize| format!("{stem}-{kind}-{number}-{}", slug(&target));
    (place..).map(id).find(|id| !taken.contains(id)).unwrap_or_default()
}

fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let words: String = text.chars().take(SLUG_CHARS).map(plain).collect();
    words.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(models: Value, before: &[Value]) -> (Vec<Value>, Vec<String>) {
        let mut form = Form::default();
        let around = Surroundings { combo: "My Team", before, combos: &[] };
        let steps = normalised(&mut form, &models, &around);
        (steps, form.into_problems().into_iter().map(|problem| problem.field).collect())
    }

    fn ids(steps: &[Value]) -> Vec<&str> {
        steps.iter().map(|step| step["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_step_without_an_id_gets_one_that_can_be_read() {
        let (found, problems) = steps(json!(["openai/GPT 5", "openai/GPT 5", "combo/other"]), &[]);

        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            ids(&found),
            ["my-team-model-1-openai-gpt-5", "my-team-model-2-openai-gpt-5", "my-team-ref-3-other"]
        );
    }

    #[test]
    fn a_step_that_comes_back_without_its_id_keeps_it() {
        let before = [json!({"kind": "model", "model": "a/x", "id": "one"}), json!({"model": "a/y", "id": "two"})];

        let (found, _) = steps(json!(["b/new", {"model": "a/y", "weight": 7}, "a/x", "a/x"]), &before);

        assert_eq!(ids(&found), ["my-team-model-1-b-new", "two", "one", "my-team-model-4-a-x"]);
    }

    #[test]
    fn an_id_is_one_steps_alone_and_cannot_look_like_a_path() {
        let (_, problems) = steps(
            json!([{"model": "a/x", "id": "s"}, {"model": "a/y", "id": "s"}, {"model": "a/z", "id": "a>b"}]),
            &[],
        );

        assert_eq!(problems, ["models.2.id", "models.1.id"]);
    }

    #[test]
    fn what_is_no_step_is_named_with_its_place() {
        let (_, problems) = steps(json!([7, {"kind": "odd"}, {"model": "a/b", "weight": 101}]), &[]);

        assert_eq!(problems, ["models.0", "models.1.kind", "models.2.weight"]);
    }
}
