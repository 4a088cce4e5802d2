//! How far a run is: results in the order of the cases, and their sums.

use serde_json::Value;

use super::case::{Fate, Outcome};
use crate::store::EvalTally;

/// The results so far.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    results: Vec<Option<Value>>,
    tally: EvalTally,
    changed: bool,
}

impl Progress {
    pub(super) fn of(cases: usize) -> Self {
        Self { results: vec![None; cases], tally: EvalTally::default(), changed: false }
    }

    /// The places without a result.
    pub(super) fn open(&self) -> Vec<usize> {
        self.results.iter().enumerate().filter(|(_, result)| result.is_none()).map(|(place, _)| place).collect()
    }

    /// A case has its result.
    pub(super) fn add(&mut self, place: usize, outcome: Outcome) {
        let Some(slot) = self.results.get_mut(place) else { return };
        *slot = Some(outcome.shown);
        self.changed = true;
        let tally = &mut self.tally;
        tally.done += 1;
        match outcome.fate {
            Fate::Passed => tally.passed += 1,
            Fate::Failed => tally.failed += 1,
            Fate::Error => tally.errors += 1,
        }
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let add = |sum: &mut i64, count: u64| *sum = sum.saturating_add(whole(count));
        add(&mut tally.prompt_tokens, outcome.used.prompt_tokens);
        add(&mut tally.completion_tokens, outcome.used.completion_tokens);
        add(&mut tally.cost_nano_usd, outcome.used.cost_nano_usd);
        add(&mut tally.latency_ms, outcome.used.latency_ms);
    }

    /// What is to be stored, if there is news.
    pub(super) fn news(&mut self) -> Option<EvalTally> {
        std::mem::take(&mut self.changed).then(|| self.tally())
    }

    /// All of it.
    pub(super) fn tally(&self) -> EvalTally {
        let results: Vec<&Value> = self.results.iter().flatten().collect();
        EvalTally { results: serde_json::to_string(&results).unwrap_or_default(), ..self.tally.clone() }
    }
}
