//! Writes the health of connections behind their actors: the latest record of each connection wins, and what is new
//! reaches the store within a quarter of a second.
//!
//! The actors only put a record into a queue. A store that does not answer delays nothing; what it refused is tried
//! again until it takes it, or until a newer record of the same connection replaces it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::clock::{Clock, UnixMillis};
use omniroute_actors::ids::ConnectionId;
use omniroute_actors::ports::{LockoutRecord, StateRecord, StateStore};
use omniroute_actors::resilience::gate::BreakerState;
use omniroute_actors::resilience::health::ErrorNote;
use omniroute_actors::resilience::outcome::{Outcome, Terminal};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::store::{ConnectionStateRow, Store};

/// How long a record waits for others.
pub const SETTLE: Duration = Duration::from_millis(250);
/// How long to wait after the store refused.
const RETRY: Duration = Duration::from_secs(1);

enum Errand {
    Keep(Box<StateRecord>),
    Flush(oneshot::Sender<()>),
}

/// The end that the actors hold; clones share the queue.
#[derive(Clone)]
pub struct StateSaver(mpsc::UnboundedSender<Errand>);

impl StateSaver {
    /// The saver and the task that must run for it.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> (Self, Saving) {
        let (sender, errands) = mpsc::unbounded_channel();
        (Self(sender), Saving { errands, store, clock, fresh: HashMap::new(), told: Vec::new() })
    }

    /// Wait until everything saved so far was given to the store, whether it took it or not.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.0.send(Errand::Flush(done)).is_ok() {
            // An error means that the task is gone, and nobody writes any more.
            let _ = wait.await;
        }
    }
}

impl StateStore for StateSaver {
    fn save(&self, record: StateRecord) {
        // Nobody listens only while the process ends, after the last flush.
        let _ = self.0.send(Errand::Keep(Box::new(record)));
    }
}

/// The task behind a [`StateSaver`].
pub struct Saving {
    errands: mpsc::UnboundedReceiver<Errand>,
    store: Store,
    clock: Arc<dyn Clock>,
    fresh: HashMap<ConnectionId, StateRecord>,
    told: Vec<oneshot::Sender<()>>,
}

impl Saving {
    /// Work until every [`StateSaver`] is gone.
    pub async fn run(mut self) {
        while self.gather(None).await {
            while !self.fresh.is_empty() || !self.told.is_empty() {
                let wait = if self.write().await { SETTLE } else { RETRY };
                for done in self.told.drain(..) {
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                self.gather(Some(wait)).await;
            }
        }
        self.write().await;
    }

    /// Take errands for that long, or one and what comes with it; false when nobody is left to bring any.
    async fn gather(&mut self, wait: Option<Duration>) -> bool {
        if wait.is_none() {
            match self.errands.recv().await {
                Some(errand) => self.accept(errand),
                None => return false,
            };
        }
        let end = tokio::time::sleep(wait.unwrap_or(SETTLE));
        tokio::pin!(end);
        while self.told.is_empty() {
            tokio::select! {
                biased;
                errand = self.errands.recv() => match errand {
                    Some(errand) => self.accept(errand),
                    None => return false,
                },
                () = &mut end => break,
            }
        }
        true
    }

    fn accept(&mut self, errand: Errand) {
        match errand {
            Errand::Keep(record) => drop(self.fresh.insert(record.connection.clone(), *record)),
            Errand::Flush(done) => self.told.push(done),
        }
    }

    /// Whether the store took it.
    async fn write(&mut self) -> bool {
        let at = self.clock.wall();
        let rows: Vec<_> = self.fresh.values().map(|record| row(record, at)).collect();
        if rows.is_empty() {
            return true;
        }
        match self.store.connection_states().save_many(&rows).await {
            Ok(()) => self.fresh.clear(),
            Err(error) => {
                tracing::warn!(%error, connections = rows.len(), "the state of connections waits for the store")
            }
        }
        self.fresh.is_empty()
    }
}

/// What a column of its own would be too much for.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failures {
    consecutive: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Failure>,
    /// What a person has to look at; states of older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attention: Option<Failure>,
}

#[derive(Serialize, Deserialize)]
struct Failure {
    at: i64,
    outcome: String,
    status: u16,
    code: Option<String>,
    message: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    needs_attention: bool,
}

impl Failure {
    fn of((at, note): &(UnixMillis, ErrorNote)) -> Self {
        Self {
            at: at.0,
            outcome: note.outcome.as_str().to_owned(),
            status: note.status,
            code: note.code.clone(),
            message: note.message.clone(),
            needs_attention: note.needs_attention,
        }
    }
}

