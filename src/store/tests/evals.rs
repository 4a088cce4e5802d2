//! Suites, runs and assessments: each keeps what it is given, and of an end and a cancellation one wins.

use serde_json::json;

use super::bed::beds;
use crate::store::*;

fn suite(id: &str) -> EvalSuiteRow {
    EvalSuiteRow {
        id: id.into(),
        name: "a suite".into(),
        description: "what it is about".into(),
        cases: json!([{"id": "1"}]),
        created_at: 1,
        updated_at: 2,
    }
}

fn run(id: &str, status: EvalStatus, created_at: i64) -> EvalRunRow {
    EvalRunRow {
        id: id.into(),
        group_id: Some("g".into()),
        suite_id: "s".into(),
        suite_name: "a suite".into(),
        target_type: "model".into(),
        target_id: Some("a/m".into()),
        key_id: None,
        status: status.as_str().into(),
        run_until: 100,
        total: 2,
        done: 0,
        passed: 0,
        failed: 0,
        errors: 0,
        prompt_tokens: 0,
        completion_tokens: 0,
        cost_nano_usd: 0,
        latency_ms: 0,
        results: json!([]),
        error: None,
        created_at,
        started_at: None,
        finished_at: None,
    }
}

#[tokio::test]
async fn a_suite_comes_back_as_it_was_stored() {
    for bed in beds() {
        let suites = bed.store.eval_suites();
        suites.insert(&suite("s")).await.unwrap();
        let renamed = EvalSuiteRow { name: "other".into(), ..suite("s") };

        let taken = suites.insert(&suite("s")).await;
        suites.update(&renamed).await.unwrap();

        assert!(matches!(taken, Err(StoreError::Conflict(_))));
        assert_eq!((suites.get("s").await.unwrap(), suites.list().await.unwrap().len()), (renamed, 1));
        suites.delete("s").await.unwrap();
        assert!(matches!(suites.get("s").await, Err(StoreError::NotFound)));
    }
}

#[tokio::test]
async fn a_run_that_was_cancelled_is_not_done_afterwards_and_keeps_what_it_found_out() {
    for bed in beds() {
        let runs = bed.store.eval_runs();
        runs.insert(vec![run("r", EvalStatus::Queued, 1), run("q", EvalStatus::Queued, 1)]).await.unwrap();
        assert!(runs.keep_running("r", 200, Some(5)).await.unwrap());
        let begun = runs.get("r").await.unwrap();

        assert!(runs.end("r", EvalStatus::Cancelled, None, 7).await.unwrap());
        runs.save("r", EvalTally { done: 1, passed: 1, results: "[1]".into(), ..EvalTally::default() }).await.unwrap();
        let again = runs.end("r", EvalStatus::Done, None, 9).await.unwrap();

        let row = runs.get("r").await.unwrap();
        assert_eq!((begun.status.as_str(), begun.started_at, begun.run_until), ("running", Some(5), 200));
        assert!(!again && !runs.keep_running("r", 300, None).await.unwrap());
        assert_eq!((row.status.as_str(), row.finished_at, row.passed), ("cancelled", Some(7), 1));
        assert_eq!((row.results, runs.group("g").await.unwrap().len()), (json!([1]), 2));
        let listed = runs.list(Some("s"), 10).await.unwrap();
        assert_eq!((listed.len(), &listed[0].results), (2, &json!([])));
        assert!(runs.list(Some("other"), 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_run_of_which_nobody_speaks_is_interrupted_and_old_ones_are_forgotten() {
    for bed in beds() {
        let runs = bed.store.eval_runs();
        let mut rows = vec![run("old", EvalStatus::Running, 1)];
        rows.extend((2..6).map(|at| run(&format!("r{at}"), EvalStatus::Done, at)));
        runs.insert(rows).await.unwrap();

        let none = runs.interrupt_abandoned(100, 50).await.unwrap();
        let kept = runs.delete("old").await.unwrap();
        let one = runs.interrupt_abandoned(101, 50).await.unwrap();
        let by_age = runs.prune(3, 100).await.unwrap();
        let by_count = runs.prune(i64::MIN, 2).await.unwrap();

        assert_eq!((none, kept, one, by_age, by_count), (0, false, 1, 2, 1));
        let left: Vec<_> = runs.list(None, 10).await.unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(left, ["r5", "r4"]);
        assert!(runs.delete("r4").await.unwrap());
    }
}

#[tokio::test]
async fn the_latest_word_about_a_model_counts() {
    for bed in beds() {
        let row = |status: &str| AssessmentRow {
            id: "p/m".into(),
            provider: "p".into(),
            model: "m".into(),
            status: status.into(),
            categories: json!(["coding"]),
            latency_ms: Some(3),
            message: None,
            run_id: "r".into(),
            assessed_at: 1,
        };
        let assessments = bed.store.assessments();

        assessments.replace(vec![row("broken")]).await.unwrap();
        assessments.replace(vec![row("working")]).await.unwrap();

        assert_eq!(assessments.list().await.unwrap(), [row("working")]);
    }
}
