//! Two instances behind nginx: one may always be away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use omniroute_testkit::gateway::{Gateway, Signal};
use omniroute_testkit::http::{self, Connection};
use omniroute_testkit::mock::MockUpstream;

use super::server::Nginx;
use super::{chat, instance};
use crate::common::engine::Schema;

const CALLERS: usize = 8;
const DRAINED_WITHIN: Duration = Duration::from_secs(20);

/// Two instances with a database each.
async fn apart(mock: &MockUpstream) -> [Gateway; 2] {
    let pair = [instance().start().await, instance().start().await];
    for gateway in &pair {
        gateway.admin().await.add_upstream(mock, "mock", &["sk-a", "sk-b"]).await;
    }
    pair
}

/// Two instances that share a schema of their own in PostgreSQL, which lives as long as the second value; nothing where
/// there is none.
async fn sharing(mock: &MockUpstream) -> Option<([Gateway; 2], Schema)> {
    let schema = Schema::create()?;
    let first = schema.shared_by(instance()).start().await;
    first.admin().await.add_upstream(mock, "mock", &["sk-a", "sk-b"]).await;
    let second = schema.shared_by(instance()).start().await;
    Some(([first, second], schema))
}

/// Callers that ask without a pause until they are told to stop; half of them for streams.
struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    callers: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(nginx: &Nginx) -> Self {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let caller = |n: usize| {
            let (over, answered, addr) = (over.clone(), answered.clone(), nginx.addr);
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !over.load(Relaxed) {
                    let mut client = Connection::open(addr).await.expect("nginx accepts");
                    // Several calls on one connection, as SDKs do.
                    for _ in 0..20 {
                        match client.ask(&chat("hello", n.is_multiple_of(2))).await {
                            Ok(answer) if answer.status() == 200 && whole(&answer.text()) => {
                                answered.fetch_add(1, Relaxed);
                            }
                            other => {
                                failures.push(format!("{other:?}"));
                                break;
                            }
                        }
                    }
                }
                failures
            })
        };
        let callers = (0..CALLERS).map(caller).collect();
        Load { over, answered, callers }
    }

    /// Wait until so many more answers have come.
    async fn goes_on(&self, answers: u64) {
        let wanted = self.answered.load(Relaxed) + answers;
        while self.answered.load(Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn stop(self) -> Vec<String> {
        self.over.store(true, Relaxed);
        let mut failures = Vec::new();
        for caller in self.callers {
            failures.extend(caller.await.expect("a caller"));
        }
        failures
    }
}

/// The end marker of a stream or the finish reason of a whole answer.
fn whole(text: &str) -> bool {
    let stream = text.starts_with("data:");
    !text.contains("\"error\"") && if stream { text.contains("[DONE]") } else { text.contains("\"stop\"") }
}

async fn restart_both_under_load(mock: &MockUpstream, mut pair: [Gateway; 2]) {
    mock.control.always("ok tokens=8 delay_ms=2");
    let Some(nginx) = Nginx::start([pair[0].addr, pair[1].addr]).await else { return };
    let load = Load::start(&nginx);
    load.goes_on(100).await;

    for gateway in &mut pair {
        // Longer than the drain's delay: it has to be served to its end by the instance that goes away.
        let long = http::stream(gateway.addr, &chat("[[fault:ok tokens=30 delay_ms=40]]", true)).await.unwrap();
        gateway.signal(Signal::TERM);
        let tail = long.rest().await;
        assert!(tail.cut.is_none() && tail.text.contains("[DONE]"), "a running stream was cut: {tail:?}");
        let status = gateway.ended(DRAINED_WITHIN).await;
        assert_eq!(status.code(), Some(0), "{}", gateway.log());
        load.goes_on(50).await;
        gateway.start_again().await;
        load.goes_on(100).await;
    }
    let failures = load.stop().await;

    assert_eq!(failures, Vec::<String>::new(), "{}", nginx.complaints());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_two_instances_one_after_the_other_fails_no_request() {
    let mock = MockUpstream::start().await;
    let pair = apart(&mock).await;

    restart_both_under_load(&mock, pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_two_instances_that_share_postgresql_fails_no_request() {
    let mock = MockUpstream::start().await;
    let Some((pair, _schema)) = sharing(&mock).await else { return };

    restart_both_under_load(&mock, pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_an_instance_took_with_it_is_not_paid_for_twice() {
    let mock = MockUpstream::start().await;
    let [mut first, mut second] = apart(&mock).await;
    let Some(nginx) = Nginx::start([first.addr, second.addr]).await else { return };
    mock.control.always("ok first_delay_ms=20000");
    // While the second is away the call goes to the first.
    second.kill().await;
    let mut client = Connection::open(nginx.addr).await.unwrap();
    client.send(&chat("hello", false)).await.unwrap();
    assert!(mock.control.wait_until(Duration::from_secs(5), |stats| stats.total.in_flight == 1).await);
    second.start_again().await;

    first.kill().await;
    let answer = client.head().await.unwrap();

    assert_eq!((answer.status, mock.control.stats().total.started), (502, 1));
}
