//! The whole engine in one thread, with time and chance in our hands: thousands of small worlds, each with providers that
//! break, heal and flap, clients that hang up, operators that reset, actors that crash, and after every single event a
//! look whether every promise still holds.
//!
//! ```text
//!  scenario (seed) --providers, connections, combos, requests, troubles--> world: a queue of events by virtual time
//!  world --Route--> the real Router --acquire--> the real handles (gate, slots, limiter, queue, ramp, retry budget)
//!  world --reports, turns, resets, crashes--> the real connection actor's decisions, without its mailbox
//!  world --failed attempts--> the fallback's own decisions and budgets     store --restart--> what the registry begins with
//!  audit: what was promised, kept in books of its own, compared after each event
//! ```
//! Only three things are played: the providers, the clients with the order of their steps, and the mailboxes.
//!
//! A seed is a world: `SIM_SEED=17 cargo test -p omniroute-actors --lib simulation -- --nocapture` replays one with
//! its events; `SIM_SEEDS=10000` sets how many are run (`scripts/check simulation` runs ten thousand).

mod attempts;
mod audit;
mod fleet;
mod meddling;
mod provider;
mod recovery;
mod requests;
mod scenario;
mod summary;
mod waiting;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use self::summary::Summary;
use self::world::World;

/// Seeds of a run that nobody asked more of.
const USUAL_SEEDS: u64 = 1_000;

/// Something that was promised did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Broken(String);

/// A promise that is broken on purpose, to prove that it would be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    /// A lease is never given back.
    LoseALease,
    /// An answer is counted twice.
    EndARequestTwice,
    /// A cooldown is forgotten as soon as it begins.
    ForgetCooldowns,
    /// A refusal of our own is reported as a failure of the provider.
    BlameTheProviderForOurRefusal,
    /// Attempts are made without asking the retry budget.
    IgnoreTheRetryBudget,
    /// The breaker is closed by hand while it is open.
    OpenTheGate,
    /// Reports never reach the actor once the faults are over.
    LoseReports,
    /// A newcomer goes past those that wait.
    OvertakeTheQueue,
    /// The process begins again without what the store has.
    ForgetStatesAtRestart,
    /// What a provider's headers say about an empty bucket is forgotten.
    ForgetEmptyBuckets,
    /// Of two attempts the slower one is reported as a failure.
    BlameTheSlowerOfTwo,
}

/// Run one world to its end.
fn run(seed: u64, sabotage: Option<Sabotage>, told: bool) -> Result<Summary, Broken> {
    let world = catch_unwind(AssertUnwindSafe(|| World::new(seed, sabotage, told).run()));
    let _ = crate::connection::report::take_lost();
    world.unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).into()));
        Err(Broken(format!("a panic: {}", text.unwrap_or_default())))
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Run all these seeds on all cores; the first that breaks a promise, and what all saw together.
fn run_all(seeds: std::ops::Range<u64>, sabotage: Option<Sabotage>) -> (Option<(u64, Broken)>, Summary) {
    let next = AtomicU64::new(seeds.start);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let work = || {
        let mut sum = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (None, sum);
            }
            match run(seed, sabotage, false) {
                Ok(one) => sum.add(&one),
                Err(broken) => {
                    next.store(seeds.end, Ordering::Relaxed);
                    return (Some((seed, broken)), sum);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = Summary::default();
        let mut first: Option<(u64, Broken)> = None;
        for thread in threads {
            let (broken, sum) = thread.join().expect("a worker that catches panics");
            all.add(&sum);
            first = [first, broken].into_iter().flatten().min_by_key(|(seed, _)| *seed);
        }
        (first, all)
    })
}

#[test]
fn every_promise_holds_in_every_world() {
    if let Some(seed) = number("SIM_SEED") {
        let summary = run(seed, None, true).unwrap_or_else(|Broken(promise)| panic!("seed {seed}: {promise}"));
        println!("seed {seed}: {summary:?}");
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(USUAL_SEEDS);

    let (broken, summary) = run_all(0..seeds, None);

    if let Some((seed, Broken(promise))) = broken {
        panic!(
            "seed {seed}: {promise}\nreplay: SIM_SEED={seed} cargo test -p omniroute-actors --lib simulation -- --nocapture"
        );
    }
    println!("{seeds} worlds: {summary:?}");
    assert!(summary.is_lively(), "the worlds are too quiet to prove anything: {summary:?}");
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in [3, 17, 99] {
        let (first, second) = (run(seed, None, false), run(seed, None, false));

        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn every_broken_promise_is_noticed() {
    let all = [
        Sabotage::LoseALease,
        Sabotage::EndARequestTwice,
        Sabotage::ForgetCooldowns,
        Sabotage::BlameTheProviderForOurRefusal,
        Sabotage::IgnoreTheRetryBudget,
        Sabotage::OpenTheGate,
        Sabotage::LoseReports,
        Sabotage::OvertakeTheQueue,
        Sabotage::ForgetStatesAtRestart,
        Sabotage::ForgetEmptyBuckets,
        Sabotage::BlameTheSlowerOfTwo,
    ];

    for sabotage in all {
        let (broken, _) = run_all(0..400, Some(sabotage));

        let (seed, Broken(promise)) = broken.unwrap_or_else(|| panic!("nobody noticed {sabotage:?}"));
        println!("{sabotage:?} is noticed with seed {seed}: {promise}");
    }
}
