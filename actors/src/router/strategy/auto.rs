//! `auto`: a score of several factors, each between 0 and 1, each as good as 0.5 where it is as usual.
//!
//! Prices and latencies are held against the median of the candidates. Against the largest, one slow outlier would make
//! all the others look alike.

use rand::{Rng, RngExt};

use super::super::config::Weights;
use super::super::features::{Effort, RequestFeatures};
use super::{Placed, StepView, Views};

/// What an unknown price counts as: dearer than usual, so that it does not win by being unknown.
const UNKNOWN_PRICE: f32 = 0.25;
const UNKNOWN: f32 = 0.5;

/// The factors of a score.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Factors {
    /// Quota left.
    pub quota: f32,
    /// Breaker.
    pub health: f32,
    /// Cheapness.
    pub cost: f32,
    /// Quickness, the queue included.
    pub latency: f32,
    /// Fit for the task.
    pub task: f32,
    /// Share of calls that succeeded lately.
    pub stability: f32,
    /// Class of the model.
    pub tier: f32,
    /// The score.
    pub score: f32,
}

/// By score; a share of the requests goes to a random candidate first.
pub fn score<R: Rng>(views: &Views<'_>, features: &RequestFeatures, rng: &mut R) -> Vec<Placed> {
    let weights = weights(views, features);
    let prices = Median::of(views.steps.iter().filter_map(|step| step.price.map(|price| price as f64)));
    let costs = Median::of(views.steps.iter().filter(|step| step.load.available).map(|step| step.load.cost));
    let scored = |(index, step): (usize, &StepView)| {
        let factors = factors(step, &weights, prices, costs);
        Placed { index, why: "by_score", factors: Some(factors) }
    };
    let mut placed: Vec<Placed> = views.steps.iter().enumerate().map(scored).collect();
    let value = |placed: &Placed| placed.factors.map_or(0.0, |factors| factors.score);
    placed.sort_by(|a, b| value(b).total_cmp(&value(a)));
    explore(&mut placed, views, rng);
    placed
}

fn factors(step: &StepView, weights: &Weights, prices: Median, costs: Median) -> Factors {
    let load = step.load;
    let mut factors = Factors {
        quota: load.headroom.unwrap_or(UNKNOWN).clamp(0.0, 1.0),
        health: load.health,
        cost: step.price.map_or(UNKNOWN_PRICE, |price| prices.lowness(price as f64)),
        latency: if load.available { costs.lowness(load.cost) } else { 0.0 },
        task: step.task,
        stability: load.success.unwrap_or(UNKNOWN),
        tier: step.tier.unwrap_or(UNKNOWN),
        score: 0.0,
    };
    let Weights { quota, health, cost, latency, task, stability, tier } = *weights;
    let sum = quota + health + cost + latency + task + stability + tier;
    let weighted = factors.quota * quota
        + factors.health * health
        + factors.cost * cost
        + factors.latency * latency
        + factors.task * task
        + factors.stability * stability
        + factors.tier * tier;
    factors.score = if sum > 0.0 { weighted / sum } else { 0.0 };
    // Whoever takes nothing now is a fallback, however cheap.
    if !load.available {
        factors.score *= 0.1;
    }
    factors
}

/// The request's mode counts more than the combo's weights, and these more than the combo's mode.
fn weights(views: &Views<'_>, features: &RequestFeatures) -> Weights {
    let rule = &views.config.auto;
    let named = |name: &Option<std::sync::Arc<str>>| name.as_deref().and_then(Weights::pack);
    let weights = named(&features.mode).or(rule.weights).or_else(|| named(&rule.mode)).unwrap_or_default();
    match features.effort {
        Some(Effort::Low) => Weights { cost: weights.cost * 1.5, tier: weights.tier * 0.5, ..weights },
        Some(Effort::High) => {
            Weights { cost: weights.cost * 0.5, task: weights.task * 1.5, tier: weights.tier * 2.0, ..weights }
        }
        Some(Effort::Medium) | None => weights,
    }
}

/// Not while half of the candidates are down: then every request is needed where it works.
fn explore<R: Rng>(placed: &mut Vec<Placed>, views: &Views<'_>, rng: &mut R) {
    let alive: Vec<usize> = (0..placed.len()).filter(|at| is_alive(placed, views, *at)).collect();
    let rate = f64::from(views.config.auto.exploration.clamp(0.0, 1.0));
    if !views.explore || alive.len() < 2 || alive.len() * 2 <= placed.len() || !rng.random_bool(rate) {
        return;
    }
    let drawn = alive.get(rng.random_range(0..alive.len())).copied().filter(|at| *at < placed.len());
    if let Some(at) = drawn {
        let mut explored = placed.remove(at);
        explored.why = "explored";
        placed.insert(0, explored);
    }
}

fn is_alive(placed: &[Placed], views: &Views<'_>, at: usize) -> bool {
    placed.get(at).and_then(|placed| views.steps.get(placed.index)).is_some_and(|step| step.load.available)
}

#[derive(Clone, Copy)]
struct Median(Option<f64>);

impl Median {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
        Self(values.get(low).zip(values.get(high)).map(|(low, high)| low / 2.0 + high / 2.0))
    }

    /// 1 for nothing, 0.5 for the median, towards 0 for much more.
    fn lowness(self, value: f64) -> f32 {
        match self.0 {
            Some(median) if median + value > 0.0 => (median / (median + value)) as f32,
            Some(_) => 1.0,
            None => UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_does_not_make_the_others_look_alike() {
        let costs = Median::of([100.0, 200.0, 400.0, 60_000.0, 150.0].into_iter());

        assert!((costs.lowness(200.0) - 0.5).abs() < 1e-6);
        assert!(costs.lowness(100.0) - costs.lowness(400.0) > 0.3);
        assert!(costs.lowness(60_000.0) < 0.01);
        assert!((Median::of([].into_iter()).lowness(5.0) - UNKNOWN).abs() < 1e-6);
        assert!((Median::of([0.0].into_iter()).lowness(0.0) - 1.0).abs() < 1e-6);
    }
}
