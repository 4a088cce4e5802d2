//! What a scrape shows.

use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::config::Source;
use omniroute_actors::resilience::gate::BreakerState;
use omniroute_actors::resilience::health::ConnectionState;
use omniroute_actors::resilience::outcome::Outcome;

use super::*;

const VITALS: Vitals = Vitals {
    uptime: Duration::from_secs(90),
    in_flight: 3,
    draining: true,
    usage: (10, 1, 9),
    shed: [("in_flight", 0), ("key_share", 0), ("event_loop_lag", 2), ("memory", 0)],
    exchanges: ExchangeCounts { pulled: [2, 1], pushed: [0, 0], succeeded_at: 7_000 },
};

fn snapshot(name: &str) -> Snapshot {
    Snapshot {
        id: "c1".into(),
        provider: "groq".into(),
        name: name.into(),
        source: Source::Database,
        state: ConnectionState::Breaker(BreakerState::Open),
        breaker: BreakerState::Open,
        generation: 1,
        since: UnixMillis(0),
        until: None,
        reason: None,
        last_error: None,
        needs_attention: None,
        consecutive_failures: 0,
        window_calls: 0,
        window_failures: 0,
        open_cycles: 0,
        cooldown: None,
        backoff_level: 0,
        terminal: None,
        lockouts: Vec::new(),
        in_flight: 2,
        latency_ms: 250.0,
        admitted: 7,
        succeeded: 5,
        failed: 2,
        most_at_once: 0,
        learned_most_at_once: 0,
        queued: 0,
        room: None,
        headroom: None,
        learned: Vec::new(),
        success_rate: None,
        service_time: None,
        ramping: false,
        stale: false,
    }
}

fn line(page: &str, start: &str) -> String {
    let found = page.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in\n{page}")).to_owned()
}

#[test]
fn requests_are_counted_by_outcome_and_status_over_all_workers() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let workers = [metrics.handles(), metrics.handles()];
    let (ms, us) = (Duration::from_millis(30), Duration::from_micros(80));

    for worker in &workers {
        worker.request(Outcome::Success, 200, ms, Some(ms), us);
        worker.request(Outcome::RateLimited, 429, ms, None, us);
    }
    let page = metrics.render(&VITALS, &[]);

    assert!(line(&page, "omniroute_requests_total{outcome=\"success\",status=\"200\"}").ends_with(" 2"));
    assert!(line(&page, "omniroute_requests_total{outcome=\"rate_limited\",status=\"429\"}").ends_with(" 2"));
    assert!(line(&page, "omniroute_request_duration_seconds_bucket{le=\"0.05\"}").ends_with(" 4"));
    assert!(line(&page, "omniroute_first_content_seconds_count").ends_with(" 2"));
    assert!(line(&page, "omniroute_gateway_overhead_seconds_bucket{le=\"0.0001\"}").ends_with(" 4"));
}

#[test]
fn a_thread_counts_from_the_moment_it_is_a_worker() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let count = || request(Outcome::Success, 200, Duration::ZERO, None, Duration::ZERO);

    count();
    metrics.handles().install();
    count();

    let page = metrics.render(&VITALS, &[]);
    assert!(line(&page, "omniroute_requests_total{outcome=\"success\",status=\"200\"}").ends_with(" 1"));
}

#[test]
fn statuses_that_upstreams_make_up_do_not_grow_the_page_without_end() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let worker = metrics.handles();

    (100..600).for_each(|status| worker.request(Outcome::ClientFault, status, Duration::ZERO, None, Duration::ZERO));

    let page = metrics.render(&VITALS, &[]);
    let series = page.lines().filter(|line| line.starts_with("omniroute_requests_total{")).count();
    assert_eq!(series, 25);
}

#[test]
fn each_connection_is_in_exactly_one_state() {
    let page = Metrics::new().unwrap().render(&VITALS, &[snapshot("a \"b\"\n")]);

    let states: Vec<_> = page.lines().filter(|line| line.starts_with("omniroute_connection_state{")).collect();
    let ones: Vec<_> = states.iter().filter(|line| line.ends_with(" 1")).collect();
    assert_eq!((states.len(), ones.len()), (9, 1));
    assert!(ones[0].contains(r#"name="a \"b\"\n",provider="groq",state="open""#), "{}", ones[0]);
    assert!(line(&page, "omniroute_connection_latency_seconds{").ends_with(" 0.25"));
    assert!(line(&page, "omniroute_connection_admitted_total{").ends_with(" 7"));
}

#[test]
fn a_connection_that_is_gone_is_gone_from_the_page() {
    let metrics = Metrics::new().unwrap();

    metrics.render(&VITALS, &[snapshot("a")]);
    let page = metrics.render(&VITALS, &[]);

    assert!(!page.contains("connection=\"c1\""), "{page}");
}

#[test]
fn every_family_says_what_it_means() {
    let metrics = Arc::new(Metrics::new().unwrap());
    metrics.handles().request(Outcome::Success, 200, Duration::ZERO, Some(Duration::ZERO), Duration::ZERO);

    let page = metrics.render(&VITALS, &[snapshot("a")]);

    let typed: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let helped: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    assert_eq!(typed, helped);
    assert!(typed.iter().all(|name| name.starts_with("omniroute_")) && typed.len() >= 16, "{typed:?}");
    assert!(line(&page, "omniroute_build_info{").contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(line(&page, "omniroute_uptime_seconds "), "omniroute_uptime_seconds 90");
    assert!(line(&page, "omniroute_usage_records_total{what=\"dropped\"}").ends_with(" 1"));
}

#[test]
fn upkeep_counts_samples_without_a_scrape() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let worker = metrics.handles();

    for _ in 0..3 {
        worker.request(Outcome::Success, 200, Duration::from_secs(1), None, Duration::ZERO);
        metrics.upkeep();
    }

    assert!(line(&metrics.render(&VITALS, &[]), "omniroute_request_duration_seconds_count").ends_with(" 3"));
}
