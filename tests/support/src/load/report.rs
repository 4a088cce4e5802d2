//! Sums over all requests, and the cost in the processes that served them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Failed, Seen, proc};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) latencies: Vec<Duration>,
    pub(super) first_tokens: Vec<Duration>,
    /// What refusals took, in an open loop: 429, 503, and 529, as an overload reads for clients of Messages.
    pub(super) refused: Vec<Duration>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) largest_gap: Duration,
    pub(super) bytes: u64,
}

impl Sums {
    pub(super) fn add(&mut self, outcome: Result<Seen, Failed>) {
        match outcome {
            Ok(seen) => {
                self.latencies.push(seen.latency);
                self.first_tokens.extend(seen.first_token);
                self.largest_gap = self.largest_gap.max(seen.largest_gap);
                self.bytes += seen.bytes;
            }
            Err(failed) => *self.errors.entry(name(failed)).or_default() += 1,
        }
    }

    pub(super) fn merge(&mut self, other: Sums) {
        self.latencies.extend(other.latencies);
        self.refused.extend(other.refused);
        self.first_tokens.extend(other.first_tokens);
        self.largest_gap = self.largest_gap.max(other.largest_gap);
        self.bytes += other.bytes;
        other.errors.into_iter().for_each(|(name, n)| *self.errors.entry(name).or_default() += n);
    }

    pub(super) fn finished(&self) -> u64 {
        self.latencies.len() as u64
    }

    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

fn name(failed: Failed) -> String {
    match failed {
        Failed::Status(status) => status.to_string(),
        Failed::Io => "io".into(),
        Failed::Incomplete => "incomplete".into(),
    }
}

/// p50, p90, p99 and the largest, in milliseconds; null where nothing was measured.
pub(super) fn quantiles(samples: &[Duration]) -> Value {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| {
        let place = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(place.saturating_sub(1)).map(|sample| sample.as_secs_f64() * 1e3)
    };
    json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)})
}

/// Processes under watch: their processor time from the start of the run, their memory now and at its highest.
pub(super) struct Processes {
    each: Vec<Process>,
    sampler: tokio::task::JoinHandle<()>,
}

struct Process {
    pid: u32,
    cpu_before: u64,
    rss_before: u64,
    rss_peak: Arc<AtomicU64>,
}

const SAMPLE_EVERY: Duration = Duration::from_millis(100);

impl Processes {
    pub(super) fn watch(pids: &[u32]) -> Self {
        let each: Vec<_> = pids.iter().map(|pid| Process::new(*pid)).collect();
        let samples: Vec<_> = each.iter().map(|process| (process.pid, process.rss_peak.clone())).collect();
        let sampler = tokio::spawn(async move {
            while !samples.is_empty() {
                for (pid, peak) in &samples {
                    peak.fetch_max(proc::rss_bytes(*pid).unwrap_or(0), Relaxed);
                }
                tokio::time::sleep(SAMPLE_EVERY).await;
            }
        });
        Processes { each, sampler }
    }

    pub(super) fn report(self, finished: u64) -> Value {
        self.sampler.abort();
        let each: Vec<_> = self.each.iter().map(|process| process.report(finished)).collect();
        let sum = |field: &str| each.iter().filter_map(|process| process[field].as_f64()).sum::<f64>();
        let fields = ["cpuSeconds", "cpuSecondsPer1000", "rssBytes", "rssPeakBytes"];
        let total: serde_json::Map<_, _> =
            fields.iter().map(|field| ((*field).to_owned(), json!(sum(field)))).collect();
        json!({"each": each, "total": total})
    }
}

impl Process {
    fn new(pid: u32) -> Self {
        let rss_before = proc::rss_bytes(pid).unwrap_or(0);
        let cpu_before = proc::cpu_ms(pid).unwrap_or(0);
        Process { pid, cpu_before, rss_before, rss_peak: Arc::new(AtomicU64::new(rss_before)) }
    }

    /// Figures of a process that has gone are null.
    fn report(&self, finished: u64) -> Value {
        let used = proc::cpu_ms(self.pid).map(|now| now.saturating_sub(self.cpu_before) as f64 / 1e3);
        let per_thousand = used.filter(|_| finished > 0).map(|used| used * 1e3 / finished as f64);
        let now = proc::rss_bytes(self.pid);
        json!({
            "pid": self.pid,
            "cpuSeconds": used,
            "cpuSecondsPer1000": per_thousand,
            "rssBeforeBytes": self.rss_before,
            "rssBytes": now,
            "rssPeakBytes": self.rss_peak.load(Relaxed).max(now.unwrap_or(0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_that_were_really_seen() {
        let samples: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();

        assert_eq!(quantiles(&samples), json!({"p50": 100.0, "p90": 180.0, "p99": 198.0, "max": 200.0}));
        assert_eq!(quantiles(&[Duration::from_millis(7)])["p50"], 7.0);
        assert!(quantiles(&[])["max"].is_null());
    }
}
