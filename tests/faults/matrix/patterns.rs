//! Rows about what only shows over time: flapping, and an account that became slow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use omniroute_testkit::http;

use crate::common::{Site, alone, calm, soon, stranger, touchy};

/// What a crowd saw.
#[derive(Debug, Default)]
struct Seen {
    good: AtomicU64,
    bad: AtomicU64,
    over: AtomicBool,
}

/// Clients that ask again and again, with a short breath between.
fn crowd(addr: SocketAddr, clients: usize, model: &'static str, seen: &Arc<Seen>) -> Vec<tokio::task::JoinHandle<()>> {
    let ask = |_| {
        let seen = Arc::clone(seen);
        tokio::spawn(async move {
            while !seen.over.load(SeqCst) {
                let answer = http::request(addr, &stranger(model, false)).await;
                let is_good = answer.is_ok_and(|answer| answer.status() == 200);
                if is_good { &seen.good } else { &seen.bad }.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    (0..clients).map(ask).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_flaps_is_left_alone_for_longer_each_time() {
    const OPEN_MS: u64 = 1_000;
    let _turn = alone().await;
    let site = Site::open(touchy(OPEN_MS).set("routing.retry_budget_floor_per_s", "3")).await;
    // Down whenever a probe of the first cycle comes, often enough up to close it in between.
    site.a.control.always("status code=503 phase_ms=700");
    let seen = Arc::new(Seen::default());
    let clients = crowd(site.gateway.addr, 4, "team", &seen);

    let (begin, mut opened) = (Instant::now(), Vec::new());
    let mut generation = 0;
    while begin.elapsed() < Duration::from_secs(9) {
        let now = site.state_of_a().await;
        let current = now["generation"].as_u64().unwrap();
        if now["state"] == "open" && current != generation {
            generation = current;
            opened.push((begin.elapsed(), now["openCycles"].as_u64().unwrap()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen.over.store(true, SeqCst);
    for client in clients {
        soon("the end of a client", client).await.unwrap();
    }

    let (good, bad) = (seen.good.load(SeqCst), seen.bad.load(SeqCst));
    assert!(good * 100 >= (good + bad) * 95 && good > 200, "{seen:?}");
    let gaps: Vec<_> = opened.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(opened.len() >= 2 && opened.iter().any(|(_, cycles)| *cycles >= 2), "open times grow: {opened:?}");
    // Chance spreads the longer times, down to the first one and never below.
    let shortest = Duration::from_millis(OPEN_MS - 100);
    assert!(gaps.iter().all(|gap| *gap >= shortest), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_became_slow_gets_little_of_the_traffic() {
    let _turn = alone().await;
    let site = Site::open(calm()).await;
    site.admin.create_connection(&site.at_a.node, "second", "sk-second").await;
    let become_slow = || {
        site.a.control.account("sk-a").always("ok tokens=1 first_delay_ms=400");
        site.a.control.account("sk-second").always("ok tokens=1 first_delay_ms=40");
    };
    become_slow();
    let seen = Arc::new(Seen::default());

    let clients = crowd(site.gateway.addr, 12, "a/m", &seen);
    // The first answers tell that it is slow; what counts is what follows from it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    site.a.control.reset();
    become_slow();
    tokio::time::sleep(Duration::from_secs(3)).await;
    seen.over.store(true, SeqCst);
    for client in clients {
        soon("the end of a client", client).await.unwrap();
    }

    let slow = site.a.control.account("sk-a").counts();
    let quick = site.a.control.account("sk-second").counts();
    assert_eq!(seen.bad.load(SeqCst), 0);
    assert!(slow.started * 4 < quick.started, "{slow:?} {quick:?}");
    assert!(slow.peak_in_flight <= 8, "nothing piles up behind it: {slow:?}");
}
