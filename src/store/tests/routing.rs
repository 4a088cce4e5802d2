//! What routing knows beside connections and combos: each noun keeps what it is given.

use serde_json::json;

use super::bed::beds;
use super::nouns::combo;
use crate::store::*;

pub fn mapping(id: &str, priority: i32, created_at: i64) -> MappingRow {
    MappingRow {
        id: id.into(),
        pattern: "gpt-4*".into(),
        combo_id: "team".into(),
        priority,
        enabled: true,
        description: "the old ones".into(),
        created_at,
        updated_at: 9,
    }
}

pub fn policy(id: &str, priority: i32) -> PolicyRow {
    PolicyRow {
        id: id.into(),
        name: format!("policy {id}"),
        enabled: true,
        priority,
        effect: "deny".into(),
        data: json!({"when": {"keys": ["k"]}, "what": {"regions": ["us"]}}),
        created_at: 1,
        updated_at: 2,
    }
}

fn alias(alias: &str, target: &str, at: i64) -> ModelAliasRow {
    ModelAliasRow { alias: alias.into(), target: target.into(), created_at: at, updated_at: at }
}

fn chain(model: &str, providers: &[&str], at: i64) -> FallbackChainRow {
    FallbackChainRow { model: model.into(), chain: json!(providers), created_at: at, updated_at: at }
}

fn facts(pattern: &str, context: u32) -> ModelFactsRow {
    ModelFactsRow { pattern: pattern.into(), data: json!({"context": context}), updated_at: 1 }
}

fn combo_state(combo: &str, cursor: u64) -> ComboStateRow {
    ComboStateRow { combo: combo.into(), data: json!({"cursor": cursor}).to_string(), updated_at: 1 }
}

#[tokio::test]
async fn an_alias_written_again_means_something_else_and_keeps_its_birthday() {
    for bed in beds() {
        let aliases = bed.store.model_aliases();
        aliases.put(&alias("fast", "openai/a", 1)).await.unwrap();
        aliases.put(&alias("claude-*", "anthropic/b", 2)).await.unwrap();

        aliases.put(&alias("fast", "groq/c", 3)).await.unwrap();

        let changed = ModelAliasRow { created_at: 1, ..alias("fast", "groq/c", 3) };
        assert_eq!(aliases.list().await.unwrap(), [alias("claude-*", "anthropic/b", 2), changed]);
        aliases.delete("fast").await.unwrap();
        assert!(matches!(aliases.delete("fast").await, Err(StoreError::NotFound)));
    }
}

#[tokio::test]
async fn mappings_are_listed_by_priority_and_then_by_age() {
    for bed in beds() {
        let mappings = bed.store.mappings();
        for row in [mapping("young", 0, 5), mapping("first", 7, 9), mapping("old", 0, 1)] {
            mappings.insert(&row).await.unwrap();
        }
        let changed = MappingRow { enabled: false, description: String::new(), ..mapping("young", 0, 5) };

        mappings.update(&changed).await.unwrap();

        let ids: Vec<_> = mappings.list().await.unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(ids, ["first", "old", "young"]);
        assert_eq!(mappings.get("young").await.unwrap(), changed);
    }
}

#[tokio::test]
async fn a_combo_takes_its_mappings_and_its_memory_along() {
    for bed in beds() {
        let store = &bed.store;
        store.combos().insert(&combo("1", "team", 1)).await.unwrap();
        for row in [MappingRow { combo_id: "1".into(), ..mapping("a", 0, 1) }, mapping("b", 0, 2)] {
            store.mappings().insert(&row).await.unwrap();
        }
        store.combo_states().save_many(&[combo_state("team", 3), combo_state("other", 4)]).await.unwrap();

        let gone = store.combos().delete("1").await.unwrap();

        assert_eq!(gone, 1);
        assert_eq!(store.mappings().list().await.unwrap(), [mapping("b", 0, 2)]);
        assert_eq!(store.combo_states().load_all().await.unwrap(), [combo_state("other", 4)]);
    }
}

#[tokio::test]
async fn combos_get_their_places_all_or_none() {
    for bed in beds() {
        let combos = bed.store.combos();
        for (id, place) in [("1", 1), ("2", 2)] {
            combos.insert(&combo(id, &format!("combo {id}"), place)).await.unwrap();
        }

        combos.reorder(vec![("2".into(), 1), ("1".into(), 2)], 50).await.unwrap();
        let refused = combos.reorder(vec![("1".into(), 0), ("ghost".into(), 3)], 60).await;

        let listed = combos.list().await.unwrap();
        let found: Vec<_> = listed.iter().map(|row| (row.id.as_str(), row.sort_order, row.updated_at)).collect();
        assert_eq!(found, [("2", 1, 50), ("1", 2, 50)]);
        assert!(matches!(refused, Err(StoreError::NotFound)));
    }
}

#[tokio::test]
async fn a_chain_written_again_is_replaced() {
    for bed in beds() {
        let chains = bed.store.fallback_chains();
        chains.put(&chain("gpt-4o", &["openai"], 1)).await.unwrap();
        chains.put(&chain("gpt-4o", &["groq", "openai"], 2)).await.unwrap();

        let expected = FallbackChainRow { created_at: 1, ..chain("gpt-4o", &["groq", "openai"], 2) };
        assert_eq!(chains.list().await.unwrap(), [expected]);
        chains.delete("gpt-4o").await.unwrap();
        assert_eq!(chains.list().await.unwrap(), []);
    }
}

#[tokio::test]
async fn policies_are_listed_in_their_order_and_a_taken_name_is_named() {
    for bed in beds() {
        let policies = bed.store.policies();
        policies.insert(&policy("late", 9)).await.unwrap();
        policies.insert(&policy("early", 1)).await.unwrap();

        let taken = policies.insert(&PolicyRow { name: "policy late".into(), ..policy("x", 1) }).await.unwrap_err();
        let wrong = policies.insert(&PolicyRow { effect: "maybe".into(), ..policy("y", 1) }).await.unwrap_err();
        policies.update(&PolicyRow { enabled: false, ..policy("late", 0) }).await.unwrap();

        assert!(matches!(taken, StoreError::Conflict(what) if what == "policies.name"));
        assert!(matches!(wrong, StoreError::Invalid(_)));
        let expected = [PolicyRow { enabled: false, ..policy("late", 0) }, policy("early", 1)];
        assert_eq!(policies.list().await.unwrap(), expected);
        assert_eq!(policies.get("early").await.unwrap(), policy("early", 1));
        policies.delete("late").await.unwrap();
    }
}

#[tokio::test]
async fn what_combos_remember_is_replaced() {
    for bed in beds() {
        let states = bed.store.combo_states();
        states.save_many(&[combo_state("b", 1), combo_state("a", 2)]).await.unwrap();

        states.save_many(&[combo_state("b", 8)]).await.unwrap();

        assert_eq!(states.load_all().await.unwrap(), [combo_state("a", 2), combo_state("b", 8)]);
    }
}

#[tokio::test]
async fn facts_of_a_pattern_are_replaced() {
    for bed in beds() {
        let table = bed.store.model_facts();
        table.put(&facts("my-*", 1_000)).await.unwrap();
        table.put(&facts("my-*", 2_000)).await.unwrap();

        assert_eq!(table.list().await.unwrap(), [facts("my-*", 2_000)]);
        table.delete("my-*").await.unwrap();
        assert_eq!(table.list().await.unwrap(), []);
    }
}
