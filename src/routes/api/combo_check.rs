//! Whether a combo can be: every target known, no circle, not empty, not too deep. Pure: the world is an argument.

use serde_json::Value;

use crate::providers::Catalog;
use crate::store::{ComboRow, NodeRow};

/// What a combo's targets are checked against.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// All combos; one of the checked name is replaced by the checked data.
    pub combos: &'a [ComboRow],
    /// The operator's own endpoints.
    pub nodes: &'a [NodeRow],
    /// Connections: id and provider.
    pub connections: &'a [(String, String)],
    /// How deep combos may nest.
    pub max_depth: usize,
}

/// Where a step leads, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// A model, as `prefix/model`, or bare beside its provider.
    Model {
        /// The provider beside it, if it is named there.
        provider: Option<&'a str>,
        /// The model.
        model: &'a str,
        /// The one connection, if it is pinned.
        connection: Option<&'a str>,
    },
    /// Another combo.
    Combo(&'a str),
}

impl<'a> Target<'a> {
    /// Of a stored step; `None` for what is no step.
    pub fn of(step: &'a Value) -> Option<Self> {
        let text = |name: &str| step.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match step {
            Value::String(model) => Some(Self::Model { provider: None, model, connection: None }),
            _ if text("kind") == Some("combo-ref") => text("comboName").map(Self::Combo),
            _ => Some(Self::Model {
                provider: text("providerId").or_else(|| text("provider")),
                model: text("model")?,
                connection: text("connectionId"),
            }),
        }
    }
}

/// Whether a combo of this name with this data can be: every target known, no circle, not empty, not too deep.
///
/// # Errors
/// Each field that is wrong and why.
pub fn check_combo(name: &str, data: &Value, world: &World<'_>) -> Result<(), Vec<(String, String)>> {
    let steps = steps(data);
    if steps.is_empty() {
        return Err(vec![("models".into(), "Must name at least one model or combo".into())]);
    }
    let check = |(index, step): (usize, &Value)| {
        let problem = match Target::of(step) {
            None => Some("Is neither a model nor a combo".to_owned()),
            Some(Target::Combo(other)) => nested_problem(name, other, data, world),
            Some(Target::Model { provider, model, connection }) => model_problem(provider, model, connection, world),
        };
        problem.map(|problem| (format!("models.{index}"), problem))
    };
    let found: Vec<_> = steps.iter().enumerate().filter_map(check).collect();
    if found.is_empty() { Ok(()) } else { Err(found) }
}

pub(super) fn steps(data: &Value) -> &[Value] {
    data.get("models").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn nested_problem(name: &str, other: &str, data: &Value, world: &World<'_>) -> Option<String> {
    let walk = Walk { name, data, world };
    match walk.depth_from(other, &mut vec![name.to_owned()]) {
        Ok(depth) if depth + 1 > world.max_depth => {
            Some(format!("Combos nest deeper than {} levels here", world.max_depth))
        }
        Ok(_) => None,
        Err(problem) => Some(problem),
    }
}

/// The combos as they would be with the checked one in place.
struct Walk<'a> {
    name: &'a str,
    data: &'a Value,
    world: &'a World<'a>,
}

impl Walk<'_> {
    /// Levels from this combo downwards, itself included.
    fn depth_from(&self, combo: &str, path: &mut Vec<String>) -> Result<usize, String> {
        if path.iter().any(|seen| seen == combo) {
            return Err(format!("Combos go in a circle: {} -> {combo}", path.join(" -> ")));
        }
        let Some(data) = self.data_of(combo) else { return Err(format!("There is no combo `{combo}`")) };
        if path.len() > self.world.max_depth {
            return Ok(path.len());
        }
        path.push(combo.to_owned());
        let mut deepest = 0;
        for step in steps(data) {
            if let Some(Target::Combo(next)) = Target::of(step) {
                deepest = deepest.max(self.depth_from(next, path)?);
            }
        }
        path.pop();
        Ok(deepest + 1)
    }

    fn data_of(&self, combo: &str) -> Option<&Value> {
        if combo == self.name {
            return Some(self.data);
        }
        self.world.combos.iter().find(|row| row.name == combo).map(|row| &row.data)
    }
}

