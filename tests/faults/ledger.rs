//! `kill -9` under load: what a client has read whole is in the usage table afterwards, and nothing is there twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use omniroute_testkit::http::Connection;
use tokio::task::JoinSet;

use crate::common::{Site, alone, calm, chat, database, eventually};

const KILLS: usize = 50;
const CLIENTS: usize = 32;

/// Counts what all clients read whole, and tells them when it is over.
#[derive(Debug, Default)]
struct Load {
    whole: AtomicU64,
    over: AtomicBool,
}

/// Ask again and again; the ids of the answers that were read to their end are the result.
async fn client(addr: SocketAddr, number: usize, load: Arc<Load>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut connection = None;
    for turn in 0.. {
        if load.over.load(SeqCst) {
            break;
        }
        let id = format!("c{number}-{turn}");
        match ask(&mut connection, addr, &id, turn % 2 == 0).await {
            Some(true) => {
                load.whole.fetch_add(1, SeqCst);
                acknowledged.push(id);
            }
            Some(false) => {}
            None => {
                connection = None;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    acknowledged
}

/// Whether the answer was read whole; nothing when the connection is gone.
async fn ask(slot: &mut Option<Connection>, addr: SocketAddr, id: &str, stream: bool) -> Option<bool> {
    if slot.is_none() {
        *slot = Some(Connection::open(addr).await.ok()?);
    }
    let answer = slot.as_mut()?.ask(&chat("a/m", stream).header("x-request-id", id)).await.ok()?;
    let whole = if stream { answer.text().trim_end().ends_with("data: [DONE]") } else { answer.text().ends_with('}') };
    Some(answer.status() == 200 && whole)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_fifty_kills_under_load_lose_no_acknowledged_record_and_double_none() {
    let _turn = alone().await;
    let mut site = Site::open(calm()).await;
    site.a.control.always("ok tokens=3 first_delay_ms=5");
    let load = Arc::new(Load::default());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(site.gateway.addr, number, load.clone()));
    }

    let mut starts = Vec::new();
    for kill in 0..KILLS {
        let goal = load.whole.load(SeqCst) + 100 + 37 * (kill as u64 % 5);
        let served = eventually(Duration::from_secs(20), async || (load.whole.load(SeqCst) >= goal).then_some(()));
        assert!(served.await.is_some(), "kill {kill}: no load; the log:\n{}", site.gateway.log());
        site.gateway.kill().await;
        let begin = Instant::now();
        site.gateway.start_again().await;
        starts.push(begin.elapsed());
    }
    load.over.store(true, SeqCst);
    let acknowledged: Vec<String> = clients.join_all().await.into_iter().flatten().collect();
    site.gateway.kill_and_restart().await;

    let data = site.gateway.data_dir.clone();
    let wanted = acknowledged.len();
    let lost = eventually(Duration::from_secs(20), async || {
        let stored = counted(&data);
        acknowledged.iter().all(|id| stored.contains_key(id)).then_some(())
    });
    assert!(lost.await.is_some(), "{} of {wanted} lost", missing(&data, &acknowledged).len());
    let doubled: Vec<_> = counted(&data).into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    assert_eq!(database::integrity(&data), "ok");
    starts.sort_unstable();
    // All clients hammer on the port meanwhile, so a busy machine may delay a few.
    let (most, slowest) = (starts[KILLS * 9 / 10], starts[KILLS - 1]);
    assert!(most < Duration::from_secs(1) && slowest < Duration::from_secs(5), "ready after {most:?}, {slowest:?}");
    assert!(wanted > KILLS * 50, "{wanted} answers were read");
}

fn counted(data: &std::path::Path) -> HashMap<String, usize> {
    database::usage(data).into_iter().fold(HashMap::new(), |mut all, record| {
        // The caller's id stands in front of the record's own.
        let asked = record.request_id.rsplit_once('.').map_or(record.request_id.as_str(), |(asked, _)| asked);
        *all.entry(asked.to_owned()).or_default() += 1;
        all
    })
}

fn missing(data: &std::path::Path, acknowledged: &[String]) -> Vec<String> {
    let stored = counted(data);
    acknowledged.iter().filter(|id| !stored.contains_key(*id)).cloned().collect()
}

#[tokio::test]
async fn a_record_is_stored_soon_after_its_answer_and_only_once() {
    let site = Site::open(calm()).await;

    for n in 0..10 {
        let request = chat("a/m", n % 2 == 0).header("x-request-id", &format!("r{n}"));
        assert_eq!(site.gateway.ask(&request).await.status(), 200);
    }
    site.record("r9").await;

    let stored = counted(&site.gateway.data_dir);
    assert_eq!((stored.len(), stored.values().max()), (10, Some(&1)));
}

#[tokio::test]
async fn a_request_that_failed_is_in_the_ledger_with_its_outcome() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=500");

    let answer = site.gateway.ask(&chat("a/m", false).header("x-request-id", "failed-1")).await;

    let record = site.record("failed-1").await;
    assert_eq!((answer.status(), record.status, record.outcome.as_str()), (502, 502, "server_fault"));
    assert_eq!(record.connection_id, None);
}

#[tokio::test]
async fn an_orderly_end_stores_everything_before_it_ends() {
    let mut site = Site::open(calm()).await;

    for n in 0..50 {
        let answer = site.gateway.ask(&chat("a/m", false).header("x-request-id", &format!("last-{n}"))).await;
        assert_eq!(answer.status(), 200);
    }
    site.gateway.signal(omniroute_testkit::gateway::Signal::TERM);
    site.gateway.ended(Duration::from_secs(10)).await;

    assert_eq!(database::usage(&site.gateway.data_dir).len(), 50);
}
