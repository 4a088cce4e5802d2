//! The itinerary of one request: its candidates in the order in which they are tried, made once and then
//! carried from attempt to attempt.

use std::sync::Arc;

use rand::Rng;

use super::plan::{Combo, ReadyPlan, StepTarget, Strategy};
use super::resolve::Resolved;
use super::strategy::{StepView, order};
use crate::connection::handle::ConnectionHandle;
use crate::ids::{ComboName, ConnectionId, ModelName, ProviderId};

/// Candidates beyond this are not looked at: a plan may not grow without bound by nesting.
const MOST_CANDIDATES: usize = 1_000;

/// One connection with one model.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The connection.
    pub connection: Arc<ConnectionHandle>,
    /// The model as its provider calls it.
    pub model: ModelName,
}

/// The candidates of a request.
#[derive(Debug)]
pub struct Itinerary {
    /// The combo it came from, if it did.
    pub combo: Option<ComboName>,
    /// The combo's strategy.
    pub strategy: Option<Strategy>,
    /// In order.
    pub candidates: Vec<Candidate>,
}

impl Itinerary {
    /// Draw up the itinerary for a resolved model.
    pub fn draw<R: Rng>(plan: &ReadyPlan, resolved: &Resolved, rng: &mut R) -> Self {
        let mut drawing = Drawing { plan, rng, candidates: Vec::new() };
        match resolved {
            Resolved::Combo(name) => {
                drawing.combo(name, 0);
                let strategy = plan.combos.get(name).map(|combo| combo.strategy);
                Self { combo: Some(name.clone()), strategy, candidates: drawing.candidates }
            }
            Resolved::Auto { .. } => Self { combo: None, strategy: Some(Strategy::Auto), candidates: Vec::new() },
            Resolved::Direct { provider, model } => {
                drawing.provider(provider, model, None);
                Self { combo: None, strategy: None, candidates: drawing.candidates }
            }
        }
    }
}

struct Drawing<'a, R> {
    plan: &'a ReadyPlan,
    rng: &'a mut R,
    candidates: Vec<Candidate>,
}

impl<R: Rng> Drawing<'_, R> {
    /// Steps in the order of the combo's own strategy; nested combos bring theirs.
    fn combo(&mut self, name: &ComboName, depth: usize) {
        let Some(combo) = self.plan.combos.get(name).filter(|_| depth < self.plan.max_combo_depth) else { return };
        let views: Vec<StepView> = combo
            .steps
            .iter()
            .map(|step| StepView { weight: step.weight, cost: self.cost(&step.target, depth) })
            .collect();
        let turn = if combo.strategy.takes_turns() { combo.state.take_turn() } else { 0 };
        for index in order(combo.strategy, &views, turn, self.rng) {
            self.step(combo, index, depth);
        }
    }

    fn step(&mut self, combo: &Combo, index: usize, depth: usize) {
        match combo.steps.get(index).map(|step| &step.target) {
            Some(StepTarget::Model { provider, model, connection }) => {
                self.provider(provider, model, connection.as_ref());
            }
            Some(StepTarget::Combo(name)) => self.combo(name, depth + 1),
            None => {}
        }
    }

    /// The connections of a provider: by priority; among equals the cheaper of two drawn ones first.
    fn provider(&mut self, provider: &ProviderId, model: &ModelName, pinned: Option<&ConnectionId>) {
        let Some(entry) = self.plan.pool(provider.as_str()) else { return };
        let wanted: Vec<_> = entry
            .members
            .iter()
            .map(|member| &member.handle)
            .filter(|handle| pinned.is_none_or(|id| handle.id() == id))
            .collect();
        for equals in wanted.chunk_by(|a, b| a.config().priority == b.config().priority) {
            let views: Vec<_> = equals.iter().map(|handle| StepView { weight: 0, cost: cost_of(handle) }).collect();
            let ordered = order(Strategy::P2c, &views, 0, self.rng);
            for handle in ordered.into_iter().filter_map(|index| equals.get(index)) {
                self.add(handle, model);
            }
        }
    }

    fn add(&mut self, handle: &Arc<ConnectionHandle>, model: &ModelName) {
        let known = |candidate: &Candidate| Arc::ptr_eq(&candidate.connection, handle) && candidate.model == *model;
        if self.candidates.len() < MOST_CANDIDATES && !self.candidates.iter().any(known) {
            self.candidates.push(Candidate { connection: Arc::clone(handle), model: model.clone() });
        }
    }

    /// A step costs what its best connection costs.
    fn cost(&self, target: &StepTarget, depth: usize) -> f64 {
        match target {
            StepTarget::Model { provider, connection, .. } => self
                .plan
                .providers
                .get(provider)
                .into_iter()
                .flat_map(|entry| &entry.connections)
                .filter(|handle| connection.as_ref().is_none_or(|id| handle.id() == id))
                .map(|handle| cost_of(handle))
                .fold(f64::MAX, f64::min),
            StepTarget::Combo(name) if depth < self.plan.max_combo_depth => self
                .plan
                .combos
                .get(name)
                .into_iter()
                .flat_map(|combo| &combo.steps)
                .map(|step| self.cost(&step.target, depth + 1))
                .fold(f64::MAX, f64::min),
            StepTarget::Combo(_) => f64::MAX,
        }
    }
}

fn cost_of(handle: &ConnectionHandle) -> f64 {
    handle.latency().cost(handle.in_flight())
}
