//! Combos: named lists of steps with a strategy, and what a combo remembers from request to request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};

use super::super::config::ComboConfig;
use super::super::facts::ModelFacts;
use super::super::hash;
use super::strategy::Strategy;
use crate::ids::{ComboName, ConnectionId, ModelName, ProviderId};

/// Where a step of a combo leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepTarget {
    /// A model at a provider, on one connection or any.
    Model {
        /// The provider.
        provider: ProviderId,
        /// The model as the provider calls it.
        model: ModelName,
        /// The one connection, if it is pinned.
        connection: Option<ConnectionId>,
    },
    /// Another combo, with its own strategy.
    Combo(ComboName),
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Unique in its combo; empty = given by its place when the plan is made ready.
    pub id: Arc<str>,
    /// Where it leads.
    pub target: StepTarget,
    /// Its share under the weighted strategies, 0..=100.
    pub weight: u32,
    /// Its name for people.
    pub label: Option<Arc<str>>,
    /// Its tags, beside those of its connections.
    pub tags: Arc<[Arc<str>]>,
    /// What is known about its model; `None` = what the provider's entry knows.
    pub facts: Option<Arc<ModelFacts>>,
}

impl Step {
    /// A step with nothing but its target.
    pub fn to(target: StepTarget) -> Self {
        Self { id: Arc::from(""), target, weight: 0, label: None, tags: Arc::from([]), facts: None }
    }

    /// A step to a model on any connection of its provider.
    pub fn model(provider: impl Into<ProviderId>, model: impl Into<ModelName>) -> Self {
        Self::to(StepTarget::Model { provider: provider.into(), model: model.into(), connection: None })
    }
}

/// Which tools are sent, by their names: an operator's pattern, compiled by whoever knows patterns.
#[derive(Clone)]
pub struct ToolFilter {
    pattern: Arc<str>,
    keeps: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl ToolFilter {
    /// A pattern and what it says about a name.
    pub fn new(pattern: &str, keeps: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { pattern: pattern.into(), keeps: Arc::new(keeps) }
    }

    /// As the operator wrote it.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether a tool of this name is sent.
    pub fn keeps(&self, name: &str) -> bool {
        (self.keeps)(name)
    }
}

impl std::fmt::Debug for ToolFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ToolFilter").field(&self.pattern).finish()
    }
}

/// A combo.
#[derive(Debug, Clone)]
pub struct Combo {
    /// Its name.
    pub name: ComboName,
    /// Its id in the store; empty for those that are not stored.
    pub id: Arc<str>,
    /// How it orders.
    pub strategy: Strategy,
    /// Its steps.
    pub steps: Vec<Step>,
    /// What was said beside the steps.
    pub config: ComboConfig,
    /// What it remembers; shared by all replicas and kept over new plans.
    pub state: Arc<ComboState>,
    /// Takes the place of the request's system messages.
    pub system_message: Option<Arc<str>>,
    /// Only tools whose name passes are sent.
    pub tool_filter: Option<ToolFilter>,
    /// The window that is shown to clients.
    pub context_length: Option<u32>,
}

impl Combo {
    /// A combo with nothing but steps.
    pub fn new(name: impl Into<ComboName>, strategy: Strategy, steps: Vec<Step>) -> Self {
        Self {
            name: name.into(),
            id: Arc::from(""),
            strategy,
            steps,
            config: ComboConfig::default(),
            state: Arc::default(),
            system_message: None,
            tool_filter: None,
            context_length: None,
        }
    }
}

/// Sessions that a combo remembers at a time; a newer one takes the place of an older one with the same slot.
const SESSIONS: usize = 4_096;
/// The part of a session's word that names its step; the rest names the session.
const STEP_BITS: u64 = 0xff_ffff;

/// What a combo remembers: whose turn it is, what worked last, and where its sessions were. Atomics only; a lost race
/// costs one turn.
#[derive(Debug, Default)]
pub struct ComboState {
    turn: AtomicU64,
    last_good: AtomicU64,
    sessions: ArcSwapOption<Box<[AtomicU64]>>,
}

/// What of it is worth keeping over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SavedCombo {
    /// Whose turn it is.
    pub turn: u64,
    /// The step that answered last, hashed; 0 = none.
    pub last_good: u64,
}

impl ComboState {
    /// Whose turn it is, without taking it.
    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Take a turn.
    pub fn take_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The step that answered last, hashed; 0 = none.
    pub fn last_good(&self) -> u64 {
        self.last_good.load(Ordering::Relaxed)
    }

    /// A step answered.
    pub fn answered(&self, step: u64, session: Option<u64>) {
        if self.last_good() != step {
            self.last_good.store(step, Ordering::Relaxed);
        }
        if let Some((slot, session)) = session.and_then(|session| Some((self.sessions.load_full()?, session)))
            && let Some(word) = slot.get(place(session))
        {
            word.store(word_of(session, step), Ordering::Relaxed);
        }
    }

    /// Whether the session was last served by this step.
    pub fn session_is_at(&self, session: u64, step: u64) -> bool {
        let sessions = self.sessions.load();
        let word = sessions.as_ref().and_then(|slots| slots.get(place(session)));
        word.is_some_and(|word| word.load(Ordering::Relaxed) == word_of(session, step))
    }

    /// Begin to remember sessions, if that is not done yet.
    pub(in super::super) fn remember_sessions(&self) {
        if self.sessions.load().is_none() {
            let slots: Box<[AtomicU64]> = (0..SESSIONS).map(|_| AtomicU64::new(0)).collect();
            self.sessions.store(Some(Arc::new(slots)));
        }
    }

    /// What is kept over a restart.
    pub fn save(&self) -> SavedCombo {
        SavedCombo { turn: self.turn(), last_good: self.last_good() }
    }

    /// As it was before a restart.
    pub fn restore(&self, saved: SavedCombo) {
        self.turn.store(saved.turn, Ordering::Relaxed);
        self.last_good.store(saved.last_good, Ordering::Relaxed);
    }
}

fn place(session: u64) -> usize {
    hash::below(hash::stir(session), SESSIONS)
}

const fn word_of(session: u64, step: u64) -> u64 {
    (hash::stir(session ^ 1) & !STEP_BITS) | (step & STEP_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_combo_remembers_survives_a_restart() {
        let state = ComboState::default();
        (0..5).for_each(|_| _ = state.take_turn());
        state.answered(77, None);

        let after = ComboState::default();
        after.restore(serde_json::from_str(&serde_json::to_string(&state.save()).unwrap()).unwrap());

        assert_eq!((after.turn(), after.last_good()), (5, 77));
    }

    #[test]
    fn sessions_are_remembered_only_where_they_are_wanted() {
        let state = ComboState::default();
        state.answered(77, Some(5));
        assert!(!state.session_is_at(5, 77));
        state.remember_sessions();

        state.answered(77, Some(5));

        assert!(state.session_is_at(5, 77) && !state.session_is_at(5, 78) && !state.session_is_at(6, 77));
    }
}
