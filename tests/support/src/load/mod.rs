//! A load generator: closed-loop, so many connections, each with one request under way; or open-loop, so many requests a
//! second, however many are under way; and what they saw.
//!
//! The request is rendered once and an answer is read without copying, so that the generator is not what is measured.

mod open;
mod options;
mod reply;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::Request;
use crate::proc;
use reply::{Failed, Line, Marks, Seen};
use report::{Processes, Sums, quantiles};

pub use options::{HELP, Options, parse};

/// A first token later than this was held back by something that is no computation, such as Nagle's delay.
const STALL: Duration = Duration::from_millis(5);

/// A refusal that takes longer is no quick one.
const PROMPT: Duration = Duration::from_millis(50);

/// Run the load and report it as one JSON object.
pub async fn run(options: Options) -> Value {
    let processes = Processes::watch(&options.pids);
    let begin = Instant::now();
    let sums = match (options.slow_streams, options.rate) {
        (0, None) => closed(&options).await,
        (0, Some(rate)) => open::run(&options, rate).await,
        _ => slow(&options).await,
    };
    let seconds = begin.elapsed().as_secs_f64();
    let mut report = report(&sums, seconds, &options);
    report["processes"] = processes.report(sums.finished());
    report
}

/// Every connection asks again as soon as it has its answer.
async fn closed(options: &Options) -> Sums {
    let budget = Arc::new(Budget::new(options));
    let request: Arc<[u8]> = request(options).into();
    let task = |_| {
        let (budget, request) = (budget.clone(), request.clone());
        let (addr, stream, marks) = (options.addr, options.stream, Marks::of_path(&options.path));
        tokio::spawn(async move {
            let (mut sums, mut line) = (Sums::default(), Line::new(addr, marks));
            while budget.take() {
                sums.add(line.ask(&request, stream).await);
            }
            sums
        })
    };
    let tasks: Vec<_> = (0..options.connections).map(task).collect();
    let stop = budget.clone();
    let clock = options.seconds.map(|seconds| {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            stop.over.store(true, Relaxed);
        })
    });
    let sums = gather(tasks).await;
    clock.inspect(tokio::task::JoinHandle::abort);
    sums
}

/// All streams are open at the same time; each is read to its end.
async fn slow(options: &Options) -> Sums {
    let request: Arc<[u8]> = request(options).into();
    let task = |_| {
        let (request, addr, marks) = (request.clone(), options.addr, Marks::of_path(&options.path));
        tokio::spawn(async move {
            let mut sums = Sums::default();
            sums.add(Line::new(addr, marks).ask(&request, true).await);
            sums
        })
    };
    gather((0..options.slow_streams).map(task).collect()).await
}

async fn gather(tasks: Vec<tokio::task::JoinHandle<Sums>>) -> Sums {
    let mut all = Sums::default();
    for task in tasks {
        all.merge(task.await.expect("a load task"));
    }
    all
}

fn request(options: &Options) -> Vec<u8> {
    let stream = options.stream || options.slow_streams > 0;
    let message = json!({"role": "user", "content": options.prompt});
    // Anthropic wants a cap, and chat knows it as well.
    let body = json!({"model": options.model, "messages": [message], "stream": stream, "max_tokens": 4096});
    let request = Request::post(&options.path, &body);
    let request = if options.key.is_empty() { request } else { request.key(&options.key) };
    request.to_bytes(options.addr)
}

/// How many requests are still to be made.
struct Budget {
    left: AtomicU64,
    over: AtomicBool,
}

impl Budget {
    fn new(options: &Options) -> Self {
        Budget { left: AtomicU64::new(options.requests.unwrap_or(u64::MAX)), over: AtomicBool::new(false) }
    }

