//! Metrics in Prometheus' text format, rendered when `/metrics` is asked for.
//!
//! The request path touches only handles that were registered before ([`Handles`]). What others know anyway, the
//! state of connections, the journal, the process, is read when somebody scrapes ([`Metrics::render`]).

mod connections;
mod handles;
mod page;
mod process;
#[cfg(test)]
mod tests;

pub use handles::{Handles, fetch, request};

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::connection::snapshot::Snapshot;
use omniroute_actors::ports::Observer;
use omniroute_actors::resilience::health::Transition;

use self::page::Page;
use super::sync::ExchangeCounts;

/// Samples of histograms wait in buffers until they are counted; nobody may scrape for hours.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

const META: Metadata<'static> = Metadata::new("omniroute", Level::INFO, None);

/// Seconds that a request and its first content may take.
const LATENCY: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Seconds that the gateway itself adds.
const OVERHEAD: [f64; 10] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25];

const HISTOGRAMS: [(&str, &str, &[f64]); 3] = [
    ("omniroute_request_duration_seconds", "Time from a data-plane request's head to the end of its answer.", &LATENCY),
    (
        "omniroute_first_content_seconds",
        "Time from a data-plane request's head to the first content of its answer.",
        &LATENCY,
    ),
    ("omniroute_gateway_overhead_seconds", "Time of a request that was spent in the gateway itself.", &OVERHEAD),
];

const COUNTERS: [(&str, &str); 7] = [
    ("omniroute_requests_total", "Data-plane requests by outcome and status."),
    ("omniroute_breaker_transitions_total", "Moves of circuit breakers by connection and states."),
    ("omniroute_cooldowns_total", "Cooldowns by connection and reason."),
    ("omniroute_shed_requests_total", "Data-plane requests refused because the process carries too much, by reason."),
    ("omniroute_sync_exchanges_total", "Exchanges of configurations with the other instance, by direction and result."),
    ("omniroute_media_fetches_total", "URLs fetched for providers that take bytes only, by result."),
    ("omniroute_usage_records_total", "Usage records by what became of them: kept, dropped, stored."),
];

const GAUGES: [(&str, &str); 5] = [
    ("omniroute_build_info", "Always 1; the version is a label."),
    ("omniroute_uptime_seconds", "Time since the process started."),
    ("omniroute_in_flight_requests", "Data-plane requests in flight."),
    ("omniroute_sync_last_success_timestamp_seconds", "When an exchange of configurations worked last; 0 if none did."),
    ("omniroute_draining", "1 while the process is going away."),
];

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be set up: {0}")]
pub struct MetricsError(#[from] metrics_exporter_prometheus::BuildError);

/// Facts about the process at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct Vitals {
    /// Time since the start.
    pub uptime: Duration,
    /// Data-plane requests in flight.
    pub in_flight: u64,
    /// Whether it is going away.
    pub draining: bool,
    /// Usage records kept, dropped and stored.
    pub usage: (u64, u64, u64),
    /// Requests refused because the process carries too much, by reason.
    pub shed: [(&'static str, u64); 4],
    /// Exchanges of configurations.
    pub exchanges: ExchangeCounts,
}

/// All metrics of one gateway. Nothing is global: two gateways in one process count apart.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Metrics that are all at zero.
    ///
    /// # Errors
    /// When the exporter refuses the buckets.
    pub fn new() -> Result<Self, MetricsError> {
        let mut builder = PrometheusBuilder::new();
        for (name, _, buckets) in HISTOGRAMS {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
        }
        let recorder = builder.build_recorder();
        let metrics = Self { handle: recorder.handle(), recorder };
        metrics.describe();
        metrics.gauge("omniroute_build_info", vec![Label::new("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        Ok(metrics)
    }

    fn describe(&self) {
        let text = SharedString::const_str;
        for (name, help) in COUNTERS {
            self.recorder.describe_counter(KeyName::from_const_str(name), None, text(help));
        }
        for (name, help) in GAUGES {
            self.recorder.describe_gauge(KeyName::from_const_str(name), None, text(help));
        }
        for (name, help, _) in HISTOGRAMS {
            self.recorder.describe_histogram(KeyName::from_const_str(name), Some(Unit::Seconds), text(help));
        }
    }

    /// Count the samples that wait in buffers. To be called every [`UPKEEP_EVERY`].
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The page.
    pub fn render(&self, vitals: &Vitals, snapshots: &[Snapshot]) -> String {
        let plain = |name| self.gauge(name, Vec::new());
        plain("omniroute_uptime_seconds").set(vitals.uptime.as_secs_f64());
        plain("omniroute_in_flight_requests").set(float(vitals.in_flight));
        plain("omniroute_draining").set(f64::from(u8::from(vitals.draining)));
        let (kept, dropped, stored) = vitals.usage;
        for (what, count) in [("kept", kept), ("dropped", dropped), ("stored", stored)] {
            self.counter("omniroute_usage_records_total", vec![Label::new("what", what)]).absolute(count);
        }
        for (why, count) in vitals.shed {
            self.counter("omniroute_shed_requests_total", vec![Label::new("reason", why)]).absolute(count);
        }
        self.write_exchanges(vitals.exchanges);
        let mut page = Page::new(self.handle.render());
        process::write(&mut page);
        connections::write(&mut page, snapshots);
        page.finish()
    }

    fn write_exchanges(&self, counts: ExchangeCounts) {
        for (direction, [worked, failed]) in [("pull", counts.pulled), ("push", counts.pushed)] {
            for (result, count) in [("ok", worked), ("failed", failed)] {
                let labels = vec![Label::new("direction", direction), Label::new("result", result)];
                self.counter("omniroute_sync_exchanges_total", labels).absolute(count);
            }
        }
        let seconds = u64::try_from(counts.succeeded_at / 1_000).unwrap_or(0);
        self.gauge("omniroute_sync_last_success_timestamp_seconds", Vec::new()).set(float(seconds));
    }

    /// Handles for one worker.
    pub fn handles(self: &Arc<Self>) -> Handles {
        Handles::new(Arc::clone(self))
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &META)
    }

    fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &META)
    }

    fn histogram(&self, name: &'static str) -> Histogram {
        self.recorder.register_histogram(&Key::from_name(name), &META)
    }
}

/// Counts what the connection actors tell.
impl Observer for Metrics {
    fn changed(&self, connection: &ConnectionHandle, transition: &Transition) {
        let whose = Label::new("connection", connection.id().as_str().to_owned());
        match transition {
            Transition::Breaker { from, to } => {
                let (from, to) = (Label::new("from", from.state.as_str()), Label::new("to", to.state.as_str()));
                self.counter("omniroute_breaker_transitions_total", vec![whose, from, to]).increment(1);
            }
            Transition::CoolingDown { reason, .. } => {
                let reason = Label::new("reason", reason.as_str());
                self.counter("omniroute_cooldowns_total", vec![whose, reason]).increment(1);
            }
            Transition::ModelLocked { .. } => {
                self.counter("omniroute_model_lockouts_total", vec![whose]).increment(1);
            }
            Transition::BecameTerminal(terminal) => {
                let terminal = Label::new("terminal", terminal.as_str());
                self.counter("omniroute_terminal_total", vec![whose, terminal]).increment(1);
            }
            Transition::NeedsAttention => {
                self.counter("omniroute_attention_total", vec![whose]).increment(1);
            }
            // What gets better shows in the gauges of the state.
            _ => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not expected in one process's life")]
const fn float(count: u64) -> f64 {
    count as f64
}
