//! What holds between combos that ask all of their steps and the others: such a combo is nobody's step and nobody's
//! judge, because then one request could cost any number of calls, and circles would not end.

use omniroute_actors::router::plan::Strategy;
use serde_json::{Value, json};

use super::combo_check::{Target, World, home_of, steps};
use crate::store::ComboRow;

/// Settings that name a model, and the strategy under which each counts.
const MODELS: [(&str, Strategy); 2] = [("judgeModel", Strategy::Fusion), ("handoffModel", Strategy::ContextRelay)];

/// Each field that is wrong, and why.
pub(super) fn problems(row: &ComboRow, world: &World<'_>) -> Vec<(String, String)> {
    let mut found: Vec<_> = ensembles_below(row, world).collect();
    if runs_all(row) {
        found.extend(used_above(row, world).map(|problem| ("strategy".to_owned(), problem)));
        found.extend(too_many_answers(row));
    }
    for (name, strategy) in MODELS {
        let model = text(row, name).filter(|_| Strategy::parse(&row.strategy) == Some(strategy));
        let problem = model.and_then(|model| model_problem(model, row, world));
        found.extend(problem.map(|problem| (format!("config.{name}"), problem)));
    }
    found
}

fn runs_all(row: &ComboRow) -> bool {
    Strategy::parse(&row.strategy).is_some_and(Strategy::runs_all)
}

fn text<'a>(row: &'a ComboRow, name: &str) -> Option<&'a str> {
    row.data.get("config")?.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn named<'a>(name: &str, world: &World<'a>) -> Option<&'a ComboRow> {
    world.combos.iter().find(|other| other.name == name)
}

fn ensembles_below<'a>(row: &'a ComboRow, world: &'a World<'_>) -> impl Iterator<Item = (String, String)> + 'a {
    steps(&row.data).iter().enumerate().filter_map(|(index, step)| {
        let Some(Target::Combo(name)) = Target::of(step) else { return None };
        let other = named(name, world).filter(|other| runs_all(other))?;
        let problem = format!("`{name}` asks all of its steps ({}) and cannot be a step itself", other.strategy);
        Some((format!("models.{index}"), problem))
    })
}

/// Another combo that would have an ensemble as a part.
fn used_above(row: &ComboRow, world: &World<'_>) -> Option<String> {
    let others = || world.combos.iter().filter(|other| other.name != row.name);
    let is_it = |step: &Value| Target::of(step) == Some(Target::Combo(&row.name));
    let step = others().find(|other| steps(&other.data).iter().any(is_it));
    let judge =
        || others().find(|other| MODELS.iter().any(|(name, _)| text(other, name).map(plain) == Some(&*row.name)));
    let by = step.or_else(judge)?;
    Some(format!("The combo `{}` leads here, and what asks all of its steps cannot be a part of another", by.name))
}

/// `combo/<name>` means the combo.
fn plain(model: &str) -> &str {
    model.strip_prefix("combo/").unwrap_or(model)
}

/// A combo or a model that can be asked.
fn model_problem(model: &str, row: &ComboRow, world: &World<'_>) -> Option<String> {
    let name = plain(model);
    if name == row.name {
        return Some("A combo cannot ask itself".to_owned());
    }
    match named(name, world) {
        Some(other) if runs_all(other) => Some(format!("`{name}` asks all of its steps ({})", other.strategy)),
        Some(_) => None,
        None if model != name => Some(format!("There is no combo `{name}`")),
        None => home_of(None, model, world).err(),
    }
}

/// So many answers never come.
fn too_many_answers(row: &ComboRow) -> Option<(String, String)> {
    let tuning = |name: &str| row.data.pointer(&format!("/config/fusionTuning/{name}")).and_then(Value::as_u64);
    let asked = tuning("maxPanel").unwrap_or(u64::MAX).min(steps(&row.data).len() as u64);
    let wanted = tuning("minAnswers").filter(|wanted| *wanted > asked)?;
    let problem = format!("Only {asked} steps are asked, so {wanted} answers never come");
    Some(("config.fusionTuning.minAnswers".to_owned(), problem))
}

