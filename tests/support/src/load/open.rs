//! The open loop: requests begin at their own times, whatever becomes of those before, as real clients do. What each takes
//! is counted from the moment at which it should have begun, so that a generator that is held up hides nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::reply::{Failed, Line, Marks};
use super::report::Sums;
use super::{Options, request};

/// How often it is looked whether requests are due.
const TICK: Duration = Duration::from_millis(1);
/// Requests under way at a time; beyond it a machine is out of ports and not the gateway out of breath.
const MOST: usize = 10_000;

type Idle = Arc<Mutex<Vec<Line>>>;

/// Begin so many requests a second for the time that is asked for, and wait for the last of them.
pub(super) async fn run(options: &Options, rate: f64) -> Sums {
    let bytes: Arc<[u8]> = request(options).into();
    let (idle, mut tasks) = (Idle::default(), tokio::task::JoinSet::new());
    let lasts = options.seconds.unwrap_or(0.0);
    let (begin, mut begun, mut sums) = (Instant::now(), 0_u64, Sums::default());
    loop {
        let elapsed = begin.elapsed().as_secs_f64();
        while (begun as f64) < elapsed.min(lasts) * rate && tasks.len() < MOST {
            let due = begin + Duration::from_secs_f64(begun as f64 / rate);
            tasks.spawn(one(idle.clone(), bytes.clone(), due, Asking::of(options)));
            begun += 1;
        }
        while let Some(done) = tasks.try_join_next() {
            sums.merge(done.expect("a load task"));
        }
        if elapsed >= lasts && tasks.is_empty() {
            return sums;
        }
        tokio::time::sleep(TICK).await;
    }
}

#[derive(Clone, Copy)]
struct Asking {
    addr: std::net::SocketAddr,
    marks: Marks,
    stream: bool,
}

impl Asking {
    fn of(options: &Options) -> Self {
        Self { addr: options.addr, marks: Marks::of_path(&options.path), stream: options.stream }
    }
}

async fn one(idle: Idle, bytes: Arc<[u8]>, due: Instant, asking: Asking) -> Sums {
    let known = idle.lock().await.pop();
    let mut line = known.unwrap_or_else(|| Line::new(asking.addr, asking.marks));
    let seen = line.ask(&bytes, asking.stream).await;
    let mut sums = Sums::default();
    if matches!(seen, Err(Failed::Status(429 | 503 | 529))) {
        sums.refused.push(due.elapsed());
    }
    sums.add(seen.map(|seen| super::Seen { latency: due.elapsed(), ..seen }));
    idle.lock().await.push(line);
    sums
}
