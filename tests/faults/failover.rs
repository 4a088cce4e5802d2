//! An upstream dies under a running load: while another lives, nobody notices who had not read content yet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use omniroute_testkit::http;

use crate::common::{End, PATIENCE, Site, alone, calm, chat, end_of, soon};

/// What the clients of a load saw.
#[derive(Debug, Default)]
struct Seen {
    whole: AtomicU64,
    ended_by_error_event: AtomicU64,
    failed: AtomicU64,
    over: AtomicBool,
}

impl Seen {
    fn finished(&self) -> u64 {
        self.whole.load(SeqCst)
    }
}

/// Ask again and again until it is over; what fails is written down by its text.
async fn client(addr: SocketAddr, stream: bool, seen: Arc<Seen>) -> Vec<String> {
    let mut failures = Vec::new();
    while !seen.over.load(SeqCst) {
        match one(addr, stream).await {
            Ok(End::Whole) => drop(seen.whole.fetch_add(1, SeqCst)),
            Ok(End::Error) => drop(seen.ended_by_error_event.fetch_add(1, SeqCst)),
            Ok(End::Bare) => failures.push("a bare end".to_owned()),
            Err(problem) => failures.push(problem),
        }
    }
    seen.failed.fetch_add(failures.len() as u64, SeqCst);
    failures
}

async fn one(addr: SocketAddr, stream: bool) -> Result<End, String> {
    let answer = http::stream(addr, &chat("team", stream)).await.map_err(|error| error.to_string())?;
    let status = answer.head.status;
    let tail = answer.rest().await;
    match (status, stream) {
        (200, true) if end_of(&tail) == End::Error && !tail.text.contains("tok") => {
            Err(format!("an error event although no content had been sent: {}", tail.text))
        }
        (200, true) => Ok(end_of(&tail)),
        (200, false) if tail.cut.is_none() && tail.text.ends_with('}') => Ok(End::Whole),
        _ => Err(format!("{status} {}", tail.text)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_one_of_two_upstreams_fails_no_request_that_had_no_content_yet() {
    let _turn = alone().await;
    let mut site = Site::open(calm()).await;
    site.a.control.always("ok tokens=10 delay_ms=10 first_delay_ms=10");
    site.b.control.always("ok tokens=10 delay_ms=10 first_delay_ms=10");
    let seen = Arc::new(Seen::default());
    let clients: Vec<_> = (0..24).map(|n| tokio::spawn(client(site.gateway.addr, n % 2 == 0, seen.clone()))).collect();

    let reached = async |more: u64| {
        let goal = seen.finished() + more;
        soon("the load", async {
            while seen.finished() < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    reached(50).await;
    site.a.crash().await;
    reached(100).await;
    let served_by_b = site.b.control.stats().total.started;
    site.a.listen_again().await;
    reached(50).await;
    seen.over.store(true, SeqCst);
    let mut failures = Vec::new();
    for client in clients {
        failures.extend(soon("the end of a client", client).await.unwrap());
    }

    assert!(failures.is_empty(), "{failures:?}; {seen:?}");
    assert!(served_by_b >= 50, "{served_by_b}");
    assert!(seen.ended_by_error_event.load(SeqCst) <= 12, "at most the streams that were running: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_goes_away_in_order_is_invisible_too() {
    let _turn = alone().await;
    let mut site = Site::open(calm()).await;
    let seen = Arc::new(Seen::default());
    let clients: Vec<_> = (0..16).map(|n| tokio::spawn(client(site.gateway.addr, n % 2 == 0, seen.clone()))).collect();

    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        site.a.refuse().await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        site.a.listen_again().await;
    }
    seen.over.store(true, SeqCst);
    let mut failures = Vec::new();
    for client in clients {
        failures.extend(soon("the end of a client", client).await.unwrap());
    }

    assert!(failures.is_empty(), "{:?}; {seen:?}", failures.iter().take(5).collect::<Vec<_>>());
    assert_eq!(seen.ended_by_error_event.load(SeqCst), 0, "running answers were finished");
    assert!(seen.finished() > 100);
}

#[tokio::test]
async fn an_idle_connection_that_the_upstream_closed_is_no_failure() {
    let mut site = Site::open(calm()).await;
    site.ask(false).await;
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.open_connections > 0).await);

    site.a.refuse().await;
    site.a.listen_again().await;
    let answer = site.ask(false).await;

    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(site.state_of_a().await["counts"]["consecutiveFailures"], 0);
}
