//! Whether a combo can be: every target known, no circle, not empty, not too deep. Pure: the world is an argument.

use std::collections::HashMap;

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

/// Whether a combo of this name with this data can be: every target known, no circle, not empty, not too deep. Combos
/// that lead to it must still fit in, too.
///
/// # Errors
/// Each field that is wrong and why.
pub fn check_combo(name: &str, data: &Value, world: &World<'_>) -> Result<(), Vec<(String, String)>> {
    let steps = steps(data);
    if steps.is_empty() {
        return Err(vec![("models".into(), "Must name at least one model or combo".into())]);
    }
    let mut walk = Walk { name, data, world, depths: HashMap::new() };
    let allowed = texts(data.get("allowedProviders"));
    let mut found = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let problem = match Target::of(step) {
            None => Some("Is neither a model nor a combo".to_owned()),
            Some(Target::Combo(other)) => walk.nested_problem(other),
            Some(Target::Model { provider, model, connection }) => {
                model_problem(provider, model, connection, world).or_else(|| barred(provider, model, &allowed, world))
            }
        };
        found.extend(problem.map(|problem| (format!("models.{index}"), problem)));
    }
    if found.is_empty() {
        found.extend(walk.too_deep_above().map(|problem| ("models".to_owned(), problem)));
    }
    found.extend(missing_tier_steps(data));
    if found.is_empty() { Ok(()) } else { Err(found) }
}

pub(super) fn steps(data: &Value) -> &[Value] {
    data.get("models").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// How deep a combo may nest: as deep as it says itself, and no deeper than configured for all.
fn limit(data: &Value, world: &World<'_>) -> usize {
    let own = data.pointer("/config/maxComboDepth").and_then(Value::as_u64);
    own.and_then(|own| usize::try_from(own).ok()).map_or(world.max_depth, |own| own.min(world.max_depth))
}

/// A model of a provider that the combo itself does not allow would never be asked.
fn barred(provider: Option<&str>, model: &str, allowed: &[&str], world: &World<'_>) -> Option<String> {
    let home = home_of(provider, model, world).ok()?;
    let fits = |name: &&str| *name == home || self::home(name, world).as_deref() == Some(home.as_str());
    (!allowed.is_empty() && !allowed.iter().any(fits)).then(|| format!("`{home}` is not among the allowedProviders"))
}

/// Tiers name steps by their ids.
fn missing_tier_steps(data: &Value) -> Vec<(String, String)> {
    let known: Vec<&str> = steps(data).iter().filter_map(|step| step.get("id")?.as_str()).collect();
    let tiers = data.pointer("/config/compositeTiers/tiers").and_then(Value::as_object).into_iter().flatten();
    let missing = |(tier, of): (&String, &Value)| {
        let step = of.get("stepId").and_then(Value::as_str)?;
        let field = format!("config.compositeTiers.tiers.{tier}.stepId");
        (!known.contains(&step)).then(|| (field, format!("There is no step `{step}`")))
    };
    tiers.filter_map(missing).collect()
}

/// The combos as they would be with the checked one in place.
struct Walk<'a> {
    name: &'a str,
    data: &'a Value,
    world: &'a World<'a>,
    /// Levels of the combos that were walked to their end: without this, combos that lead to one another in many ways
    /// would be walked in as many ways.
    depths: HashMap<&'a str, usize>,
}

impl<'a> Walk<'a> {
    fn nested_problem(&mut self, other: &'a str) -> Option<String> {
        let most = limit(self.data, self.world);
        match self.depth_from(other, &mut vec![self.name]) {
            Ok(depth) if depth + 1 > most => Some(format!("Combos nest deeper than {most} levels here")),
            Ok(_) => None,
            Err(problem) => Some(problem),
        }
    }

    /// A combo further up may become too deep by what is added down here.
    fn too_deep_above(&mut self) -> Option<String> {
        let (world, own) = (self.world, self.name);
        world.combos.iter().filter(|row| row.name != own).find_map(|row| {
            let before = Walk { name: "", data: &Value::Null, world, depths: HashMap::new() }
                .depth_from(&row.name, &mut Vec::new());
            let after = self.depth_from(&row.name, &mut Vec::new()).ok()?;
            let most = limit(&row.data, world);
            // What is broken already is not this change's doing.
            let worse = before.is_ok_and(|before| before < after) && after > most;
            worse.then(|| format!("The combo `{}`, which leads here, would nest deeper than {most} levels", row.name))
        })
    }

    /// Levels from this combo downwards, itself included.
    fn depth_from(&mut self, combo: &'a str, path: &mut Vec<&'a str>) -> Result<usize, String> {
        if path.contains(&combo) {
            return Err(format!("Combos go in a circle: {} -> {combo}", path.join(" -> ")));
        }
        if let Some(depth) = self.depths.get(combo) {
            return Ok(*depth);
        }
        let Some(data) = self.data_of(combo) else { return Err(format!("There is no combo `{combo}`")) };
        path.push(combo);
        let mut deepest = 0;
        for step in steps(data) {
            if let Some(Target::Combo(next)) = Target::of(step) {
                deepest = deepest.max(self.depth_from(next, path)?);
            }
        }
        path.pop();
        self.depths.insert(combo, deepest + 1);
        Ok(deepest + 1)
    }

