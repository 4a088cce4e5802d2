//! What combos did since the start: requests, how they ended, and by which model and target.

use std::collections::BTreeMap;

use omniroute_actors::ids::ComboName;
use serde_json::{Map, Value, json};

use super::finished::{End, Finished};

/// Combos that are counted.
const COMBOS: usize = 1_000;
/// Models and targets of one combo that are counted; what comes beyond is counted together.
const PARTS: usize = 500;
/// Where that is counted.
const REST: &str = "other";

/// One model or target of a combo.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    requests: u64,
    successes: u64,
    failures: u64,
    latency_ms: u64,
    last_status: &'static str,
    last_used: i64,
}

impl Part {
    fn hear(&mut self, ended: End, took_ms: u64, now: i64) {
        self.requests += 1;
        self.successes += u64::from(ended == End::Success);
        self.failures += u64::from(ended == End::Failure);
        self.latency_ms = self.latency_ms.saturating_add(took_ms);
        self.last_status = ended.word();
        self.last_used = now;
    }

    fn to_json(&self) -> Value {
        json!({
            "requests": self.requests, "successes": self.successes, "failures": self.failures,
            "totalLatencyMs": self.latency_ms, "lastStatus": self.last_status, "lastUsedAt": super::iso(self.last_used),
            "avgLatencyMs": mean(self.latency_ms, self.requests), "successRate": percent(self.successes, self.requests),
        })
    }
}

/// One combo.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Combo {
    whole: Part,
    fallbacks: u64,
    cancelled: u64,
    by_model: BTreeMap<String, Part>,
    by_target: BTreeMap<String, Part>,
}

/// All combos.
#[derive(Debug, Default)]
pub struct Combos(BTreeMap<ComboName, Combo>);

impl Combos {
    /// Count a request, if a combo served it.
    pub fn hear(&mut self, finished: &Finished, now: i64) {
        let Some(name) = &finished.combo else { return };
        if !self.0.contains_key(name) && self.0.len() >= COMBOS {
            return;
        }
        let combo = self.0.entry(name.clone()).or_default();
        combo.whole.hear(finished.end, finished.total_ms, now);
        combo.cancelled += u64::from(finished.end == End::Cancelled);
        combo.fallbacks += finished.attempts.len().saturating_sub(1) as u64;
        combo.parts(finished, now);
    }

    /// As the API shows them; `strategy` knows the strategy of a combo that is there.
    pub fn to_json(&self, strategy: impl Fn(&str) -> Option<String>) -> Map<String, Value> {
        self.0.iter().map(|(name, combo)| (name.to_string(), combo.to_json(strategy(name.as_str())))).collect()
    }

    /// Forget one combo, or all; how many were forgotten.
    pub fn forget(&mut self, name: Option<&str>) -> usize {
        match name {
            Some(name) => usize::from(self.0.remove(name).is_some()),
            None => std::mem::take(&mut self.0).len(),
        }
    }
}

impl Combo {
    fn parts(&mut self, finished: &Finished, now: i64) {
        let count = finished.attempts.len();
        for (index, attempt) in finished.attempts.iter().enumerate() {
            let model = format!("{}/{}", attempt.provider, attempt.model);
            part(&mut self.by_model, &model).hear(attempt.end, attempt.took_ms, now);
            // Only the last attempt's way through the steps is known; earlier ones are told by what they asked.
            let target = finished.target.as_deref().filter(|_| index + 1 == count).unwrap_or(&model);
            part(&mut self.by_target, target).hear(attempt.end, attempt.took_ms, now);
        }
    }

    fn to_json(&self, strategy: Option<String>) -> Value {
        let whole = &self.whole;
        let all = |parts: &BTreeMap<String, Part>| -> Map<String, Value> {
            parts.iter().map(|(name, part)| (name.clone(), part.to_json())).collect()
        };
        json!({
            "totalRequests": whole.requests, "totalSuccesses": whole.successes, "totalFailures": whole.failures,
            "totalFallbacks": self.fallbacks, "totalCancelled": self.cancelled, "totalLatencyMs": whole.latency_ms,
            "strategy": strategy, "lastUsedAt": super::iso(whole.last_used), "intentCounts": {},
            "byModel": all(&self.by_model), "byTarget": all(&self.by_target),
            "avgLatencyMs": mean(whole.latency_ms, whole.requests),
            "successRate": percent(whole.successes, whole.requests),
            "fallbackRate": percent(self.fallbacks, whole.requests),
        })
    }
}

fn part<'a>(parts: &'a mut BTreeMap<String, Part>, name: &str) -> &'a mut Part {
    let name = if parts.len() >= PARTS && !parts.contains_key(name) { REST } else { name };
    parts.entry(name.to_owned()).or_default()
}

const fn mean(sum: u64, count: u64) -> u64 {
    match sum.checked_div(count) {
        Some(mean) => mean,
        None => 0,
    }
}

/// Rounded to whole percent, as the original shows it.
const fn percent(part: u64, whole: u64) -> u64 {
    match (part.saturating_mul(200).saturating_add(whole)).checked_div(whole.saturating_mul(2)) {
        Some(percent) => percent,
        None => 0,
    }
}
