//! What a seed stands for: connections, combos, requests and troubles, all drawn at random within what operators do.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::clock::{Moment, UnixMillis};
use crate::connection::config::{ConnectionConfig, Limits};
use crate::connection::handle::ConnectionHandle;
use crate::resilience::settings::{BreakerSettings, CooldownSettings, HealthSettings};
use crate::router::config::ComboConfig;
use crate::router::features::RequestFeatures;
use crate::router::plan::{AccountStrategy, Combo, ProviderEntry, RoutingPlan, Step, StepTarget, Strategy};
use crate::testing::config;

/// Models of each provider.
pub(super) const MODELS: [&str; 2] = ["m0", "m1"];
const COMBOS: usize = 6;

fn ms(rng: &mut SmallRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

/// The numbers of all connections of a world.
pub(super) fn health(rng: &mut SmallRng) -> HealthSettings {
    // Some operators switch the breaker off, as good as: then only the retry budget bounds what a broken provider sees.
    let patient = rng.random_bool(0.2);
    let failure_threshold = if patient { 10_000 } else { rng.random_range(2..8) };
    HealthSettings {
        breaker: BreakerSettings {
            failure_threshold,
            degradation_threshold: rng.random_range(1..=failure_threshold),
            reset_timeout: ms(rng, 500..8_000),
            max_open: ms(rng, 8_000..30_000),
            window: ms(rng, 2_000..20_000),
            minimum_calls: if patient { 100_000 } else { rng.random_range(4..20) },
            failure_rate_percent: rng.random_range(30..80),
            half_open_successes: rng.random_range(1..4),
            probe_lease: ms(rng, 1_000..10_000),
            slow_call: ms(rng, 500..5_000),
            slow_call_rate_percent: *[0, 0, 60].choose(rng).unwrap(),
            ramp: *[Duration::ZERO, Duration::from_secs(3)].choose(rng).unwrap(),
        },
        cooldown: CooldownSettings {
            base: ms(rng, 100..3_000),
            max_steps: rng.random_range(0..5),
            max: Duration::from_secs(30),
            use_hints: rng.random_bool(0.9),
        },
        terminal_probe: *[Duration::from_secs(10), Duration::from_secs(20)].choose(rng).unwrap(),
    }
}

/// A connection of a provider.
pub(super) fn connection(provider: usize, n: usize, health: HealthSettings, rng: &mut SmallRng) -> ConnectionConfig {
    let mut config = ConnectionConfig {
        provider: format!("p{provider}").as_str().into(),
        priority: rng.random_range(1..3),
        health,
        ..config(&format!("p{provider}c{n}"))
    };
    bound(&mut config, rng);
    config
}

/// Draw what bounds its traffic.
pub(super) fn bound(config: &mut ConnectionConfig, rng: &mut SmallRng) {
    config.max_concurrent = *[0, 0, 1, 2, 6].choose(rng).unwrap();
    config.requests_per_minute = *[0, 0, 0, 20, 120].choose(rng).unwrap();
    config.limits = Limits {
        tokens_per_minute: *[0, 0, 20_000].choose(rng).unwrap(),
        min_gap: *[Duration::ZERO, Duration::ZERO, Duration::from_millis(50)].choose(rng).unwrap(),
        queue_depth: rng.random_range(0..6),
        max_wait: ms(rng, 50..10_000),
    };
}

/// The plan over these connections. Combos may contain combos, also in a circle.
pub(super) fn plan(handles: &[Arc<ConnectionHandle>], generation: u64, rng: &mut SmallRng) -> RoutingPlan {
    let mut plan = RoutingPlan { generation, max_combo_depth: 4, ..RoutingPlan::default() };
    for handle in handles {
        let id = handle.provider().clone();
        plan.prefixes.insert(id.as_str().to_owned(), id.clone());
        let entry = plan.providers.entry(id).or_insert_with(|| ProviderEntry::of_models(MODELS));
        entry.connections.push(Arc::clone(handle));
    }
    let mut providers: Vec<_> = plan.providers.keys().cloned().collect();
    providers.sort();
    for id in &providers {
        if let Some(entry) = plan.providers.get_mut(id) {
            entry.accounts = *AccountStrategy::ALL.choose(rng).unwrap();
            entry.sticky_limit = rng.random_range(0..4);
        }
    }
    for n in 0..COMBOS {
        let steps = (0..rng.random_range(1..6)).map(|_| step(handles, &providers, rng)).collect();
        // What asks all steps at once is several calls, each along a part of an itinerary: for the router they are the same.
        let single: Vec<Strategy> = Strategy::ALL.into_iter().filter(|strategy| !strategy.runs_all()).collect();
        let mut combo = Combo::new(format!("combo{n}"), *single.choose(rng).unwrap(), steps);
        combo.config = ComboConfig {
            sticky_limit: rng.random_range(1..4),
            max_retries: *[0, 0, 1, 2].choose(rng).unwrap(),
            retry_delay: ms(rng, 1..1_000),
            ..ComboConfig::default()
        };
        plan.add(combo);
    }
    plan
}

fn step(handles: &[Arc<ConnectionHandle>], providers: &[crate::ids::ProviderId], rng: &mut SmallRng) -> Step {
    let (provider, model) = (providers.choose(rng).unwrap().clone(), *MODELS.choose(rng).unwrap());
    let target = match rng.random_range(0..10) {
        0 | 1 => StepTarget::Combo(format!("combo{}", rng.random_range(0..COMBOS)).into()),
        2 | 3 => {
            let own: Vec<_> = handles.iter().filter(|handle| *handle.provider() == provider).collect();
            let pinned = own.choose(rng).map(|handle| handle.id().clone());
            StepTarget::Model { provider, model: model.into(), connection: pinned }
        }
        _ => StepTarget::Model { provider, model: model.into(), connection: None },
    };
    Step { weight: rng.random_range(0..100), ..Step::to(target) }
}

/// What a client asks.
#[derive(Debug)]
pub(super) struct Wish {
    pub at: Moment,
    pub model: String,
    pub features: Arc<RequestFeatures>,
    pub key: usize,
    pub deadline: Duration,
    /// The client leaves after this time, if it has no answer then.
    pub patience: Option<Duration>,
    pub max_attempts: usize,
    /// How often it waits for a cooldown to end.
    pub waits: u32,
    /// After this time without an answer another attempt is made beside the first.
    pub hedge: Option<Duration>,
}

/// What a provider counts and tells: half of them do.
pub(super) fn bucket(rng: &mut SmallRng) -> Option<(u64, Duration)> {
    rng.random_bool(0.5).then(|| (rng.random_range(2..60), ms(rng, 1_000..30_000)))
}

/// Keys that clients share.
pub(super) const KEYS: usize = 5;

/// A wish of some client, at some moment of a world that lasts that long.
pub(super) fn wish(from: Moment, lasts: Duration, providers: usize, rng: &mut SmallRng) -> Wish {
    let model = match rng.random_range(0..10) {
        0..6 => format!("combo{}", rng.random_range(0..COMBOS)),
        6 => "auto".to_owned(),
        _ => format!("p{}/{}", rng.random_range(0..providers), MODELS.choose(rng).unwrap()),
    };
    let features = RequestFeatures {
        prompt_tokens: rng.random_range(1..400),
        output_tokens: rng.random_range(1..400),
        affinity: rng.random_bool(0.4).then(|| rng.random_range(0..20)),
        at: UnixMillis(0),
        ..RequestFeatures::default()
    };
    // Half of the load comes from one greedy key, and in bursts.
    let key = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..KEYS) };
    let burst = rng.random_bool(0.3);
    let lasts = crate::clock::millis(lasts).max(1);
    let at =
        if burst { rng.random_range(0..5) * lasts / 5 + rng.random_range(0..50) } else { rng.random_range(0..lasts) };
    Wish {
        at: from.after(Duration::from_millis(at)),
        model,
        features: Arc::new(features),
        key,
        deadline: ms(rng, 500..60_000),
        patience: rng.random_bool(0.1).then(|| ms(rng, 1..5_000)),
        max_attempts: rng.random_range(1..7),
        waits: rng.random_range(0..3),
        hedge: rng.random_bool(0.3).then(|| ms(rng, 100..1_500)),
    }
}
