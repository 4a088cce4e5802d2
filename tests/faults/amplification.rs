//! Retries are bounded: whatever breaks, the upstreams together see at most a fifth more calls than the clients made, a
//! `Retry-After` is never cut short, and everybody is back soon after the fault is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use omniroute_testkit::gateway::Builder;
use omniroute_testkit::http::{self, Response};
use omniroute_testkit::mock::{MockUpstream, Recorded, Settings};

use crate::common::{Site, alone, calm, eventually, soon, state_of, stranger};

/// How long a breaker of these tests is open at most, jitter included.
const OPEN: Duration = Duration::from_millis(2_200);
/// How long a fault lasts.
const FAULT: Duration = Duration::from_secs(4);
const CLIENTS: usize = 8;

/// Breakers and cooldowns as usual, only quicker.
fn quick() -> Builder {
    let (breaker, cooldown) = ("resilience.provider_breaker.apikey", "resilience.connection_cooldown.apikey");
    calm()
        .set(&format!("{breaker}.failure_threshold"), "5")
        .set(&format!("{breaker}.degradation_threshold"), "3")
        .set(&format!("{breaker}.minimum_calls"), "20")
        .set(&format!("{breaker}.reset_timeout_ms"), "1000")
        .set(&format!("{breaker}.max_open_ms"), "2000")
        .set(&format!("{cooldown}.base_cooldown_ms"), "500")
        .set(&format!("{cooldown}.max_cooldown_ms"), "2000")
        .set("deadlines.first_content_ms", "300")
        .set("routing.retry_budget_floor_per_s", "3")
}

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    requests: AtomicU64,
    /// Attempts beyond the first of each request.
    extra: AtomicU64,
    over: AtomicBool,
}

impl Seen {
    fn hear(&self, answer: &Response) {
        let attempts: u64 = answer.header("x-omniroute-attempts").and_then(|text| text.parse().ok()).unwrap_or(0);
        self.requests.fetch_add(1, SeqCst);
        self.extra.fetch_add(attempts.saturating_sub(1), SeqCst);
    }
}

/// A site whose one provider has two accounts, under a load that goes on until the fault is over and everybody is back.
struct Storm {
    site: Site,
    calls: u64,
    seen: Arc<Seen>,
    lasted: Duration,
    requests: Vec<Recorded>,
}

impl Storm {
    /// Break both accounts in this way, heal them, and wait until both serve again.
    async fn through(mut breaks: impl AsyncFnMut(&mut MockUpstream), stream: bool, kept_requests: usize) -> Self {
        let mut site = Site::open(quick()).await;
        let (mock, connections) = storm_target(&site, kept_requests).await;
        site.a = mock;
        let seen = Arc::new(Seen::default());
        let clients = load(&site, stream, &seen);

        let begin = Instant::now();
        breaks(&mut site.a).await;
        tokio::time::sleep(FAULT).await;
        let (calls, requests, lasted) =
            (site.a.control.stats().total.started, site.a.control.requests(), begin.elapsed());
        let (made, extra) = (seen.requests.load(SeqCst), seen.extra.load(SeqCst));
        heal(&mut site.a).await;
        let back = eventually(OPEN + Duration::from_secs(2), async || {
            let states = [state_of(&site.admin, &connections[0]).await, state_of(&site.admin, &connections[1]).await];
            states.iter().all(|now| now["state"] == "ready").then_some(())
        });
        let is_back = back.await.is_some();
        seen.over.store(true, SeqCst);
        for client in clients {
            soon("the end of a client", client).await.unwrap();
        }

        assert!(is_back, "not back after the fault: {}", site.admin.resilience().await["state"]);
        assert!(made > 50, "{made} requests are no load");
        seen.requests.store(made, SeqCst);
        seen.extra.store(extra, SeqCst);
        Storm { site, calls, seen, lasted, requests }
    }

    fn assert_bounded(&self) {
        let made = self.seen.requests.load(SeqCst);
        assert!(self.calls * 10 <= made * 12, "{} calls for {made} requests", self.calls);
        self.assert_within_budget();
    }

