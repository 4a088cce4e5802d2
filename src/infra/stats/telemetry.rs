//! How long requests took, per provider and per phase, over the last while.

use std::collections::{BTreeMap, VecDeque};

use omniroute_actors::ids::ProviderId;
use serde_json::{Map, Value, json};

use super::finished::{End, Finished};
use super::quantiles::Quantiles;

/// Requests that are remembered.
const MOST: usize = 20_000;
/// No question reaches farther back.
pub const FARTHEST_MS: i64 = 3_600_000;

#[derive(Debug, Clone)]
struct Sample {
    at: i64,
    /// Who answered, or was asked last.
    provider: Option<ProviderId>,
    total_ms: u64,
    own_ms: u64,
    first_content_ms: Option<u64>,
    failed: bool,
}

/// The samples.
#[derive(Debug, Default)]
pub struct Telemetry {
    samples: VecDeque<Sample>,
}

impl Telemetry {
    /// Remember a request.
    pub fn hear(&mut self, finished: &Finished, now: i64) {
        if self.samples.len() >= MOST {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at: now,
            provider: finished.provider.clone(),
            total_ms: finished.total_ms,
            own_ms: finished.own_ms,
            first_content_ms: finished.first_content_ms,
            failed: finished.end == End::Failure,
        });
        while self.samples.front().is_some_and(|oldest| now.saturating_sub(oldest.at) > FARTHEST_MS) {
            self.samples.pop_front();
        }
    }

    /// The last while in numbers.
    pub fn summary(&self, window_ms: i64, now: i64) -> Map<String, Value> {
        let within: Vec<_> = self.samples.iter().filter(|sample| now.saturating_sub(sample.at) <= window_ms).collect();
        let failed = within.iter().filter(|sample| sample.failed).count();
        let total = Quantiles::of(within.iter().map(|sample| sample.total_ms).collect());
        let share = if within.is_empty() { 0.0 } else { ratio(failed, within.len()) };
        let answer = json!({
            "providers": providers(&within),
            "count": total.count, "avg": total.avg, "p50": total.p50, "p95": total.p95, "p99": total.p99,
            "phaseBreakdown": phases(&within),
            "totalRequests": total.count, "avgLatencyMs": total.avg, "errorRate": share, "windowMs": window_ms,
        });
        answer.as_object().cloned().unwrap_or_default()
    }
}

fn providers(within: &[&Sample]) -> Map<String, Value> {
    let mut by_name: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in within {
        if let Some(provider) = &sample.provider {
            by_name.entry(provider.as_str()).or_default().push(sample);
        }
    }
    let line = |(name, samples): (&str, Vec<&Sample>)| {
        let mut line = json!(Quantiles::of(samples.iter().map(|sample| sample.total_ms).collect()));
        if let Some(fields) = line.as_object_mut() {
            let failed = samples.iter().filter(|sample| sample.failed).count();
            fields.insert("errorRate".into(), json!(ratio(failed, samples.len())));
            fields.insert("phases".into(), phases(&samples));
        }
        (name.to_owned(), line)
    };
    by_name.into_iter().map(line).collect()
}

/// `gateway` is our own part, `upstream` the rest, `firstContent` how long a client saw nothing.
fn phases(samples: &[&Sample]) -> Value {
    let of = |numbers: Vec<u64>| json!(Quantiles::of(numbers));
    json!({
        "gateway": of(samples.iter().map(|sample| sample.own_ms).collect()),
        "upstream": of(samples.iter().map(|sample| sample.total_ms.saturating_sub(sample.own_ms)).collect()),
        "firstContent": of(samples.iter().filter_map(|sample| sample.first_content_ms).collect()),
        "total": of(samples.iter().map(|sample| sample.total_ms).collect()),
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of at most a few thousand samples")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0 }
}
