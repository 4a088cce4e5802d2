//! What is shown of runs: one by one, against each other, and all of a suite's latest together.

use serde_json::{Value, json};

use super::case;
use super::progress::Progress;
use super::suite::Suite;
use crate::providers::usd;
use crate::routes::{iso, iso_or_null};
use crate::store::{EvalRunRow, EvalStatus};

/// A run as the API shows it.
pub fn run(row: &EvalRunRow) -> Value {
    json!({
        "id": row.id,
        "runGroupId": row.group_id,
        "suiteId": row.suite_id,
        "suiteName": row.suite_name,
        "target": target(row),
        "apiKeyId": row.key_id,
        "status": row.status,
        "progress": {"done": row.done, "total": row.total},
        "results": row.results,
        "summary": summary(row),
        "error": row.error,
        "createdAt": iso(row.created_at),
        "startedAt": iso_or_null(row.started_at),
        "finishedAt": iso_or_null(row.finished_at),
    })
}

fn target(row: &EvalRunRow) -> Value {
    let id = row.target_id.as_deref();
    json!({"type": row.target_type, "id": id, "label": id.unwrap_or("the models of the cases")})
}

fn summary(row: &EvalRunRow) -> Value {
    let average = row.latency_ms.checked_div(i64::from(row.done));
    json!({
        "total": row.total, "passed": row.passed, "failed": row.failed, "errors": row.errors,
        "passRate": rate(row.passed, row.total), "avgLatencyMs": average,
        "promptTokens": row.prompt_tokens, "completionTokens": row.completion_tokens,
        "costNanoUsd": row.cost_nano_usd, "costUsd": cost(row.cost_nano_usd),
    })
}

fn cost(nano: i64) -> String {
    usd::text(u64::try_from(nano).unwrap_or_default())
}

/// In percent, with one place behind the point.
fn rate(passed: i32, total: i32) -> f64 {
    if total <= 0 { 0.0 } else { (f64::from(passed) * 1_000.0 / f64::from(total)).round() / 10.0 }
}

/// Runs that were begun together, side by side: who did best in what, and case by case.
pub fn comparison(rows: &[EvalRunRow]) -> Value {
    let line = |row: &EvalRunRow| json!({"runId": row.id, "target": target(row), "summary": summary(row)});
    let ended = rows.iter().filter(|row| row.status == EvalStatus::Done.as_str());
    let best = |value: &dyn Fn(&EvalRunRow) -> i64| ended.clone().min_by_key(|row| value(row)).map(|row| &row.id);
    json!({
        "runs": rows.iter().map(line).collect::<Vec<_>>(),
        "best": {
            "passRate": best(&|row| -i64::from(row.passed)),
            "latency": best(&|row| row.latency_ms / i64::from(row.done.max(1))),
            "cost": best(&|row| row.cost_nano_usd),
            "tokens": best(&|row| row.prompt_tokens.saturating_add(row.completion_tokens)),
        },
        "cases": cases(rows),
    })
}

fn cases(rows: &[EvalRunRow]) -> Vec<Value> {
    let results = |row: &EvalRunRow| row.results.as_array().cloned().unwrap_or_default();
    let id = |result: &Value| result.get("caseId").cloned().unwrap_or_default();
    let first = rows.first().map(results).unwrap_or_default();
    let of_case = |case: &Value| {
        let statuses = rows.iter().map(|row| {
            let same = results(row).into_iter().find(|result| id(result) == id(case));
            json!({"runId": row.id, "status": same.as_ref().and_then(|result| result.get("status"))})
        });
        json!({"caseId": id(case), "caseName": case.get("caseName"), "runs": statuses.collect::<Vec<_>>()})
    };
    first.iter().map(of_case).collect()
}

/// The runs that are done, together.
pub fn scorecard<'a>(rows: impl IntoIterator<Item = &'a EvalRunRow>) -> Value {
    let done: Vec<_> = rows.into_iter().filter(|row| row.status == EvalStatus::Done.as_str()).collect();
    let sum = |pick: fn(&EvalRunRow) -> i32| done.iter().map(|row| pick(row)).fold(0, i32::saturating_add);
    let (total, passed) = (sum(|row| row.total), sum(|row| row.passed));
    let line = |row: &&EvalRunRow| {
        json!({
            "id": row.suite_id, "name": row.suite_name, "target": target(row), "runId": row.id,
            "passRate": rate(row.passed, row.total),
        })
    };
    json!({
        "suites": done.len(), "totalCases": total, "totalPassed": passed, "overallPassRate": rate(passed, total),
        "perSuite": done.iter().map(line).collect::<Vec<_>>(),
    })
}

/// Of the newest runs, the newest done one of each suite and target.
pub fn latest(rows: &[EvalRunRow]) -> Vec<&EvalRunRow> {
    let mut seen = std::collections::HashSet::new();
    let done = rows.iter().filter(|row| row.status == EvalStatus::Done.as_str());
    done.filter(|row| seen.insert((&row.suite_id, &row.target_type, &row.target_id))).collect()
}

/// Score answers that the caller brings along; nobody is asked.
pub fn of_outputs(suite: &Suite, output: impl Fn(&str) -> Option<String>) -> Value {
    let mut progress = Progress::of(suite.cases.len());
    for (place, case) in suite.cases.iter().enumerate() {
        progress.add(place, case::of_output(case, output(&case.id).as_deref()));
    }
    let tally = progress.tally();
    let total = i32::try_from(suite.cases.len()).unwrap_or(i32::MAX);
    json!({
        "suiteId": suite.id,
        "suiteName": suite.name,
        "results": serde_json::from_str::<Value>(&tally.results).unwrap_or_default(),
        "summary": {
            "total": total, "passed": tally.passed, "failed": tally.failed, "errors": tally.errors,
            "passRate": rate(tally.passed, total),
        },
    })
}
