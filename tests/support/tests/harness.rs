//! The harness keeps its word about processes; the mock stands in for the gateway.

use std::time::Duration;

use omniroute_testkit::gateway::{Builder, Gateway, Signal};
use omniroute_testkit::http::{self, Request};
use omniroute_testkit::proc;

fn program() -> Builder {
    Gateway::builder(env!("CARGO_BIN_EXE_mock-upstream"))
}

#[tokio::test]
async fn a_started_program_answers_is_measured_and_ends_with_its_harness() {
    let mut gateway = program().start().await;
    let pid = gateway.pid();

    let answer = gateway.ask(&Request::chat("m", "hello", false)).await;

    assert_eq!(answer.status(), 200);
    assert!(gateway.is_running() && gateway.rss_bytes() > 500_000 && gateway.cpu_ms() < 5_000);
    drop(gateway);
    assert_eq!(proc::rss_bytes(pid), None, "the process is gone");
}

#[tokio::test]
async fn an_orderly_end_has_its_status_and_its_log() {
    let mut gateway = program().start().await;

    gateway.signal(Signal::TERM);
    let status = gateway.ended(Duration::from_secs(5)).await;

    assert_eq!(status.code(), Some(0));
    assert!(gateway.log().contains(&gateway.addr.to_string()));
}

#[tokio::test]
async fn restarts_keep_the_port_and_the_data() {
    let mut gateway = program().start().await;
    let (addr, data, first) = (gateway.addr, gateway.data_dir.clone(), gateway.pid());

    gateway.restart().await;
    let second = gateway.pid();
    gateway.kill_and_restart().await;

    assert!(first != second && second != gateway.pid());
    assert_eq!((gateway.addr, &gateway.data_dir), (addr, &data));
    assert_eq!(gateway.ask(&Request::get("/v1/models")).await.status(), 200);
}

#[tokio::test]
async fn nobody_else_answers_on_the_port_of_a_killed_program() {
    let mut gateway = program().start().await;

    gateway.kill().await;

    let refused = http::request(gateway.addr, &Request::get("/readyz")).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!gateway.is_running());
}

#[tokio::test]
async fn a_stopped_program_is_silent_until_it_goes_on() {
    let gateway = program().start().await;
    let ask = async || http::request(gateway.addr, &Request::get("/readyz")).await;

    gateway.signal(Signal::STOP);
    let silent = tokio::time::timeout(Duration::from_millis(100), ask()).await;
    gateway.signal(Signal::CONT);
    let answer = tokio::time::timeout(Duration::from_secs(5), ask()).await;

    assert!(silent.is_err());
    assert_eq!(answer.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_reported_with_its_log_and_status() {
    let failure = program().arg("--nonsense").arg("1").try_start().await.unwrap_err();

    assert_eq!(failure.status.unwrap().code(), Some(64));
    assert!(failure.log.contains("unknown option --nonsense"));
}
