//! What is known about models: the table that is compiled in, what operators stored, what a connection says itself. The
//! nearer word counts, field by field.

use std::collections::HashMap;
use std::sync::Arc;

use omniroute_actors::router::facts::ModelFacts;
use omniroute_actors::router::glob::Glob;
use serde_json::{Map, Value};

use super::directory::Listed;
use super::routing_rows::RoutingRows;
use crate::providers::ModelTable;
use crate::providers::model_table::FactsText;

/// The facts that an operator can state of a model, as they are stored.
pub const FACT_NAMES: [&str; 6] = ["context", "maxOutput", "can", "price", "categories", "tier"];

/// What is stored of a model's facts among the rest that is stored of it.
pub fn facts_of(data: &Map<String, Value>) -> Map<String, Value> {
    FACT_NAMES.into_iter().filter_map(|name| Some((name.to_owned(), data.get(name)?.clone()))).collect()
}

/// Everything that is known.
pub struct Knowledge<'a> {
    /// Stored facts, the least exact pattern first, so that a more exact one is laid over it.
    stored: Vec<(Glob, FactsText)>,
    /// What operators and then connections say about a model of their provider.
    own: HashMap<(&'a str, &'a str), Vec<FactsText>>,
}

impl<'a> Knowledge<'a> {
    /// From what is stored.
    pub fn of(listed: &'a [Listed], routing: &'a RoutingRows) -> Self {
        let read = |data: &Value| serde_json::from_value::<FactsText>(data.clone());
        let mut stored: Vec<_> = routing
            .facts
            .iter()
            .filter_map(|row| match read(&row.data) {
                Ok(facts) => Some((Glob::new(&row.pattern), facts)),
                Err(error) => {
                    tracing::warn!(pattern = row.pattern, %error, "stored facts about models do not fit");
                    None
                }
            })
            .collect();
        stored.sort_by_key(|(glob, _)| glob.specificity());
        let named = |entry: &'a Listed| {
            let models = entry.row.provider_specific_data.get("models").and_then(Value::as_object);
            let provider = entry.row.provider.as_str();
            models.into_iter().flatten().map(move |(model, data)| (provider, model.as_str(), data))
        };
        let mut own: HashMap<_, Vec<FactsText>> = HashMap::new();
        for row in &routing.models {
            let said = row.data.as_object().map(|data| Value::Object(facts_of(data))).unwrap_or_default();
            if let Ok(facts) = serde_json::from_value(said) {
                own.entry((row.provider.as_str(), row.model.as_str())).or_default().push(facts);
            }
        }
        for (provider, model, data) in listed.iter().flat_map(named) {
            if let Ok(facts) = serde_json::from_value(data.clone()) {
                own.entry((provider, model)).or_default().push(facts);
            }
        }
        Self { stored, own }
    }

    /// What is known about this model at this provider.
    pub fn facts(&self, provider: &str, model: &str) -> Arc<ModelFacts> {
        let mut facts = ModelTable::builtin().facts(provider, model);
        let full = if self.stored.is_empty() { String::new() } else { format!("{provider}/{model}") };
        let stored = self.stored.iter().filter(|(glob, _)| glob.matches(model) || glob.matches(&full));
        let own = self.own.get(&(provider, model)).into_iter().flatten();
        for said in stored.map(|(_, facts)| facts).chain(own) {
            if let Err((field, why)) = said.over(&mut facts) {
                tracing::warn!(provider, model, field, why, "a stored fact about a model does not fit");
            }
        }
        Arc::new(facts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gateway::assemble::demo_row;
    use crate::store::ModelFactsRow;

    #[test]
    fn the_nearer_word_counts_field_by_field() {
        let row = |pattern: &str, data| ModelFactsRow { pattern: pattern.into(), data, updated_at: 1 };
        let facts = vec![
            row("demo/mine*", json!({"context": 7_000, "price": {"input": "1", "output": "2"}})),
            row("*", json!({"context": 5_000, "tier": "pro"})),
            row("broken", json!({"contxt": 1})),
        ];
        let routing = RoutingRows { facts, ..RoutingRows::default() };
        let mut listed = Listed {
            row: demo_row(crate::demo::connections()[0]),
            source: omniroute_actors::connection::config::Source::Database,
            problem: None,
        };
        listed.row.provider_specific_data = json!({"models": {"mine": {"maxOutput": 100}, "odd": 3}});
        let listed = [listed];

        let knowledge = Knowledge::of(&listed, &routing);

        let mine = knowledge.facts("demo", "mine");
        assert_eq!((mine.context, mine.max_output), (Some(7_000), Some(100)));
        assert_eq!((mine.price.unwrap().output, mine.tier.unwrap().as_str()), (2_000_000_000, "pro"));
        let other = knowledge.facts("other", "mine");
        assert_eq!((other.context, other.max_output, other.price), (Some(5_000), None, None));
    }
}
