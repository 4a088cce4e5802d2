//! The tally of one request: what was tried, what it used, how it ended. It writes exactly one usage record,
//! also when the request is dropped half-way because its client left.

use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::clock::UnixMillis;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::{Lease, Skip, SkipReason, Skips};
use omniroute_actors::usage::record::{AttemptRecord, Tokens, UsageRecord};
use tokio::time::Instant;

use crate::infra::metrics;
use crate::infra::recorder::Recorder;
use crate::infra::stats::{Finished, Stats};
use crate::wire::usage::Usage;

/// The status that stands for a client that left.
pub const CLIENT_GONE: u16 = 499;

/// The tally.
#[derive(Debug)]
pub struct Tally {
    recorder: Arc<Recorder>,
    stats: Stats,
    session: Option<Arc<str>>,
    /// The way through the combo's steps to the last attempt.
    target: Option<Arc<str>>,
    started: Instant,
    record: Option<UsageRecord>,
    first_content: Option<Duration>,
    upstream: Duration,
    skipped: Vec<String>,
    waited: Duration,
}

/// What a request is before anything was tried.
pub struct Opening<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it came, by the wall clock.
    pub at: UnixMillis,
    /// When it came.
    pub started: Instant,
    /// The client key.
    pub key_id: Option<String>,
    /// The model as the client wrote it.
    pub model: &'a str,
    /// Whether a stream was asked for.
    pub streamed: bool,
    /// The session, as the client names it.
    pub session: Option<Arc<str>>,
}

impl Tally {
    /// Open the tally.
    pub fn open(recorder: Arc<Recorder>, stats: Stats, opening: Opening<'_>) -> Self {
        let record = UsageRecord {
            request_id: opening.id.to_owned(),
            at: opening.at,
            key_id: opening.key_id,
            connection: None,
            provider: None,
            model: None,
            requested_model: opening.model.to_owned(),
            combo: None,
            status: CLIENT_GONE,
            outcome: String::new(),
            streamed: opening.streamed,
            tokens: Tokens::default(),
            first_content_ms: None,
            total_ms: 0,
            attempts: Vec::new(),
        };
        Self {
            recorder,
            stats,
            session: opening.session,
            target: None,
            started: opening.started,
            record: Some(record),
            first_content: None,
            upstream: Duration::ZERO,
            skipped: Vec::new(),
            waited: Duration::ZERO,
        }
    }

    /// An attempt begins.
    pub fn attempt(&mut self, lease: &Lease, now: Instant) {
        self.skip(&lease.skipped);
        let started = now.duration_since(self.started);
        let in_combo = lease.itinerary.combo.is_some();
        self.target = lease.leg().filter(|_| in_combo).map(|leg| leg.key().into());
        if let Some(record) = &mut self.record {
            record.combo = lease.itinerary.combo.as_ref().map(|combo| combo.name.to_string());
            record.attempts.push(AttemptRecord {
                connection: lease.config.id.to_string(),
                provider: lease.config.provider.to_string(),
                model: lease.model().to_string(),
                outcome: String::new(),
                status: 0,
                started_ms: millis(started),
                took_ms: 0,
                waited_ms: millis(std::mem::take(&mut self.waited)),
            });
        }
    }

    /// The last attempt ended.
    pub fn attempt_ended(&mut self, outcome: Outcome, status: u16, now: Instant) {
        let since_start = millis(now.duration_since(self.started));
        if let Some(attempt) = self.record.as_mut().and_then(|record| record.attempts.last_mut()) {
            attempt.outcome = outcome.as_str().to_owned();
            attempt.status = status;
            attempt.took_ms = since_start.saturating_sub(attempt.started_ms);
        }
    }

    /// Candidates were passed over.
    pub fn skip(&mut self, skipped: &Skips) {
        // What the caller may not use is none of its business.
        let own = skipped.named().iter().filter(|skip| skip.reason != SkipReason::NotAllowed);
        let named = |skip: &Skip| Some(format!("{}:{}", skip.connection.as_ref()?.config().name, skip.reason.as_str()));
        self.skipped.extend(own.filter_map(named));
        self.skipped.extend(skipped.rest().iter().map(|(reason, count)| format!("{count} more:{}", reason.as_str())));
    }

    /// The first content came.
    pub fn first_content(&mut self, now: Instant) {
        self.first_content.get_or_insert(now.duration_since(self.started));
    }

    /// Time that passed while an upstream had the request.
    pub fn upstream_took(&mut self, took: Duration) {
        self.upstream += took;
    }

    /// The next attempt waited for its turn. That is no time that the gateway itself took.
    pub fn waited(&mut self, waited: Duration) {
        self.waited += waited;
        self.upstream += waited;
    }

    /// How many attempts there were.
    pub fn attempts(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.attempts.len())
    }

    /// Why the answering connection was not the first choice: `name:reason, ...`; empty when it was.
    pub fn fallback_reasons(&self) -> String {
        let failed = self
            .record
            .iter()
            .flat_map(|record| &record.attempts)
            .filter(|attempt| !attempt.outcome.is_empty() && attempt.outcome != Outcome::Success.as_str());
        let failed = failed.map(|attempt| format!("{}:{}", attempt.connection, attempt.outcome));
        self.skipped.iter().cloned().chain(failed).collect::<Vec<_>>().join(", ")
    }

    /// Time since the request came.
    pub fn elapsed(&self, now: Instant) -> Duration {
        now.duration_since(self.started)
    }

    /// Close the tally: the record is on disk when this returns, unless the disk refuses.
    pub fn finish(&mut self, outcome: Outcome, status: u16, tokens: Tokens) {
        let Some(mut record) = self.record.take() else { return };
        let total = Instant::now().duration_since(self.started);
        if outcome == Outcome::Success
            && let Some(last) = record.attempts.last()
        {
            record.connection = Some(last.connection.clone());
            record.provider = Some(last.provider.clone());
            record.model = Some(last.model.clone());
        }
        outcome.as_str().clone_into(&mut record.outcome);
        record.status = status;
        record.tokens = tokens;
        record.total_ms = millis(total);
        record.first_content_ms = self.first_content.map(millis);
        let own = total.saturating_sub(self.upstream);
        metrics::request(outcome, status, total, self.first_content, own);
        let record = Arc::new(record);
        // The recorder has logged it and holds the record; the answer itself is not the disk's fault.
        let _ = self.recorder.record(Arc::clone(&record));
        self.stats.finished(Finished {
            record,
            session: self.session.take(),
            target: self.target.take(),
            own_ms: millis(own),
        });
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { Outcome::GatewayFault } else { Outcome::ClientGone };
        self.finish(outcome, CLIENT_GONE, Tokens::default());
    }
}

/// Usage as it is recorded.
pub fn tokens(usage: &Usage) -> Tokens {
    Tokens {
        prompt: usage.prompt_tokens(),
        completion: usage.completion_tokens(),
        cached: usage.cache_read,
        reasoning: usage.output_reasoning,
        estimated: usage.estimated,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
