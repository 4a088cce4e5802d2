//! The gateway behind the real nginx with the shipped configuration: streams, hang-ups, addresses, restarts.

mod restart;
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use omniroute_testkit::gateway::{Builder, Gateway};
use omniroute_testkit::http::{self, Connection, HangUp, Request};
use omniroute_testkit::mock::MockUpstream;
use serde_json::json;

use server::Nginx;

/// Valid on every instance, whatever its store.
const KEY: &str = "sk-behind-nginx-0123456789abcdef";
const MODEL: &str = "mock/mock-model";

/// As the deployment files start it, with a drain that a test can wait for and no pacing of the one account.
fn instance() -> Builder {
    Gateway::builder(env!("CARGO_BIN_EXE_omniroute"))
        .set("server.trusted_proxies", "127.0.0.1")
        .set("server.drain_delay_ms", "300")
        .set("server.drain_timeout_s", "30")
        .set("server.workers", "2")
        .set("auth.service_key", KEY)
        .set("demo.enabled", "never")
        .set("resilience.request_queue.requests_per_minute", "1000000")
        .set("resilience.request_queue.min_time_between_requests_ms", "0")
        .set("resilience.request_queue.concurrent_requests", "1000")
}

fn chat(prompt: &str, stream: bool) -> Request {
    Request::chat(MODEL, prompt, stream).key(KEY)
}

/// A mock, an instance that knows it, and nginx before it.
struct Site {
    mock: MockUpstream,
    gateway: Gateway,
    nginx: Nginx,
}

impl Site {
    /// Nothing on a machine without nginx.
    async fn open() -> Option<Self> {
        let mock = MockUpstream::start().await;
        let gateway = instance().start().await;
        gateway.admin().await.add_upstream(&mock, "mock", &["sk-a"]).await;
        let nginx = Nginx::start([gateway.addr; 2]).await?;
        Some(Site { mock, gateway, nginx })
    }

