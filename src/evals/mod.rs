//! Evals: how well models do what is expected of them, found out through the gateway itself.
//!
//! ```text
//! POST /api/evals ── stored as queued ── waits for one of a few places ── running n/m
//!    each case: room for what can wait? ── the usual pipeline ── the answer is scored ── (a judge model, the same way)
//!        '── done, cancelled, failed; interrupted where the process went away; taken over where only the start did
//! ```
//! The store says how far a run is, and of an end and a cancellation lets one win. Which runs this process works on, and
//! how to stop them, an actor knows; how many work at a time, a semaphore.

pub mod builtin;
mod call;
mod case;
mod inheritance;
pub mod judge;
mod progress;
pub mod report;
mod run;
pub mod score;
pub mod suite;

use std::sync::Arc;

use actix::Addr;
use omniroute_actors::background::{BackgroundRuns, StopRun};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::store::{Engine, StoreError};

use inheritance::Inheritance;
pub use run::{Job, NotBegun, Target, begin, take_over};

/// What this process works on.
#[derive(Clone)]
pub struct Evals {
    runs: Addr<BackgroundRuns>,
    places: Arc<Semaphore>,
    inheritance: Arc<Inheritance>,
}

impl Evals {
    /// With so many runs at a time.
    pub fn new(runs: Addr<BackgroundRuns>, at_a_time: usize) -> Self {
        Self { runs, places: Arc::new(Semaphore::new(at_a_time.max(1))), inheritance: Arc::default() }
    }

    /// Another start takes this one's place in the same process, and goes on with its runs.
    pub fn go_over_to(&self, next: &Self) {
        self.inheritance.goes_to(&next.inheritance);
    }

    /// Stop a run, if this process works on it.
    pub async fn stop(&self, id: &str) {
        // Another process learns it from the store.
        let _ = self.runs.send(StopRun { id: id.to_owned() }).await;
    }
}

/// At the start: whatever this database says to be running has no process any more, unless others share it.
///
/// # Errors
/// When the store does not answer.
pub async fn give_up_abandoned(app: &App) -> Result<(), StoreError> {
    let now = app.clock.wall().0;
    let before = match app.store.engine() {
        Engine::Sqlite => i64::MAX,
        Engine::Postgres => now,
    };
    let count = app.store.eval_runs().interrupt_abandoned(before, now).await?;
    if count > 0 {
        tracing::warn!(count, "eval runs were interrupted with the process that worked on them");
    }
    Ok(())
}

/// Now and then: runs whose process is gone are interrupted, old ones are forgotten.
///
/// # Errors
/// When the store does not answer.
pub async fn clear_away(app: &App) -> Result<usize, StoreError> {
    const DAY_MS: i64 = 86_400_000;
    let (now, settings) = (app.clock.wall().0, app.config.load().evals.clone());
    app.store.eval_runs().interrupt_abandoned(now, now).await?;
    let before = match settings.retention_days {
        0 => i64::MIN,
        days => now.saturating_sub(i64::from(days).saturating_mul(DAY_MS)),
    };
    app.store.eval_runs().prune(before, i64::from(settings.keep_runs)).await
}
