//! What a connection was like lately: how soon its first content came, per model, how long it holds a call, and how
//! often it succeeds.
//!
//! All of it is written by whoever finished a call, without a lock: counters in two generations, the current one and
//! the one before. A count that is lost while the generations turn is one sample of many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{Moment, millis};
use crate::ids::ModelName;
use crate::resilience::outcome::{Blame, Outcome};

/// Buckets grow by this factor: a quantile is at most a fifth too high.
const GROWTH: f64 = 1.2;
/// The last bucket begins at 1.2^71 ms, seven minutes.
const BUCKETS: usize = 72;
/// One generation of latencies.
const LATENCY_WINDOW: Duration = Duration::from_secs(300);
/// One generation of successes.
const SUCCESS_WINDOW: Duration = Duration::from_secs(60);
/// Fewer samples tell nothing about a tail.
const ENOUGH: u64 = 20;
/// Models remembered per connection: names come from callers, memory does not.
const MODELS: usize = 32;
/// How much a new sample counts in the mean.
const NEWEST: f64 = 0.2;

/// Counters that forget: what is older than two windows is gone.
#[derive(Debug)]
struct Windowed<const N: usize> {
    turned_at: AtomicU64,
    current: [AtomicU32; N],
    before: [AtomicU32; N],
}

impl<const N: usize> Default for Windowed<N> {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU32::new(0));
        Self { turned_at: AtomicU64::new(0), current: zeros(), before: zeros() }
    }
}

impl<const N: usize> Windowed<N> {
    fn add(&self, index: usize, window: Duration, now: Moment) {
        self.turn(window, now);
        if let Some(count) = self.current.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> [u64; N] {
        std::array::from_fn(|index| {
            let of = |counts: &[AtomicU32; N]| counts.get(index).map_or(0, |count| count.load(Ordering::Relaxed));
            u64::from(of(&self.current)) + u64::from(of(&self.before))
        })
    }

    /// One caller turns the generations; the others go on counting.
    fn turn(&self, window: Duration, now: Moment) {
        let turned = self.turned_at.load(Ordering::Acquire);
        let age = now.as_millis().saturating_sub(turned);
        if age < millis(window) {
            return;
        }
        if self.turned_at.compare_exchange(turned, now.as_millis(), Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return;
        }
        let long_ago = age >= millis(window).saturating_mul(2);
        for (current, before) in self.current.iter().zip(&self.before) {
            let count = current.swap(0, Ordering::Relaxed);
            before.store(if long_ago { 0 } else { count }, Ordering::Relaxed);
        }
    }

    fn is_stale(&self, window: Duration, now: Moment) -> bool {
        now.since(Moment::from_millis(self.turned_at.load(Ordering::Acquire))) >= window * 2
    }
}

type Latencies = Windowed<BUCKETS>;
type Models = Vec<(ModelName, Arc<Latencies>)>;

/// The statistics of one connection.
#[derive(Debug, Default)]
pub struct Stats {
    models: ArcSwap<Models>,
    /// Failures, successes.
    ends: Windowed<2>,
    /// Mean milliseconds that a call holds its slot, as bits; 0 = none was measured.
    held: AtomicU64,
}

impl Stats {
    /// The first content of a call came after this long.
    pub fn first_content(&self, model: &ModelName, after: Duration, now: Moment) {
        let known = self.models.load().iter().find(|(name, _)| name == model).map(|(_, of)| Arc::clone(of));
        known.unwrap_or_else(|| self.admit(model)).add(bucket(after), LATENCY_WINDOW, now);
    }

    /// A call ended after this long.
    pub fn ended(&self, outcome: Outcome, after: Duration, now: Moment) {
        let good = outcome == Outcome::Success;
        let blamed =
            matches!(outcome.verdict().blame, Blame::Provider | Blame::Quota | Blame::Credential | Blame::Model);
        if good || blamed {
            self.ends.add(usize::from(good), SUCCESS_WINDOW, now);
        }
        let sample = after.as_secs_f64() * 1_000.0;
        let old = f64::from_bits(self.held.load(Ordering::Relaxed));
        let mean = if old > 0.0 { old * (1.0 - NEWEST) + sample * NEWEST } else { sample.max(1.0) };
        self.held.store(mean.to_bits(), Ordering::Relaxed);
    }

    /// The first content of this model comes within this time in `q` of all calls, 0 to 1. `None` when too few were seen.
    pub fn quantile(&self, model: &str, q: f64) -> Option<Duration> {
        self.quantile_of(model, q, ENOUGH)
    }