    /// How long the first content takes on this way.
    async fn first_token(&self, addr: SocketAddr) -> Duration {
        let mut stream = http::stream(addr, &chat("hello", true)).await.expect("a stream");
        stream.read_until("tok0").await.expect("content");
        let taken = stream.sent.elapsed();
        assert!(stream.rest().await.cut.is_none());
        taken
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_passes_nginx_while_the_upstream_is_still_sending() {
    let Some(site) = Site::open().await else { return };
    site.mock.control.always("ok tokens=4 delay_ms=300");

    let mut stream = http::stream(site.nginx.addr, &chat("hello", true)).await.unwrap();
    stream.read_until("tok0").await.unwrap();
    let then = site.mock.control.stats().total;
    let rest = stream.rest().await;

    assert_eq!((then.in_flight, then.answered), (1, 0), "nginx held the first event back");
    assert!(rest.cut.is_none() && rest.text.trim_end().ends_with("data: [DONE]"), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_adds_less_than_five_milliseconds_to_the_first_token() {
    let Some(site) = Site::open().await else { return };
    site.mock.control.always("ok tokens=2 delay_ms=50");

    let (mut direct, mut proxied) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        direct.push(site.first_token(site.gateway.addr).await);
        proxied.push(site.first_token(site.nginx.addr).await);
    }
    direct.sort_unstable();
    proxied.sort_unstable();
    println!("first token: {:?} direct, {:?} through nginx (medians)", direct[7], proxied[7]);

    assert!(proxied[7] < direct[7] + Duration::from_millis(5), "medians {:?} and {:?}", direct[7], proxied[7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_at_nginx_cancels_the_upstream_within_100_ms() {
    let Some(site) = Site::open().await else { return };
    let phases = [("hang_before_head", true), ("ok tokens=2000 delay_ms=10", true), ("ok first_delay_ms=20000", false)];

    for (behaviour, stream) in phases {
        for how in [HangUp::Fin, HangUp::Rst] {
            site.mock.control.reset();
            site.mock.control.always(behaviour);
            let mut client = Connection::open(site.nginx.addr).await.unwrap();
            client.send(&chat("hello", stream)).await.unwrap();
            let patience = Duration::from_secs(5);
            assert!(site.mock.control.wait_until(patience, |stats| stats.total.in_flight == 1).await, "{behaviour}");
            tokio::time::sleep(Duration::from_millis(100)).await;

            let left = site.mock.control.now_us();
            client.hang_up(how);
            let cancelled = site.mock.control.wait_until(patience, |stats| stats.total.cancelled == 1).await;

            let took = site.mock.control.stats().cancels_us.first().map(|at| at.saturating_sub(left));
            println!("{behaviour}, {how:?}: cancelled after {took:?} us");
            assert!(cancelled && took < Some(100_000), "{behaviour} {how:?}: {took:?} us");
        }
    }
}

/// A wrong password from one of this machine's addresses, which claims to be another.
async fn wrong_login(nginx: SocketAddr, own: Ipv4Addr, claimed: &str) -> u16 {
    let origin = format!("http://{nginx}");
    let login = Request::post("/api/auth/login", &json!({"password": "wrong"})).header("Origin", &origin);
    let login = login.header("X-Forwarded-For", claimed).header("X-Real-IP", claimed);
    let login = login.header("Forwarded", &format!("for={claimed}"));
    let mut client = Connection::open_from(own, nginx).await.expect("a connection");
    client.ask(&login).await.expect("an answer").status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_that_counts_is_the_clients_own_and_not_the_one_it_claims() {
    let Some(site) = Site::open().await else { return };
    let [guesser, other] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];

    let mut answers = Vec::new();
    for n in 0..6 {
        answers.push(wrong_login(site.nginx.addr, guesser, &format!("203.0.113.{n}")).await);
    }
    let of_another = wrong_login(site.nginx.addr, other, "127.0.0.2").await;
    let log = site.gateway.admin().await.get("/api/compliance/audit-log?action=auth.login.failed").await;

    assert_eq!(answers, [401, 401, 401, 401, 401, 429], "another claimed address each time is no way round the lock");
    assert_eq!(of_another, 401, "and whoever claims the locked address is not locked out");
    let addresses: Vec<_> = log.as_array().into_iter().flatten().map(|entry| entry["ip"].clone()).collect();
    assert!(addresses.contains(&json!("127.0.0.2")) && addresses.contains(&json!("127.0.0.3")), "{log}");
    assert!(!log.to_string().contains("203.0.113."), "a claimed address stands in the log: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_above_the_limit_is_refused_and_one_below_passes() {
    let Some(site) = Site::open().await else { return };
    let ask = async |bytes: usize| {
        let mut client = Connection::open(site.nginx.addr).await.unwrap();
        // nginx answers by the announced length and may close while we still send.
        drop(client.send(&chat(&"a".repeat(bytes), false)).await);
        client.head().await.unwrap().status
    };

    let statuses = [ask(8 << 20).await, ask((64 << 20) + 1).await];

    assert_eq!(statuses, [200, 413]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_survives_a_reload_of_nginx() {
    let Some(site) = Site::open().await else { return };
    site.mock.control.always("ok tokens=20 delay_ms=50");
    let mut stream = http::stream(site.nginx.addr, &chat("hello", true)).await.unwrap();
    stream.read_until("tok0").await.unwrap();

    site.nginx.reload();
    let begin = Instant::now();
    let mut statuses = Vec::new();
    while begin.elapsed() < Duration::from_millis(500) {
        statuses.push(http::request(site.nginx.addr, &Request::get("/livez")).await.map(|answer| answer.status()));
    }
    let rest = stream.rest().await;

    assert!(rest.cut.is_none() && rest.text.contains("tok19") && rest.text.contains("[DONE]"), "{rest:?}");
    assert!(statuses.iter().all(|status| matches!(status, Ok(200))), "{statuses:?} {}", site.nginx.complaints());
}