fn model_problem(provider: Option<&str>, model: &str, connection: Option<&str>, world: &World<'_>) -> Option<String> {
    let home = match provider {
        Some(provider) => match home(provider, world) {
            Some(home) => Some(home),
            None => return Some(format!("There is no provider `{provider}`")),
        },
        None => match model.split_once('/') {
            Some((_, "")) => return Some("The model is missing after the slash".to_owned()),
            Some((prefix, _)) if home(prefix, world).is_some() => home(prefix, world),
            _ => match bare(model) {
                Ok(home) => Some(home),
                Err(problem) => return Some(problem),
            },
        },
    };
    let pinned = connection?;
    let Some((_, belongs_to)) = world.connections.iter().find(|(id, _)| id == pinned) else {
        return Some(format!("There is no connection `{pinned}`"));
    };
    let home = home?;
    (*belongs_to != home).then(|| format!("Connection `{pinned}` belongs to `{belongs_to}`, not to `{home}`"))
}

/// The id of the provider that this id, alias or prefix stands for.
fn home(name: &str, world: &World<'_>) -> Option<String> {
    let node = world.nodes.iter().find(|node| node.id == name || node.prefix == name).map(|node| node.id.clone());
    let built_in = || Catalog::builtin().by_alias(name).map(|spec| spec.id.clone());
    let in_use = || world.connections.iter().any(|(_, provider)| provider == name).then(|| name.to_owned());
    node.or_else(built_in).or_else(in_use)
}

fn bare(model: &str) -> Result<String, String> {
    let known: Vec<_> = Catalog::builtin().knowing(model).map(|spec| spec.id.clone()).collect();
    match known.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(format!("No provider is known for `{model}`; write it as prefix/model")),
        several => {
            Err(format!("Several providers know `{model}`; write one of them before it: {}", several.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn combo(name: &str, models: Value) -> ComboRow {
        ComboRow {
            id: name.into(),
            name: name.into(),
            strategy: "priority".into(),
            is_active: true,
            sort_order: 1,
            data: json!({ "models": models }),
            created_at: 1,
            updated_at: 1,
        }
    }

    fn to(combo: &str) -> Value {
        json!({"kind": "combo-ref", "comboName": combo})
    }

    fn problems(name: &str, models: Value, combos: &[ComboRow]) -> Vec<String> {
        let connections = [("c1".to_owned(), "openai".to_owned()), ("demo-steady".to_owned(), "demo".to_owned())];
        let world = World { combos, nodes: &[], connections: &connections, max_depth: 3 };
        let found = check_combo(name, &json!({ "models": models }), &world).err().unwrap_or_default();
        found.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
    }

    #[test]
    fn a_combo_needs_a_target() {
        assert_eq!(problems("a", json!([]), &[]), ["models: Must name at least one model or combo"]);
    }

    #[test]
    fn targets_are_known_by_prefix_alias_listed_model_and_connection() {
        let models = json!([
            {"model": "openai/anything"}, {"model": "ds/deepseek-chat"}, {"model": "big-pickle"}, {"model": "demo/echo"},
            {"model": "gpt", "provider": "openai"}, {"model": "openai/gpt", "connectionId": "c1"},
        ]);

        assert_eq!(problems("a", models, &[]), Vec::<String>::new());
    }

    #[test]
    fn unknown_targets_are_named_with_their_place() {
        let models = json!([
            {"model": "nobody/gpt"}, {"model": "openai/gpt"}, to("ghost"), {"model": "openai/gpt", "connectionId": "c9"},
            {"model": "groq/x", "connectionId": "c1"}, {"model": "openai/"}, {"model": "kimi-k2.5"},
        ]);

        let found = problems("a", models, &[]);

        let places: Vec<_> = found.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(places, ["models.0", "models.2", "models.3", "models.4", "models.5", "models.6"]);
        assert!(found[5].contains("Several providers know"), "{found:?}");
    }

    #[test]
    fn a_circle_is_found_however_long() {
        let combos = [combo("b", json!([to("c")])), combo("c", json!([to("a")]))];

        let own = problems("a", json!([to("a")]), &combos);
        let long = problems("a", json!([{"model": "openai/x"}, to("b")]), &combos);

        assert!(own[0].contains("circle: a -> a"), "{own:?}");
        assert!(long[0].contains("circle: a -> b -> c -> a"), "{long:?}");
    }

    #[test]
    fn combos_may_nest_as_deep_as_configured() {
        let leaf = json!([{"model": "openai/x"}]);
        let combos = [combo("b", json!([to("c")])), combo("c", leaf.clone()), combo("z", json!([to("b")]))];

        assert_eq!(problems("a", json!([to("b")]), &combos), Vec::<String>::new());
        assert!(problems("a", json!([to("z")]), &combos)[0].contains("deeper than 3"));
    }
}
