//! Each noun keeps what it is given.

use secrecy::ExposeSecret;
use serde_json::json;

use super::bed::beds;
use super::routing::{mapping, policy};
use crate::store::*;

pub fn connection(id: &str) -> ConnectionRow {
    ConnectionRow {
        id: id.into(),
        provider: "openai".into(),
        name: format!("account {id}"),
        auth_type: "apikey".into(),
        credential: Some(format!("sk-canary-{id}").into()),
        credential_unreadable: false,
        priority: 1,
        global_priority: Some(3),
        is_active: true,
        default_model: Some("gpt".into()),
        max_concurrent: Some(4),
        rate_limit_protection: true,
        group_name: Some("team".into()),
        provider_specific_data: json!({"region": "eu", "nested": {"list": [1, "ä"]}}),
        test_status: "active".into(),
        last_tested: Some(5),
        last_error: Some("text".into()),
        last_error_type: Some("auth".into()),
        last_error_source: Some("upstream".into()),
        last_error_at: Some(6),
        error_code: Some("401".into()),
        created_at: 7,
        updated_at: 8,
    }
}

pub fn node(id: &str, prefix: &str) -> NodeRow {
    NodeRow {
        id: id.into(),
        kind: "openai-compatible".into(),
        name: format!("node {id}"),
        prefix: prefix.into(),
        api_type: Some("chat".into()),
        base_url: "https://llm.example/v1".into(),
        chat_path: None,
        models_path: Some("/models".into()),
        created_at: 1,
        updated_at: 2,
    }
}

pub fn combo(id: &str, name: &str, sort_order: i32) -> ComboRow {
    ComboRow {
        id: id.into(),
        name: name.into(),
        strategy: "priority".into(),
        is_active: true,
        sort_order,
        data: json!({"models": ["a/b"]}),
        created_at: 1,
        updated_at: 2,
    }
}

pub fn api_key(id: &str, secret_hash: &str) -> ApiKeyRow {
    ApiKeyRow {
        id: id.into(),
        name: "laptop".into(),
        secret_hash: secret_hash.into(),
        prefix: "omr_abcd".into(),
        last4: "wxyz".into(),
        scopes: json!(["chat"]),
        allowed_models: json!([]),
        allowed_connections: json!([]),
        is_active: true,
        expires_at: None,
        max_requests_per_minute: Some(60),
        max_requests_per_day: None,
        max_sessions: None,
        no_log: false,
        extra: json!({}),
        created_at: 1,
        last_used_at: None,
        revoked_at: None,
    }
}

pub fn usage(id: &str, at: i64) -> UsageRow {
    UsageRow {
        request_id: id.into(),
        at,
        key_id: Some("k".into()),
        connection_id: Some("c".into()),
        provider: Some("openai".into()),
        model: Some("gpt".into()),
        requested_model: "auto".into(),
        combo: None,
        status: 200,
        outcome: "completed".into(),
        streamed: true,
        prompt_tokens: 1 << 40,
        completion_tokens: 2,
        cached_tokens: 3,
        reasoning_tokens: 4,
        estimated: false,
        ttft_ms: None,
        total_ms: 9,
        attempts: "[]".into(),
    }
}

fn state(id: &str, breaker: &str) -> ConnectionStateRow {
    ConnectionStateRow {
        connection_id: id.into(),
        breaker: breaker.into(),
        open_until: Some(10),
        open_cycles: 2,
        cooldown_until: None,
        cooldown_reason: Some("rate limit".into()),
        backoff_level: 3,
        terminal: None,
        since: 4,
        reason: Some("five failures".into()),
        last_error: Some("{}".into()),
        learned: Some("[]".into()),
        lockouts: "[]".into(),
        generation: 9,
        updated_at: 5,
    }
}

fn session(id: &str, expires_at: i64) -> SessionRow {
    SessionRow {
        role_values: None,
        refresh_token: None,
        token_until: None,
        confirmed_at: None,
        checked_at: None,
        id_hash: id.into(),
        created_at: 1,
        last_seen: 1,
        expires_at,
        client_ip: Some("192.0.2.1".into()),
        user_agent: None,
        subject: "admin".into(),
        role: "admin".into(),
    }
}

fn assert_same(left: &ConnectionRow, right: &ConnectionRow) {
    let secret = |row: &ConnectionRow| row.credential.as_ref().map(|plain| plain.expose_secret().to_owned());
    assert_eq!(secret(left), secret(right));
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}

#[tokio::test]
async fn a_connection_comes_back_as_it_was_stored() {
    for bed in beds() {
        let connections = bed.store.connections();
        connections.insert(&connection("a")).await.unwrap();

        assert_same(&connections.get("a").await.unwrap(), &connection("a"));
    }
}