/// The stored form of a record.
pub fn row(record: &StateRecord, at: UnixMillis) -> ConnectionStateRow {
    let (cooldown_until, cooldown_reason) = record.cooldown.unzip();
    ConnectionStateRow {
        connection_id: record.connection.as_str().to_owned(),
        breaker: record.breaker.as_str().to_owned(),
        open_until: record.open_until.map(|until| until.0),
        open_cycles: narrow(record.cycles),
        cooldown_until: cooldown_until.map(|until| until.0),
        cooldown_reason: cooldown_reason.map(|reason| reason.as_str().to_owned()),
        backoff_level: narrow(record.level),
        terminal: record.terminal.map(|terminal| terminal.as_str().to_owned()),
        since: record.since.0,
        reason: reason(record),
        last_error: failures(record),
        lockouts: serde_json::to_string(&record.lockouts).unwrap_or_else(|_| "[]".to_owned()),
        learned: (!record.learned.is_empty()).then(|| serde_json::to_string(&record.learned).ok()).flatten(),
        generation: i64::from(record.generation),
        updated_at: at.0,
    }
}

fn narrow(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn reason(record: &StateRecord) -> Option<String> {
    let terminal = record.terminal.map(Terminal::as_str);
    let resting = record.cooldown.map(|(_, reason)| reason.as_str());
    let failed = record.last_error.as_ref().filter(|_| record.breaker != BreakerState::Closed);
    terminal.or(resting).or(failed.map(|(_, note)| note.outcome.as_str())).map(str::to_owned)
}

fn failures(record: &StateRecord) -> Option<String> {
    let (last, attention) = (record.last_error.as_ref().map(Failure::of), record.attention.as_ref().map(Failure::of));
    let failures = Failures { consecutive: record.consecutive, last, attention };
    let worth_it = failures.last.is_some() || failures.attention.is_some() || failures.consecutive > 0;
    worth_it.then(|| serde_json::to_string(&failures).ok()).flatten()
}

/// The record that was stored; `None` when a breaker, an outcome or a terminal state has a name nobody knows, as a
/// newer version may write: better to begin afresh than to guess.
pub fn record(row: &ConnectionStateRow) -> Option<StateRecord> {
    let failures = row.last_error.as_deref().and_then(|text| serde_json::from_str::<Failures>(text).ok());
    let Failures { consecutive, last, attention } = failures.unwrap_or_default();
    let reason = row.cooldown_reason.as_deref().map(outcome);
    Some(StateRecord {
        connection: ConnectionId::from(row.connection_id.as_str()),
        breaker: BreakerState::parse(&row.breaker)?,
        open_until: row.open_until.map(UnixMillis),
        cycles: u32::try_from(row.open_cycles).unwrap_or(0),
        consecutive,
        generation: u32::try_from(row.generation).unwrap_or(0),
        cooldown: match (row.cooldown_until, reason) {
            (Some(until), Some(reason)) => Some((UnixMillis(until), reason?)),
            _ => None,
        },
        level: u32::try_from(row.backoff_level).unwrap_or(0),
        terminal: match row.terminal.as_deref() {
            Some(word) => Some(Terminal::parse(word)?),
            None => None,
        },
        since: UnixMillis(row.since),
        last_error: last.and_then(noted),
        attention: attention.and_then(noted),
        lockouts: serde_json::from_str::<Vec<LockoutRecord>>(&row.lockouts).unwrap_or_default(),
        // What a newer version wrote and this one cannot read is learned again.
        learned: row.learned.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
    })
}

fn outcome(word: &str) -> Option<Outcome> {
    Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == word)
}

fn noted(failure: Failure) -> Option<(UnixMillis, ErrorNote)> {
    let Failure { at, status, code, message, needs_attention, .. } = failure;
    let outcome = outcome(&failure.outcome)?;
    Some((UnixMillis(at), ErrorNote { outcome, status, code, message, needs_attention }))
}

#[cfg(test)]
mod tests {
    use omniroute_actors::clock::{ManualClock, Moment};
    use omniroute_actors::ids::ModelName;
    use omniroute_actors::resilience::learned::{Kind, LearnedRecord};

    use super::*;
    use crate::infra::crypto::{MasterKey, Vault};
    use crate::store::StoreOptions;

    fn note(outcome: Outcome, code: &str, needs_attention: bool) -> ErrorNote {
        ErrorNote { outcome, status: 503, code: Some(code.into()), message: "later".into(), needs_attention }
    }

