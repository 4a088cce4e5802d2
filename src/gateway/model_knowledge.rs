//! What is known about models: the table that is compiled in, what providers say in their lists, what operators stored, what
//! a connection says itself. The nearer word counts, field by field.

use std::collections::HashMap;
use std::sync::Arc;

use omniroute_actors::ids::{ModelName, ProviderId};
use omniroute_actors::router::facts::{Knows, ModelFacts};
use omniroute_actors::router::glob::Glob;
use serde_json::{Map, Value};

use super::directory::Listed;
use super::learned_models::LearnedModels;
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
#[derive(Debug)]
pub struct Knowledge {
    /// What providers say.
    learned: Arc<LearnedModels>,
    /// Stored facts, the least exact pattern first, so that a more exact one is laid over it.
    stored: Vec<(Glob, FactsText)>,
    /// What operators and then connections say about a model of their provider.
    own: HashMap<String, HashMap<String, Vec<FactsText>>>,
}

impl Knowledge {
    /// From what is stored.
    pub fn of(listed: &[Arc<Listed>], routing: &RoutingRows) -> Self {
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
        let named = |entry: &Arc<Listed>| {
            let models = entry.row.provider_specific_data.get("models").and_then(Value::as_object);
            let provider = &entry.row.provider;
            let facts = models.into_iter().flatten().filter_map(|(model, data)| Some((model, read(data).ok()?)));
            facts.map(|(model, facts)| (provider.clone(), model.clone(), facts)).collect::<Vec<_>>()
        };
        let mut own: HashMap<String, HashMap<String, Vec<FactsText>>> = HashMap::new();
        let mut note = |provider: String, model: String, facts| {
            own.entry(provider).or_default().entry(model).or_default().push(facts);
        };
        for row in &routing.models {
            let said = row.data.as_object().map(|data| Value::Object(facts_of(data))).unwrap_or_default();
            if let Ok(facts) = read(&said) {
                note(row.provider.clone(), row.model.clone(), facts);
            }
        }
        for (provider, model, facts) in listed.iter().flat_map(named) {
            note(provider, model, facts);
        }
        Self { learned: Arc::clone(&routing.learned), stored, own }
    }

    /// What is known about this model at this provider.
    pub fn facts(&self, provider: &str, model: &str) -> Arc<ModelFacts> {
        let mut facts = ModelTable::builtin().facts(provider, model);
        self.learned.over(provider, model, &mut facts);
        let full = if self.stored.is_empty() { String::new() } else { format!("{provider}/{model}") };
        let stored = self.stored.iter().filter(|(glob, _)| glob.matches(model) || glob.matches(&full));
        let own = self.own.get(provider).and_then(|models| models.get(model)).into_iter().flatten();
        for said in stored.map(|(_, facts)| facts).chain(own) {
            if let Err((field, why)) = said.over(&mut facts) {
                tracing::warn!(provider, model, field, why, "a stored fact about a model does not fit");
            }
        }
        Arc::new(facts)
    }
}

impl Knows for Knowledge {
    fn facts(&self, provider: &ProviderId, model: &ModelName) -> Arc<ModelFacts> {
        Self::facts(self, provider.as_str(), model.as_str())
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
            row("*-x", json!({"context": 5_000, "tier": "pro"})),
            row("mine", json!({"tier": "pro"})),
            row("broken", json!({"contxt": 1})),
        ];
        let said = json!({"demo": {"at": 1, "models": {
            "mine": {"context": 3_000}, "theirs": {"context": 4_000, "maxOutput": 50},
        }}});
        let learned = Arc::new(LearnedModels::of(Some(&said)));
        let routing = RoutingRows { facts, learned, ..RoutingRows::default() };
        let mut listed = Listed {
            row: demo_row(crate::demo::connections()[0]),
            source: omniroute_actors::connection::config::Source::Database,
            problem: None,
        };
        listed.row.provider_specific_data = json!({"models": {"mine": {"maxOutput": 100}, "odd": 3}});
        let listed = [Arc::new(listed)];

        let knowledge = Knowledge::of(&listed, &routing);

        let mine = knowledge.facts("demo", "mine");
        assert_eq!((mine.context, mine.max_output), (Some(7_000), Some(100)));
        assert_eq!((mine.price.unwrap().output, mine.tier.unwrap().as_str()), (2_000_000_000, "pro"));
        let other = knowledge.facts("other", "mine-x");
        assert_eq!((other.context, other.max_output, other.price), (Some(5_000), None, None));
        let theirs = knowledge.facts("demo", "theirs");
        assert_eq!((theirs.context, theirs.max_output), (Some(4_000), Some(50)));
    }
}
