//! What a test says to the mock and asks from it.
//!
//! Behaviours are chosen in this order: a marker in the prompt, the queue of the request's key, the standing behaviour of the
//! key, the common queue, the common standing behaviour, and at last a plain complete answer.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::behaviour::{Behaviour, Kind, Unknown};
use super::record::{Recorded, Recorder};

#[expect(
    clippy::disallowed_types,
    reason = "a test tool that several threads script; no request of the gateway passes here"
)]
pub(super) type Lock<T> = std::sync::Mutex<T>;

/// Lock even if another holder panicked: the counts stay usable for the failing test's message.
pub(super) fn lock<T>(lock: &Lock<T>) -> impl std::ops::DerefMut<Target = T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shared state of one mock.
#[derive(Debug)]
pub struct Control {
    common: Arc<Account>,
    accounts: Lock<HashMap<String, Arc<Account>>>,
    plain: Arc<Behaviour>,
    pub(super) recorder: Recorder,
    pub(super) connections: AtomicU64,
    pub(super) open_connections: AtomicU64,
    pub(super) model_lists: AtomicU64,
    cancels: Lock<VecDeque<u64>>,
    epoch: Instant,
}

const KEPT_CANCELS: usize = 10_000;

impl Control {
    pub(super) fn new(kept_requests: usize) -> Self {
        Control {
            common: Arc::default(),
            accounts: Lock::default(),
            plain: Arc::new(Behaviour::new(Kind::Ok)),
            recorder: Recorder::new(kept_requests),
            connections: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
            model_lists: AtomicU64::new(0),
            cancels: Lock::default(),
            epoch: Instant::now(),
        }
    }

    /// Every request without a better rule meets this behaviour from now on.
    pub fn always(&self, behaviour: impl Into<Behaviour>) {
        self.common.always(behaviour);
    }

    /// The next requests meet these behaviours, one each.
    pub fn script<B: Into<Behaviour>>(&self, behaviours: impl IntoIterator<Item = B>) {
        self.common.script(behaviours);
    }

