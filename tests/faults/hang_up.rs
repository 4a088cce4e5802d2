//! Clients that leave: the upstream stops working for them at once, and nobody is blamed.

use std::time::Duration;

use omniroute_testkit::http::{Connection, HangUp, Request};
use serde_json::json;

use crate::common::{PATIENCE, Site, alone, calm, chat, eventually};

/// A moment of a call, reached by this behaviour.
struct Phase {
    name: &'static str,
    behaviour: &'static str,
    stream: bool,
    /// Read the head and some content before leaving.
    reads: bool,
}

const PHASES: [Phase; 5] = [
    Phase { name: "stream, before the head", behaviour: "hang_before_head", stream: true, reads: false },
    Phase { name: "stream, before the first content", behaviour: "hang_after_head", stream: true, reads: false },
    Phase { name: "mid-stream", behaviour: "ok tokens=5000 delay_ms=20", stream: true, reads: true },
    Phase { name: "mid-stream, in a silence", behaviour: "stall_after n=3", stream: true, reads: true },
    Phase { name: "not streamed", behaviour: "ok first_delay_ms=30000", stream: false, reads: false },
];

/// Begin a call, leave in this phase, and say how long the upstream worked on in microseconds.
async fn leave(site: &Site, phase: &Phase, how: HangUp, id: &str) -> Option<u64> {
    site.a.control.reset();
    site.a.control.always(phase.behaviour);
    let mut client = Connection::open(site.gateway.addr).await.unwrap();
    let request: Request = chat("a/m", phase.stream).header("x-request-id", id);
    client.send(&request).await.unwrap();
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.in_flight == 1).await, "{}", phase.name);
    if phase.reads {
        assert_eq!(client.head().await.unwrap().status, 200);
        client.next().await.unwrap();
    } else {
        // The head that the mock sends in some phases is on its way to the gateway.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let left = site.a.control.now_us();
    client.hang_up(how);
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.cancelled == 1).await, "{} {how:?}", phase.name);
    site.a.control.stats().cancels_us.first().map(|at| at.saturating_sub(left))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_in_any_phase_cancels_the_upstream_within_100_ms() {
    let _turn = alone().await;
    let site = Site::open(calm()).await;

    for phase in &PHASES {
        for how in [HangUp::Fin, HangUp::Rst] {
            let mut took = Vec::new();
            for round in 0..5 {
                took.push(leave(&site, phase, how, &format!("leave-{round}-{how:?}")).await);
            }
            took.sort_unstable();

            // A busy machine may delay one of them; a hang-up that nobody notices costs seconds, each time.
            assert!(took[2] < Some(100_000) && took[4] < Some(1_000_000), "{} {how:?}: {took:?} us", phase.name);
        }
    }
}

#[tokio::test]
async fn a_client_that_left_gives_its_slot_back_is_recorded_and_blames_nobody() {
    let site = Site::open(calm()).await;

    for (n, phase) in PHASES.iter().enumerate() {
        let id = format!("gone-{n}");
        leave(&site, phase, if n % 2 == 0 { HangUp::Fin } else { HangUp::Rst }, &id).await;

        let free = eventually(PATIENCE, async || Some(site.state_of_a().await).filter(|now| now["inFlight"] == 0));
        let now = free.await.unwrap_or_else(|| panic!("{}: the slot is still taken", phase.name));
        assert_eq!(
            (&now["state"], &now["counts"]["consecutiveFailures"]),
            (&json!("ready"), &json!(0)),
            "{}: {now}",
            phase.name
        );
        let record = site.record(&id).await;
        assert_eq!(record.outcome, "client_gone", "{}: {record:?}", phase.name);
        assert!(record.connection_id.is_none() && record.streamed == phase.stream);
    }
}

#[tokio::test]
async fn what_a_client_read_before_it_left_is_in_its_record() {
    let site = Site::open(calm()).await;

    leave(&site, &PHASES[2], HangUp::Fin, "partly").await;

    let record = site.record("partly").await;
    assert!(record.completion_tokens > 0 && record.prompt_tokens > 0, "{record:?}");
}

#[tokio::test]
async fn a_client_that_leaves_during_its_body_costs_nothing() {
    let site = Site::open(calm()).await;
    let request = chat("a/m", false);
    let bytes = request.to_bytes(site.gateway.addr);

    for how in [HangUp::Fin, HangUp::Rst] {
        let mut client = Connection::open(site.gateway.addr).await.unwrap();
        client.send_bytes(&bytes[..bytes.len() - 5]).await.unwrap();
        client.hang_up(how);
    }

    assert_eq!(site.ask(false).await.status(), 200);
    assert_eq!(site.a.control.settled().await.total.started, 1);
}
