//! The control interface over HTTP, for benchmarks and scripts in other languages.

use std::time::Duration;

use serde_json::{Value, json};

use super::Gate;
use super::serve::{Worker, refusal};

/// Status line and JSON body for a request under `/__mock/`.
pub(super) fn answer(worker: &Worker, method: &str, target: &str, body: &[u8]) -> (&'static str, String) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let outcome = match (method, path) {
        ("GET", "/__mock/stats") => json(&worker.control.stats()),
        ("GET", "/__mock/requests") => json(&worker.control.recorder.last(wanted(query))),
        ("POST", "/__mock/reset") => {
            worker.control.reset();
            json(&json!({"ok": true}))
        }
        ("POST", "/__mock/behaviour") => parsed(body).and_then(|order| {
            worker.control.apply(&order).map_err(|unknown| unknown.to_string())?;
            json(&json!({"ok": true}))
        }),
        ("POST", "/__mock/refuse") => parsed(body).and_then(|order| refuse(worker, &order)),
        _ => return ("404 Not Found", refusal("no such control")),
    };
    match outcome {
        Ok(body) => ("200 OK", body),
        Err(message) => ("400 Bad Request", refusal(&message)),
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

fn parsed(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn wanted(query: &str) -> usize {
    query.split('&').find_map(|pair| pair.strip_prefix("n=")?.parse().ok()).unwrap_or(usize::MAX)
}

/// `{"for_ms": 2000, "crash": true}`: no connection is accepted for that long; with `crash` open ones are reset.
fn refuse(worker: &Worker, order: &Value) -> Result<String, String> {
    let pause = order.get("for_ms").and_then(Value::as_u64).ok_or("no number \"for_ms\"")?;
    let crash = order.get("crash").and_then(Value::as_bool).unwrap_or(false);
    let gate = worker.gate.clone();
    tokio::spawn(async move {
        // The answer to this very order leaves first.
        tokio::time::sleep(Duration::from_millis(10)).await;
        gate.send_replace(if crash { Gate::Crashed } else { Gate::Refusing });
        tokio::time::sleep(Duration::from_millis(pause)).await;
        gate.send_replace(Gate::Open);
    });
    json(&json!({"ok": true}))
}