    fn data_of(&self, combo: &str) -> Option<&'a Value> {
        if combo == self.name {
            return Some(self.data);
        }
        self.world.combos.iter().find(|row| row.name == combo).map(|row| &row.data)
    }
}

fn model_problem(provider: Option<&str>, model: &str, connection: Option<&str>, world: &World<'_>) -> Option<String> {
    let home = match home_of(provider, model, world) {
        Ok(home) => home,
        Err(problem) => return Some(problem),
    };
    let pinned = connection?;
    let Some((_, belongs_to)) = world.connections.iter().find(|(id, _)| id == pinned) else {
        return Some(format!("There is no connection `{pinned}`"));
    };
    (*belongs_to != home).then(|| format!("Connection `{pinned}` belongs to `{belongs_to}`, not to `{home}`"))
}

/// The provider that a step's model is asked of.
pub(super) fn home_of(provider: Option<&str>, model: &str, world: &World<'_>) -> Result<String, String> {
    if let Some(provider) = provider {
        return home(provider, world).ok_or_else(|| format!("There is no provider `{provider}`"));
    }
    match model.split_once('/') {
        Some((_, "")) => Err("The model is missing after the slash".to_owned()),
        Some((prefix, _)) => home(prefix, world).map_or_else(|| bare(model), Ok),
        None => bare(model),
    }
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
    fn what_is_added_below_must_fit_into_what_is_above() {
        let leaf = json!([{"model": "openai/x"}]);
        let combos =
            [combo("top", json!([to("b")])), combo("b", json!([to("c")])), combo("c", leaf.clone()), combo("d", leaf)];

        let found = problems("c", json!([to("d")]), &combos);

        assert_eq!(found, ["models: The combo `top`, which leads here, would nest deeper than 3 levels"]);
    }

    #[test]
    fn many_ways_to_the_same_combo_are_walked_once() {
        let step = |next: &str| Value::Array((0..200).map(|_| to(next)).collect());
        let mut combos: Vec<_> =
            (0..8).map(|level| combo(&format!("l{level}"), step(&format!("l{}", level + 1)))).collect();
        combos.push(combo("l8", json!([{"model": "openai/x"}])));

        assert!(problems("a", step("l0"), &combos)[0].contains("deeper than 3"));
    }

    #[test]
    fn a_combo_may_be_stricter_about_its_depth_than_the_gateway() {
        let combos = [combo("b", json!([{"model": "openai/x"}]))];
        let world = World { combos: &combos, nodes: &[], connections: &[], max_depth: 3 };
        let data = |depth: u32| json!({"models": [to("b")], "config": {"maxComboDepth": depth}});

        assert!(check_combo("a", &data(2), &world).is_ok());
        assert!(check_combo("a", &data(1), &world).unwrap_err()[0].1.contains("deeper than 1"));
        assert!(check_combo("a", &data(10), &world).is_ok());
    }

    #[test]
    fn a_model_of_a_provider_that_is_not_allowed_is_refused_by_id_and_by_alias() {
        let world = World { combos: &[], nodes: &[], connections: &[], max_depth: 3 };
        let data = |allowed: Value| json!({"models": [{"model": "ds/deepseek-chat"}], "allowedProviders": allowed});

        assert!(check_combo("a", &data(json!([])), &world).is_ok());
        assert!(check_combo("a", &data(json!(["deepseek"])), &world).is_ok());
        assert!(check_combo("a", &data(json!(["ds"])), &world).is_ok());
        let refused = check_combo("a", &data(json!(["openai"])), &world).unwrap_err();
        assert_eq!(refused, [("models.0".to_owned(), "`deepseek` is not among the allowedProviders".to_owned())]);
    }

    #[test]
    fn tiers_name_steps_that_are_there() {
        let world = World { combos: &[], nodes: &[], connections: &[], max_depth: 3 };
        let tiers = json!({"defaultTier": "t", "tiers": {"t": {"stepId": "s1"}, "u": {"stepId": "ghost"}}});
        let data = json!({"models": [{"model": "openai/x", "id": "s1"}], "config": {"compositeTiers": tiers}});

        let refused = check_combo("a", &data, &world).unwrap_err();

        assert_eq!(refused[0].0, "config.compositeTiers.tiers.u.stepId");
    }

    #[test]
    fn combos_may_nest_as_deep_as_configured() {
        let leaf = json!([{"model": "openai/x"}]);
        let combos = [combo("b", json!([to("c")])), combo("c", leaf.clone()), combo("z", json!([to("b")]))];

        assert_eq!(problems("a", json!([to("b")]), &combos), Vec::<String>::new());
        assert!(problems("a", json!([to("z")]), &combos)[0].contains("deeper than 3"));
    }
}
