//! Clients that stop reading: what they asked for is given up, they are counted as gone, and their connection is closed.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use omniroute_testkit::gateway::Builder;
use omniroute_testkit::http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{PATIENCE, Site, calm, chat, eventually};

/// Larger than what the kernel keeps for both ends together.
const LARGE: &str = "huge_token bytes=24000000";

fn impatient() -> Builder {
    calm().set("deadlines.write_stall_ms", "1000")
}

/// A client's connection and the gateway's end of it.
struct Call {
    client: TcpStream,
    /// As the links in `/proc/PID/fd` name it.
    socket: String,
}

impl Call {
    /// Connect, ask, and read nothing.
    async fn begin(site: &Site, request: &Request) -> Self {
        let mut client = TcpStream::connect(site.gateway.addr).await.unwrap();
        client.write_all(&request.to_bytes(site.gateway.addr)).await.unwrap();
        let own = client.local_addr().unwrap().port();
        let found = eventually(PATIENCE, async || inode(site.gateway.addr.port(), own)).await;
        Self { client, socket: format!("socket:[{}]", found.expect("the gateway's end")) }
    }

    /// Whether the gateway closes its end; the client is not told by the kernel before it moves.
    async fn is_closed(&self, site: &Site) -> bool {
        eventually(PATIENCE, async || (!holds(site.gateway.pid(), &self.socket)).then_some(())).await.is_some()
    }

    /// Read what is left, to the end of the connection; how it ended.
    async fn read_on(mut self) -> io::Result<usize> {
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).await
    }
}

/// The socket from this local to this remote port.
fn inode(local: u16, remote: u16) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
    let between =
        |row: &[&str]| row[1].ends_with(&format!(":{local:04X}")) && row[2].ends_with(&format!(":{remote:04X}"));
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| between(row) && row[9] != "0").map(|row| row[9].to_owned()).next()
}

/// Whether the process has this socket open.
fn holds(pid: u32, socket: &str) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("a running gateway").flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target.as_os_str() == socket)
}

#[tokio::test]
async fn a_large_whole_answer_that_nobody_reads_is_given_up_counted_and_its_connection_closed() {
    let site = Site::open(impatient()).await;
    site.a.control.always(LARGE);

    let call = Call::begin(&site, &chat("a/m", false).header("x-request-id", "never-read")).await;
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.answered == 1).await, "the upstream answers");
    let begin = Instant::now();
    let record = site.record("never-read").await;
    let closed = call.is_closed(&site).await;

    assert_eq!((record.outcome.as_str(), record.status, record.streamed), ("client_gone", 499, false));
    assert!(record.completion_tokens > 0, "the provider has answered: {record:?}");
    assert!(closed, "the gateway keeps the connection");
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    assert!(site.gateway.log().contains("stopped reading"), "{}", site.gateway.log());
    assert_eq!(site.state_of_a().await["state"], "ready", "the provider is not blamed");
    let end = call.read_on().await.map_err(|error| error.kind());
    assert_eq!(end, Err(io::ErrorKind::ConnectionReset), "a cut looks like no end");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_given_up_with_its_upstream_and_its_connection_closed() {
    let site = Site::open(impatient()).await;
    site.a.control.always("ok tokens=500000");

    let call = Call::begin(&site, &chat("a/m", true).header("x-request-id", "stalled")).await;
    // A busy machine takes its time to fill what the kernel keeps for both ends.
    let gives_up = site.a.control.wait_until(PATIENCE * 6, |stats| stats.total.cancelled == 1).await;
    assert!(gives_up, "the upstream works on");
    let record = site.record("stalled").await;
    let closed = call.is_closed(&site).await;

    assert_eq!((record.outcome.as_str(), record.status), ("client_gone", 499));
    assert!(record.completion_tokens > 0, "{record:?}");
    assert!(closed, "the gateway keeps the connection");
    let now = site.state_of_a().await;
    assert_eq!((&now["state"], &now["inFlight"]), (&"ready".into(), &0.into()), "{now}");
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_taken_for_one_that_does_not() {
    let site = Site::open(impatient()).await;
    site.a.control.always("huge_token bytes=12000000");

    let mut client = Call::begin(&site, &chat("a/m", false).header("x-request-id", "slow")).await.client;
    let (mut read, mut piece) = (0, vec![0; 1 << 20]);
    while read < 12_000_000 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let count = client.read(&mut piece).await.unwrap();
        assert!(count > 0, "cut after {read} bytes; the log:\n{}", site.gateway.log());
        read += count;
    }

    let record = site.record("slow").await;
    assert_eq!((record.outcome.as_str(), record.status), ("success", 200));
}

#[tokio::test]
async fn small_answers_that_pile_up_unread_end_with_their_connection() {
    let site = Site::open(impatient()).await;
    let one = Request::get("/livez").to_bytes(site.gateway.addr);

    let mut call = Call::begin(&site, &Request::get("/livez")).await;
    // The gateway reads no more requests while their answers wait, so this waits, too, until the connection is gone.
    let asking = tokio::time::timeout(PATIENCE, call.client.write_all(&one.repeat(300_000))).await.expect("an end");

    assert_eq!(asking.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    assert!(call.is_closed(&site).await, "the gateway keeps the connection");
    assert_eq!(site.ask(false).await.status(), 200);
}
