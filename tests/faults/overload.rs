//! More calls than the gateway takes on: the others are refused at once, and a key that floods it is refused first. The
//! rows of the fault matrix about a process that has too little of the machine:
//!
//! | # | fault | what follows | tests |
//! |---|---|---|---|
//! | 59 | a limit of memory | new calls are refused from 85 % of it on, before the kernel ends the process; afterwards it recovers | `faults/overload::under_a_limit_of_memory_calls_are_refused_before_the_kernel_ends_the_process` `src/infra/memory::a_limit_is_looked_for_in_the_own_group_and_in_those_around_it` |
//! | 60 | the process stands still | what it lost is given back to the deadlines, twice their length at most; the provider is not blamed | `faults/overload::a_deadline_that_passed_while_the_process_stood_still_blames_nobody` `src/infra/lateness::time_that_the_thread_lost_is_given_back` `src/infra/lateness::no_more_is_given_back_than_was_meant_and_then_it_is_our_own_fault` |

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use omniroute_testkit::gateway::Signal;
use omniroute_testkit::http::{self, Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::table;
use crate::common::{KEY, PATIENCE, Site, alone, calm, chat, error_of, soon};

const MOST: usize = 20;

async fn full(site: &Site, calls: usize) -> Vec<tokio::task::JoinHandle<Response>> {
    site.a.control.always("ok first_delay_ms=3000");
    let addr = site.gateway.addr;
    let calls = (0..calls)
        .map(|_| tokio::spawn(async move { http::request(addr, &chat("a/m", false)).await.expect("an answer") }));
    let calls = calls.collect();
    let arrived = site.a.control.wait_until(PATIENCE, |stats| stats.total.started >= 16).await;
    assert!(arrived, "the first calls reach the provider");
    calls
}

fn with_key(key: &str) -> Request {
    Request::chat("a/m", "hello", false).key(key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_what_it_takes_on_calls_are_refused_at_once_and_those_let_in_end_well() {
    let _turn = alone().await;
    let site = Site::open(calm().set("overload.max_in_flight", &MOST.to_string())).await;

    let calls = full(&site, MOST).await;
    let (mut times, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let begin = Instant::now();
        refused.push(site.ask(false).await);
        times.push(begin.elapsed());
    }
    times.sort();

    for answer in &refused {
        assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
        assert_eq!(error_of(answer)["code"], "gateway_overloaded");
    }
    assert!(times[10] < Duration::from_millis(50), "{times:?}");
    for call in calls {
        assert_eq!(soon("a call that was let in", call).await.unwrap().status(), 200);
    }
    assert_eq!(site.a.control.stats().total.started, MOST as u64, "nothing refused has reached the provider");
    assert_eq!(site.ask(false).await.status(), 200, "and there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_floods_the_gateway_does_not_keep_another_one_out() {
    let _turn = alone().await;
    let site = Site::open(calm().set("overload.max_in_flight", &MOST.to_string())).await;
    let quiet = site.admin.create_key("quiet").await.key;

    let _calls = full(&site, MOST).await;
    let noisy = site.gateway.ask(&with_key(KEY)).await;
    let addr = site.gateway.addr;
    let asked = tokio::spawn(async move { http::request(addr, &with_key(&quiet)).await.expect("an answer") });
    site.a.control.wait_until(PATIENCE, |stats| stats.total.started > MOST as u64).await;
    let noisy_again = site.gateway.ask(&with_key(KEY)).await;

    assert_eq!(soon("the quiet key's call", asked).await.unwrap().status(), 200);
    assert_eq!((noisy.status(), noisy_again.status()), (503, 429));
    assert_eq!(error_of(&noisy_again)["code"], "key_share_exceeded");
    let page = site.admin.send(Request::get("/metrics")).await.text();
    assert!(page.contains(r#"omniroute_shed_requests_total{reason="key_share"} 1"#), "{page}");
}

#[test]
fn every_row_about_a_short_machine_has_its_test() {
    let rows = table::rows(include_str!("overload.rs"));

    assert_eq!(rows.iter().map(|row| row.label.as_str()).collect::<Vec<_>>(), ["59", "60"]);
    table::check(&rows);
}

#[tokio::test]
async fn a_deadline_that_passed_while_the_process_stood_still_blames_nobody() {
    let site = Site::open(calm().set("deadlines.first_content_ms", "3000")).await;
    site.a.control.always("ok first_delay_ms=4500");
    let addr = site.gateway.addr;
    let request = chat("a/m", true).header("x-request-id", "held-up");

    let asked = tokio::spawn(async move { http::request(addr, &request).await.expect("an answer") });
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.started == 1).await);
    site.gateway.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    site.gateway.signal(Signal::CONT);
    let answer = soon("the held up call", asked).await.unwrap();

    // Without the standstill, 4.5 s are too long for a deadline of 3 s: `faults/deadlines` shows it.
    assert_eq!((answer.status(), answer.header("x-omniroute-attempts")), (200, Some("1")), "{}", answer.text());
    let now = site.state_of_a().await;
    assert_eq!((&now["counts"]["windowFailures"], &now["lastError"]), (&0.into(), &serde_json::Value::Null), "{now}");
}

/// A control group of this test's own with a limit of memory.
struct Group(PathBuf);

impl Group {
    /// Nothing where this machine lets nobody make one, which is said.
    fn with_limit(bytes: u64) -> Option<Self> {
        let name = format!("omniroute-test-{}", std::process::id());
        let hierarchies = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let made = hierarchies.iter().find_map(|(root, limit)| {
            // Only a folder in which a limit appears by itself is a control group.
            let group = Self(Path::new(root).join(&name));
            fs::create_dir(&group.0).ok()?;
            let limit = group.0.join(limit);
            (limit.exists() && fs::write(limit, bytes.to_string()).is_ok()).then_some(group)
        });
        if made.is_none() {
            eprintln!("SKIPPED: no control group with a limit of memory can be made on this machine");
        }
        made
    }

    fn take(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a process of ours");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group with a process in it stays; it goes with the process.
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_limit_of_memory_calls_are_refused_before_the_kernel_ends_the_process() {
    const LIMIT: u64 = 512 << 20;
    const MOST: usize = 120;
    let _turn = alone().await;
    let Some(group) = Group::with_limit(LIMIT) else { return };
    let mut site = Site::open(calm()).await;
    group.take(site.gateway.pid());
    site.a.control.always("huge_token bytes=16000000");

    // Answers of 16 MB, more than the kernel keeps, whose clients do not read: each stays in memory, until there is no more of it.
    let (mut held, mut refused) = (Vec::new(), None);
    while refused.is_none() && held.len() < MOST {
        let mut client = TcpStream::connect(site.gateway.addr).await.unwrap();
        client.write_all(&chat("a/m", false).to_bytes(site.gateway.addr)).await.unwrap();
        let wanted = held.len() as u64 + 1;
        held.push(client);
        site.a.control.wait_until(Duration::from_secs(1), |stats| stats.total.answered >= wanted).await;
        let tight = site.gateway.rss_bytes() > LIMIT / 2;
        refused =
            if tight { Some(site.gateway.ask(&chat("b/m", false)).await).filter(|a| a.status() == 503) } else { None };
    }
    let (alive, used) = (site.gateway.is_running(), site.gateway.rss_bytes());
    drop(held);
    let back = crate::common::eventually(PATIENCE * 3, async || {
        (site.gateway.ask(&chat("b/m", false)).await.status() == 200).then_some(())
    });

    let refused = refused.unwrap_or_else(|| panic!("nothing was refused at {} MB", used >> 20));
    assert_eq!(
        (error_of(&refused)["code"].as_str(), refused.header("retry-after")),
        (Some("gateway_overloaded"), Some("1"))
    );
    assert!(alive && used < LIMIT, "{} MB", used >> 20);
    assert!(back.await.is_some(), "it does not recover; the log:\n{}", site.gateway.log());
}