/// Settings that another strategy acts upon.
pub(super) fn idle_settings(row: &ComboRow) -> Option<Value> {
    let strategy = Strategy::parse(&row.strategy)?;
    let of = [
        ("judgeModel", Strategy::Fusion),
        ("fusionTuning", Strategy::Fusion),
        ("handoffModel", Strategy::ContextRelay),
        ("handoffProviders", Strategy::ContextRelay),
    ];
    let says = |name: &str| {
        let value = row.data.get("config").and_then(|config| config.get(name));
        value.is_some_and(|value| !value.is_null() && value != "" && value != &json!([]))
    };
    let idle = of.into_iter().filter(|(name, wanted)| *wanted != strategy && says(name));
    let names: Vec<_> = idle.map(|(name, wanted)| format!("{name} (under {})", wanted.as_str())).collect();
    (!names.is_empty()).then(|| {
        json!({
            "code": "SETTING_OF_ANOTHER_STRATEGY",
            "field": "config",
            "message": format!("Kept, but `{}` does not act upon: {}", strategy.as_str(), names.join(", ")),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combo(name: &str, strategy: &str, models: Value, config: Value) -> ComboRow {
        ComboRow {
            id: name.into(),
            name: name.into(),
            strategy: strategy.into(),
            is_active: true,
            sort_order: 1,
            data: json!({"models": models, "config": config}),
            created_at: 1,
            updated_at: 1,
        }
    }

    fn found(row: &ComboRow, combos: &[ComboRow]) -> Vec<String> {
        let world = World { combos, nodes: &[], connections: &[], max_depth: 3 };
        problems(row, &world).into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
    }

    fn to(combo: &str) -> Value {
        json!([{"kind": "combo-ref", "comboName": combo}])
    }

    #[test]
    fn an_ensemble_is_no_step_and_no_judge_of_another_whichever_is_written_last() {
        let leaf = || json!([{"model": "openai/x"}]);
        let fusion = combo("f", "fusion", leaf(), json!({}));
        let judged = combo("g", "fusion", leaf(), json!({"judgeModel": "f"}));
        let above = combo("p", "priority", to("f"), json!({}));

        let fusions = std::slice::from_ref(&fusion);
        assert!(found(&above, fusions)[0].starts_with("models.0: `f` asks all of its steps (fusion)"));
        assert!(found(&judged, fusions)[0].starts_with("config.judgeModel: `f` asks all"));
        assert!(found(&fusion, &[above])[0].starts_with("strategy: The combo `p` leads here"));
        assert!(found(&fusion, &[judged])[0].starts_with("strategy: The combo `g` leads here"));
        assert_eq!(found(&combo("q", "priority", leaf(), json!({})), &[fusion]), Vec::<String>::new());
    }

    #[test]
    fn a_judge_is_a_model_or_a_combo_that_there_is() {
        let leaf = || json!([{"model": "openai/x"}]);
        let judged = |model: &str| combo("f", "fusion", leaf(), json!({"judgeModel": model}));
        let plain = combo("p", "priority", leaf(), json!({}));

        assert!(found(&judged("nobody/x"), &[])[0].starts_with("config.judgeModel: "));
        assert!(found(&judged("combo/ghost"), &[])[0].contains("There is no combo `ghost`"));
        assert!(found(&judged("f"), &[])[0].contains("cannot ask itself"));
        assert_eq!(found(&judged("combo/p"), std::slice::from_ref(&plain)), Vec::<String>::new());
        assert_eq!(found(&judged("openai/judge"), &[]), Vec::<String>::new());
    }

    #[test]
    fn more_answers_than_steps_never_come() {
        let row = combo("f", "fusion", json!(["openai/x", "openai/y"]), json!({"fusionTuning": {"minAnswers": 3}}));

        assert!(found(&row, &[])[0].starts_with("config.fusionTuning.minAnswers: Only 2 steps"));
    }

    #[test]
    fn a_setting_of_another_strategy_is_told() {
        let row = combo("f", "priority", json!(["openai/x"]), json!({"judgeModel": "a/b", "handoffProviders": []}));

        let told = idle_settings(&row).unwrap();

        assert!(told["message"].as_str().unwrap().ends_with("act upon: judgeModel (under fusion)"), "{told}");
        assert!(idle_settings(&combo("f", "fusion", json!([]), json!({"judgeModel": "a/b"}))).is_none());
    }
}