    fn record_of(id: &str, level: u32) -> StateRecord {
        StateRecord {
            connection: id.into(),
            breaker: BreakerState::Open,
            open_until: Some(UnixMillis(5_000)),
            cycles: 2,
            consecutive: 7,
            generation: 9,
            cooldown: Some((UnixMillis(6_000), Outcome::RateLimited)),
            level,
            terminal: Some(Terminal::Expired),
            since: UnixMillis(4_000),
            last_error: Some((UnixMillis(3_999), note(Outcome::Overloaded, "busy", false))),
            attention: Some((UnixMillis(3_998), note(Outcome::BrokenAnswer, "not_json", true))),
            lockouts: vec![LockoutRecord {
                model: ModelName::from("m"),
                until: UnixMillis(9_000),
                since: UnixMillis(8_000),
                failures: 3,
            }],
            learned: vec![LearnedRecord {
                kind: Kind::Tokens,
                limit: Some(30_000),
                remaining: Some(12),
                reset_at: Some(UnixMillis(9_500)),
                at: UnixMillis(3_998),
                per_minute: true,
                rest_until: UnixMillis(0),
            }],
        }
    }

    fn plain(id: &str) -> StateRecord {
        StateRecord {
            breaker: BreakerState::Closed,
            open_until: None,
            consecutive: 0,
            cooldown: None,
            terminal: None,
            last_error: None,
            attention: None,
            lockouts: Vec::new(),
            learned: Vec::new(),
            ..record_of(id, 0)
        }
    }

    fn store(dir: &tempfile::TempDir) -> Store {
        let vault = Arc::new(Vault::new(&MasterKey::from_bytes([7; 32])));
        let options =
            StoreOptions { url: "sqlite:test.sqlite".into(), data_dir: dir.path().to_owned(), readers: 1, vault };
        Store::open(&options).unwrap()
    }

    fn clock() -> Arc<dyn Clock> {
        Arc::new(ManualClock::at(Moment::from_millis(1)))
    }

    #[test]
    fn a_record_survives_the_trip_through_its_row() {
        let failed_without_note = StateRecord { consecutive: 2, ..plain("c") };

        for before in [record_of("a", 4), plain("b"), failed_without_note] {
            assert_eq!(record(&row(&before, UnixMillis(10))), Some(before));
        }
    }

    #[test]
    fn every_outcome_and_breaker_state_can_be_read_back() {
        for outcome in Outcome::ALL {
            let before = StateRecord { cooldown: Some((UnixMillis(1), outcome)), ..plain("a") };
            assert_eq!(record(&row(&before, UnixMillis(1))), Some(before));
        }
        for breaker in [BreakerState::Closed, BreakerState::Degraded, BreakerState::Open, BreakerState::HalfOpen] {
            let before = StateRecord { breaker, ..plain("a") };
            assert_eq!(record(&row(&before, UnixMillis(1))), Some(before));
        }
    }

    #[test]
    fn a_word_that_nobody_knows_begins_afresh() {
        let known = row(&record_of("a", 1), UnixMillis(1));

        let strange = ConnectionStateRow { breaker: "ajar".into(), ..known.clone() };
        let newer = ConnectionStateRow { terminal: Some("retired".into()), ..known };

        assert_eq!((record(&strange), record(&newer)), (None, None));
    }

    #[test]
    fn what_matters_most_is_given_as_the_reason() {
        let resting = StateRecord { terminal: None, ..record_of("a", 1) };
        let open = StateRecord { cooldown: None, ..resting.clone() };

        let reasons = [record_of("a", 1), resting, open, plain("a")].map(|record| row(&record, UnixMillis(1)).reason);

        assert_eq!(reasons.map(|reason| reason.unwrap_or_default()), ["expired", "rate_limited", "overloaded", ""]);
    }

    #[tokio::test]
    async fn the_latest_record_of_each_connection_reaches_the_store_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let (saver, mut saving) = StateSaver::new(store.clone(), clock());

        (0..100).for_each(|level| saver.save(record_of("a", level)));
        saver.save(record_of("b", 1));
        assert!(saving.gather(None).await);
        let waiting = saving.fresh.len();
        assert!(saving.write().await);

        let rows = store.connection_states().load_all().await.unwrap();
        let levels: Vec<_> = rows.iter().map(|row| (row.connection_id.as_str(), row.backoff_level)).collect();
        assert_eq!((waiting, levels), (2, vec![("a", 99), ("b", 1)]));
    }

    #[tokio::test]
    async fn a_flush_returns_when_the_store_has_everything() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let (saver, saving) = StateSaver::new(store.clone(), clock());
        let task = tokio::spawn(saving.run());

        saver.save(record_of("a", 3));
        saver.flush().await;

        assert_eq!(store.connection_states().load_all().await.unwrap().len(), 1);
        drop(saver);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_saved_before_the_end_is_written_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let (saver, saving) = StateSaver::new(store.clone(), clock());

        saver.save(record_of("a", 3));
        drop(saver);
        saving.run().await;

        assert_eq!(store.connection_states().load_all().await.unwrap().len(), 1);
    }
}
