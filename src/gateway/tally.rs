//! The tally of one request: what was tried, what it used, how it ended. It writes exactly one usage record,
//! also when the request is dropped half-way because its client left.

use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::clock::UnixMillis;
use omniroute_actors::ids::KeyId;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::fallback::RetryClass;
use omniroute_actors::router::{Lease, Skips};
use omniroute_actors::usage::record::{Tokens, UsageRecord};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ledger::{Ledger, Place};
use crate::infra::metrics;
use crate::infra::recorder::Recorder;
use crate::infra::stats::{Finished, SessionName, Stats};
use crate::wire::usage::Usage;

/// The status that stands for a client that left.
pub const CLIENT_GONE: u16 = 499;

/// Learns what was booked for a request.
pub type Booked = oneshot::Sender<Arc<UsageRecord>>;

/// The tally.
#[derive(Debug)]
pub struct Tally {
    recorder: Arc<Recorder>,
    stats: Stats,
    session: Option<SessionName>,
    /// The way through the combo's steps to the last attempt.
    target: Option<Arc<str>>,
    started: Instant,
    record: Option<UsageRecord>,
    ledger: Ledger,
    first_content: Option<Duration>,
    upstream: Duration,
    booked: Option<Booked>,
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
    pub key_id: Option<KeyId>,
    /// The model as the client wrote it.
    pub model: &'a str,
    /// Whether a stream was asked for.
    pub streamed: bool,
    /// The session.
    pub session: Option<SessionName>,
    /// What it is shown as.
    pub affinity: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// The upstream's status.
    pub status: u16,
    /// What the provider may know of it.
    pub class: RetryClass,
    /// When.
    pub at: Instant,
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
            session: opening.affinity,
            attempts: Vec::new(),
        };
        Self {
            recorder,
            stats,
            session: opening.session,
            target: None,
            started: opening.started,
            record: Some(record),
            ledger: Ledger::begin(opening.started),
            first_content: None,
            upstream: Duration::ZERO,
            booked: None,
        }
    }

    /// The same ledger for calls of the request that are made beside others. A branch writes no record: that is left to the
    /// tally it comes from, which must outlive it.
    pub fn branch(&self, role: Option<&str>) -> Self {
        Self {
            recorder: Arc::clone(&self.recorder),
            stats: self.stats.clone(),
            session: None,
            target: None,
            started: self.started,
            record: None,
            ledger: self.ledger.branch(role),
            first_content: None,
            upstream: Duration::ZERO,
            booked: None,
        }
    }

    /// A branch answers the client: what it learned on the way is the request's.
    pub fn join(&mut self, branch: Self) {
        self.target = branch.target.clone().or(self.target.take());
        self.first_content = self.first_content.or(branch.first_content);
    }

    /// It goes through this combo, whoever is asked on the way.
    pub fn through(&mut self, combo: &str) {
        if let Some(record) = &mut self.record {
            record.combo = Some(combo.into());
        }
    }

    /// Tell this one what is booked at the end.
    pub fn tell(&mut self, booked: Option<Booked>) {
        self.booked = booked;
    }

    /// An attempt begins.
    pub fn attempt(&mut self, lease: &Lease, now: Instant) -> Place {
        self.skip(&lease.skipped);
        let in_combo = lease.itinerary.combo.is_some();
        self.target = lease.leg().filter(|_| in_combo).map(|leg| leg.key().into());
        if let Some(record) = &mut self.record {
            // A judge of its own belongs to the combo that asked for it.
            let combo = lease.itinerary.combo.as_ref().map(|combo| combo.name.clone());
            record.combo = record.combo.take().or(combo);
        }
        self.ledger.attempt(lease, now)
    }

    /// An attempt ended.
    pub fn attempt_ended(&mut self, place: Place, ended: Ended) {
        self.ledger.ended(place, ended);
    }

    /// This attempt answers the client; what is used from here on, it used.
    pub fn answered(&mut self, place: Place, now: Instant) {
        self.first_content.get_or_insert(now.duration_since(self.started));
        self.ledger.answered(place, now);
    }

    /// The ledger.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ledger, to write in.
    pub const fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Candidates were passed over.
    pub fn skip(&mut self, skipped: &Skips) {
        self.ledger.skipped(skipped);
    }

    /// Time that passed while an upstream had the request.
    pub fn upstream_took(&mut self, took: Duration) {
        self.upstream += took;
    }

    /// The next attempt waited for its turn. That is no time that the gateway itself took.
    pub fn waited(&mut self, waited: Duration) {
        self.ledger.waited(waited);
        self.upstream += waited;
    }

    /// How many attempts there were.
    pub fn attempts(&self) -> usize {
        self.ledger.tried()
    }

    /// Time since the request came.
    pub fn elapsed(&self, now: Instant) -> Duration {
        now.duration_since(self.started)
    }

    /// Close the tally: the record is on disk when this returns, unless the disk refuses.
    pub fn finish(&mut self, outcome: Outcome, status: u16, tokens: Tokens) {
        let Some(mut record) = self.record.take() else { return };
        let total = Instant::now().duration_since(self.started);
        let all = self.ledger.spent_so_far().and(&tokens);
        record.attempts = self.ledger.close(tokens);
        if outcome == Outcome::Success
            && let Some(answering) = self.ledger.answering().and_then(|place| record.attempts.get(place.0))
        {
            record.connection = Some(answering.connection.clone());
            record.provider = Some(answering.provider.clone());
            record.model = Some(answering.model.clone());
        }
        outcome.as_str().clone_into(&mut record.outcome);
        record.status = status;
        record.tokens = all;
        record.total_ms = millis(total);
        record.first_content_ms = self.first_content.map(millis);
        let own = total.saturating_sub(self.upstream);
        metrics::request(outcome, status, total, self.first_content, own);
        let (session, target) = (self.session.take(), self.target.take());
        self.stats.finished(Finished { session, target, ..Finished::of(&record, millis(own)) });
        // The recorder has logged it and holds the record; the answer itself is not the disk's fault.
        let told = self.booked.take().map(|booked| (booked, Arc::new(record.clone())));
        let _ = self.recorder.record(record);
        if let Some((booked, record)) = told {
            // Whoever asked may have gone.
            let _ = booked.send(record);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.record.is_none() {
            return;
        }
        let outcome = if std::thread::panicking() { Outcome::GatewayFault } else { Outcome::ClientGone };
        self.ledger.cut_off(outcome.as_str(), Instant::now());
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

/// As it is recorded.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