#[tokio::test]
async fn an_update_replaces_every_field_even_with_nothing() {
    for bed in beds() {
        let connections = bed.store.connections();
        connections.insert(&connection("a")).await.unwrap();
        let changed = ConnectionRow {
            credential: None,
            global_priority: None,
            last_error: None,
            group_name: None,
            is_active: false,
            name: "renamed".into(),
            ..connection("a")
        };

        connections.update(&changed).await.unwrap();

        assert_same(&connections.get("a").await.unwrap(), &changed);
    }
}

#[tokio::test]
async fn connections_are_listed_by_provider_priority_and_name() {
    for bed in beds() {
        let connections = bed.store.connections();
        for (id, provider, priority) in [("1", "b", 1), ("2", "a", 2), ("3", "a", 1)] {
            let row = ConnectionRow { provider: provider.into(), priority, ..connection(id) };
            connections.insert(&row).await.unwrap();
        }

        let ids: Vec<String> = connections.list().await.unwrap().into_iter().map(|row| row.id).collect();

        assert_eq!(ids, ["3", "2", "1"]);
    }
}

#[tokio::test]
async fn a_deleted_connection_takes_its_remembered_state_along() {
    for bed in beds() {
        bed.store.connections().insert(&connection("a")).await.unwrap();
        bed.store.connection_states().save_many(&[state("a", "open"), state("b", "open")]).await.unwrap();

        bed.store.connections().delete("a").await.unwrap();

        assert!(matches!(bed.store.connections().get("a").await, Err(StoreError::NotFound)));
        assert_eq!(bed.store.connection_states().load_all().await.unwrap(), [state("b", "open")]);
    }
}

#[tokio::test]
async fn saving_a_state_again_replaces_it_also_with_nothing() {
    for bed in beds() {
        let states = bed.store.connection_states();
        states.save_many(&[state("a", "open"), state("b", "closed")]).await.unwrap();
        let healed = ConnectionStateRow { open_until: None, reason: None, generation: 10, ..state("a", "closed") };

        states.save_many(std::slice::from_ref(&healed)).await.unwrap();

        assert_eq!(states.load_all().await.unwrap(), [healed, state("b", "closed")]);
    }
}

#[tokio::test]
async fn states_are_saved_all_or_none() {
    for bed in beds() {
        let states = bed.store.connection_states();

        let refused = states.save_many(&[state("a", "open"), state("b", "no such state")]).await;

        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
        assert_eq!(states.load_all().await.unwrap(), []);
        states.delete("a").await.unwrap();
    }
}

#[tokio::test]
async fn a_node_lives_and_a_taken_prefix_is_named() {
    for bed in beds() {
        let nodes = bed.store.nodes();
        nodes.insert(&node("a", "one")).await.unwrap();

        let taken = nodes.insert(&node("b", "one")).await.unwrap_err();
        let same = nodes.insert(&node("a", "two")).await.unwrap_err();
        nodes.update(&NodeRow { models_path: None, ..node("a", "two") }).await.unwrap();

        assert!(matches!(taken, StoreError::Conflict(what) if what == "nodes.prefix"));
        assert!(matches!(same, StoreError::Conflict(what) if what == "nodes.id"));
        assert_eq!(nodes.list().await.unwrap(), [NodeRow { models_path: None, ..node("a", "two") }]);
        assert_eq!(nodes.get("a").await.unwrap().prefix, "two");
        nodes.delete("a").await.unwrap();
        assert!(matches!(nodes.get("a").await, Err(StoreError::NotFound)));
    }
}

#[tokio::test]
async fn combos_are_listed_in_the_operators_order_then_by_name() {
    for bed in beds() {
        let combos = bed.store.combos();
        for row in [combo("1", "b", 2), combo("2", "c", 1), combo("3", "a", 2)] {
            combos.insert(&row).await.unwrap();
        }

        let names: Vec<String> = combos.list().await.unwrap().into_iter().map(|row| row.name).collect();
        let taken = combos.update(&combo("1", "a", 2)).await.unwrap_err();

        assert_eq!(names, ["c", "a", "b"]);
        assert!(matches!(taken, StoreError::Conflict(what) if what == "combos.name"));
        assert_eq!(combos.get("1").await.unwrap(), combo("1", "b", 2));
        combos.delete("1").await.unwrap();
        assert_eq!(combos.list().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    for bed in beds() {
        let store = &bed.store;
        let answers = [
            store.connections().update(&connection("x")).await,
            store.connections().delete("x").await,
            store.nodes().update(&node("x", "x")).await,
            store.nodes().delete("x").await,
            store.combos().update(&combo("x", "x", 1)).await,
            store.combos().delete("x").await.map(drop),
            store.combos().reorder(vec![("x".into(), 1)], 1).await,
            store.model_aliases().delete("x").await,
            store.mappings().update(&mapping("x", 1, 1)).await,
            store.mappings().delete("x").await,
            store.fallback_chains().delete("x").await,
            store.policies().update(&policy("x", 1)).await,
            store.policies().delete("x").await,
            store.model_facts().delete("x").await,
            store.api_keys().update(&api_key("x", "x")).await,
            store.api_keys().delete("x").await,
            store.sessions().touch("x", 1, 2).await,
            store.usage().get("x").await.map(drop),
        ];

        assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::NotFound))), "{answers:?}");
    }
}