    fn take(&self) -> bool {
        !self.over.load(Relaxed) && self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

fn report(sums: &Sums, seconds: f64, options: &Options) -> Value {
    let mut report = json!({
        "rps": sums.finished() as f64 / seconds,
        "seconds": seconds,
        "requests": sums.finished() + sums.failed(),
        "ok": sums.finished(),
        "errors": sums.errors,
        "bytes": sums.bytes,
        "latencyMs": quantiles(&sums.latencies),
    });
    if options.stream || options.slow_streams > 0 {
        report["firstTokenMs"] = quantiles(&sums.first_tokens);
        report["firstTokensOver5Ms"] = json!(sums.first_tokens.iter().filter(|taken| **taken > STALL).count());
        report["largestGapMs"] = json!(sums.largest_gap.as_secs_f64() * 1e3);
    }
    if let Some(rate) = options.rate {
        report["offered"] = json!(rate);
        report["refused"] = json!(sums.refused.len());
        report["refusedMs"] = quantiles(&sums.refused);
        report["refusedAfter50Ms"] = json!(sums.refused.iter().filter(|taken| **taken > PROMPT).count());
    }
    if options.slow_streams > 0 {
        report["streams"] = json!(options.slow_streams);
        report["completed"] = json!(sums.finished());
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::MockUpstream;

    fn options(mock: &MockUpstream, words: &str) -> Options {
        let url = format!("http://{}/v1/chat/completions", mock.addr);
        let words = format!("--url {url} --key sk-a --model m {words}");
        parse(words.split(' ').map(str::to_owned)).unwrap()
    }

    #[tokio::test]
    async fn a_closed_loop_makes_exactly_the_requests_it_was_told_to() {
        let mock = MockUpstream::start().await;

        let report = run(options(&mock, &format!("--connections 4 --requests 100 --pid {}", std::process::id()))).await;

        assert_eq!((&report["ok"], &report["errors"]), (&100.into(), &json!({})));
        let stats = mock.control.settled().await;
        assert_eq!((stats.total.answered, stats.connections), (100, 4));
        assert!(report["latencyMs"]["p50"].as_f64() <= report["latencyMs"]["max"].as_f64());
        assert!(report["processes"]["each"][0]["rssBytes"].as_u64().unwrap() > 0);
        assert!(report["rps"].as_f64().unwrap() > 0.0 && report["bytes"].as_u64().unwrap() > 10_000);
    }

    #[tokio::test]
    async fn an_open_loop_begins_its_requests_in_time_although_none_is_answered() {
        let mock = MockUpstream::start().await;
        mock.control.always("ok first_delay_ms=400");

        let report = run(options(&mock, "--rate 100 --seconds 0.3")).await;

        assert_eq!((report["ok"].as_u64(), report["refused"].as_u64()), (Some(30), Some(0)));
        let stats = mock.control.settled().await;
        assert_eq!((stats.total.started, stats.connections), (30, 30), "nobody waited for anybody");
    }

    #[tokio::test]
    async fn refusals_of_an_open_loop_are_timed_apart() {
        let mock = MockUpstream::start().await;
        mock.control.always("status code=503");

        let report = run(options(&mock, "--rate 50 --seconds 0.2")).await;

        assert_eq!((report["ok"].as_u64(), report["refused"].as_u64()), (Some(0), Some(10)));
        assert!(report["refusedMs"]["p50"].as_f64().is_some());
    }

    #[tokio::test]
    async fn a_run_over_time_ends_in_time() {
        let mock = MockUpstream::start().await;
        let begin = Instant::now();

        let report = run(options(&mock, "--connections 2 --seconds 0.2")).await;

        assert!(report["ok"].as_u64().unwrap() > 0 && begin.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test]
    async fn the_first_token_of_a_stream_is_timed_apart_from_its_end() {
        let mock = MockUpstream::start().await;
        mock.control.always("ok tokens=5 delay_ms=10");

        let report = run(options(&mock, "--connections 2 --requests 6 --stream")).await;

        assert_eq!(report["ok"], 6);
        assert!(report["latencyMs"]["p50"].as_f64().unwrap() >= 40.0);
        assert!(report["firstTokenMs"]["p50"].as_f64().unwrap() < report["latencyMs"]["p50"].as_f64().unwrap() - 30.0);
    }

    #[tokio::test]
    async fn first_tokens_that_stalled_are_counted() {
        let mock = MockUpstream::start().await;
        mock.control.always("ok tokens=2 first_delay_ms=20");

        let report = run(options(&mock, "--connections 1 --requests 3 --stream")).await;

        assert_eq!(report["firstTokensOver5Ms"], 3);
    }

    #[tokio::test]
    async fn failures_are_counted_by_what_they_were_and_never_as_answers() {
        let mock = MockUpstream::start().await;
        mock.control.script(["status code=429", "reset", "cut_chunked", "no_end_marker", "ok"]);

        let report = run(options(&mock, "--connections 1 --requests 5 --stream")).await;

        assert_eq!((&report["ok"], &report["requests"]), (&1.into(), &5.into()));
        assert_eq!(report["errors"], json!({"429": 1, "io": 2, "incomplete": 1}));
    }

    #[tokio::test]
    async fn slow_streams_are_open_together_and_their_gaps_are_seen() {
        let mock = MockUpstream::start().await;
        mock.control.always("ok tokens=4 delay_ms=30");

        let report = run(options(&mock, "--slow-streams 50")).await;

        assert_eq!((&report["streams"], &report["completed"]), (&50.into(), &50.into()));
        assert!(report["largestGapMs"].as_f64().unwrap() >= 25.0);
        assert_eq!(mock.control.stats().total.peak_in_flight, 50);
    }
}