    /// A fifth of the requests, and ten a second that quiet traffic has in any case.
    fn assert_within_budget(&self) {
        let (made, extra) = (self.seen.requests.load(SeqCst), self.seen.extra.load(SeqCst));
        let allowed = made / 5 + 10 * self.lasted.as_secs();
        assert!(extra <= allowed, "{extra} extra attempts for {made} requests, {allowed} allowed");
    }
}

/// A mock that remembers as much as the test looks at, and two accounts there.
async fn storm_target(site: &Site, kept_requests: usize) -> (MockUpstream, Vec<String>) {
    let mock = MockUpstream::start_with(Settings { kept_requests, ..Settings::default() }).await.unwrap();
    let upstream = site.admin.add_upstream(&mock, "storm", &["sk-1", "sk-2"]).await;
    (mock, upstream.connections)
}

fn load(site: &Site, stream: bool, seen: &Arc<Seen>) -> Vec<tokio::task::JoinHandle<()>> {
    let addr = site.gateway.addr;
    let client = |_| {
        let seen = Arc::clone(seen);
        tokio::spawn(async move {
            while !seen.over.load(SeqCst) {
                if let Ok(answer) = http::request(addr, &stranger("storm/m", stream)).await {
                    seen.hear(&answer);
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        })
    };
    (0..CLIENTS).map(client).collect()
}

async fn heal(mock: &mut MockUpstream) {
    mock.control.always("ok tokens=1");
    mock.listen_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_every_call_are_not_amplified() {
    let _turn = alone().await;

    let storm = Storm::through(async |mock| mock.control.always("status code=500"), false, 0).await;

    storm.assert_bounded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_without_a_hint_are_not_amplified() {
    let _turn = alone().await;

    let storm = Storm::through(async |mock| mock.control.always("status code=429"), false, 0).await;

    storm.assert_bounded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_with_a_hint_see_no_call_before_it_is_over() {
    const HINT_US: u64 = 2_000_000;
    let _turn = alone().await;

    let storm = Storm::through(async |mock| mock.control.always("status code=429 retry_after=2"), false, 4096).await;

    storm.assert_bounded();
    for key in ["sk-1", "sk-2"] {
        let own: Vec<_> = storm.requests.iter().filter(|request| request.key == key).collect();
        assert!(own.len() >= 2, "{key} was asked again when its time was up: {own:?}");
        for limited in &own {
            let told = limited.head_us.expect("an answer");
            // Calls that were on their way when the limit was told are nobody's disobedience.
            let early = |at: u64| at > told + 200_000 && at + 10_000 < told + HINT_US;
            let disobeyed: Vec<_> = own.iter().filter(|other| early(other.started_us)).collect();
            assert!(disobeyed.is_empty(), "{key} at {told}: {disobeyed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_connections_are_not_amplified() {
    let _turn = alone().await;

    let storm = Storm::through(async |mock| mock.refuse().await, false, 0).await;

    // What is refused is never seen by the mock: the clients' own count of attempts says it.
    storm.assert_within_budget();
    let made = storm.seen.requests.load(SeqCst);
    let log = storm.site.gateway.log();
    let failed = log.matches("an attempt failed").count() as u64;
    assert!(failed * 10 <= made * 12, "{failed} attempts for {made} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_never_answer_are_not_amplified() {
    let _turn = alone().await;

    let storm = Storm::through(async |mock| mock.control.always("hang_before_head"), true, 0).await;

    storm.assert_bounded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flapping_is_not_amplified() {
    let _turn = alone().await;

    let storm =
        Storm::through(async |mock| mock.control.always("status code=503 phase_ms=500 tokens=1"), false, 0).await;

    storm.assert_bounded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brown_out_below_every_threshold_is_not_amplified() {
    let _turn = alone().await;

    let storm = Storm::through(async |mock| mock.control.always("status code=503 share=40 tokens=1"), false, 0).await;

    storm.assert_within_budget();
}
