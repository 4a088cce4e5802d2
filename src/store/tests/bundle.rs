//! What a bundle holds, and what stays at home by name.

use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::json;

use super::bed::{beds, sqlite};
use crate::store::*;

const CARRIED: [&str; 10] = [
    "settings",
    "nodes",
    "connections",
    "combos",
    "model_aliases",
    "model_combo_mappings",
    "fallback_chains",
    "policies",
    "model_facts",
    "provider_models",
];
const AT_HOME: [&str; 19] = [
    "__diesel_schema_migrations",
    "meta",
    // Who may come in here.
    "api_keys",
    "sessions",
    "sync_tokens",
    // What is renewed here: a refresh token that two use ends for both.
    "oauth_tokens",
    "oauth_logins",
    // The past, and what follows from it.
    "audit",
    "audit_anchors",
    "usage_records",
    "responses",
    "response_items",
    "eval_suites",
    "eval_runs",
    "model_assessments",
    "connection_state",
    "combo_states",
    "synced_models",
    "revisions",
];

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
}

#[test]
fn every_table_is_carried_or_stays_at_home_by_name() {
    let query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";

    let tables: Vec<Table> = diesel::sql_query(query).load(&mut sqlite().raw()).unwrap();

    let placed = |table: &&Table| CARRIED.contains(&table.name.as_str()) != AT_HOME.contains(&table.name.as_str());
    let astray: Vec<_> = tables.iter().filter(|table| !placed(table)).map(|table| &table.name).collect();
    assert!(astray.is_empty() && tables.len() == CARRIED.len() + AT_HOME.len(), "{astray:?}, {}", tables.len());
}

#[actix_rt::test]
async fn a_setting_that_nobody_placed_is_not_written() {
    let bed = sqlite();

    let written = bed.store.settings().put("somethingNew", json!(1), None, 1).await;

    assert!(written.unwrap_err().to_string().contains("somethingNew"));
    assert_eq!(bed.store.settings().all().await.unwrap(), []);
}

fn model(model: &str, name: &str) -> ProviderModelRow {
    ProviderModelRow {
        provider: "openai".into(),
        model: model.into(),
        data: json!({"name": name}),
        created_at: 1,
        updated_at: 1,
    }
}

#[actix_rt::test]
async fn models_of_operators_are_added_changed_and_removed() {
    for bed in beds() {
        bed.store
            .provider_models()
            .put(vec![model("stays", "s"), model("changes", "old"), model("goes", "g")])
            .await
            .unwrap();
        let configuration = Configuration {
            provider_models: vec![model("stays", "s"), model("changes", "new"), model("comes", "c")],
            ..Configuration::default()
        };
        let applied = |dry| {
            let (configuration, credentials) = (configuration.clone(), std::collections::HashMap::new());
            Applied { configuration, credentials, replace: true, dry, at: 5 }
        };

        let told = bed.store.bundles().apply(applied(true)).await.unwrap();
        let untouched = bed.store.provider_models().list().await.unwrap();
        let done = bed.store.bundles().apply(applied(false)).await.unwrap();

        let change = &done.kinds["providerModels"];
        assert_eq!(
            (&change.added[..], &change.removed[..]),
            (&["openai/comes".into()][..], &["openai/goes".into()][..])
        );
        assert_eq!((&change.changed[..], change.unchanged), (&["openai/changes".into()][..], 1));
        assert_eq!((told, untouched.len()), (done.clone(), 3));
        let rows = bed.store.provider_models().list().await.unwrap();
        let kept: Vec<_> = rows.iter().map(|row| (row.model.as_str(), row.data["name"].clone())).collect();
        assert_eq!(kept, [("changes", json!("new")), ("comes", json!("c")), ("stays", json!("s"))]);
    }
}