    /// The account that a bearer key stands for: its own script and counts.
    pub fn account(&self, key: &str) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        if let Some(account) = accounts.get(key) {
            return account.clone();
        }
        accounts.entry(key.to_owned()).or_default().clone()
    }

    /// Apply `{"default": B, "queue": [B], "keys": {"sk-1": {"default": B, "queue": [B]}}}`; nothing changes on an error.
    pub fn apply(&self, order: &Value) -> Result<(), Unknown> {
        let common = Order::read(order, &["default", "queue", "keys"])?;
        let keys = order.get("keys").and_then(Value::as_object).into_iter().flatten();
        let keys: Vec<_> =
            keys.map(|(key, order)| Ok((key, Order::read(order, &["default", "queue"])?))).collect::<Result<_, _>>()?;
        self.common.obey(common);
        keys.into_iter().for_each(|(key, order)| self.account(key).obey(order));
        Ok(())
    }

    /// Forget scripts, counts and recorded requests; open connections stay.
    pub fn reset(&self) {
        self.common.reset();
        lock(&self.accounts).values().for_each(|account| account.reset());
        self.recorder.clear();
        self.connections.store(0, SeqCst);
        self.model_lists.store(0, SeqCst);
        lock(&self.cancels).clear();
    }

    /// Everything counted so far.
    pub fn stats(&self) -> Stats {
        let keys = lock(&self.accounts).iter().map(|(key, account)| (key.clone(), account.counts())).collect();
        Stats {
            now_us: self.now_us(),
            connections: self.connections.load(SeqCst),
            open_connections: self.open_connections.load(SeqCst),
            model_lists: self.model_lists.load(SeqCst),
            total: self.common.counts(),
            cancels_us: lock(&self.cancels).iter().copied().collect(),
            keys,
        }
    }

    /// The last recorded requests, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.recorder.last(usize::MAX)
    }

    /// Microseconds since this mock started; the clock of every timestamp here.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Wait until the counts satisfy `condition`, at most `patience`; says whether they did.
    pub async fn wait_until(&self, patience: Duration, condition: impl Fn(&Stats) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while !condition(&self.stats()) {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// The counts once no request is under way: a client can hold its answer a moment before the mock has counted it.
    ///
    /// # Panics
    /// When a request is still under way after 5 seconds.
    pub async fn settled(&self) -> Stats {
        let idle = |stats: &Stats| {
            let Counts { started, answered, cancelled, in_flight, .. } = stats.total;
            in_flight == 0 && answered + cancelled >= started
        };
        let idle = self.wait_until(Duration::from_secs(5), idle).await;
        assert!(idle, "a request is still under way: {:?}", self.stats());
        self.stats()
    }

    /// The scripted behaviour for a request of `account`.
    pub(super) fn choose(&self, account: &Account) -> Arc<Behaviour> {
        let chosen = account.take().or_else(|| self.common.take());
        chosen.unwrap_or_else(|| self.plain.clone())
    }

    /// What a request that uses up no script meets.
    pub(super) fn standing(&self, account: &Account) -> Arc<Behaviour> {
        let standing = account.standing().or_else(|| self.common.standing());
        standing.unwrap_or_else(|| self.plain.clone())
    }

    pub(super) fn started(&self, account: &Account) {
        self.common.started();
        account.started();
    }

    pub(super) fn answered(&self, account: &Account) {
        account.answered();
        self.common.answered();
    }

    pub(super) fn cancelled(&self, account: &Account) {
        let mut cancels = lock(&self.cancels);
        if cancels.len() == KEPT_CANCELS {
            cancels.pop_front();
        }
        cancels.push_back(self.now_us());
        drop(cancels);
        account.cancelled();
        self.common.cancelled();
    }

    pub(super) fn plain(&self) -> Arc<Behaviour> {
        self.plain.clone()
    }
}

/// The script and the counts of one bearer key (or of all together).
#[derive(Debug, Default)]
pub struct Account {
    scripted: AtomicBool,
    script: Lock<Order>,
    started: AtomicU64,
    answered: AtomicU64,
    cancelled: AtomicU64,
    in_flight: AtomicU64,
    peak_in_flight: AtomicU64,
}

impl Account {
    /// Every request of this key meets this behaviour from now on.
    pub fn always(&self, behaviour: impl Into<Behaviour>) {
        self.obey(Order { standing: Some(Arc::new(behaviour.into())), queue: VecDeque::new() });
    }

    /// The next requests of this key meet these behaviours, one each.
    pub fn script<B: Into<Behaviour>>(&self, behaviours: impl IntoIterator<Item = B>) {
        let queue = behaviours.into_iter().map(|behaviour| Arc::new(behaviour.into())).collect();
        self.obey(Order { standing: None, queue });
    }

    /// What was counted for this key.
    pub fn counts(&self) -> Counts {
        Counts {
            started: self.started.load(SeqCst),
            answered: self.answered.load(SeqCst),
            cancelled: self.cancelled.load(SeqCst),
            in_flight: self.in_flight.load(SeqCst),
            peak_in_flight: self.peak_in_flight.load(SeqCst),
        }
    }

    fn obey(&self, order: Order) {
        let mut script = lock(&self.script);
        script.queue.extend(order.queue);
        script.standing = order.standing.or(script.standing.take());
        self.scripted.store(true, SeqCst);
    }

    fn take(&self) -> Option<Arc<Behaviour>> {
        if !self.scripted.load(SeqCst) {
            return None;
        }
        let mut script = lock(&self.script);
        script.queue.pop_front().or_else(|| script.standing.clone())
    }

    fn standing(&self) -> Option<Arc<Behaviour>> {
        lock(&self.script).standing.clone()
    }

    fn reset(&self) {
        *lock(&self.script) = Order::default();
        self.scripted.store(false, SeqCst);
        for count in [&self.started, &self.answered, &self.cancelled, &self.peak_in_flight] {
            count.store(0, SeqCst);
        }
    }

    fn started(&self) {
        self.started.fetch_add(1, SeqCst);
        let now = self.in_flight.fetch_add(1, SeqCst) + 1;
        self.peak_in_flight.fetch_max(now, SeqCst);
    }

    // The count that tests wait for moves last: who sees it sees the others too.
    fn answered(&self) {
        self.in_flight.fetch_sub(1, SeqCst);
        self.answered.fetch_add(1, SeqCst);
    }

    fn cancelled(&self) {
        self.in_flight.fetch_sub(1, SeqCst);
        self.cancelled.fetch_add(1, SeqCst);
    }
}

/// A change of script.
#[derive(Debug, Default)]
struct Order {
    standing: Option<Arc<Behaviour>>,
    queue: VecDeque<Arc<Behaviour>>,
}

impl Order {
    fn read(order: &Value, known: &[&str]) -> Result<Self, Unknown> {
        let fields = order.as_object().ok_or_else(|| Unknown("an order that is no object".into()))?;
        if let Some(stranger) = fields.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(Unknown(format!("the order {stranger:?}")));
        }
        let one = |value: &Value| Behaviour::from_json(value).map(Arc::new);
        let standing = fields.get("default").map(one).transpose()?;
        let queue = fields.get("queue").and_then(Value::as_array).into_iter().flatten();
        Ok(Order { standing, queue: queue.map(one).collect::<Result<_, _>>()? })
    }
}

/// Counts of chat requests. `started = answered + cancelled + in_flight`; an answer broken on purpose counts as answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Requests read to their end.
    pub started: u64,
    /// Requests answered as planned.
    pub answered: u64,
    /// Requests whose client hung up before the answer was complete.
    pub cancelled: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// The most requests that were being answered at one moment.
    pub peak_in_flight: u64,
}

/// Everything a mock counts; times are microseconds on the mock's clock.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// The clock when these counts were read.
    pub now_us: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// Answers to `GET /models`.
    pub model_lists: u64,
    /// Chat requests of all keys together.
    #[serde(flatten)]
    pub total: Counts,
    /// When clients hung up, oldest first.
    pub cancels_us: Vec<u64>,
    /// Chat requests per bearer key.
    pub keys: HashMap<String, Counts>,
}