    /// The same for those who want to be surer: from `enough` samples on.
    pub fn quantile_of(&self, model: &str, q: f64, enough: u64) -> Option<Duration> {
        let models = self.models.load();
        let counts = models.iter().find(|(name, _)| name.as_str() == model)?.1.counts();
        let total: u64 = counts.iter().sum();
        if total < enough.max(ENOUGH) {
            return None;
        }
        let wanted = ((total as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        let index = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        index.map(upper_edge)
    }

    /// The share of calls that succeeded lately, of those that say something about the connection; `None` without any.
    pub fn success_rate(&self, now: Moment) -> Option<f32> {
        let [failed, succeeded] = self.ends.counts();
        let total = failed + succeeded;
        let known = total > 0 && !self.ends.is_stale(SUCCESS_WINDOW, now);
        known.then(|| (succeeded as f64 / total as f64) as f32)
    }

    /// How long a call holds its slot on average; `None` before the first.
    pub fn service_time(&self) -> Option<Duration> {
        let held = f64::from_bits(self.held.load(Ordering::Relaxed));
        (held > 0.0).then(|| Duration::from_secs_f64(held / 1_000.0))
    }

    fn admit(&self, model: &ModelName) -> Arc<Latencies> {
        let fresh = Arc::new(Latencies::default());
        self.models.rcu(|models| {
            let mut next = Models::clone(models);
            if next.len() >= MODELS {
                let turned = |(_, of): &(ModelName, Arc<Latencies>)| of.turned_at.load(Ordering::Relaxed);
                let oldest = next.iter().enumerate().min_by_key(|(_, entry)| turned(entry)).map(|(index, _)| index);
                oldest.map(|index| next.swap_remove(index));
            }
            if !next.iter().any(|(name, _)| name == model) {
                next.push((model.clone(), Arc::clone(&fresh)));
            }
            next
        });
        fresh
    }
}

fn bucket(latency: Duration) -> usize {
    let ms = (latency.as_secs_f64() * 1_000.0).max(1.0);
    // Within the buckets, so the cast is exact.
    (ms.ln() / GROWTH.ln()).min((BUCKETS - 1) as f64) as usize
}

fn upper_edge(index: usize) -> Duration {
    let power = i32::try_from(index + 1).unwrap_or(i32::MAX);
    Duration::from_secs_f64(GROWTH.powi(power) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn fed(latencies: impl IntoIterator<Item = u64>) -> Stats {
        let stats = Stats::default();
        latencies.into_iter().for_each(|latency| stats.first_content(&"m".into(), ms(latency), Moment::from_millis(1)));
        stats
    }

    #[test]
    fn a_tail_is_told_only_when_enough_was_seen_and_per_model() {
        let few = fed([100; 19]);
        let enough = fed((0..100).map(|n| if n < 90 { 100 } else { 2_000 }));

        assert_eq!(few.quantile("m", 0.5), None);
        assert_eq!(enough.quantile("other", 0.5), None);
        let [half, tail] = [0.5, 0.95].map(|q| enough.quantile("m", q).unwrap().as_millis());
        assert!((100..=120).contains(&half) && (2_000..=2_400).contains(&tail), "{half} {tail}");
    }

    #[test]
    fn what_is_two_windows_old_is_forgotten() {
        let stats = fed([5_000; 50]);
        let later = Moment::from_millis(1).after(LATENCY_WINDOW * 2);

        (0..20).for_each(|_| stats.first_content(&"m".into(), ms(10), later));

        assert!(stats.quantile("m", 1.0).unwrap() < ms(13));
    }

    #[test]
    fn success_is_counted_over_what_says_something_and_fades() {
        let (stats, now) = (Stats::default(), Moment::from_millis(100_000));
        for outcome in [Outcome::Success, Outcome::ServerFault, Outcome::Success, Outcome::ClientGone, Outcome::Success]
        {
            stats.ended(outcome, ms(100), now);
        }

        assert_eq!(stats.success_rate(now), Some(0.75));
        assert_eq!(stats.success_rate(now.after(SUCCESS_WINDOW * 2)), None);
        assert_eq!(stats.service_time(), Some(ms(100)));
    }

    #[test]
    fn callers_cannot_fill_the_memory_with_models() {
        let stats = Stats::default();

        (0..1_000u32).for_each(|n| stats.first_content(&format!("m{n}").into(), ms(1), Moment::START));

        assert!(stats.models.load().len() <= MODELS);
    }

    proptest! {
        /// The told quantile is never below the true one and at most one bucket above it.
        #[test]
        fn a_quantile_is_right_within_a_bucket(mut latencies in prop::collection::vec(1u64..300_000, 20..300), q in 0.01f64..1.0) {
            let told = fed(latencies.clone()).quantile("m", q).unwrap().as_secs_f64() * 1_000.0;

            latencies.sort_unstable();
            let place = ((latencies.len() as f64 * q).ceil() as usize).max(1) - 1;
            let truth = latencies[place] as f64;
            prop_assert!(told >= truth * 0.999 && told <= truth * GROWTH * 1.001, "{told} for {truth}");
        }
    }
}