#[tokio::test]
async fn a_key_is_found_by_its_hash_only() {
    for bed in beds() {
        let keys = bed.store.api_keys();
        keys.insert(&api_key("a", "hash-a")).await.unwrap();

        assert_eq!(keys.find_by_hash("hash-a").await.unwrap(), Some(api_key("a", "hash-a")));
        assert_eq!(keys.find_by_hash("hash-b").await.unwrap(), None);
        assert_eq!(keys.list().await.unwrap(), [api_key("a", "hash-a")]);
        let taken = keys.insert(&api_key("b", "hash-a")).await.unwrap_err();
        assert!(matches!(taken, StoreError::Conflict(what) if what == "api_keys.secret_hash"));
    }
}

#[tokio::test]
async fn the_time_of_last_use_never_goes_back() {
    for bed in beds() {
        let keys = bed.store.api_keys();
        keys.insert(&api_key("a", "h")).await.unwrap();

        keys.touch_last_used(&[("a".into(), 50), ("gone".into(), 1)]).await.unwrap();
        keys.touch_last_used(&[("a".into(), 40)]).await.unwrap();
        keys.update(&ApiKeyRow { name: "saved with an old snapshot".into(), ..api_key("a", "h") }).await.unwrap();

        let row = keys.get("a").await.unwrap();
        assert_eq!((row.last_used_at, row.name.as_str()), (Some(50), "saved with an old snapshot"));
    }
}

#[tokio::test]
async fn a_key_row_never_shows_its_hash_in_an_answer() {
    let shown = serde_json::to_string(&api_key("a", "canary-hash")).unwrap();

    assert!(!shown.contains("canary-hash"));
    assert!(shown.contains("maxRequestsPerMinute"));
}

#[tokio::test]
async fn sessions_are_touched_expired_and_ended() {
    for bed in beds() {
        let sessions = bed.store.sessions();
        for row in [session("a", 10), session("b", 20), session("c", 30)] {
            sessions.insert(&row).await.unwrap();
        }

        sessions.touch("a", 5, 25).await.unwrap();

        assert_eq!(sessions.delete_expired(20).await.unwrap(), 1);
        assert_eq!(sessions.find("b").await.unwrap(), None);
        assert_eq!(sessions.find("a").await.unwrap(), Some(SessionRow { last_seen: 5, ..session("a", 25) }));
        sessions.delete("a").await.unwrap();
        sessions.delete("a").await.unwrap();
        assert_eq!(sessions.delete_all().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_setting_written_in_between_is_a_conflict() {
    for bed in beds() {
        let settings = bed.store.settings();
        let first = settings.put("general", json!({"theme": "dark"}), Some(0), 1).await.unwrap();
        settings.put("general", json!({"theme": "light"}), Some(first.version), 2).await.unwrap();

        let stale = settings.put("general", json!({}), Some(first.version), 3).await;
        let again = settings.put("general", json!({}), Some(0), 3).await;
        let forced = settings.put("general", json!(null), None, 4).await.unwrap();

        assert!(matches!(stale, Err(StoreError::Conflict(_))) && matches!(again, Err(StoreError::Conflict(_))));
        assert_eq!((forced.version, forced.updated_at), (3, 4));
        assert_eq!(settings.get("general").await.unwrap(), Some(forced.clone()));
        assert_eq!(settings.get("other").await.unwrap(), None);
        assert_eq!(settings.all().await.unwrap(), [forced]);
    }
}

#[tokio::test]
async fn a_batch_of_usage_that_arrives_twice_counts_once() {
    for bed in beds() {
        let records = bed.store.usage();
        let batch: Vec<UsageRow> = (0..1_500).map(|n| usage(&format!("r{n:04}"), n)).collect();

        let first = records.insert_batch(batch.clone()).await.unwrap();
        let overlap = [UsageRow { status: 500, ..usage("r0000", 0) }, usage("new", 9_999)];
        let second = records.insert_batch(overlap.to_vec()).await.unwrap();

        assert_eq!((first, second, records.count().await.unwrap()), (1_500, 1, 1_501));
        assert_eq!(records.get("r0000").await.unwrap(), usage("r0000", 0));
        assert_eq!(records.list(1).await.unwrap(), [usage("new", 9_999)]);
        assert_eq!(records.insert_batch(Vec::new()).await.unwrap(), 0);
    }
}
