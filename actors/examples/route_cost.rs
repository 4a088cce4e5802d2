//! What one `Route` costs: with 10, 1,000 and 10,000 connections, and over combos of 100 steps.
//!
//! `cargo run --release -p omniroute-actors --example route_cost`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use omniroute_actors::clock::{ManualClock, Moment};
use omniroute_actors::connection::config::{ConnectionConfig, Source, UpstreamTarget};
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::resilience::gate::GateView;
use omniroute_actors::router::features::RequestFeatures;
use omniroute_actors::router::plan::{Combo, ProviderEntry, RoutingPlan, Step, Strategy};
use omniroute_actors::router::{Only, Route, Router};

const ROUNDS: u64 = 500;
const TIMES: u32 = 20;
const PROVIDERS: usize = 10;

fn connection(index: usize) -> Arc<ConnectionHandle> {
    let config = ConnectionConfig {
        id: format!("c{index}").into(),
        provider: format!("p{}", index % PROVIDERS).into(),
        name: format!("c{index:06}"),
        source: Source::Database,
        priority: 1,
        is_active: true,
        max_concurrent: 0,
        requests_per_minute: 0,
        health: Default::default(),
        target: Arc::new(UpstreamTarget {
            chat_url: String::new(),
            stream_url: None,
            models_url: None,
            auth_header: None,
            headers: Vec::new(),
            quirks: 0,
            wire: 0,
        }),
        tags: Arc::from([]),
        region: None,
        credential_version: 1,
    };
    Arc::new(ConnectionHandle::new(config, GateView::CLOSED, Default::default(), None))
}

fn plan(connections: usize) -> RoutingPlan {
    let mut plan = RoutingPlan { max_combo_depth: 5, ..RoutingPlan::default() };
    for id in (0..PROVIDERS).map(|n| format!("p{n}")) {
        plan.prefixes.insert(id.clone(), id.as_str().into());
        plan.providers.insert(id.as_str().into(), ProviderEntry::default());
    }
    for handle in (0..connections).map(connection) {
        plan.providers.entry(handle.provider().clone()).or_default().connections.push(handle);
    }
    for strategy in Strategy::ALL {
        let step =
            |n: usize| Step { weight: 1 + n as u32 % 7, ..Step::model(format!("p{}", n % PROVIDERS), format!("m{n}")) };
        plan.add(Combo::new(strategy.as_str(), strategy, (0..100).map(step).collect()));
    }
    plan
}

/// Nanoseconds per request.
fn cost(router: &mut Router, model: &str, session: impl Fn(u64) -> Option<u64>) -> f64 {
    let mut spent = f64::MAX;
    for _ in 0..TIMES {
        let started = Instant::now();
        for round in 0..ROUNDS {
            let features = Arc::new(RequestFeatures { affinity: session(round), ..Default::default() });
            drop(black_box(router.route(Route::of(model, features, Only::default()))));
        }
        spent = spent.min(started.elapsed().as_nanos() as f64 / ROUNDS as f64);
    }
    spent
}

fn main() {
    println!("{:24}{:>12}{:>12}{:>12}   ratio", "ns per route", 10, 1_000, 10_000);
    let mut routers: Vec<Router> = [10, 1_000, 10_000]
        .into_iter()
        .map(|connections| {
            let clock = Arc::new(ManualClock::at(Moment::from_millis(1_000)));
            Router::seeded(Arc::new(ArcSwap::from_pointee(plan(connections).ready())), clock, 1)
        })
        .collect();
    let mut line = |name: &str, model: &str, session: &dyn Fn(u64) -> Option<u64>| {
        let costs: Vec<f64> = routers.iter_mut().map(|router| cost(router, model, session)).collect();
        let ratio = costs.iter().copied().fold(0.0, f64::max) / costs.iter().copied().fold(f64::MAX, f64::min);
        print!("{name:24}");
        costs.iter().for_each(|cost| print!("{cost:12.0}"));
        println!("{ratio:8.2}");
    };
    line("direct", "p3/m", &|_| None);
    line("direct, with a session", "p3/m", &|round| Some(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    for strategy in Strategy::ALL {
        line(strategy.as_str(), strategy.as_str(), &|_| None);
    }
}
